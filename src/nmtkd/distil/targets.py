"""Token targets: the teacher's distribution at each target position, stored as its k most probable tokens.

One teacher pass serves all students, epochs and seeds; no student loads the teacher. Files of a folder, for N
positions of all lines, EOS included:
- offsets.npy int64 [lines + 1]
- ids.npy uint16 or int32 [N, k]
- probs.npy float16 [N, k]; the rest of each distribution is 1 - sum(probs)
- header.json, written last: a folder without it is incomplete. It has the hashes of the other files, which
  `check` compares, once for a training: some 0.8 s for 1 GB on a CPU with instructions for SHA-256.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from nmtkd import processes
from nmtkd.files import SHOWN, check_hashes, damaged, hashes, lines_hash, read_array, read_as, write_json
from nmtkd.outputs import DiskFullError, is_full, size

HEADER = "header.json"
ARRAYS = OFFSETS, IDS, PROBS = "offsets.npy", "ids.npy", "probs.npy"
BLOCK = 2**24  # bytes of zeros written at a time


class TargetsError(ValueError):
    """Token targets of another text, dictionary or teacher, or incomplete ones."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What token targets were made from. `prefix` names the target text, `prefix_hash` hashes its lines."""

    top_k: int
    temperature: float
    vocabulary: int  # size of the dictionary, fairseq's special tokens included
    dictionary_hash: str
    teacher_hash: str
    prefix: str
    prefix_hash: str


@dataclass(frozen=True, kw_only=True)
class Stored(Header):
    """A header as it is stored: also SHA-256 of each of ARRAYS, by its name."""

    sha256: dict[str, str]


class Writer:
    """Writes a folder line by line, in any order. `lengths` are the positions of each line, EOS included.

    Processes that share the work put their lines into one folder, that of the first one. All make a Writer
    and close it.

    Raises outputs.DiskFullError at once where the disk has no room for all of it, TargetsError where a
    process has another text, dictionary or teacher than the first one.
    """

    def __init__(self, folder: Path, lengths: ArrayLike, header: Header) -> None:
        self._folder, self._header = processes.first_does(lambda: folder), header
        self._offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.positions = int(self._offsets[-1])
        self._agree()
        processes.first_does(self._make)
        self._ids, self._probs = (
            np.lib.format.open_memmap(self._folder / name, mode="r+") for name in (IDS, PROBS)
        )
        self._times = np.zeros(len(self._offsets) - 1, np.int32)  # how often this process put each line

    def _agree(self) -> None:
        first, *others = (asdict(header) for header in processes.gather(self._header))
        for number, other in enumerate(others, start=1):
            wrong = [
                f"another {name} ({str(other[name])[:SHOWN]}, the first one has {str(first[name])[:SHOWN]})"
                for name in first
                if other[name] != first[name]
            ]
            if wrong:
                raise TargetsError(
                    f"{self._folder}: process {number} has {', '.join(wrong)}; run the stage again"
                )

    def _make(self) -> None:
        """Makes the arrays, of zeros but for the offsets."""
        _array(self._folder / OFFSETS, "i8", self._offsets.shape)[:] = self._offsets
        shape = (self.positions, self._header.top_k)
        _array(self._folder / IDS, _id_type(self._header), shape)
        _array(self._folder / PROBS, "f2", shape)

    def put(self, line: int, ids_TK: Tensor, probs_TK: Tensor) -> None:
        """Stores the distributions of one line."""
        start, end = self._offsets[line], self._offsets[line + 1]
        assert ids_TK.shape == probs_TK.shape == (end - start, self._header.top_k), "one row a position"
        self._ids[start:end] = ids_TK.numpy()
        self._probs[start:end] = probs_TK.numpy()
        self._times[line] += 1

    def close(self) -> int:
        """Writes the header and returns the bytes of the folder.

        Raises TargetsError unless each line was put exactly once, by whatever process.
        """
        self._ids.flush()
        self._probs.flush()
        times = np.sum(processes.gather(self._times), axis=0)
        for what, wrong in (("have no targets", times < 1), ("were put more than once", times > 1)):
            if wrong.any():
                raise TargetsError(
                    f"{self._folder}: {wrong.sum()} lines {what}, "
                    f"the first is line {wrong.argmax() + 1}; run the stage again"
                )
        return processes.first_does(self._finish)

    def _finish(self) -> int:
        written = hashes(self._folder / name for name in ARRAYS)
        write_json(self._folder / HEADER, asdict(self._header) | {"sha256": written})
        return sum(file.stat().st_size for file in self._folder.iterdir())


