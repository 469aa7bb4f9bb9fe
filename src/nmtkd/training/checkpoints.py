"""Checkpoints of a training: whole or none, known by their content; their average, and the disk they need."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import torch

from nmtkd import files, outputs
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.models import Architecture, Training
from nmtkd.plan.size import parameters

FP32_BYTES = 4
STATES = 2  # kept: should the newest be damaged, the one before it is taken up
PARTS_OF_STATE = 3  # the weights and Adam's two moments
# What torch writes beside the numbers of a tensor: names and places, twice, and 64-byte alignment.
TENSOR_BYTES = 512
ENCODER_TENSORS = 16  # of a layer
DECODER_TENSORS = 26
OTHER_TENSORS = 16  # embeddings, final norms


class CheckpointError(ValueError):
    """Checkpoints that a training has to average and that are damaged."""


class Checkpoints:
    """Those in the scratch folder of a training.

    At an update U there are state-U.pt, from which a training goes on, weights-U.pt, which may be averaged,
    and, written last, checkpoint-U.json with the hash of either. The last STATES states are kept, and the
    weights that the average needs.
    """

    def __init__(self, folder: Path, training: Training, stage: str) -> None:
        self._folder, self._training, self._stage = folder, training, stage

    def save(self, update: int, weights: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Writes a checkpoint. A kill leaves the earlier ones, or them and this."""
        self._drop_expired(update)
        contents = ((self._weights(update), weights), (self._state(update), state))
        self._note(update, {path.name: write(path, content) for path, content in contents})

    def newest(self) -> dict[str, Any] | None:
        """The newest state that is whole, and so are the weights before it that the average needs.

        Says which file is damaged and sets it aside. Weights of the state's own update are made of it. None
        if there is no such state.
        """
        names = [path.stem for path in self._folder.glob("checkpoint-*.json")]
        for update in sorted((int(name.rpartition("-")[2]) for name in names), reverse=True):
            path, weights = self._state(update), self._weights(update)
            earlier = [self._weights(last) for last in self._averaged() if last < update]
            if self._damaged([path, *earlier]):
                continue
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            if update in self._averaged() and self._damaged([weights]):
                self._note(
                    update, {path.name: files.file_hash(path), weights.name: write(weights, state["model"])}
                )
            return state
        return None

    def _note(self, update: int, hashes: Mapping[str, str]) -> None:
        files.write_json(self._record(update), hashes)

    def average(self) -> dict[str, torch.Tensor]:
        """The mean of the last checkpoints' weights. Raises CheckpointError if one is damaged."""
        paths = [self._weights(update) for update in self._averaged()]
        if self._damaged(paths):
            raise CheckpointError(f"{self._folder}: a checkpoint is damaged; run it again: it is made anew")
        return average(paths)

    def size(self) -> int:
        """Bytes of what is there."""
        return sum(path.stat().st_size for path in self._folder.glob("*.pt"))

    def _damaged(self, paths: Sequence[Path]) -> list[Path]:
        """Those that are not what was written. Each is told and set aside."""
        return [path for path in paths if not self._whole(path)]

    def _whole(self, path: Path) -> bool:
        record = self._record(int(path.stem.rpartition("-")[2]))
        try:
            if files.file_hash(path) == files.read_json(record)[path.name]:
                return True
            fault = "is not what was written: it was cut, or changed on the disk"
        except FileNotFoundError as error:
            fault = "is missing" if error.filename == str(path) else f"has no {record.name}"
        except (ValueError, KeyError, TypeError):
            path, fault = record, "is no record of a checkpoint"
        if path.exists():
            path.replace(path.with_name(f"{path.name}.damaged"))
            fault += f"; set aside as {path.name}.damaged"
        print(f"[{self._stage}] {path}: {fault}", flush=True)
        return False

    def _drop_expired(self, update: int) -> None:
        """Removes what is no longer needed once there is a checkpoint at `update`."""
        every = self._training.checkpoint_every
        for kept, path in ((STATES, self._state), (self._training.average, self._weights)):
            path(update - kept * every).unlink(missing_ok=True)
        self._record(update - max(STATES, self._training.average) * every).unlink(missing_ok=True)

    def _averaged(self) -> list[int]:
        """The updates whose weights are averaged."""
        training = self._training
        return [
            training.updates - back * training.checkpoint_every for back in reversed(range(training.average))
        ]

    def _state(self, update: int) -> Path:
        return self._folder / f"state-{update}.pt"

    def _weights(self, update: int) -> Path:
        return self._folder / f"weights-{update}.pt"

    def _record(self, update: int) -> Path:
        return self._folder / f"checkpoint-{update}.json"


class _Hashed:
    """A file to write to that knows the hash of what was written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.digest = file, hashlib.sha256()
        self.error: OSError | None = None  # torch hides it behind one of its own

    def write(self, data: Any) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self._file.flush()


def write(path: Path, content: Any) -> str:
    """Saves `content` atomically: a kill leaves the old file or the new one. Returns its SHA-256."""
    with files.writing(path) as file:
        hashed: Any = _Hashed(file)  # torch only writes
        try:
            torch.save(content, hashed)
        except RuntimeError:
            if hashed.error:
                raise hashed.error from None
            raise
    return hashed.digest.hexdigest()


def average(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The mean of checkpoints' weights, computed in float64. Integers are the first checkpoint's."""
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    return {
        name: (torch.stack([state[name].double() for state in states]).mean(0)).to(states[0][name].dtype)
        if states[0][name].is_floating_point()
        else states[0][name]
        for name in states[0]
    }


def need_bytes(architecture: Architecture, training: Training, dictionaries: bridge.Dictionaries) -> int:
    """Disk space of a training's checkpoints at their most: the weights to average and two states."""
    rows = sum(len(bridge.read_dictionary(path)) for path in set(dictionaries))
    weights = FP32_BYTES * parameters(architecture, rows, pre_norm=training.pre_norm)
    tensors = (
        architecture.encoder_layers * ENCODER_TENSORS
        + architecture.decoder_layers * DECODER_TENSORS
        + OTHER_TENSORS
    )
    return (training.average + PARTS_OF_STATE * STATES) * (weights + TENSOR_BYTES * tensors)


def check_room(
    folder: Path,
    architecture: Architecture,
    training: Training,
    dictionaries: bridge.Dictionaries,
    stage: str,
) -> None:
    """Raises outputs.DiskFullError if the disk has no room for what a training has yet to write."""
    there = Checkpoints(folder, training, stage).size()
    need = need_bytes(architecture, training, dictionaries) - there
    outputs.check_room(folder, need, stage, "checkpoints in scratch space")
