"""Checkpoints of a training: atomic writes, the average, and the disk space they need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary

from nmtkd.plan.models import Architecture, Training

FP32_BYTES = 4
# Copies of the weights in scratch space beside the checkpoints to average: the state holds weights and two
# Adam moments, and a new state is written beside the old one.
COPIES = 5


def write(path: Path, state: Any) -> None:
    """Saves `state` atomically: a kill leaves the old file or the new one."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def average(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The mean of checkpoints' weights, computed in float64. Integers are the first checkpoint's."""
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    return {
        name: (torch.stack([state[name].double() for state in states]).mean(0)).to(states[0][name].dtype)
        if states[0][name].is_floating_point()
        else states[0][name]
        for name in states[0]
    }


def parameters(architecture: Architecture, vocabulary: int) -> int:
    """Number of trainable parameters of an architecture. `vocabulary` counts fairseq's special tokens."""
    width, ffn = architecture.width, architecture.ffn
    attention = 4 * (width * width + width)
    inputs = 2 if architecture.gates else 1  # a gated block has a second input matrix, for its gates
    feedforward = inputs * (width * ffn + ffn) + ffn * width + width
    norm = 2 * width
    encoder = attention + feedforward + 2 * norm
    decoder = 2 * attention + feedforward + 3 * norm
    return (
        vocabulary * width
        + architecture.encoder_layers * encoder
        + architecture.decoder_layers * decoder
        + 2 * norm
    )


def need_bytes(architecture: Architecture, training: Training, dictionary: Path) -> int:
    """Scratch space of a training: its state and the checkpoints to average."""
    vocabulary = len(Dictionary.load(str(dictionary)))
    return FP32_BYTES * parameters(architecture, vocabulary) * (COPIES + training.average)
