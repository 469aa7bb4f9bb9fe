"""Trainings that start from another run's model: what they gain, what reruns, what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from typing import Any

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab

SEQ, INTERP, ONLINE = "seq-tiny-clean-beam-1", "interp-tiny-clean-beam-1", "on_policy-tiny-clean-1"
STAGES = [f"student_seq@{INTERP}", f"student_online@{ONLINE}"]


def first_loss(lab: Lab, folder: str) -> float:
    """Validation loss at the first checkpoint."""
    with open(lab.folder / folder / "curve.csv", newline="", encoding="utf-8") as file:
        return float(next(csv.DictReader(file))["valid_loss"])


def card(lab: Lab, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.read(f"{folder}/card.json"))
    return found


def test_second_trainings_begin_where_first_ones_ended(copy: CopyLab) -> None:
    """interp after seq, on-policy after seq, and a teacher after a teacher."""
    lab = copy()
    shutil.copytree(lab.folder / "models/student" / SEQ, lab.folder / "starts/seq")
    shutil.copytree(lab.folder / "models/teacher/clean", lab.folder / "starts/teacher")
    stamp = lab.read("starts/seq/model/model.sha256").decode().strip()
    lab.edit(
        "params.yaml",
        ("grid.methods", {"plain": [], "word": [], "seq": ["interp"], "both": [], "hybrid": [],
                          "online": ["on_policy"]}),
        ("grid.capacities", ["tiny"]),
        ("methods.on_policy.on_policy.from_update", 0),
    )  # fmt: skip
    lab.repro(*STAGES)
    folders = [f"models/student/{key}" for key in (INTERP, ONLINE)]
    cold = [first_loss(lab, folder) for folder in folders]
    lab.edit("params.yaml", ("training.init", "starts/seq"))
    assert lab.repro(*STAGES) == set(STAGES)
    for folder, loss in zip(folders, cold, strict=True):
        assert first_loss(lab, folder) < loss
        told = card(lab, folder)
        assert (told["start"]["run"], told["start"]["model"]) == ("seq", stamp)
        assert told["data"]["updates"] == told["start"]["data"]["updates"] == 20
    assert lab.repro(*STAGES) == set()
    # Another model in the start's place makes the runs stale; of another shape it is refused.
    shutil.rmtree(lab.folder / "starts/seq")
    shutil.copytree(lab.folder / "models/student/seq-small-clean-beam-1", lab.folder / "starts/seq")
    assert set(STAGES) <= lab.stale()
    done = lab.ask("dvc", "repro", STAGES[0])
    assert done.returncode and "has another shape than the model to train" in done.stdout + done.stderr

    before = first_loss(lab, "models/teacher/clean")
    lab.edit(
        "params.yaml", ("teacher.training.init", "starts/teacher"), ("training.init", "conf/random_weights")
    )
    assert "teacher@clean" in lab.repro("teacher@clean")
    assert first_loss(lab, "models/teacher/clean") < before
    assert card(lab, "models/teacher/clean")["start"]["run"] == "teacher"
