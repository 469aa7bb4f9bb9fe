"""Corpora made of parts: finds the members of archives, joins them to splits, and checks every count."""

from __future__ import annotations

import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import zip_longest
from pathlib import Path

from nmtkd.outputs import is_full
from nmtkd.plan.data import Archive, Corpus, Part
from nmtkd.plan.layout import TRAIN, VALID
from nmtkd.text.corpora import checksums
from nmtkd.text.corpora.segments import Segment, Side
from nmtkd.text.corpora.split_files import SplitFiles
from nmtkd.text.corpora.tally import CorpusError, Tally
from nmtkd.text.corpora.unpack import take, take_gz
from nmtkd.text.parallel import ParallelTextError

DROP = "drop"  # corpus.misaligned
LANGUAGE, ROLE = "{language}", "{role}"  # in names of archives and members

# How a file of this name is read: a method of Side, bound to it.
Reading = Callable[[Corpus, Side, str], Iterator[Segment]]


def needed(corpus: Corpus) -> list[Archive]:
    """The archives of the parts of train, valid and the test sets.

    Raises CorpusError that lists each split without a part and each archive that is not listed.
    """
    by_name = {archive.name: archive for archive in corpus.archives}
    found, problems = splits(corpus)
    names = {name: None for parts in found.values() for part in parts for name, _ in _sides(corpus, part)}
    problems += [
        f"corpus.parts: archive {name!r} is not listed; corpus.archives has {', '.join(by_name) or 'none'}"
        for name in names
        if name not in by_name
    ]
    if problems:
        raise CorpusError("\n".join(problems))
    return [by_name[name] for name in names]


def read(corpus: Corpus, archives: dict[str, Path], out: Path, reading: Reading) -> Tally:
    """Writes each split, its parts one after another, a line at a time.

    A pair with an empty side is dropped from train; in a held-out set it is an error. Raises CorpusError and
    ParallelTextError that list what is wrong in all splits.
    """
    used = needed(corpus)
    tally, problems = Tally(), []
    with tempfile.TemporaryDirectory(dir=out, prefix=".members-") as folder:
        files = _unpacked(corpus, archives, Path(folder))
        for split, parts in splits(corpus)[0].items():
            try:
                _write(corpus, split, parts, files, out, reading, tally)
            except (CorpusError, ParallelTextError) as error:
                problems.append(f"{split}: {error}")
            except OSError as error:
                if is_full(error):
                    raise
                problems.append(f"{split}: {error.filename or out}: {error.strerror}; mend it and try again")
    if problems:
        raise ParallelTextError("\n".join(problems))
    tally.facts["version"] = ", ".join(
        f"{archive.name} {next(iter(checksums.published(archive).values()), checksums.FIRST)}"
        for archive in used
    )
    return tally


def splits(corpus: Corpus) -> tuple[dict[str, list[Part]], list[str]]:
    """The parts of each split for this pair of languages; what is wrong with them. valid may have none."""
    pair = {corpus.source, corpus.target}
    found, problems = {}, []
    for split in (TRAIN, VALID, *corpus.tests):
        listed = (corpus.parts or {}).get(split, [])
        parts = [part for part in listed if part.languages is None or set(part.languages) == pair]
        if parts:
            found[split] = parts
        elif listed:
            pairs = {"-".join(part.languages): None for part in listed if part.languages}
            problems.append(
                f"corpus.parts: {split}: no part for {corpus.source}-{corpus.target}; pairs there, in either "
                f"direction: {', '.join(pairs)}"
            )
        elif split != VALID:
            known = ", ".join(sorted(corpus.parts or {})) or "none"
            problems.append(f"corpus.parts: {split}: no part; splits that have some: {known}")
    return found, problems


def _sides(corpus: Corpus, part: Part) -> list[tuple[str, str | None]]:
    """Archive and member of the source and of the target."""
    return [
        (
            part.archive.replace(LANGUAGE, language).replace(ROLE, role),
            part.member and part.member.replace(LANGUAGE, language).replace(ROLE, role),
        )
        for language, role in ((corpus.source, "src"), (corpus.target, "ref"))
    ]


def _unpacked(corpus: Corpus, archives: dict[str, Path], folder: Path) -> dict[tuple[str, str | None], Path]:
    """The files of all sides, by archive and member. Each archive is read once."""
    members: dict[str, set[str | None]] = defaultdict(set)
    for parts in splits(corpus)[0].values():
        for part in parts:
            for name, member in _sides(corpus, part):
                members[name].add(member)
    files: dict[tuple[str, str | None], Path] = {}
    for number, (name, wanted) in enumerate(members.items()):
        own = folder / str(number)
        own.mkdir()
        if None in wanted:
            packed = name.endswith(".gz")
            files[name, None] = take_gz(archives[name], own / "whole") if packed else archives[name]
        if inside := {member for member in wanted if member is not None}:
            taken = take(archives[name], inside, own)
            files |= {(name, member): path for member, path in taken.items()}
    return files


def _write(
    corpus: Corpus,
    split: str,
    parts: list[Part],
    files: dict[tuple[str, str | None], Path],
    out: Path,
    reading: Reading,
    tally: Tally,
) -> None:
    """Writes one split. Raises CorpusError for a wrong count, ParallelTextError for what is no text."""
    with SplitFiles(out, split) as written:
        for part in parts:
            names = _sides(corpus, part)
            sides = [Side(files[name], _shown(*name)) for name in names]
            label = " and ".join(dict.fromkeys(side.where for side in sides))
            lines = [
                reading(corpus, side, member or archive.removesuffix(".gz"))
                for side, (archive, member) in zip(sides, names, strict=True)
            ]
            shifted = written.add(part, zip_longest(lines[0], lines[1]), corpus.misaligned == DROP, label)
            check(part, written, label)
            _count(tally, split, sides, label, shifted)
    count(tally, split, written, corpus.misaligned == DROP)


def count(tally: Tally, split: str, written: SplitFiles, dropped: bool) -> None:
    """Puts the counts of a split that was written into the tally. `dropped` says of misaligned rows."""
    tally.pairs[split] = written.pairs
    tally.dropped[f"{split}: a side empty"] = written.empty
    if written.misaligned:
        tally.facts.setdefault("misaligned", {}).update(written.misaligned)
        if dropped:
            tally.dropped[f"{split}: misaligned"] = sum(written.misaligned.values())


def check(part: Part, written: SplitFiles, label: str) -> None:
    """Raises CorpusError if the part that was written last has a wrong count."""
    for what, got, expected in (
        ("it has", written.part_rows, part.pairs),
        ("with the parts before it the split has", written.rows, part.total),
    ):
        if expected is not None and got != expected:
            raise CorpusError(
                f"{label}: {what} {got} pairs, expected {expected} (corpus.parts); the archive is another "
                "one, or its lines are read otherwise than the recipe does"
            )


def _count(tally: Tally, split: str, sides: list[Side], label: str, shifted: int) -> None:
    for side, name in zip(sides, ("source", "target"), strict=True):
        for what, lines in side.changed.items():
            tally.changed[f"{split}: {name}: {what}"] += lines
    if shifted:
        tally.facts.setdefault("shifted", {})[label] = shifted
        print(
            f"[corpus] {label}: lines with tags do not stand at the same places on both sides: {shifted} "
            "pairs join lines of different numbers; kept, as the recipe has it",
            file=sys.stderr,
        )


def _shown(archive: str, member: str | None) -> str:
    return f"{archive}: {member}" if member else archive
