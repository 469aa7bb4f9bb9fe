"""The files of one split while they are written: both sides, and the documents that segments are of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from nmtkd.files import writing
from nmtkd.plan.data import Part
from nmtkd.plan.layout import GROUPS, TRAIN
from nmtkd.text.corpora.segments import Segment
from nmtkd.text.corpora.tally import CorpusError
from nmtkd.text.parallel import ParallelTextError

SHOWN = 5  # rows that a message spells out


class SplitFiles:
    """NAME.src and NAME.tgt; and NAME.groups of a held-out set, if the document of each segment is known."""

    def __init__(self, folder: Path, split: str) -> None:
        self._folder, self._split = folder, split
        self.rows = self.pairs = self.empty = 0  # rows read; pairs written; rows with an empty side
        self.part_rows = 0  # of the last part
        self.misaligned: dict[str, int] = {}  # rows by part
        self._grouped = split != TRAIN

    def __enter__(self) -> SplitFiles:
        self._stack = ExitStack()
        names = ["src", "tgt", GROUPS] if self._grouped else ["src", "tgt"]
        self._files = [
            self._stack.enter_context(writing(self._folder / f"{self._split}.{name}")) for name in names
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and not self.pairs:
            error = ParallelTextError("no pair to write; a corpus needs at least one in each of its files")
        self._stack.__exit__(type(error) if error else None, error, trace)
        if kind is None and error:
            raise error
        if not self._grouped:
            (self._folder / f"{self._split}.{GROUPS}").unlink(missing_ok=True)

    def add(
        self,
        part: Part,
        rows: Iterator[tuple[Segment | None, Segment | None]],
        drop_misaligned: bool,
        label: str,
    ) -> int:
        """Writes the rows of a part. Returns how many join lines of different numbers.

        Raises ParallelTextError for unequal sides and for an empty side in a held-out set.
        """
        first, last = part.misaligned or (1, 0)
        shifted, known, lengths, empty = 0, 0, [0, 0], list[int]()
        for row, (source, target) in enumerate(rows):
            lengths[0] += source is not None
            lengths[1] += target is not None
            if source is None or target is None:
                continue  # the rest of the longer side is counted for the message
            shifted += source.line != target.line
            known += first <= row <= last
            if not (source.text.strip() and target.text.strip()):
                empty.append(row)
            elif not (drop_misaligned and first <= row <= last):
                self._put(source, target)
        if lengths[0] != lengths[1]:
            raise ParallelTextError(
                f"{label}: {lengths[0]} lines on the source side, {lengths[1]} on the target side: line n of "
                "one must translate line n of the other; take another copy of the archive"
            )
        if empty and self._split != TRAIN:
            shown = ", ".join(map(str, empty[:SHOWN])) + (" ..." if len(empty) > SHOWN else "")
            raise ParallelTextError(f"{label}: empty side in row {shown} from 0; held-out sets stay whole")
        if part.misaligned and last >= lengths[0]:
            raise CorpusError(f"{label}: corpus.parts: misaligned row {last} of {lengths[0]}; correct it")
        if known:
            self.misaligned[label] = known
        self.part_rows = lengths[0]
        self.rows += self.part_rows
        self.empty += len(empty)
        return shifted

    def _put(self, source: Segment, target: Segment) -> None:
        self._files[0].write(f"{source.text}\n".encode())
        self._files[1].write(f"{target.text}\n".encode())
        if len(self._files) > 2:
            self._grouped = self._grouped and source.document is not None
            self._files[2].write(f"{source.document}\n".encode())
        self.pairs += 1
