"""Edits of the code that a team makes, each on a copy of the project in `root`."""

from __future__ import annotations

import re
from pathlib import Path

READER = '''"""A made-up reader."""

from nmtkd.text.corpora.tally import Tally


def read(corpus, archives, out):
    """Reads nothing."""
    return Tally()
'''


def replace(root: Path, file: str, pattern: str, text: str) -> None:
    path = root / file
    content, count = re.subn(pattern, text, path.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
    assert count == 1, f"{file}: {pattern} is not there"
    path.write_text(content, encoding="utf-8")


def append(root: Path, file: str, text: str) -> None:
    path = root / file
    path.write_text(path.read_text(encoding="utf-8") + text, encoding="utf-8")


def reword_a_docstring(root: Path) -> None:
    replace(root, "src/nmtkd/distil/token_loss.py", r'^"""[^"]*"""', '"""Other words."""')
    append(root, "src/nmtkd/network/transformer.py", "# a comment\n")


def add_a_stage(root: Path) -> None:
    (root / "stages/export.py").write_text(
        '"""A new stage."""\n\nfrom stages import entry\n', encoding="utf-8"
    )


def add_an_option(root: Path) -> None:
    replace(
        root,
        "src/nmtkd/plan/methods.py",
        r"    gate: Gate \| None = None\n",
        "    gate: Gate | None = None\n    skew: float | None = None\n",
    )


def add_a_reader(root: Path) -> None:
    (root / "src/nmtkd/text/corpora/invented.py").write_text(READER, encoding="utf-8")
    append(
        root,
        "src/nmtkd/text/corpora/readers.py",
        "\nfrom nmtkd.text.corpora import invented\n\nREADERS['invented'] = Reader(invented.read)\n",
    )


def change_a_divergence(root: Path) -> None:
    append(root, "src/nmtkd/distil/divergences.py", "\nADDED = None\n")


def add_a_noise_kind(root: Path) -> None:
    append(root, "src/nmtkd/text/noise.py", "\nKINDS['invented'] = KINDS['swap']\n")
    replace(root, "src/nmtkd/plan/data.py", '"swap", "mixed"', '"swap", "invented", "mixed"')


def change_the_merges(root: Path) -> None:
    append(root, "src/nmtkd/text/merges.py", "\nADDED = None\n")


def change_a_familys_row(root: Path) -> None:
    replace(
        root, "src/nmtkd/plan/methods.py", r'("word": Family\(\n.*?)targets="gold"', r'\1targets="hypothesis"'
    )


def change_a_familys_sentence(root: Path) -> None:
    replace(root, "src/nmtkd/plan/methods.py", "learns from the corpus alone", "learns from the text alone")


def take_another_torch(root: Path) -> None:
    replace(root, "requirements.lock", r"\ntorch==[^\n]*", "\ntorch==99.0")


def take_another_build_of_torch(root: Path) -> None:
    replace(root, "requirements.lock", r"\ntorch==([^\n+]*)[^\n]*", r"\ntorch==\1+cu999")
