"""Trainings that are killed, and outputs that are half written."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab

LIMIT = 120.0  # seconds that a test waits for a stage to get going


def start(lab: Lab, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["python", "-m", *arguments],
        cwd=lab.folder,
        env=lab.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(lab: Lab, pattern: str) -> Path:
    """The first file of the scratch folder that matches."""
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        if found := sorted((lab.folder / ".scratch").glob(pattern)):
            return found[0]
        time.sleep(0.02)
    raise AssertionError(f"{pattern}: did not appear within {LIMIT} s")


def test_a_killed_training_ends_in_the_same_bytes(finished: tuple[Lab, str], copy: CopyLab) -> None:
    lab = copy()
    out = lab.folder / "models/teacher/clean/model/model.pt"
    out.unlink()
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/weights-80.pt")
    os.kill(training.pid, signal.SIGKILL)
    training.wait()
    assert not out.exists()
    printed = lab.run("python", "-m", "stages.teacher", "clean")
    assert "going on from update" in printed
    assert out.read_bytes() == finished[0].read("models/teacher/clean/model/model.pt")
    assert lab.read("models/teacher/clean/curve.csv") == finished[0].read("models/teacher/clean/curve.csv")
    assert not list((lab.folder / ".scratch").glob("teacher-*/"))


def test_a_killed_training_is_not_taken_up_by_other_parameters(copy: CopyLab) -> None:
    lab = copy()
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/state.pt")
    os.kill(training.pid, signal.SIGKILL)
    training.wait()
    lab.edit("params.yaml", ("teacher.training.lr", 0.02))
    assert "going on" not in lab.run("python", "-m", "stages.teacher", "clean")


@pytest.mark.parametrize("module", ["transformer", "attention", "dropout", "matmul"])
def test_a_killed_training_is_not_taken_up_by_other_arithmetic(copy: CopyLab, module: str) -> None:
    lab = copy()
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/state.pt")
    os.kill(training.pid, signal.SIGKILL)
    training.wait()
    lab.change_code(f"src/nmtkd/network/{module}.py")
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
    training = start(lab, "stages.student", "word", "word-tiny-clean-1")
    state = wait_for(lab, "student-*/state.pt")
    os.kill(training.pid, signal.SIGKILL)
    training.wait()
    (state.parent / "state.part").write_bytes(state.read_bytes()[:1000])
    (state.parent / "weights-10.pt").write_bytes(b"torn")
    lab.run("python", "-m", "stages.student", "word", "word-tiny-clean-1")
    name = "models/student/word-tiny-clean-1/model/model.pt"
    assert lab.read(name) == finished[0].read(name)


def test_a_half_written_output_is_never_taken_for_a_whole_one(copy: CopyLab) -> None:
    lab = copy()
    part = lab.folder / "data/hypotheses/.clean-beam.part"
    part.mkdir()
    (part / "hypotheses.jsonl").write_text('{"id": 0', encoding="utf-8")
    assert lab.stale() == set()
    lines = lab.read("data/targets/clean-gold/header.json")
    (lab.folder / "data/targets/clean-gold/header.json").unlink()
    done = lab.ask("python", "-m", "stages.student", "word", "word-tiny-clean-1")
    assert done.returncode == 1
    assert "not token targets, or not whole; run the targets stage again" in done.stderr
    assert lines
