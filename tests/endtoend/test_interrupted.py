"""Trainings that are killed, damaged and started twice, and outputs that are half written."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import ROOT, Lab

LIMIT = 120.0  # seconds that a test waits for a stage to get going


def start(lab: Lab, *arguments: str, fork: bool = False) -> subprocess.Popen[str]:
    return lab.begin("python", "-m", *arguments, fork=fork)


def wait_for(lab: Lab, pattern: str) -> Path:
    """The first file of the scratch folder that matches."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if found := sorted((lab.folder / ".scratch").glob(pattern)):
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"{pattern}: did not appear within {LIMIT} s")


def kill_at(lab: Lab, pattern: str, *arguments: str) -> Path:
    """Starts a stage and kills it once a file of the scratch folder matches, which is returned."""
    training = start(lab, *arguments, fork=True)
    found = wait_for(lab, pattern)
    training.kill()
    training.communicate()
    return found


def test_a_killed_training_ends_in_the_same_bytes(finished: tuple[Lab, str], copy: CopyLab) -> None:
    lab = copy()
    out = lab.folder / "models/teacher/clean/model/model.pt"
    out.unlink()
    kill_at(lab, "teacher-*/weights-40.pt", "stages.teacher", "clean")
    assert not out.exists()
    printed = lab.run("python", "-m", "stages.teacher", "clean")
    assert "going on from update" in printed
    assert out.read_bytes() == finished[0].read("models/teacher/clean/model/model.pt")
    assert lab.read("models/teacher/clean/curve.csv") == finished[0].read("models/teacher/clean/curve.csv")
    assert not list((lab.folder / ".scratch").glob("teacher-*/"))


