"""What the tests of preparation share: small corpora, their params, and what becomes of them."""

import json
from pathlib import Path
from typing import Any

from nmtkd.plan.data import Corpus, Prepare
from nmtkd.text.parallel import read_pair, write_lines
from nmtkd.text.splitting import Pair
from tests.unit.text.corpora import toys

SPLIT, WHOLE = "files", "homeassistant"  # readers of corpora that come split, and that come whole


def corpus(**changes: Any) -> Corpus:
    return toys.corpus(**{"reader": SPLIT} | changes)


def settings(**changes: Any) -> Prepare:
    """`words` bounds both sides."""
    words = changes.pop("words", 10)
    values = {
        "tokeniser": "reversible",
        "normalise": [],
        "seed": 1,
        "valid_pairs": 1,
        "test_pairs": 1,
        "max_words": {"source": words, "target": words},
        "max_ratio": 2.0,
        "ratio_slack": 10,
        "overlap": "drop",
        "normalise_tests": [],
        "lowercase": False,
        "placeholders": True,
        "duplicates": "drop",
        "ratio_of": "characters",
        "valid_every": 0,
        "train_pairs": 0,
        "expected": None,
        "near_duplicate": 0.8,
    }
    return Prepare.model_validate(values | changes)


def given(folder: Path, **splits: list[Pair]) -> Path:
    """A corpus that comes split; valid and test hold one pair of their own unless told otherwise."""
    defaults: dict[str, list[Pair]] = {"valid": [("val one", "val eins")], "test": [("tst one", "tst eins")]}
    for name, pairs in (defaults | splits).items():
        write_lines(folder / f"{name}.src", [pair[0] for pair in pairs])
        write_lines(folder / f"{name}.tgt", [pair[1] for pair in pairs])
    return folder


def unsplit(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    """A corpus that comes whole: (source, target, group)."""
    for name, column in (("all.src", 0), ("all.tgt", 1), ("all.group", 2)):
        write_lines(folder / name, [row[column] for row in rows])
    return folder


def read(folder: Path, name: str) -> list[Pair]:
    return list(zip(*read_pair(folder / f"{name}.src", folder / f"{name}.tgt"), strict=True))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def names(folder: Path, name: str) -> list[list[str]]:
    return [json.loads(line) for line in lines(folder / f"{name}.names")]
