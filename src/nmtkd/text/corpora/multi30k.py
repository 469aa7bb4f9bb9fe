"""Multi30k, task 1: a gzip file for each split and language."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from nmtkd.plan.data import Archive, Corpus
from nmtkd.text.corpora.tally import CorpusError, Tally, refuse_nul
from nmtkd.text.corpora.unpack import gunzip
from nmtkd.text.parallel import ParallelTextError, check_equal, decode_lines, write_pair

# Multi30k's own file names by the names that params use.
TESTS = {"test2016": "test_2016_flickr", "test2017": "test_2017_flickr", "mscoco": "test_2017_mscoco"}
SPLITS = {"train": "train", "valid": "val", **TESTS}
ARCHIVE_NAME = re.compile(r"(?P<stem>[a-z0-9_]+)\.(?P<language>[a-z]+)\.gz")
COMMIT = re.compile(r"\b[0-9a-f]{40}\b")


def needed(corpus: Corpus) -> list[Archive]:
    """The archives of the pair and of the test sets. Raises CorpusError if the corpus lacks one."""
    by_name = {archive.name: archive for archive in corpus.archives}
    return [by_name[name] for names in _archive_names(corpus).values() for name in names]


def read(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Writes the splits as they come.

    A pair with an empty side is dropped from train; in a held-out set it is an error.
    """
    tally = Tally(facts={"version": _commits(corpus.archives)})
    for split, names in _archive_names(corpus).items():
        source, target = (_read_side(archives[name]) for name in names)
        check_equal(len(source), len(target), *(str(archives[name]) for name in names))
        if not source:
            raise ParallelTextError(f"{names[0]}, {names[1]}: no line in them; correct corpus.archives")
        pairs = list(zip(source, target, strict=True))
        blank = [not all(map(str.strip, pair)) for pair in pairs]
        empty = [number for number, is_blank in enumerate(blank, 1) if is_blank]
        if empty and split != "train":
            raise ParallelTextError(
                f"{names[0]}, {names[1]}: empty side in line {', '.join(map(str, empty))}; "
                "held-out sets stay whole"
            )
        tally.dropped[f"{split}: a side empty"] = len(empty)
        tally.pairs[split] = write_pair(
            out, split, (pair for pair, is_blank in zip(pairs, blank, strict=True) if not is_blank)
        )
    return tally


def _read_side(path: Path) -> list[str]:
    content = gunzip(path)
    refuse_nul([content], str(path))
    return decode_lines(content, str(path), allow_empty=True)


def _archive_names(corpus: Corpus) -> dict[str, tuple[str, str]]:
    """{split: (source archive, target archive)}. Raises CorpusError that lists everything that is missing."""
    listed = {archive.name for archive in corpus.archives}
    languages = sorted({match["language"] for name in listed if (match := ARCHIVE_NAME.fullmatch(name))})
    problems = [
        f"corpus.tests: {name!r}: unknown; known here: {', '.join(TESTS)}"
        for name in corpus.tests
        if name not in TESTS
    ]
    if not {corpus.source, corpus.target} <= set(languages):
        pairs = ", ".join("-".join(pair) for pair in itertools.permutations(languages, 2))
        problems.append(
            f"corpus.archives: no pair {corpus.source}-{corpus.target}; pairs there: {pairs or 'none'}"
        )
    if problems:
        raise CorpusError("\n".join(problems))
    names = {}
    for split in ("train", "valid", *corpus.tests):
        stem = SPLITS[split]
        names[split] = (f"{stem}.{corpus.source}.gz", f"{stem}.{corpus.target}.gz")
    if missing := [name for sides in names.values() for name in sides if name not in listed]:
        raise CorpusError(
            f"corpus.archives: the pair needs {', '.join(missing)}; "
            "add what is missing, with sha256 and bytes"
        )
    return names


def _commits(archives: list[Archive]) -> str:
    """The git commit that the mirrors name: the card then says which state of the repository was read."""
    urls = [url for archive in archives for url in archive.mirrors]
    return ", ".join(sorted({match[0] for url in urls if (match := COMMIT.search(url))})) or "unknown"
