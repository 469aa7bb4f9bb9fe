"""runner.forecast.before: what a run says first, and when it says nothing."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from nmtkd import machine
from nmtkd.plan import params
from runner import schedule
from runner.forecast import before
from tests.unit.plan.good import changed

ROOT = Path(__file__).resolve().parents[4]
DEPENDS = {"corpus": [], "teacher@clean": ["corpus"], "report": ["teacher@clean"]}
PYTHON = """#!/bin/sh
echo "$*" >> "$ASKED"
echo "$SAID"
exit $CODE
"""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the commands are noted that it runs, each of which says what SAID holds and ends with CODE."""
    python = tmp_path / "python"
    python.write_text(PYTHON, encoding="utf-8")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("ASKED", str(tmp_path / "asked"))
    monkeypatch.setenv("SAID", "a line")
    monkeypatch.setenv("CODE", "0")
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("NMTKD_LAUNCH", raising=False)
    return tmp_path / "asked"


@pytest.mark.parametrize(("said", "code", "told"), [("a line", "0", ["a line"]), ("", "1", [])])
def test_a_long_training_is_announced(
    asked: Path, monkeypatch: pytest.MonkeyPatch, said: str, code: str, told: list[str]
) -> None:
    """A forecast that fails stops no run."""
    monkeypatch.setenv("SAID", said)
    monkeypatch.setenv("CODE", code)
    found: list[str] = []
    monkeypatch.setattr(before, "advice", lambda _: "advice")
    before.announce(DEPENDS, ["corpus"], 2, found.append)
    assert found == ["advice", *told]
    assert asked.read_text(encoding="utf-8") == "-m runner.forecast --brief --jobs 2\n"


@pytest.mark.parametrize(
    ("teacher", "student", "has", "gpu", "named"),
    [
        (
            "float32",
            "float32",
            True,
            False,
            "teacher.training.precision=bfloat16 training.precision=bfloat16",
        ),
        ("bfloat16", "float32", True, False, "training.precision=bfloat16"),
        ("bfloat16", "bfloat16", True, False, ""),
        ("float32", "float32", False, False, ""),
        ("bfloat16", "float32", False, False, "teacher.training.precision=float32"),
        ("float32", "float32", True, True, ""),
    ],
)
def test_the_faster_precision_of_a_processor_is_named(
    monkeypatch: pytest.MonkeyPatch, teacher: str, student: str, has: bool, gpu: bool, named: str
) -> None:
    monkeypatch.setattr(machine, "multiplies_bfloat16", lambda: has)
    monkeypatch.setattr(schedule, "on_gpu", lambda: gpu)
    changes = {"teacher__training__precision": teacher, "training__precision": student}
    said = before.advice(params.validate(changed(**changes), Path("params.yaml")))
    assert said.endswith(f": {named}") if named else said == ""


def test_short_work_is_not(asked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    before.announce(DEPENDS, ["report"], 2, told.append)  # no training is stale
    monkeypatch.setenv("NMTKD_LAUNCH", "srun")  # and this host's speed is not a cluster's
    before.announce(DEPENDS, ["corpus"], 2, told.append)
    monkeypatch.delenv("NMTKD_LAUNCH")
    monkeypatch.setattr(before, "Path", lambda _: Path("nothing.yaml"))  # a stage tells what is wrong with it
    before.announce(DEPENDS, ["corpus"], 2, told.append)
    assert told == [] and not asked.exists()