def test_a_killed_training_of_two_threads_ends_in_the_same_bytes(copy: CopyLab) -> None:
    """Threads decide the order of sums: what goes on has as many as what was killed."""
    lab = copy()
    # A thread that waits leaves its core to another worker's tests.
    lab.env |= {"NMTKD_THREADS": "2", "OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}
    name = "models/teacher/clean/model/model.pt"
    lab.run("python", "-m", "stages.teacher", "clean")
    uninterrupted = lab.read(name)
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/weights-40.pt")
    os.kill(training.pid, signal.SIGKILL)
    training.wait()
    assert "going on from update" in lab.run("python", "-m", "stages.teacher", "clean")
    assert lab.read(name) == uninterrupted


def test_a_killed_training_is_not_taken_up_by_other_parameters(copy: CopyLab) -> None:
    lab = copy()
    kill_at(lab, "teacher-*/checkpoint-*.json", "stages.teacher", "clean")
    lab.edit("params.yaml", ("teacher.training.lr", 0.02))
    assert "going on" not in lab.run("python", "-m", "stages.teacher", "clean")


def test_a_killed_training_is_not_taken_up_by_other_arithmetic(copy: CopyLab) -> None:
    lab = copy()
    kill_at(lab, "teacher-*/checkpoint-*.json", "stages.teacher", "clean")
    lab.change_code("src/nmtkd/network/attention.py")
    assert "going on" not in lab.run("python", "-m", "stages.teacher", "clean")


def test_a_teacher_of_other_arithmetic_is_not_copied(copy: CopyLab) -> None:
    """The teacher of del30_clean sees clean text: it is the one of clean, if the same code made that one."""
    lab = copy()
    lab.edit("params.yaml", ("grid.noises", ["clean", "del30_clean"]))
    lab.repro("noise@del30_clean")
    assert "copied" in lab.run("python", "-m", "stages.teacher", "del30_clean")
    lab.change_code("src/nmtkd/network/attention.py")
    assert "copied" not in lab.run("python", "-m", "stages.teacher", "del30_clean")


def test_a_half_written_checkpoint_is_not_taken_up(finished: tuple[Lab, str], copy: CopyLab) -> None:
    lab = copy()
    record = kill_at(lab, "student-*/checkpoint-5.json", "stages.student", "word", "word-tiny-clean-1")
    (record.parent / ".state-10.pt.17.tmp").write_bytes(b"torn")
    (record.parent / "weights-10.pt").write_bytes(b"torn")
    lab.run("python", "-m", "stages.student", "word", "word-tiny-clean-1")
    name = "models/student/word-tiny-clean-1/model/model.pt"
    assert lab.read(name) == finished[0].read(name)


def test_a_half_written_output_is_never_taken_for_a_whole_one(copy: CopyLab) -> None:
    lab = copy()
    part = lab.folder / "data/hypotheses/.clean-beam.17.part"
    part.mkdir()
    (part / "hypotheses.jsonl").write_text('{"id": 0', encoding="utf-8")
    assert lab.stale() == set()
    lines = lab.read("data/targets/clean-gold/header.json")
    (lab.folder / "data/targets/clean-gold/header.json").unlink()
    done = lab.ask("python", "-m", "stages.student", "word", "word-tiny-clean-1")
    assert done.returncode == 1
    assert "not token targets, or not whole; run the targets stage again" in done.stderr
    assert lines


# Damaged scratch space


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


def zero(path: Path) -> None:
    """The middle half, as a power cut leaves it: size and name stay."""
    data = path.read_bytes()
    quarter = len(data) // 4
    path.write_bytes(data[:quarter] + bytes(2 * quarter) + data[3 * quarter :])


@pytest.mark.parametrize(
    ("names", "damage"),
    [
        (["state"], cut),
        (["weights"], zero),
        (["state", "weights"], Path.unlink),
        (["data"], cut),
        (["data"], zero),
    ],
)
def test_a_damaged_scratch_is_not_trained_on(
    finished: tuple[Lab, str], copy: CopyLab, names: list[str], damage: Callable[[Path], None]
) -> None:
    lab = copy()
    stage = ("stages.student", "plain", "plain-small-clean-1")
    folder = kill_at(lab, "student-*/checkpoint-15.json", *stage).parent
    newest = max(int(path.stem.split("-")[1]) for path in folder.glob("checkpoint-*.json"))
    for name in names:
        damage(folder / ("data/train.src-tgt.src.bin" if name == "data" else f"{name}-{newest}.pt"))
    printed = lab.run("python", "-m", *stage)
    assert f"going on from update {newest - 5 if 'state' in names else newest}" in printed
    assert ("weights-" in printed) == ("weights" in names and "state" not in names)
    assert (f"state-{newest}.pt" in printed) == ("state" in names)
    model = "models/student/plain-small-clean-1/model/model.pt"
    assert lab.read(model) == finished[0].read(model)
    assert not list((lab.folder / ".scratch").iterdir())


# Two at one output


def test_the_second_of_two_processes_takes_what_the_first_one_made(
    finished: tuple[Lab, str], copy: CopyLab
) -> None:
    lab = copy()
    (lab.folder / "models/teacher/clean/model/model.pt").unlink()
    first = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/checkpoint-*.json")
    second = lab.ask("python", "-m", "stages.teacher", "clean")
    assert first.wait() == second.returncode == 0
    assert f"[teacher clean] waiting for process {first.pid} on " in second.stderr
    assert (
        "nothing to do: models/teacher/clean: made by the process that this one waited for" in second.stdout
    )
    name = "models/teacher/clean/model/model.pt"
    assert lab.read(name) == finished[0].read(name)
    assert os.listdir(lab.folder / "models/teacher") == ["clean"]
    assert not list((lab.folder / ".scratch").iterdir())


# What is recorded


def recorded(lab: Lab, stage: str) -> dict[str, Any]:
    """The values of params that dvc.lock has of a stage."""
    stages = yaml.safe_load(lab.read("dvc.lock"))["stages"]
    return stages[stage]["params"]["params.yaml"] if stage in stages else {}


def test_an_edit_in_mid_training_is_not_recorded(copy: CopyLab) -> None:
    """dvc.lock never names params that the model was not trained with; what was trained is not lost."""
    lab = copy()
    lab.edit("params.yaml", ("teacher.training.lr", 0.011))
    training = lab.begin("dvc", "repro", "teacher@clean", fork=True)
    wait_for(lab, "teacher-*/checkpoint-*.json")
    lab.edit("params.yaml", ("teacher.training.lr", 0.022))
    lab.append("src/nmtkd/training/curve.py", "\nADDED = None\n")
    printed, _ = training.communicate()
    assert training.returncode != 0
    assert "params.yaml: teacher.training.lr was 0.011 and is 0.022\n" in printed
    assert "src/nmtkd/training/curve.py: its code was changed\n" in printed
    assert recorded(lab, "teacher@clean")["teacher"]["training"]["lr"] == 0.01  # of the run before
    assert lab.stale() >= {"teacher@clean"}
    (lab.folder / "src/nmtkd/training/curve.py").write_bytes(
        (ROOT / "src/nmtkd/training/curve.py").read_bytes()
    )
    lab.edit("params.yaml", ("teacher.training.lr", 0.011))
    printed = lab.run("dvc", "repro", "teacher@clean")
    assert "nothing to do: models/teacher/clean: made by an earlier run from the same, and kept" in printed
    assert recorded(lab, "teacher@clean")["teacher"]["training"]["lr"] == 0.011
    slow = lab.read("models/teacher/clean/model/model.pt")
    lab.run("dvc", "repro", "-f", "-s", "teacher@clean")
    assert lab.read("models/teacher/clean/model/model.pt") == slow


def test_an_experiment_beside_a_run_does_not_change_what_is_recorded(copy: CopyLab) -> None:
    """DVC refuses it as busy, but only once it has rewritten params.yaml."""
    lab = copy()
    lab.edit("params.yaml", ("teacher.training.lr", 0.011))
    run = start(lab, "runner", "2", fork=True)
    wait_for(lab, "teacher-*/checkpoint-*.json")
    assert lab.ask("dvc", "exp", "run", "-S", "teacher.training.lr=0.0125").returncode != 0
    printed, _ = run.communicate()
    assert run.returncode != 0
    assert "params.yaml: teacher.training.lr was 0.011 and is 0.0125" in printed
    assert recorded(lab, "teacher@clean")["teacher"]["training"]["lr"] == 0.01
