"""Data sets by name, from the catalogue of the package mtdata: OPUS, WMT and standard test sets.

The package is optional. It fetches and parses; languages, direction, empty sides and counts are checked here.
Written for mtdata 0.5.1.
"""

from __future__ import annotations

import difflib
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from nmtkd.files import file_hash
from nmtkd.outputs import is_full
from nmtkd.plan.data import Archive, Corpus, Part
from nmtkd.text.corpora import parts
from nmtkd.text.corpora.fetch import cache_folder
from nmtkd.text.corpora.segments import Segment
from nmtkd.text.corpora.split_files import SplitFiles
from nmtkd.text.corpora.tally import CorpusError, Tally
from nmtkd.text.parallel import ParallelTextError, one_line

FOLDER_VARIABLE = (
    "MTDATA"  # where the package keeps its index and what it fetched; it reads this when imported
)
FOLDER = "mtdata"  # in the cache of archives
NEAR, NEAR_CUTOFF = 3, 0.5  # names that a message offers, and difflib's similarity from which it does
SHOWN = 200  # characters of the package's own messages
BREAKS = "\n\r"
# Without its dependencies: it asks for older versions of two packages than requirements.lock has.
INSTALL = "python -m pip install --no-deps mtdata==0.5.1 && python -m pip install pybtex"


def needed(corpus: Corpus) -> list[Archive]:
    """None: the package fetches. Raises CorpusError that lists what does not fit this reader."""
    splits, problems = parts.splits(corpus)
    if corpus.archives:
        problems.append("corpus.archives: the package mtdata fetches; write [] there")
    problems += [
        f"corpus.parts: {split}: {part.archive!r} is a data set, which has no member; remove member"
        for split, listed in splits.items()
        for part in listed
        if part.member is not None
    ]
    if problems:
        raise CorpusError("\n".join(problems))
    return []


