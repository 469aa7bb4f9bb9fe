"""Lines of a file as a sequence that holds no text: rooms pass a corpus on without keeping it as strings."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from nmtkd.text.parallel import count_pairs

BYTES = 2**24  # looked at together when line ends are counted


class Lines(Sequence[str]):
    """The lines of a UTF-8 file without their LF. A line is decoded when it is asked for.

    The file is mapped; memory is 8 bytes a line. A missing LF at the very end is accepted. The caller checks
    what breaks the contract of parallel text.
    """

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = path.stat().st_size
            self._content: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        ends = [
            start + np.flatnonzero(np.frombuffer(self._content[start : start + BYTES], np.uint8) == ord("\n"))
            for start in range(0, size, BYTES)
        ]
        if size and self._content[size - 1] != ord("\n"):
            ends.append(np.array([size]))
        self._ends = np.concatenate([np.array([-1]), *ends]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        place = index % len(self)
        line: bytes = self._content[self._ends[place] + 1 : self._ends[place + 1]]
        return line.decode("utf-8")

    def __iter__(self) -> Iterator[str]:
        for start, end in zip(self._ends, self._ends[1:], strict=False):
            yield self._content[start + 1 : end].decode("utf-8")


def open_pair(source: Path, target: Path) -> tuple[Lines, Lines]:
    """Both sides of a parallel file, equal in length, without blank lines; else raises ParallelTextError."""
    count_pairs(source, target)
    return Lines(source), Lines(target)
