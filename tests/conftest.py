"""One thread and the CPU, whatever the machine; hypothesis without a clock; a tiny model with random
weights."""

from __future__ import annotations

import os

# Before torch is imported anywhere: it makes its thread pools at import, and results must not depend on the
# machine.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NMTKD_THREADS"):
    os.environ[variable] = "1"
os.environ.setdefault("NMTKD_DEVICE", "cpu")

import random  # noqa: E402
import subprocess  # noqa: E402
from collections.abc import Iterator  # noqa: E402
from contextlib import contextmanager  # noqa: E402
from dataclasses import dataclass  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402
from xdist.scheduler import LoadFileScheduling  # noqa: E402

# derandomize: the same examples on every run, so that a red test is red for everyone. No deadline: machines
# are shared.
settings.register_profile(
    "laboratory",
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("laboratory")

STAGES = "tests/stages/"


class StagesTogether(LoadFileScheduling):
    """A worker takes a whole file of tests, and all of tests/stages as if it were one.

    Their laboratory takes 40 s: it is made once, not once a worker. Files come in the order of their names:
    tests/endtoend and tests/stages, which take longest, before tests/unit, so that no worker waits at the
    end for another one's long file.
    """

    def _split_scope(self, nodeid: str) -> str:
        return STAGES if nodeid.startswith(STAGES) else str(super()._split_scope(nodeid))


@pytest.hookimpl(optionalhook=True)  # without xdist nobody asks for it
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> StagesTogether | None:
    """For `--dist loadfile`; xdist's own for all others."""
    return StagesTogether(config, log) if config.getoption("dist") == "loadfile" else None


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own. Skips the test where none can be had."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a disk of its own can be mounted by root alone")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of one MiB."""
    with mounted(tmp_path / "disk", "1m") as folder:
        yield folder


@dataclass(frozen=True)
class Tiny:
    """A model that learnt nothing: a folder with model.pt and dictionaries, its command line, lines that
    it reads."""

    folder: Path
    command: list[str]
    sources: list[str]
    targets: list[str]


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """Random weights. Outputs are varied, some end by themselves, none holds a special token."""
    words = [f"w{number}" for number in range(20)]
    return tiny_model(tmp_path_factory.mktemp("tiny"), words, words)


def tiny_model(folder: Path, source: list[str], target: list[str]) -> Tiny:
    """A model with a dictionary of these words for each side, in `folder`."""
    from fairseq import tasks

    from nmtkd.network import command_line
    from nmtkd.network import fairseq_bridge as bridge
    from nmtkd.plan import layout
    from nmtkd.plan.models import Architecture, Training

    for side, words in ((bridge.SOURCE, source), (bridge.TARGET, target)):
        text = "".join(f"{word} {100 - i}\n" for i, word in enumerate(words))
        bridge.dictionary_of(folder, side).write_text(text, encoding="utf-8")
    recipe: dict[str, Any] = {"updates": 10, "max_tokens": 100, "lr": 0.001, "warmup": 5}
    recipe |= {"adam_betas": [0.9, 0.98], "weight_decay": 0.0, "dropout": 0.3, "label_smoothing": 0.1}
    recipe |= {"clip_norm": 1.0, "pre_norm": True, "checkpoint_every": 5, "average": 1, "curve_pairs": 0}
    recipe["precision"] = "float32"
    architecture = Architecture(encoder_layers=1, decoder_layers=2, width=16, ffn=24, heads=2)
    command = command_line.arguments(architecture, Training(**recipe), 1, joint=source == target)
    cfg = bridge.configuration(command)
    cfg.task.data = str(folder)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    randomise(model, task.target_dictionary)
    bridge.save_model(folder / layout.MODEL, command, model.state_dict(), recipe["updates"])
    draw = random.Random(3)
    sources, targets = (
        [" ".join(draw.choices(words, k=draw.randint(1, 9))) for _ in range(40)] for words in (source, target)
    )
    return Tiny(folder, command, sources, targets)


def randomise(model: Any, dictionary: Any) -> None:
    """Embeddings' first dimension is the output's bias: special tokens hardly ever win, the sentence's end
    sometimes."""
    import torch

    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "layer_norm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
        norm, table = model.decoder.layer_norm, model.decoder.embed_tokens.weight
        norm.weight.fill_(-1.0)  # else the input token, EOS at first, would be the likeliest output
        norm.weight[0], norm.bias[0] = 0.0, 1.0
        table[:, 0] = 0.0
        table[[dictionary.bos(), dictionary.pad(), dictionary.unk()], 0] = -20.0
        table[dictionary.eos(), 0] = 2.0
