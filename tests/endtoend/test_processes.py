"""Stages whose work several processes share: results, kills, and one message where one of them ends."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from torch import Tensor

from nmtkd.network import fairseq_bridge as bridge
from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab
from tests.endtoend.test_interrupted import start, wait_for

# Appended to a module: the second process finds the memory full, of a GPU that is played.
FULL = """

def _full(*_: Any) -> Any:
    raise torch.OutOfMemoryError("CUDA out of memory")


if processes.number() == 1:
    Stepper.step = _full
    for name, value in (("total", 2**30), ("room", 2**29), ("clear", 0), ("peak", 2**28)):
        setattr(gpu_memory.Gpu, name, lambda _, value=value: value)
"""
TEACHER = "models/teacher/clean"
BEST = "hybrid_best-tiny-clean-beam-1"  # several trainings of one stage, with a choice between them
ENDLESS = 40_000  # updates: no test waits for their end
OFF = 1e-4  # what the order of sums makes of a hundred updates


def shared(copy: CopyLab, processes: int = 2) -> Lab:
    """A laboratory whose trainings have two batches an update, for so many processes; a teacher of fewer."""
    lab = copy()
    lab.edit("params.yaml", ("teacher.training.accumulate", 2), ("training.accumulate", 2))
    lab.edit("params.yaml", ("teacher.training.updates", 100))
    lab.env["NMTKD_PROCESSES"] = str(processes)
    return lab


def weights(lab: Lab, folder: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = bridge.load_model(lab.folder / folder / "model", "cpu").model.state_dict()
    return {name: value for name, value in found.items() if not name.endswith("k_proj.bias")}


def second(pid: int) -> psutil.Process:
    """The second of the processes that share the work which a stage's process launched."""
    end = time.monotonic() + 60.0
    while time.monotonic() < end:
        for child in psutil.Process(pid).children(recursive=True):
            if child.is_running() and child.environ().get("RANK") == "1":
                return child
        time.sleep(0.05)
    raise AssertionError("no second process")


def test_stages_of_two_processes_make_what_stages_of_one_make(copy: CopyLab) -> None:
    """A teacher, and a student that is the best of several trainings. DVC records both."""
    labs = [shared(copy, processes) for processes in (1, 2)]
    for lab in labs:
        lab.edit(
            "params.yaml",
            ("grid.methods.hybrid", ["hybrid_best"]),
            ("grid.capacities", ["tiny"]),
            ("methods.hybrid_best.gate.values", [0.25, 0.75]),
        )
        printed = lab.run("dvc", "repro", f"student_hybrid@{BEST}")
        assert ("2 processes share the work" in printed) == (lab is labs[1])
    for folder in (TEACHER, f"models/student/{BEST}"):
        one, two = (weights(lab, folder) for lab in labs)
        assert max(float((one[name] - two[name]).abs().max()) for name in one) < OFF
        cards = [json.loads(lab.read(f"{folder}/card.json")) for lab in labs]
        assert cards[0]["data"] == cards[1]["data"] and cards[0].get("gate") == cards[1].get("gate")
    assert not list((labs[1].folder / ".scratch").glob("*-*/"))


def test_a_process_that_dies_ends_all_with_one_message_and_a_rerun_has_the_same_bytes(copy: CopyLab) -> None:
    """From forks, and then from processes of their own."""
    lab = shared(copy)
    lab.run("python", "-m", "stages.teacher", "clean")
    whole = lab.read(f"{TEACHER}/model/model.pt")
    lab.forks = False
    (lab.folder / TEACHER / "model/model.pt").unlink()
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/checkpoint-*.json")
    os.kill(second(training.pid).pid, signal.SIGKILL)
    printed, _ = training.communicate(timeout=60)
    assert training.returncode == 1
    errors = [line for line in printed.splitlines() if "error" in line.lower() or "Traceback" in line]
    assert len(errors) == 1, printed
    assert errors[0].startswith("error: process 1 of this stage was ended by SIGKILL, and the others with it")
    assert "going on from update" in lab.run("python", "-m", "stages.teacher", "clean")
    assert lab.read(f"{TEACHER}/model/model.pt") == whole


