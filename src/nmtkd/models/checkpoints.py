"""Checkpoints of a training: written whole or not at all, averaged at the end, and how much room they need."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from fairseq.data import Dictionary

from nmtkd.params import Architecture, Training

FP32_BYTES = 4
COPIES = 5  # of the weights in scratch space: the state holds them with two Adam moments, and a new state is written beside the old one


def write(path: Path, state: Any) -> None:
    """Saves `state`; a kill leaves the old file or the new one, never a torn one."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    os.replace(part, path)


def average(paths: Sequence[Path]) -> dict[str, torch.Tensor]:
    """The mean of several checkpoints' weights, summed in float64."""
    states = [torch.load(path, map_location="cpu", weights_only=True) for path in paths]
    return {
        name: (torch.stack([state[name].double() for state in states]).mean(0)).to(states[0][name].dtype)
        if states[0][name].is_floating_point()
        else states[0][name]
        for name in states[0]
    }


def parameters(architecture: Architecture, vocabulary: int) -> int:
    """Trainable parameters of a student or teacher, before it is built; `vocabulary` counts fairseq's special tokens."""
    width, ffn = architecture.width, architecture.ffn
    attention = 4 * (width * width + width)
    into = 2 if architecture.gates else 1  # a gated block has a second matrix, of its gates
    feedforward = into * (width * ffn + ffn) + ffn * width + width
    norm = 2 * width
    encoder = attention + feedforward + 2 * norm
    decoder = 2 * attention + feedforward + 3 * norm
    return vocabulary * width + architecture.encoder_layers * encoder + architecture.decoder_layers * decoder + 2 * norm


def need_bytes(architecture: Architecture, training: Training, dictionary: Path) -> int:
    """Scratch space of a training: its state, the checkpoints to average, and the data once more in binary."""
    vocabulary = len(Dictionary.load(str(dictionary)))
    return FP32_BYTES * parameters(architecture, vocabulary) * (COPIES + training.average)