def _id_type(header: Header) -> str:
    return "u2" if header.vocabulary <= np.iinfo(np.uint16).max else "i4"


def _array(path: Path, kind: str, shape: tuple[int, ...]) -> Any:
    """A new array in a file that is mapped, whose space is reserved.

    A map of a sparse file would end the process by a signal (SIGBUS) where the disk gets full.
    """
    free = shutil.disk_usage(path.parent).free
    try:
        array: Any = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(kind), shape=shape)
        _reserve(path, path.stat().st_size)
    except OSError as error:
        if not is_full(error):
            raise
        need = size(math.prod(shape) * np.dtype(kind).itemsize)
        raise DiskFullError(
            f"{path}: needs {need}, {size(free)} are free on its disk; free some, or lower targets.top_k"
        ) from None
    return array


def _reserve(path: Path, size: int) -> None:
    """Gives the file its blocks on the disk. Where the system cannot, zeros are written."""
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
            return
        except AttributeError:  # macOS
            pass
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise
        for start in range(0, size, BLOCK):
            file.seek(start)
            block = file.read(BLOCK)
            file.seek(start)
            file.write(block)
        os.fsync(file.fileno())


class TokenTargets:
    """Token targets of a folder. `targets[i]` is (ids [T, k] int64, probs [T, k] float32) of line i.

    Raises TargetsError for a folder without a header, files.DamagedError for arrays that do not fit it.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / HEADER
        if not path.exists():
            raise TargetsError(
                f"{folder}: no {HEADER}: not token targets, or not whole; run the targets stage again"
            )
        self.folder = folder
        stored = read_as(path, Stored)
        if set(stored.sha256) != set(ARRAYS):
            raise damaged(path, f"sha256: must have hashes of {', '.join(ARRAYS)}")
        self.header: Header = stored
        self._hashes = stored.sha256
        self._offsets = read_array(folder / OFFSETS, ["i8"], [None])
        if not len(self._offsets) or self._offsets[0] or (np.diff(self._offsets) <= 0).any():
            raise damaged(folder / OFFSETS, "must start with 0 and grow with each line")
        shape = [int(self._offsets[-1]), stored.top_k]
        self._ids = read_array(folder / IDS, [_id_type(stored)], shape)
        self._probs = read_array(folder / PROBS, ["f2"], shape)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, line: int) -> tuple[Tensor, Tensor]:
        start, end = self._offsets[line], self._offsets[line + 1]
        return torch.from_numpy(self._ids[start:end].astype(np.int64)), torch.from_numpy(
            self._probs[start:end].astype(np.float32)
        )

    def check(self, *, dictionary_hash: str, teacher_hash: str, prefix: Sequence[str]) -> None:
        """Raises TargetsError with all differences unless the targets were made from exactly these.

        Raises files.DamagedError unless all arrays have the content that was written.
        """
        sizes = array("q")

        def measured() -> Iterator[str]:
            for line in prefix:
                sizes.append(len(line.split()) + 1)
                yield line

        expected = {
            "dictionary": dictionary_hash,
            "teacher": teacher_hash,
            "prefix text": lines_hash(measured()),
        }
        got = {
            "dictionary": self.header.dictionary_hash,
            "teacher": self.header.teacher_hash,
            "prefix text": self.header.prefix_hash,
        }
        wrong = [
            f"another {name} (made with {got[name][:SHOWN]}, at hand is {expected[name][:SHOWN]})"
            for name in expected
            if expected[name] != got[name]
        ]
        if wrong:
            raise TargetsError(
                f"{self.folder}: token targets of {', of '.join(wrong)}; run the targets stage again"
            )
        check_hashes(self.folder, self._hashes)
        if not np.array_equal(np.diff(self._offsets), sizes):
            raise damaged(self.folder / OFFSETS, "not the positions of the lines of the prefix text")
