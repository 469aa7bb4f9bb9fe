"""Which text the BPE at hand encodes, and that both are whole: by hashes on the cards of their folders.

A count of lines cannot tell one text from another, or from one that a crash left half empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nmtkd.files import check_hashes, damaged, hashes, read_object
from nmtkd.plan.layout import CARD, CODES
from nmtkd.text.parallel import ParallelTextError

WRITTEN = "sha256"  # on a card: hashes of the files beside it
ENCODED = "encoded"  # on the card of data/bpe: hashes of the prepared texts that it was made from
CUT_BY = "codes"  # on the card of a noise condition: the hash of the codes that made pieces of its words
SIDES = ("src", "tgt")


def sides(names: Iterable[str]) -> list[str]:
    """The files of both sides of each of these texts."""
    return [f"{name}.{side}" for name in names for side in SIDES]


def written(folder: Path, files: Iterable[str]) -> dict[str, Any]:
    """A card's part for what lies beside it."""
    return {WRITTEN: hashes(folder / file for file in files)}


def encoded(prepared: Path, names: Iterable[str]) -> dict[str, Any]:
    """The part of data/bpe's card for the texts that it was made from."""
    return {ENCODED: hashes(prepared / file for file in sides(names))}


def check_written(folder: Path, files: Iterable[str]) -> None:
    """Raises files.DamagedError unless these files are those that the folder's card names."""
    check_hashes(folder, _named(folder / CARD, WRITTEN, files))


def check_encoded(bpe: Path, prepared: Path, names: Iterable[str]) -> None:
    """Raises ParallelTextError unless `bpe` was made from the texts of these names in `prepared`."""
    for file, digest in _named(bpe / CARD, ENCODED, sides(names)).items():
        if hashes([prepared / file])[file] != digest:
            raise ParallelTextError(
                f"{bpe}: made from another {file} than {prepared / file}; run the bpe stage again"
            )


def cut(folder: Path, bpe: Path) -> dict[str, Any]:
    """The card's part for training text in `folder`, made of words by the codes of `bpe`."""
    return {CUT_BY: hashes([bpe / CODES])[CODES], **written(folder, sides(["train"]))}


def check_cut(folder: Path, bpe: Path) -> None:
    """Raises files.DamagedError unless the training text in `folder` is what was written.

    Raises ParallelTextError unless the codes of `bpe` made its pieces.
    """
    check_written(folder, sides(["train"]))
    if read_object(folder / CARD, CUT_BY)[CUT_BY] != _named(bpe / CARD, WRITTEN, [CODES])[CODES]:
        raise ParallelTextError(
            f"{folder}: its pieces are not those of {bpe / CODES}; run the noise stage again"
        )


def _named(card: Path, part: str, files: Iterable[str]) -> dict[str, str]:
    """Hashes of these files from a part of a card."""
    found, wanted = read_object(card, part)[part], list(files)
    if missing := [file for file in wanted if not isinstance(found, dict) or file not in found]:
        raise damaged(card, f"{part}: must hold hashes of files, has none of {', '.join(missing)}")
    return {file: found[file] for file in wanted}
