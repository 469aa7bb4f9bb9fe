"""What data stages and the teacher's stages write, made again by other means."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from sacremoses import MosesTokenizer

from nmtkd.network import fairseq_bridge as bridge
from tests.stages.laboratory import SIZES, TEMPERATURE, Laboratory

LANGUAGES = {"src": "en", "tgt": "fr"}


def tokens(lab: Laboratory, split: str, side: str) -> list[str]:
    """Moses tokens of the corpus; a line's last period is one of its own."""
    moses = MosesTokenizer(LANGUAGES[side])
    lines = (
        moses.tokenize(line, escape=False, return_str=True) for line in lab.text(f"corpus/{split}.{side}")
    )
    return [re.sub(r"(?<=\S)(?<!\.)\.$", " .", line) for line in lines]


def words(lines: list[str]) -> list[str]:
    return [line.replace("@@ ", "") for line in lines]


@pytest.mark.parametrize("side", LANGUAGES)
def test_pieces_make_the_tokens_of_each_set(lab: Laboratory, side: str) -> None:
    """In their order; those of the test sets and of valid are nobody else's."""
    for split in ("valid", "test", "other"):
        assert words(lab.text(f"data/bpe/{split}.{side}")) == tokens(lab, split, side)
        assert lab.text(f"data/prepared/{split}.{side}") == tokens(lab, split, side)
    assert words(lab.text(f"data/noise/clean/train.{side}")) == tokens(lab, "train", side)
    assert any("@@ " in line for line in lab.text(f"data/noise/clean/train.{side}"))
    assert tokens(lab, "train", side) != lab.text(f"corpus/train.{side}")


def test_references_are_the_text_of_the_corpus(lab: Laboratory) -> None:
    for split in ("valid", "test", "other"):
        assert lab.text(f"data/prepared/{split}.ref") == lab.text(f"corpus/{split}.tgt")
        assert len(lab.text(f"data/prepared/{split}.ref")) == SIZES[split]


def test_form_and_lengths_are_those_of_the_pieces(lab: Laboratory) -> None:
    sides = [lab.text(f"data/noise/clean/train.{side}") for side in LANGUAGES]
    held_out = [
        lab.text(f"data/bpe/{split}.{side}") for split in ("valid", "test", "other") for side in LANGUAGES
    ]
    longest = max(len(line.split()) + 1 for lines in held_out for line in lines)
    assert lab.json("data/bpe/text.json") == {"target": "fr", "tokeniser": "moses", "longest": longest}
    lengths = np.load(lab.folder / "data/bpe/lengths.npy")
    assert lengths.tolist() == [
        [len(one.split()) + 1, len(other.split()) + 1] for one, other in zip(*sides, strict=True)
    ]


@pytest.mark.parametrize("side", LANGUAGES)
def test_deletion_deletes_its_share_of_words(lab: Laboratory, side: str) -> None:
    """And changes no other; a teacher of clean text has all of them."""
    clean, noisy = (words(lab.text(f"data/noise/{noise}/train.{side}")) for noise in ("clean", "del30"))
    for before, after in zip(clean, noisy, strict=True):
        rest = iter(before.split())
        assert all(word in rest for word in after.split()), "a subsequence"
    gone = 1 - sum(len(line.split()) for line in noisy) / sum(len(line.split()) for line in clean)
    assert 0.25 < gone < 0.35
    assert lab.text(f"data/noise/del30_clean/teacher/train.{side}") == lab.text(
        f"data/noise/clean/train.{side}"
    )
    assert lab.text(f"data/noise/del30_clean/train.{side}") == lab.text(f"data/noise/del30/train.{side}")
    hit = lab.json("data/noise/del30/card.json")[{"src": "source", "tgt": "target"}[side]]["hit"]
    assert hit == sum(len(a.split()) - len(b.split()) for a, b in zip(clean, noisy, strict=True))


