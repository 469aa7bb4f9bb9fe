"""Trainings by two processes: one mathematics, whatever the number, and the same bytes after a kill."""

from __future__ import annotations

import csv
import os
import pickle
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch

from nmtkd import files
from nmtkd.network.fairseq_bridge import ModelError
from nmtkd.training import loop
from tests import forked
from tests.conftest import Tiny
from tests.structure.graph import ROOT
from tests.unit.network.building import recipe
from tests.unit.training import trainings
from tests.unit.training.helpers import Row, on_disk

KILLED = "gated hybrid"  # all that a state holds: moments, the gate's weights, facts of gated units
OFF, FAR = 2e-5, 1e-3  # what the order of sums makes of twenty updates, and what another loss does
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def run(folder: Path, out: str, *more: str, shared: bool = True) -> subprocess.CompletedProcess[str]:
    launcher = TORCHRUN if shared else []
    return subprocess.run(
        [
            str(forked.commands() / "python"),
            *launcher,
            "-m",
            "tests.unit.training.trainings",
            str(folder),
            str(folder / out),
            *more,
        ],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}/src:{ROOT}", "OMP_NUM_THREADS": "1", "NMTKD_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def folder(tiny: Tiny, teacher_rows: list[Row], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trainings of all kinds by one process, in `1`, and by two, in `2`."""
    made = tmp_path_factory.mktemp("sharing")
    with (made / trainings.TINY).open("wb") as file:
        pickle.dump(tiny, file)
    on_disk(teacher_rows, made / trainings.TARGETS)
    for out, shared in (("1", False), ("2", True)):
        done = run(made, out, shared=shared)
        assert done.returncode == 0, done.stderr
    return made


def weights(folder: Path, out: str, kind: str) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(
        folder / out / kind / "out0/model/model.pt", weights_only=True
    )["model"]
    # has no gradient: softmax does not see what is added to all scores; what stands there is rounding
    return {name: value for name, value in found.items() if not name.endswith("k_proj.bias")}


def curve(folder: Path, out: str, kind: str) -> list[dict[str, float]]:
    with open(folder / out / kind / "out0/curve.csv", encoding="utf-8") as file:
        return [{name: float(value or 0) for name, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("kind", trainings.KINDS)
def test_two_processes_train_what_one_trains(folder: Path, kind: str) -> None:
    """Weights after twenty updates up to the order of sums, and exactly what the card says of the data."""
    one, two = (weights(folder, out, kind) for out in ("1", "2"))
    off = max(float((one[name] - two[name]).abs().max()) for name in one)
    other = weights(folder, "1", "word" if kind == "plain" else "plain")
    same = [name for name in one if name in other and other[name].shape == one[name].shape]
    way = max(float((one[name] - other[name]).abs().max()) for name in same)
    assert off < OFF and way > FAR, (off, way)
    cards = [files.read_json(folder / out / kind / "card.json") for out in ("1", "2")]
    assert cards[0]["data"] == cards[1]["data"] and cards[0]["parameters"] == cards[1]["parameters"]
    assert cards[0]["data"]["sentences"] > 40
    for first, second in zip(curve(folder, "1", kind), curve(folder, "2", kind), strict=True):
        assert second == pytest.approx(first, abs=2e-3)


def test_killed_processes_go_on_to_the_same_bytes(folder: Path) -> None:
    """The second one dies by SIGKILL, and the first ends with it. Both go on from the checkpoint."""
    done = run(folder, "killed", KILLED, "kill")
    assert done.returncode != 0
    assert not (folder / "killed" / KILLED / "card.json").exists()
    assert (folder / "killed" / KILLED / "scratch/checkpoint-10.json").exists()
    done = run(folder, "killed", KILLED)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("going on from update 10") == 2
    for name in ("out0/model/model.pt", "out0/curve.csv", "card.json"):
        assert (folder / "killed" / KILLED / name).read_bytes() == (folder / "2" / KILLED / name).read_bytes()


@pytest.mark.parametrize(("batches", "processes"), [(None, 2), (3, 2), (4, 3)])
def test_batches_that_cannot_be_shared_evenly_are_refused(
    monkeypatch: pytest.MonkeyPatch, batches: Any, processes: int
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    with pytest.raises(
        ModelError, match=rf"^training\.accumulate: an update has {batches or 1} batches, which"
    ):
        loop.check_shares(recipe(accumulate=batches), "training")
    loop.check_shares(recipe(accumulate=2 * processes), "training")
