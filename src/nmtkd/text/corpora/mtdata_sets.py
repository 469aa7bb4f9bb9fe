"""Datasets by their names in the index of the package mtdata: OPUS, the shared tasks of WMT, test sets.

The package is optional. It downloads and parses; here its segments become splits, in the corpus's direction.
"""

from __future__ import annotations

import difflib
import importlib
import logging
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nmtkd.outputs import is_full
from nmtkd.plan.data import Archive, Corpus, Part
from nmtkd.text.corpora import parts
from nmtkd.text.corpora.fetch import cache_folder
from nmtkd.text.corpora.segments import Segment
from nmtkd.text.corpora.split_files import SplitFiles
from nmtkd.text.corpora.tally import CorpusError, Tally
from nmtkd.text.parallel import ParallelTextError, one_line

CACHE_VARIABLE = "MTDATA"  # the package's own: where its index and its downloads lie
SAID = 200  # characters of what the package says that a message quotes
NEAR = 5  # names that a message suggests
ALIKE = 0.5  # difflib's measure from which a name is near


def needed(corpus: Corpus) -> list[Archive]:
    """No archive: the package fetches what it needs. Raises CorpusError for splits without datasets."""
    splits, problems = parts.splits(corpus)
    problems += [
        f"corpus.parts: {split}: {part.archive}: mtdata knows the files of a dataset; remove member"
        for split, listed in splits.items()
        for part in listed
        if part.member is not None
    ]
    if problems:
        raise CorpusError("\n".join(problems))
    return []


def read(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Writes each split, its datasets one after another.

    A pair with an empty side is dropped from train; in a held-out set it is an error. Raises CorpusError and
    ParallelTextError that list what is wrong in all splits.
    """
    needed(corpus)
    sets = _Sets(corpus)
    splits, _ = parts.splits(corpus)
    if problems := [
        problem for listed in splits.values() for part in listed for problem in sets.problems(part)
    ]:
        raise CorpusError("\n".join(problems))
    tally = Tally(facts={"version": f"mtdata {sets.version}", "datasets": {}})
    for split, listed in splits.items():
        try:
            with SplitFiles(out, split) as written:
                for part in listed:
                    written.add(part, sets.rows(part), corpus.misaligned == "drop", part.archive)
                    parts.check(part, written, part.archive)
                    tally.facts["datasets"][part.archive] = sets.facts(part) | {"pairs": written.part_rows}
        except (CorpusError, ParallelTextError) as error:
            problems.append(f"{split}: {error}")
        except OSError as error:
            if is_full(error):
                raise
            problems.append(f"{split}: {error.filename or out}: {error.strerror}; mend it and try again")
        else:
            tally.pairs[split] = written.pairs
            tally.dropped[f"{split}: a side empty"] = written.empty
    if problems:
        raise ParallelTextError("\n".join(problems))
    tally.changed = sets.changed
    return tally


class _Sets:
    """The package's datasets, for one pair of languages."""

    def __init__(self, corpus: Corpus) -> None:
        """Raises CorpusError where the package is not installed, or does not know a language."""
        self.changed = Counter[str]()
        cache = Path(os.environ.setdefault(CACHE_VARIABLE, str(cache_folder() / "mtdata"))).expanduser()
        cache.mkdir(parents=True, exist_ok=True)
        with _quiet():
            try:
                self.version = importlib.import_module("mtdata").__version__
                self._index = importlib.import_module("mtdata.index").INDEX
                self._entries = importlib.import_module("mtdata.entry")
                self._parser = importlib.import_module("mtdata.parser").Parser
                self._cache = importlib.import_module("mtdata.cache").Cache(cache)
                tags = importlib.import_module("mtdata.iso.bcp47")
            except ImportError as error:
                raise CorpusError(
                    f"corpus.reader: mtdata: the package is not there ({error}); install it beside the "
                    "others: .venv/bin/pip install mtdata"
                ) from None
            try:
                self._pair = tags.bcp47(corpus.source), tags.bcp47(corpus.target)
            except Exception as error:
                raise CorpusError(
                    f"corpus.source, corpus.target: {corpus.source}, {corpus.target}: mtdata knows no such "
                    f"language ({error}); give codes of ISO 639"
                ) from None
        self._fits = tags.BCP47Tag.check_compat_swap

    def problems(self, part: Part) -> list[str]:
        """Why the package cannot give a dataset in this pair of languages."""
        where = f"corpus.parts: {part.archive}"
        try:
            name = self._entries.DatasetId.parse(part.archive)
        except Exception:
            return [
                f"{where}: no name of a dataset, as in GROUP-NAME-VERSION-SOURCE-TARGET{self._near(part)}"
            ]
        if name not in self._index:
            return [f"{where}: mtdata {self.version} has no such dataset{self._near(part)}"]
        if len(name.langs) != len(self._pair) or not self._fits(self._pair, name.langs)[0]:
            pair = "-".join(map(str, self._pair))
            return [
                f"{where}: is not of the languages asked for ({pair}); take another, or correct corpus.source"
            ]
        return []

    def _near(self, part: Part) -> str:
        """Names of this pair of languages that are like the one that is not there."""
        fitting = [
            str(name)
            for name in self._index.entries
            if len(name.langs) == len(self._pair) and self._fits(self._pair, name.langs)[0]
        ]
        near = difflib.get_close_matches(part.archive, fitting, NEAR, ALIKE)
        return f"; near it: {', '.join(near)}" if near else "; `mtdata list` shows all"

    def facts(self, part: Part) -> dict[str, Any]:
        """Where a dataset comes from."""
        url = self._index[self._entries.DatasetId.parse(part.archive)].url
        return {"url": url if isinstance(url, str) else list(url)}

    def rows(self, part: Part) -> Iterator[tuple[Segment, Segment]]:
        """The pairs of a dataset, source first. Raises CorpusError for what the package meets on its way."""
        entry = self._index[self._entries.DatasetId.parse(part.archive)]
        swapped = self._fits(self._pair, entry.did.langs)[1]
        try:
            with _quiet():
                print(f"[corpus] {part.archive}: mtdata fetches it", flush=True)
                parser = self._parser(self._cache.get_entry(entry), ext=entry.in_ext or None, ent=entry)
            for record in parser.read_segs(show_pbar=False):
                first, second = (*(text or "" for text in record[:2]), "", "")[:2]
                pair = (second, first) if swapped else (first, second)
                yield self._segment(pair[0]), self._segment(pair[1])
        except (ParallelTextError, CorpusError):
            raise
        except Exception as error:  # the package raises what it likes
            said = f"{type(error).__name__}: {str(error)[:SAID]}"
            raise CorpusError(
                f"{part.archive}: mtdata {self.version} could not give it ({said}); try again, or "
                f"`mtdata get` it by hand; its cache is {os.environ[CACHE_VARIABLE]}"
            ) from None

    def _segment(self, text: str) -> Segment:
        plain = one_line(text)
        self.changed["line break within a segment"] += plain != text
        if "\0" in plain:
            self.changed["NUL removed"] += 1
            plain = plain.replace("\0", "")
        return Segment(plain)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the root logger as it is: the package sets it up anew when it is imported."""
    root = logging.getLogger()
    handlers, level, disabled = list(root.handlers), root.level, root.manager.disable
    logging.disable(logging.ERROR)  # its words come again in our message
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.disable(disabled)