@pytest.mark.parametrize("prefix", ["gold", "beam"])
def test_token_targets_are_the_teachers_distributions(lab: Laboratory, prefix: str) -> None:
    """Its five likeliest tokens at each position along the prefix, at the temperature, by fairseq's model."""
    loaded = bridge.load_model(lab.folder / "models/teacher/clean/model", "cpu")
    words_of, model = loaded.dictionary, loaded.model.eval()
    sources = lab.text("data/noise/clean/train.src")
    lines = lab.text("data/noise/clean/train.tgt")
    if prefix == "beam":
        records = map(json.loads, lab.text("data/hypotheses/clean-beam/hypotheses.jsonl"))
        lines = [record["hypotheses"][0]["text"] for record in records]
    folder = lab.folder / f"data/targets/clean-{prefix}"
    ids, probs, offsets = (np.load(folder / f"{name}.npy") for name in ("ids", "probs", "offsets"))
    header = lab.json(f"data/targets/clean-{prefix}/header.json")
    assert (header["top_k"], header["temperature"], header["vocabulary"]) == (5, TEMPERATURE, len(words_of))
    for number in (0, 7, len(lines) - 1):
        source, target = (
            torch.tensor([[words_of.index(piece) for piece in text.split()] + [words_of.eos()]])
            for text in (sources[number], lines[number])
        )
        before = torch.cat([target[:, -1:], target[:, :-1]], 1)
        with torch.no_grad():
            logits = model(source, torch.tensor([source.size(1)]), before)[0][0]
        best = torch.softmax(logits / TEMPERATURE, -1).topk(5)
        rows = slice(offsets[number], offsets[number + 1])
        assert ids[rows].tolist() == best.indices.tolist()
        assert probs[rows].astype(np.float32) == pytest.approx(best.values.numpy(), abs=1e-3)


def test_the_card_of_translations_counts_them(lab: Laboratory) -> None:
    sources, gold = (lab.text(f"data/noise/clean/train.{side}") for side in LANGUAGES)
    records = [json.loads(line) for line in lab.text("data/hypotheses/clean-beam/hypotheses.jsonl")]
    best = [record["hypotheses"][0]["text"] for record in records]
    for record in records:
        found = [entry["score"] for entry in record["hypotheses"]]
        assert len(found) == 5 and found == sorted(found, reverse=True)
    card = lab.json("data/hypotheses/clean-beam/card.json")
    pieces, wanted = (sum(len(line.split()) for line in lines) for lines in (best, gold))
    assert (card["lines"], card["tokens"]) == (len(sources), pieces)
    assert card["length_ratio"] == round(pieces / wanted, 4)
    assert card["equal_to_gold"] == sum(one == other for one, other in zip(best, gold, strict=True)) > 0
    assert card["copied"] == sum(one == other for one, other in zip(best, sources, strict=True))
    tried = {penalty: one["bleu"] for penalty, one in card["validation"].items()}
    assert tried[str(card["length_penalty"])] == max(tried.values())
    assert card["teacher_hash"] == lab.text("models/teacher/clean/model/model.sha256")[0]


def test_forced_translations_are_the_teachers_likeliest_tokens_along_gold(lab: Laboratory) -> None:
    """By fairseq's model, up to the first end of a sentence."""
    loaded = bridge.load_model(lab.folder / "models/teacher/clean/model", "cpu")
    words_of, model = loaded.dictionary, loaded.model.eval()
    sources, golds = (lab.text(f"data/noise/clean/train.{side}") for side in LANGUAGES)
    records = [json.loads(line) for line in lab.text("data/hypotheses/clean-forced/hypotheses.jsonl")]
    assert len(records) == len(golds)
    for number in range(0, len(golds), 9):
        ids, target = (
            torch.tensor([bridge.encode(words_of, line)]) for line in (sources[number], golds[number])
        )
        before = torch.cat([target[:, -1:], target[:, :-1]], 1)
        with torch.no_grad():
            best = model(ids, torch.tensor([ids.size(1)]), before)[0][0].argmax(-1).tolist()
        said = [words_of[token] for token in [*best, words_of.eos()]]
        (entry,) = records[number]["hypotheses"]
        assert entry["text"].split() == said[: said.index("</s>")]
