"""Token targets: the teacher's distribution at each target position, stored as its k most probable tokens.

One teacher pass serves all students, epochs and seeds; no student loads the teacher. Files of a folder, for N
positions of all lines, EOS included:
- offsets.npy int64 [lines + 1]
- ids.npy uint16 or int32 [N, k]
- probs.npy float16 [N, k]; the rest of each distribution is 1 - sum(probs)
- header.json, written last: a folder without it is incomplete
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmtkd.files import lines_hash, read_json, write_json

HEADER = "header.json"
SHOWN = 12  # digits of a hash in a message


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


class Writer:
    """Writes a folder line by line, in any order. `lengths` are the positions of each line, EOS included."""

    def __init__(self, folder: Path, lengths: Sequence[int], header: Header) -> None:
        self._folder, self._header = folder, header
        self._offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        np.save(folder / "offsets.npy", self._offsets)
        shape = (int(self._offsets[-1]), header.top_k)
        id_type = np.uint16 if header.vocabulary <= np.iinfo(np.uint16).max else np.int32
        self._ids: Any = np.lib.format.open_memmap(folder / "ids.npy", mode="w+", dtype=id_type, shape=shape)
        self._probs: Any = np.lib.format.open_memmap(
            folder / "probs.npy", mode="w+", dtype=np.float16, shape=shape
        )
        self._missing = set(range(len(lengths)))
        self.positions = shape[0]

    def put(self, line: int, ids_TK: Tensor, probs_TK: Tensor) -> None:
        """Stores the distributions of one line."""
        start, end = self._offsets[line], self._offsets[line + 1]
        assert ids_TK.shape == probs_TK.shape == (end - start, self._header.top_k), "one row a position"
        self._ids[start:end] = ids_TK.numpy()
        self._probs[start:end] = probs_TK.numpy()
        self._missing.discard(line)

    def close(self) -> None:
        """Writes the header. Raises TargetsError if a line was never put."""
        if self._missing:
            raise TargetsError(
                f"{self._folder}: {len(self._missing)} lines have no targets, "
                f"the first is line {min(self._missing) + 1}; run the stage again"
            )
        self._ids.flush()
        self._probs.flush()
        write_json(self._folder / HEADER, asdict(self._header))


class TokenTargets:
    """Token targets of a folder. `targets[i]` is (ids [T, k] int64, probs [T, k] float32) of line i."""

    def __init__(self, folder: Path) -> None:
        path = folder / HEADER
        if not path.exists():
            raise TargetsError(
                f"{folder}: no {HEADER}: not token targets, or not whole; run the targets stage again"
            )
        self.folder = folder
        self.header = Header(**read_json(path))
        self._offsets: list[int] = np.load(folder / "offsets.npy").tolist()
        # Plain arrays: a slice of numpy's memmap costs ten times as much, and a batch takes hundreds.
        self._ids, self._probs = (
            np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ("ids", "probs")
        )

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, line: int) -> tuple[Tensor, Tensor]:
        start, end = self._offsets[line], self._offsets[line + 1]
        return torch.from_numpy(self._ids[start:end].astype(np.int64)), torch.from_numpy(
            self._probs[start:end].astype(np.float32)
        )

    def check(self, *, dictionary_hash: str, teacher_hash: str, prefix: Sequence[str]) -> None:
        """Raises TargetsError with all differences unless the targets were made from exactly these."""
        expected = {"dictionary": dictionary_hash, "teacher": teacher_hash, "prefix text": lines_hash(prefix)}
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
