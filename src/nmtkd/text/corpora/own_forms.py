"""The forms in which a user's own split may come: a file for each side, or a TSV file; plain, or as gzip."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from nmtkd.files import writing
from nmtkd.text.corpora.fetch import FetchError
from nmtkd.text.corpora.tally import CorpusError
from nmtkd.text.corpora.unpack import take_gz
from nmtkd.text.parallel import ParallelTextError, blocks

SIDES = ("src", "tgt")
FORMS = (("src", "tgt"), ("src.gz", "tgt.gz"), ("tsv",), ("tsv.gz",))  # endings of the files of a split
GZIP = ".gz"
COLUMNS = 2
SHOWN = 5  # bad lines that a message spells out


def find(folder: Path, split: str) -> list[Path]:
    """The files of a split; those of the plain form where there are none.

    Raises CorpusError where files of two forms are there: which of them is meant?
    """
    forms = [[folder / f"{split}.{ending}" for ending in form] for form in FORMS]
    there = [[path for path in form if os.path.lexists(path)] for form in forms]
    if sum(map(bool, there)) > 1:
        names = ", ".join(str(path) for form in there for path in form)
        raise CorpusError(f"{names}: {split} is there in two forms; leave the files of one")
    return next((form for form, found in zip(forms, there, strict=True) if found), forms[0])


def plain(paths: list[Path], split: str, place: Path) -> tuple[Path, Path]:
    """Both sides of a split as plain files, from the files of its form: made in `place`, if need be.

    A side is in the memory of some lines alone. Raises CorpusError for gzip that is not sound, and
    ParallelTextError for a line of TSV that has not two columns.
    """
    if paths[0].suffix == GZIP:
        paths = [_unpacked(path, place / path.name.removesuffix(GZIP)) for path in paths]
    if len(paths) == len(SIDES):
        return paths[0], paths[1]
    source, target = (place / f"{split}.{side}" for side in SIDES)
    _split(paths[0], source, target)
    return source, target


def _unpacked(path: Path, place: Path) -> Path:
    try:
        return take_gz(path, place)
    except FetchError as error:
        raise CorpusError(str(error).replace("delete it and fetch it again", "pack it again")) from None


def _split(path: Path, source: Path, target: Path) -> None:
    """Writes the two columns of a TSV file."""
    lines, bad, kinds = 0, list[str](), Counter[int]()
    with ExitStack() as stack:
        files = [stack.enter_context(writing(side)) for side in (source, target)]
        for block in blocks(path):
            for line in block.removesuffix(b"\n").split(b"\n"):
                lines += 1
                columns = line.split(b"\t")
                if len(columns) != COLUMNS:
                    bad += [str(lines)] if len(bad) < SHOWN else []
                    kinds[len(columns)] += 1
                    continue
                for file, column in zip(files, columns, strict=True):
                    file.write(column + b"\n")
    if bad:
        said = ", ".join(f"{number} with {columns}" for columns, number in sorted(kinds.items()))
        more = " and others" if kinds.total() > len(bad) else ""
        raise ParallelTextError(
            f"{path}: line {', '.join(bad)}{more}: a line must have {COLUMNS} columns, source TAB target; by "
            f"number of columns: {said}; mend them, or write a file for each side"
        )


@contextmanager
def named(paths: list[Path], sides: tuple[Path, Path]) -> Iterator[None]:
    """Lets an error name the user's files instead of the plain `sides` that were made of them."""
    try:
        yield
    except ParallelTextError as error:
        message = str(error)
        for column, side in zip(("source", "target"), sides, strict=True):
            own = paths[sides.index(side)] if len(paths) == len(sides) else f"{paths[0]} ({column} column)"
            message = message.replace(str(side), str(own))
        raise ParallelTextError(message) from None