def test_memory_of_one_gpu_that_is_full_ends_all_with_what_would_fit(copy: CopyLab) -> None:
    """The others wait for its gradients meanwhile."""
    lab = shared(copy)
    lab.append("src/nmtkd/training/step.py", FULL)
    lab.run("python", "-m", "stages.manifests")
    done = lab.ask("python", "-m", "stages.teacher", "clean")
    assert done.returncode == 1 and done.stderr.count("rror") == 1, done.stderr
    assert (
        "error: teacher.training.max_tokens: 512 is too much for this GPU's 1.00 GiB, of which 512.00 MiB "
        "are free for it: about "
    ) in done.stderr


def targets(lab: Lab, prefix: str) -> Path:
    """The folder of token targets."""
    return lab.folder / f"data/targets/clean-{prefix}"


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("prefix", ["gold", "beam"])
def test_token_targets_of_two_processes_have_the_bytes_of_one(copy: CopyLab, prefix: str) -> None:
    """Along gold text and along the teacher's own. What is done is told once."""
    made = []
    for processes in (1, 2):
        lab = shared(copy, processes)
        (targets(lab, prefix) / "header.json").unlink()
        printed = lab.run("python", "-m", "stages.targets", "clean", prefix)
        assert (f"[targets clean {prefix}] 2 processes share the work" in printed) == (processes == 2)
        assert printed.count("300/300 lines done") == 1 and printed.count("bytes a token") == 1
        made.append(content(targets(lab, prefix)))
        assert not [path for path in targets(lab, prefix).parent.iterdir() if ".part" in path.name]
    assert made[0] == made[1] and len(made[0]) == 4


def test_a_process_of_token_targets_that_dies_ends_all_with_one_message(copy: CopyLab) -> None:
    lab = shared(copy)
    whole = content(targets(lab, "gold"))
    (targets(lab, "gold") / "header.json").unlink()
    running = start(lab, "stages.targets", "clean", "gold")
    os.kill(second(running.pid).pid, signal.SIGKILL)
    printed, _ = running.communicate(timeout=60)
    assert running.returncode == 1
    errors = [line for line in printed.splitlines() if "error" in line.lower() or "Traceback" in line]
    assert len(errors) == 1, printed
    assert errors[0].startswith("error: process 1 of this stage was ended by SIGKILL, and the others with it")
    lab.run("python", "-m", "stages.targets", "clean", "gold")
    assert content(targets(lab, "gold")) == whole


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_the_stage(copy: CopyLab, number: int) -> None:
    lab = shared(copy)
    lab.edit("params.yaml", ("teacher.training.updates", ENDLESS))
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/checkpoint-*.json")
    others = psutil.Process(training.pid).children(recursive=True)
    os.kill(training.pid, number)
    training.communicate(timeout=60)
    assert training.returncode in (130, -signal.SIGKILL)
    _, alive = psutil.wait_procs(others, timeout=15)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_batches_that_two_processes_cannot_share_are_refused_once(copy: CopyLab) -> None:
    lab = shared(copy)
    lab.edit("params.yaml", ("teacher.training.accumulate", 3))
    done = lab.ask("python", "-m", "stages.teacher", "clean")
    assert done.returncode == 1
    assert done.stderr.count("error: ") == 1
    assert (
        "error: teacher.training.accumulate: an update has 3 batches, which 2 processes cannot" in done.stderr
    )


def test_number_of_processes_is_checked(copy: CopyLab) -> None:
    for value, told in (("0", "must be a whole number from 1"), ("two", "must be a whole number from 1")):
        lab = copy()
        lab.env["NMTKD_PROCESSES"] = value
        done = lab.ask("python", "-m", "stages.teacher", "clean")
        assert done.returncode == 1 and f"error: NMTKD_PROCESSES: {told}" in done.stderr
    assert Path(lab.folder / TEACHER).is_dir()
