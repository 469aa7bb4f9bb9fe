"""Token targets: the teacher's distribution at each target position, kept on disk as its k most probable tokens and the rest.

One teacher pass serves every student, epoch and seed, and no student ever loads the teacher. Files of a folder:
header.json (written last: without it the folder is no token targets), offsets.npy int64 [lines + 1], ids.npy [N, k], probs.npy float16
[N, k], N being all positions of all lines, EOS included. The rest of each distribution is 1 - sum(probs).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

HEADER = "header.json"
SHOWN = 12  # digits of a hash in a message


class TargetsError(ValueError):
    """Token targets that do not belong to the text, the dictionary or the teacher at hand."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What token targets were made of. `prefix` names the kind; `prefix_hash` is of its text, so that no other text is scored by it."""

    top_k: int
    temperature: float
    vocabulary: int  # tokens of the dictionary with fairseq's special ones
    dictionary_hash: str
    teacher_hash: str
    prefix: str
    prefix_hash: str


def text_hash(lines: Sequence[str]) -> str:
    """Content hash of lines in their order."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def soften(logits: Sequence[Tensor], temperature: float) -> Tensor:
    """The teacher's distribution from its logits [..., V], one tensor a member: the mean of softmax(logits / T) in float32."""
    softened = [torch.softmax(one.float() / temperature, dim=-1) for one in logits]
    return softened[0] if len(softened) == 1 else torch.stack(softened).mean(0)


class Writer:
    """Fills a folder line by line, in any order. `lengths` are the positions of each line, EOS included."""

    def __init__(self, folder: Path, lengths: Sequence[int], header: Header) -> None:
        self._folder, self._header = folder, header
        self._offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        np.save(folder / "offsets.npy", self._offsets)
        shape = (int(self._offsets[-1]), header.top_k)
        kind = np.uint16 if header.vocabulary <= np.iinfo(np.uint16).max else np.int32
        self._ids: Any = np.lib.format.open_memmap(folder / "ids.npy", mode="w+", dtype=kind, shape=shape)
        self._probs: Any = np.lib.format.open_memmap(folder / "probs.npy", mode="w+", dtype=np.float16, shape=shape)
        self._missing = set(range(len(lengths)))
        self.positions = shape[0]

    def put(self, line: int, ids_TK: Tensor, probs_TK: Tensor) -> None:
        """The distributions of one line."""
        start, end = self._offsets[line], self._offsets[line + 1]
        assert ids_TK.shape == probs_TK.shape == (end - start, self._header.top_k), "one row a position"
        self._ids[start:end] = ids_TK.numpy()
        self._probs[start:end] = probs_TK.numpy()
        self._missing.discard(line)

    def close(self) -> None:
        """Writes the header. Raises TargetsError where a line was never put."""
        if self._missing:
            raise TargetsError(
                f"{self._folder}: {len(self._missing)} lines were not scored, the first is line {min(self._missing) + 1}; score again"
            )
        self._ids.flush()
        self._probs.flush()
        (self._folder / HEADER).write_text(json.dumps(asdict(self._header), indent=1, sort_keys=True) + "\n", encoding="utf-8")


class TokenTargets:
    """Opened token targets; `targets[i]` is (ids [T, k] int64, probs [T, k] float32) of line i."""

    def __init__(self, folder: Path) -> None:
        path = folder / HEADER
        if not path.exists():
            raise TargetsError(f"{folder}: no {HEADER}: not token targets, or not whole; run the score stage again")
        self.folder = folder
        self.header = Header(**json.loads(path.read_text(encoding="utf-8")))
        self._offsets: list[int] = np.load(folder / "offsets.npy").tolist()
        # As plain arrays over the mapped files: a slice of numpy's memmap costs ten times as much, and a batch takes hundreds.
        self._ids, self._probs = (np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r")) for name in ("ids", "probs"))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def __getitem__(self, line: int) -> tuple[Tensor, Tensor]:
        start, end = self._offsets[line], self._offsets[line + 1]
        return torch.from_numpy(self._ids[start:end].astype(np.int64)), torch.from_numpy(self._probs[start:end].astype(np.float32))

    def check(self, *, dictionary_hash: str, teacher_hash: str, prefix: Sequence[str]) -> None:
        """Raises TargetsError, naming every difference, unless these targets were made of exactly this."""
        wanted = {"dictionary": dictionary_hash, "teacher": teacher_hash, "prefix text": text_hash(prefix)}
        got = {"dictionary": self.header.dictionary_hash, "teacher": self.header.teacher_hash, "prefix text": self.header.prefix_hash}
        wrong = [
            f"another {name} (made with {got[name][:SHOWN]}, at hand is {wanted[name][:SHOWN]})"
            for name in wanted
            if wanted[name] != got[name]
        ]
        if wrong:
            raise TargetsError(f"{self.folder}: token targets of {', of '.join(wrong)}; run the score stage again")
