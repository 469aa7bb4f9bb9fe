"""Lines of a side as WIT3 and WMT write them: plain, with tags between them, or in <seg> of XML and sgm.

No XML parser reads any of it: sgm holds raw `&`, and the recipes of the literature unescape nothing. A line
ends at LF alone: U+2028, U+0085, VT, FF and CR stand inside lines of these corpora.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nmtkd.plan.data import Tags
from nmtkd.text.parallel import ParallelTextError

SEGMENT = re.compile(r"<seg\b[^<>]*>(.*)</seg\s*>", re.IGNORECASE)
OPENING = re.compile(r"<seg\b", re.IGNORECASE)
DOCUMENT = re.compile(r"<doc\b[^<>]*\bdocid\s*=\s*(\"[^\"]*\"|'[^']*'|[^\s<>]+)", re.IGNORECASE)
WHITE = " \t\n\v\f\r"  # what goes at the ends of a segment: a no-break space is text
MARK = "\ufeff"
START = "^"  # before a tag: only at the start of a line


@dataclass(frozen=True)
class Segment:
    """A line of a side. Of some formats more is known."""

    text: str
    line: int | None = None  # of the file, from 1, where both files have theirs at the same places
    document: str | None = None  # that it is of


class Side:
    """One file. Counts what is taken out of its lines."""

    def __init__(self, path: Path, where: str) -> None:
        """`where` names the file in messages."""
        self.path, self.where = path, where
        self.changed = Counter[str]()  # lines by what went from them

    def plain(self) -> Iterator[Segment]:
        """Every line."""
        for _, line in self._lines():
            yield Segment(line)

    def tagged(self, tags: Tags) -> Iterator[Segment]:
        """The lines that a recipe keeps of a WIT3 training file, without the tags that it strips."""
        inside = [tag for tag in tags.drop if not tag.startswith(START)]
        before = tuple(tag.removeprefix(START) for tag in tags.drop if tag.startswith(START))
        for number, line in self._lines():
            if line.startswith(before) or any(tag in line for tag in inside):
                continue
            text = line
            for tag in tags.strip:
                text = text.replace(tag, "")
            yield Segment(text.strip(WHITE), number)

    def segments(self) -> Iterator[Segment]:
        """What stands in <seg>, with its document. Raises ParallelTextError where there is none."""
        document, found = None, False
        for number, line in self._lines():
            if named := DOCUMENT.search(line):
                document = " ".join(named[1].strip("\"'").split()) or None
            if not OPENING.search(line):
                continue
            match = SEGMENT.search(line)
            if match is None or OPENING.search(match[1]):
                raise ParallelTextError(
                    f"{self.where}: line {number}: must hold one whole <seg ...>...</seg>; "
                    "join or part the lines, or take another copy of the file"
                )
            found = True
            yield Segment(match[1].strip(WHITE), document=document)
        if not found:
            raise ParallelTextError(
                f"{self.where}: no <seg> in it: no XML or sgm of a test set; correct corpus.parts, or take "
                "another copy of the archive"
            )

    def _lines(self) -> Iterator[tuple[int, str]]:
        with self.path.open("rb") as file:  # a binary file ends its lines at LF, and nowhere else
            for number, raw in enumerate(file, 1):
                try:
                    line = raw.removesuffix(b"\n").decode("utf-8")
                except UnicodeDecodeError as error:
                    raise ParallelTextError(
                        f"{self.where}: line {number}: not UTF-8: byte 0x{raw[error.start]:02x}; convert the "
                        "file to UTF-8, or take another copy of the archive"
                    ) from None
                if number == 1 and line.startswith(MARK):
                    line = self._without(line, MARK, "byte order mark")
                if "\r" in line:  # as normalize-punctuation.perl of Moses does
                    line = self._without(line, "\r", "CR")
                if "\0" in line:
                    line = self._without(line, "\0", "NUL")
                yield number, line

    def _without(self, line: str, character: str, name: str) -> str:
        self.changed[f"{name} removed"] += 1
        return line.removeprefix(MARK) if character == MARK else line.replace(character, "")