def read(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Writes each split, its data sets one after another, a pair at a time.

    A pair with an empty side is dropped from train; in a held-out set it is an error. The card names each
    data set with its address, its pairs and the SHA-256 of what was fetched: mtdata has no checksums. Raises
    CorpusError and ParallelTextError that list what is wrong in all splits.
    """
    needed(corpus)
    catalogue = _Catalogue(corpus)
    splits = parts.splits(corpus)[0]
    sets = catalogue.find({part.archive: None for listed in splits.values() for part in listed})
    tally, problems = Tally(), []
    for split, listed in splits.items():
        try:
            _write(corpus, split, listed, sets, out, tally)
        except (CorpusError, ParallelTextError) as error:
            problems.append(f"{split}: {error}")
    if problems:
        raise ParallelTextError("\n".join(problems))
    tally.facts["version"] = f"mtdata {catalogue.version}: {', '.join(sets)}"
    return tally


@dataclass
class _DataSet:
    """One entry of the catalogue."""

    name: str
    entry: Any
    swapped: bool  # its languages stand the other way round
    catalogue: _Catalogue

    @property
    def urls(self) -> list[str]:
        return [self.entry.url] if isinstance(self.entry.url, str) else list(self.entry.url)

    def fetch(self) -> Any:
        """What the package's parser reads. Raises CorpusError for whatever stops the package."""
        try:
            return self.catalogue.cache.get_entry(self.entry)
        except Exception as error:  # it raises bare exceptions, an AssertionError for a status of HTTP
            raise _trouble(
                self.name, "could not be fetched", error, f"look whether {' and '.join(self.urls)} can be had"
            ) from None

    def pairs(self, fetched: Any, changed: Counter[str]) -> Iterator[tuple[Segment, Segment]]:
        """Its pairs in the corpus's direction. Counts what is changed."""
        try:
            paths = list(fetched) if isinstance(fetched, list | tuple) else [fetched]
            parser = self.catalogue.parser(paths, ext=self.entry.in_ext or None, ent=self.entry)
            for row in parser.read_segs(show_pbar=False):
                sides = [_clean(text, changed) for text in row[:2]]
                source, target = reversed(sides) if self.swapped else sides
                yield Segment(source), Segment(target)
        except Exception as error:
            raise _trouble(
                self.name, "could not be read", error, "leave it out, or take it by hand with corpus=files"
            ) from None


class _Catalogue:
    """The package, imported, with its cache beside our archives."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        folder = Path(os.environ.setdefault(FOLDER_VARIABLE, str((cache_folder() / FOLDER).absolute())))
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.version = str(import_module("mtdata").__version__)
            self._index = import_module("mtdata.index").INDEX
            self._id = import_module("mtdata.entry").DatasetId
            self._tag = import_module("mtdata.iso.bcp47").bcp47
            self.parser = import_module("mtdata.parser").Parser
            self.cache = import_module("mtdata.cache").Cache(folder)
        except ImportError as error:
            raise CorpusError(
                f"corpus.reader: mtdata: the package mtdata is not installed ({error}); {INSTALL}"
            ) from None
        except OSError as error:
            if is_full(error):
                raise
            raise CorpusError(
                f"{FOLDER_VARIABLE}={folder}: {error.strerror or error}; name a folder that can be written to"
            ) from None

    def find(self, names: dict[str, None]) -> dict[str, _DataSet]:
        """The data sets of these names. Raises CorpusError that lists each that does not fit."""
        problems, found = list[str](), dict[str, _DataSet]()
        pair = [self._language("source"), self._language("target")]
        for name in names:
            try:
                entry = self._index[self._id.parse(name)]
            except Exception:  # a bare Exception for a name that is no name, a KeyError for an unknown one
                near = difflib.get_close_matches(name, self._of_pair(pair), NEAR, NEAR_CUTOFF)
                hint = f"near: {', '.join(near)}" if near else "no name of this pair is near"
                problems.append(
                    f"corpus.parts: mtdata {self.version} knows no data set {name!r}; {hint}; "
                    "`mtdata list -id` prints all"
                )
                continue
            if (swapped := _direction(pair, list(entry.did.langs))) is None:
                problems.append(
                    f"corpus.parts: {name}: is of {entry.did.lang_str}, asked for is {pair[0]}-{pair[1]} "
                    "(corpus.source, corpus.target); correct either"
                )
            else:
                found[name] = _DataSet(name, entry, swapped, self)
        if problems:
            raise CorpusError("\n".join(problems))
        return found

    def _language(self, side: str) -> Any:
        code = getattr(self._corpus, side)
        try:
            return self._tag(code)
        except Exception:
            raise CorpusError(
                f"corpus.{side}: {code!r} is no language that mtdata knows; correct it"
            ) from None

    def _of_pair(self, pair: list[Any]) -> list[str]:
        return [str(did) for did in self._index.entries if _direction(pair, list(did.langs)) is not None]


def _direction(pair: list[Any], languages: list[Any]) -> bool | None:
    """Whether the languages are those of the pair swapped; None if they are others. eng_US fits eng."""
    if len(languages) == len(pair):
        for swapped in (False, True):
            there = languages[::-1] if swapped else languages
            if all(one.is_compatible(other) for one, other in zip(pair, there, strict=True)):
                return swapped
    return None


def _clean(text: Any, changed: Counter[str]) -> str:
    """A side as a line. None, where the package met no text, is empty."""
    line = "" if text is None else str(text)
    if "\0" in line:
        changed["NUL removed"] += 1
        line = line.replace("\0", "")
    if set(line) & {*BREAKS}:
        changed["line breaks became spaces"] += 1
        line = one_line(line)
    return line


def _trouble(name: str, what: str, error: Exception, remedy: str) -> CorpusError:
    text = " ".join(str(error).split())
    shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
    return CorpusError(f"{name}: {what} by mtdata ({type(error).__name__}: {shown}); {remedy}")


def _write(
    corpus: Corpus, split: str, listed: list[Part], sets: dict[str, _DataSet], out: Path, tally: Tally
) -> None:
    changed = Counter[str]()
    with SplitFiles(out, split) as written:
        for part in listed:
            data_set = sets[part.archive]
            fetched = data_set.fetch()
            before = written.pairs
            rows = data_set.pairs(fetched, changed)
            written.add(part, rows, corpus.misaligned == parts.DROP, part.archive)
            parts.check(part, written, part.archive)
            tally.facts.setdefault("datasets", []).append(
                {
                    "split": split,
                    "id": str(data_set.entry.did),
                    "url": data_set.urls,
                    "swapped": data_set.swapped,
                    "pairs": written.pairs - before,
                    "sha256": _hashes(fetched),
                }
            )
    parts.count(tally, split, written, corpus.misaligned == parts.DROP)
    tally.changed.update({f"{split}: {what}": lines for what, lines in changed.items()})


def _hashes(fetched: Any) -> list[str]:
    """Of each file that was fetched, or of the archive that it is a member of."""
    several = fetched if isinstance(fetched, list | tuple) else [fetched]
    places = [each if isinstance(each, Path) else getattr(each, "root", None) for each in several]
    return [file_hash(path) for path in dict.fromkeys(places) if isinstance(path, Path) and path.is_file()]
