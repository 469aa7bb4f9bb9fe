"""One thread and the CPU, whatever the machine; hypothesis without a clock; a tiny model with random weights."""

from __future__ import annotations

import os

# Before torch is imported anywhere: its thread pools are made at import, and results of small tests must not depend on the machine.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NMTKD_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("NMTKD_DEVICE", "cpu")

import random  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# derandomize: the same examples on every run, so that a red test is red for everyone. No deadline: machines are shared.
settings.register_profile("laboratory", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("laboratory")


@dataclass(frozen=True)
class Tiny:
    """A folder with model.pt and dictionaries of a model that learnt nothing, the command line of its training, and lines that it reads."""

    folder: Path
    command: list[str]
    sources: list[str]
    targets: list[str]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Random weights under which outputs are varied, some end by themselves and none holds a special token."""
    from fairseq import tasks

    from nmtkd.models import fairseq_bridge as bridge
    from nmtkd.params import Architecture, Training

    folder = tmp_path_factory.mktemp("tiny")
    words = [f"w{number}" for number in range(20)]
    for side in (bridge.SOURCE, bridge.TARGET):
        (folder / f"dict.{side}.txt").write_text("".join(f"{word} {100 - i}\n" for i, word in enumerate(words)), encoding="utf-8")
    recipe: dict[str, Any] = {"updates": 10, "max_tokens": 100, "lr": 0.001, "warmup": 5, "adam_betas": [0.9, 0.98], "weight_decay": 0.0}
    recipe |= {"dropout": 0.3, "label_smoothing": 0.1, "clip_norm": 1.0, "pre_norm": True}
    training = Training(**recipe, checkpoint_every=5, average=1, curve_pairs=0)
    command = bridge.arguments(Architecture(encoder_layers=1, decoder_layers=2, width=16, ffn=24, heads=2), training, 1)
    cfg = bridge.configuration(command)
    cfg.task.data = str(folder)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    _randomise(model, task.target_dictionary)
    bridge.save_model(folder / bridge.MODEL, command, model.state_dict(), training.updates)
    draw = random.Random(3)
    sources, targets = ([" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(40)] for _ in range(2))
    return Tiny(folder, command, sources, targets)


def _randomise(model: Any, dictionary: Any) -> None:
    """The embeddings' first dimension serves as a bias of the output: special tokens hardly ever win, the end of a sentence sometimes."""
    import torch

    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layer_norm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
        norm, table = model.decoder.layer_norm, model.encoder.embed_tokens.weight
        norm.weight.fill_(-1.0)  # else the input token, EOS at first, would be the likeliest output
        norm.weight[0], norm.bias[0] = 0.0, 1.0
        table[:, 0] = 0.0
        table[[dictionary.bos(), dictionary.pad(), dictionary.unk()], 0] = -20.0
        table[dictionary.eos(), 0] = 2.0
