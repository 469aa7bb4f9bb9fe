"""Small models for tests: new ones, ones of various gates, copies of the tiny one, ensembles."""

import copy
import functools
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from fairseq import tasks
from torch import Tensor

from nmtkd.network import command_line
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network.gated import blocks, close, trim
from nmtkd.plan import layout
from nmtkd.plan.models import Architecture, Training, UnitGates
from tests.conftest import Tiny

GATES = UnitGates(budget=0.5, weight=1.0, polarity=0.1, closing=6, opening=2.0)
GATED = Architecture(encoder_layers=2, decoder_layers=2, width=16, ffn=24, heads=2, gates=GATES)
PLAIN = Architecture(encoder_layers=1, decoder_layers=1, width=16, ffn=24, heads=2)


def recipe(**changes: Any) -> Training:
    values: dict[str, Any] = {
        "updates": 4,
        "max_tokens": 100,
        "lr": 0.001,
        "warmup": 2,
        "adam_betas": [0.9, 0.98],
        "weight_decay": 0.0,
    }
    values |= {
        "dropout": 0.0,
        "label_smoothing": 0.1,
        "clip_norm": 1.0,
        "pre_norm": True,
        "checkpoint_every": 2,
        "average": 1,
    }
    return Training(**(values | {"curve_pairs": 0, "precision": "float32"} | changes))


configured = functools.cache(bridge.configuration)  # a third of a second each


def built(
    tiny: Tiny, *options: str, architecture: Architecture = GATED, **changes: Any
) -> tuple[bridge.Loaded, list[str]]:
    """A new model with the tiny dictionary, and its command line."""
    command = [*command_line.arguments(architecture, recipe(**changes), 1), *options]
    cfg = copy.deepcopy(configured(tuple(command)))
    cfg.task.data = str(tiny.folder)
    torch.manual_seed(1)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    return bridge.Loaded(
        model=model.eval(), task=task, dictionary=task.target_dictionary, device="cpu"
    ), command


def various(tiny: Tiny, steady: bool = False, **changes: Any) -> tuple[bridge.Loaded, list[str]]:
    """Random weights, as conftest's; gates of all kinds, steady ones whatever is read."""
    loaded, command = built(tiny, **changes)
    generator = torch.Generator().manual_seed(5)
    words, table = loaded.dictionary, loaded.model.encoder.embed_tokens.weight
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "layer_norm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
        for _, layer in blocks(loaded.model):
            layer.fc1.gate.weight.mul_(float(not steady))
            layer.fc1.gate.bias.mul_(8.0)
        norm = loaded.model.decoder.layer_norm or loaded.model.decoder.layers[-1].final_layer_norm
        norm.weight.fill_(-1.0)
        norm.weight[0], norm.bias[0] = 0.0, 1.0
        table[:, 0] = 0.0
        table[[words.bos(), words.pad(), words.unk()], 0] = -20.0
        table[words.eos(), 0] = -1.0
    return loaded, command


def batches(tiny: Tiny, loaded: bridge.Loaded, size: int = 10) -> list[dict[str, Any]]:
    dataset = bridge.pairs(loaded, tiny.sources, tiny.targets)
    return [bridge.collate(dataset, range(start, start + size), "cpu") for start in range(0, 40, size)]


def shaped(
    loaded: bridge.Loaded, batches: list[dict[str, Any]], threshold: float
) -> tuple[list[str], dict[str, Any]]:
    close(loaded.model, batches, loaded.dictionary.pad(), threshold)
    return trim(loaded.model)


def written(tiny: Tiny, folder: Path, command: list[str], weights: dict[str, Tensor]) -> Path:
    folder.mkdir()
    for side in (bridge.SOURCE, bridge.TARGET):
        (folder / f"dict.{side}.txt").write_bytes((tiny.folder / f"dict.{side}.txt").read_bytes())
    bridge.save_model(folder / layout.MODEL, command, weights, 4)
    return folder


def weights(tiny: Tiny) -> dict[str, Tensor]:
    """Of the tiny model, as its file holds them."""
    found: dict[str, Tensor] = torch.load(tiny.folder / layout.MODEL, weights_only=True)["model"]
    return found


def long_line(length: int) -> str:
    """That many of the tiny model's words, in no simple order."""
    return " ".join(f"w{place * place % 19 + place % 2}" for place in range(length))


def with_positions(tiny: Tiny, folder: Path, positions: int) -> Tiny:
    """The tiny model with more positions."""
    command = tiny.command.copy()
    for option in ("--max-source-positions", "--max-target-positions"):
        command[command.index(option) + 1] = str(positions)
    return replace(tiny, folder=written(tiny, folder, command, weights(tiny)), command=command)


def changed(
    tiny: Tiny, folder: Path, change: Callable[[dict[str, Any], Any], object], name: str = layout.MODEL
) -> Path:
    """A copy of the tiny model with other weights, beside what stands in the folder."""
    loaded = bridge.load_model(tiny.folder, "cpu")
    weights = {key: value.clone() for key, value in loaded.model.state_dict().items()}
    change(weights, loaded.dictionary)
    for alias in ("decoder.embed_tokens.weight", "decoder.output_projection.weight"):
        weights[alias] = weights["encoder.embed_tokens.weight"]
    bridge.save_model(folder / name, tiny.command, weights, 10)
    for side in ("src", "tgt"):
        shutil.copy(tiny.folder / f"dict.{side}.txt", folder)
    return folder


def ensemble(folder: Path, *models: Path) -> Path:
    """A folder of several members."""
    folder.mkdir()
    for number, model in enumerate(models, start=1):
        shutil.copy(model / layout.MODEL, folder / bridge.member_name(number))
        for side in ("src", "tgt"):
            shutil.copy(model / f"dict.{side}.txt", folder)
    return folder


def stamped_pair(tiny: Tiny, root: Path) -> Path:
    """A folder of two members, stamped as training stamps it."""
    folder = root / "pair"
    folder.mkdir()
    for side in ("src", "tgt"):
        shutil.copy(tiny.folder / f"dict.{side}.txt", folder)
    for number in (1, 2):
        other = {name: value * number for name, value in weights(tiny).items()}
        bridge.save_model(folder / bridge.member_name(number), tiny.command, other, 10)
    (folder / layout.HASH).write_text(bridge.model_hash(folder) + "\n", encoding="utf-8")
    return folder
