"""Lines of any length and sets of any size go through the whole pipeline."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import pytest

from nmtkd import files
from tests.endtoend.lab import Lab, make_lab, write_corpus

TRAIN, HELD_OUT = 149, 5  # no multiple of eight
RUNS = ("teacher-clean", "plain-tiny-clean-1", "seq-tiny-clean-beam-1")
GRID: tuple[tuple[str, object], ...] = (
    ("grid.capacities", ["tiny"]),
    ("grid.methods.word", []),
    ("grid.methods.both", []),
)


def lengthen(folder: Path, split: str, words: int) -> None:
    """Makes the second pair of a set that many words long, of words that the set has."""
    generator = random.Random(words)
    for side in ("src", "tgt"):
        path = folder / f"{split}.{side}"
        lines = path.read_text(encoding="utf-8").splitlines()
        lines[1] = " ".join(generator.choices(" ".join(lines).split(), k=words))
        path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A corpus with a long validation line, a longer test line, and few pairs; all trained and evaluated."""
    folder = tmp_path_factory.mktemp("long")
    corpus = folder / "corpus"
    write_corpus(corpus, TRAIN, HELD_OUT)
    lengthen(corpus, "valid", 500)
    lengthen(corpus, "test", 900)
    lab = make_lab(folder / "lab", corpus)
    lab.edit("params.yaml", *GRID)
    lab.run("python", "-m", "runner", "2")
    return lab


def pieces(lab: Lab, name: str) -> list[int]:
    """BPE tokens of each line of a set's source, EOS included."""
    return [len(line.split()) + 1 for line in lab.read(f"data/bpe/{name}.src").decode().splitlines()]


def test_held_out_lines_are_longer_than_a_batch_and_than_fairseqs_positions(lab: Lab) -> None:
    longest = json.loads(lab.read("data/bpe/text.json"))["longest"]
    assert 1024 < max(pieces(lab, "valid")) < max(pieces(lab, "test")) <= longest


def test_every_line_is_translated_and_scored(lab: Lab) -> None:
    for key in RUNS:
        for split in ("valid", "test"):
            for search in ("beam", "greedy"):
                path = lab.folder / f"data/translations/{key}/{split}.{search}"
                assert len(path.read_text(encoding="utf-8").splitlines()) == HELD_OUT
        result = json.loads(lab.read(f"reports/runs/{key}.json"))
        assert {score["split"] for score in result["scores"]} >= {"valid", "test"}


def test_every_checkpoint_has_a_validation_loss_and_bleu(lab: Lab) -> None:
    for key in RUNS:
        with open(lab.folder / f"data/translations/{key}/curve.csv", newline="", encoding="utf-8") as file:
            points = list(csv.DictReader(file))
        assert len(points) > 3
        assert all(float(point["valid_loss"]) > 0.0 and point["valid_bleu"] for point in points)


def test_the_other_engine_takes_the_long_lines_too(lab: Lab) -> None:
    lab.edit("params.yaml", ("evaluate.engine", "fairseq"), ("evaluate.max_length_factor", 0.1))
    lab.run("python", "-m", "stages.evaluate", "plain", "plain-tiny-clean-1")
    assert len(lab.read("data/translations/plain-tiny-clean-1/test.beam").decode().splitlines()) == HELD_OUT


def test_a_line_beyond_the_positions_of_a_model_says_what_to_do(lab: Lab) -> None:
    """As of a model file from before its corpus had such a line."""
    path = lab.folder / "data/bpe/test.src"
    longer = " ".join(["x"] * 40_000)
    path.write_text(path.read_text(encoding="utf-8").replace("\n", f" {longer}\n", 1), encoding="utf-8")
    card = json.loads(lab.read("data/bpe/card.json"))
    card["sha256"][path.name] = files.file_hash(path)
    files.write_json(path.with_name("card.json"), card)
    done = lab.ask("python", "-m", "stages.evaluate", "plain", "plain-tiny-clean-1")
    assert done.returncode == 1
    assert "source, line 1: 400" in done.stderr and "train the model again" in done.stderr
    assert "Traceback" not in done.stderr
