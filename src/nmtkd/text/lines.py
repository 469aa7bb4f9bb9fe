"""Lines of a file as a sequence that holds no text: rooms pass a corpus on without keeping it as strings."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

import numpy as np

from nmtkd.text.parallel import BLOCK, count_pairs

BYTES = 2**24  # looked at together when line ends are counted


class Lines(Sequence[str]):
    """The lines of a UTF-8 file without their LF. A line is decoded when it is asked for.

    The file is mapped; memory is 8 bytes a line. Whoever goes through all lines reads the file instead, whose
    pages would count as this process's own. A missing LF at the very end is accepted. The caller checks what
    breaks the contract of parallel text.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        size = os.fstat(self._file.fileno()).st_size
        ends = [np.array([-1])]
        for start in range(0, size, BYTES):
            block = self._read(start, min(start + BYTES, size))
            ends.append(start + np.flatnonzero(np.frombuffer(block, np.uint8) == ord("\n")))
            if start + BYTES >= size and not block.endswith(b"\n"):
                ends.append(np.array([size]))
        self._ends = np.concatenate(ends).astype(np.int64)
        self._content: Any = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""

    def _read(self, start: int, end: int) -> bytes:
        return os.pread(self._file.fileno(), end - start, start)

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
        for first in range(0, len(self), BLOCK):
            ends = self._ends[first : first + BLOCK + 1]
            begin = int(ends[0]) + 1
            block = self._read(begin, int(ends[-1]))
            for start, end in zip((ends - begin + 1).tolist(), (ends[1:] - begin).tolist(), strict=False):
                yield block[start:end].decode("utf-8")


def open_pair(source: Path, target: Path) -> tuple[Lines, Lines]:
    """Both sides of a parallel file, equal in length, without blank lines; else raises ParallelTextError."""
    count_pairs(source, target)
    return Lines(source), Lines(target)
