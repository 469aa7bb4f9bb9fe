"""A target language without spaces, from its corpus to a student's scores: what is right counts as right."""

from __future__ import annotations

import csv
import json

import pytest
from sacrebleu.metrics.bleu import BLEU

from nmtkd.text import text_form
from tests.endtoend.lab import Lab, make_lab, write_corpus

# Enough for a teacher of this size to translate the toy language word for word.
TEACHER = (
    ("teacher.training.updates", 600),
    ("teacher.training.lr", 0.005),
    ("teacher.training.checkpoint_every", 100),
    ("teacher.training.curve_pairs", 24),
    ("training.updates", 20),
    ("training.checkpoint_every", 10),
)


def to_chinese(word: str) -> str:
    """Two characters for each word, always the same."""
    return "".join(
        chr(0x4E00 + sum(ord(letter) << (3 * place) for letter in word[place:])) for place in (0, 1)
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    folder = tmp_path_factory.mktemp("languages")
    corpus = folder / "corpus"
    write_corpus(corpus, train=1500)
    for source in corpus.glob("*.src"):
        lines = source.read_text(encoding="utf-8").splitlines()
        text = "".join("".join(map(to_chinese, line.split())) + "。\n" for line in lines)
        source.with_suffix(".tgt").write_text(text, encoding="utf-8")
    lab = make_lab(folder / "lab", corpus)
    lab.edit("params.yaml", ("corpus.target", "zh"), ("grid.noises", ["clean", "del30"]), *TEACHER)
    lab.edit("params.yaml", ("teacher.architecture.width", 64), ("teacher.training.dropout", 0.0))
    # The teacher of noisy text would take as long as the other one, for nothing.
    lab.run("dvc", "repro", "evaluate_teacher@clean", "evaluate_seq@seq-tiny-clean-beam-1", "noise@del30")
    return lab


def scores(lab: Lab, key: str) -> dict[tuple[str, str, str], tuple[float, str]]:
    told = json.loads(lab.read(f"data/translations/{key}/scores.json"))["scores"]
    return {(one["split"], one["search"], one["metric"]): (one["value"], one["signature"]) for one in told}


def test_a_teacher_that_is_right_scores_what_it_deserves(lab: Lab) -> None:
    hypotheses = lab.read("data/translations/teacher-clean/test.beam").decode().splitlines()
    references = [lab.read("data/prepared/test.ref").decode().splitlines()]
    value, signature = scores(lab, "teacher-clean")["test", "beam", "bleu"]
    assert "tok:zh" in signature
    assert value == pytest.approx(BLEU(tokenize="zh").corpus_score(hypotheses, references).score, abs=0.001)
    by_spaces = BLEU(tokenize="13a").corpus_score(hypotheses, references).score
    assert value > 50 > by_spaces + 20, "a teacher of the toy scale learns most of this language"
    assert "tok:zh" in scores(lab, "teacher-clean")["test", "beam", "bleu_tok_lc"][1]


def test_the_learning_curve_sees_it_too(lab: Lab) -> None:
    with open(lab.folder / "models/teacher/clean/curve.csv", newline="", encoding="utf-8") as file:
        curve = [float(row["valid_bleu"]) for row in csv.DictReader(file)]
    assert curve[-1] > 20, "by spaces it would be near 0"


def test_no_pair_is_lost_and_noise_hits_characters(lab: Lab) -> None:
    card = json.loads(lab.read("data/prepared/card.json"))
    assert sum(card["dropped"].values()) == 0
    assert card["splits"]["train"]["target_tokens"] > 2 * card["splits"]["train"]["source_tokens"]
    assert card["ceiling"]["test"]["BLEU"] == 100.0
    noise = json.loads(lab.read("data/noise/del30/card.json"))["target"]
    assert noise["words"] == card["splits"]["train"]["target_tokens"]
    assert 0.25 < noise["hit"] / noise["words"] < 0.35


def test_noisy_text_holds_no_space_either(lab: Lab) -> None:
    form = text_form.read(lab.folder / "data/bpe")
    noisy = lab.read("data/noise/del30/train.tgt").decode().splitlines()
    assert not [line for line in map(form.text, noisy) if " " in line]
