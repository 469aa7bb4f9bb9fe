"""Which text the BPE at hand encodes, and that both are whole: by hashes on the cards of their folders.

A count of lines cannot tell one text from another, or from one that a crash left half empty.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nmtkd.files import check_hashes, damaged, hashes, read_object
from nmtkd.plan.layout import CARD
from nmtkd.text.parallel import ParallelTextError

WRITTEN = "sha256"  # on a card: hashes of the files beside it
ENCODED = "encoded"  # on the card of data/bpe: hashes of the prepared texts that it was made from
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


def _named(card: Path, part: str, files: Iterable[str]) -> dict[str, str]:
    """Hashes of these files from a part of a card."""
    found, wanted = read_object(card, part)[part], list(files)
    if missing := [file for file in wanted if not isinstance(found, dict) or file not in found]:
        raise damaged(card, f"{part}: must hold hashes of files, has none of {', '.join(missing)}")
    return {file: found[file] for file in wanted}
