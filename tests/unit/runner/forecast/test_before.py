"""runner.forecast.before: what a run says first, and when it says nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from runner.forecast import before

ROOT = Path(__file__).resolve().parents[4]
DEPENDS = {"corpus": [], "teacher@clean": ["corpus"], "report": ["teacher@clean"]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that it would run, each of which says a line."""
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "a line\n")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(ROOT)
    monkeypatch.delenv("NMTKD_LAUNCH", raising=False)
    return commands


def test_a_long_training_is_announced(asked: list[list[str]]) -> None:
    told: list[str] = []
    before.announce(DEPENDS, ["corpus"], 2, told.append)
    assert told == ["a line"]
    assert asked[0][1:] == ["-m", "runner.forecast", "--brief", "--jobs", "2"]


def test_short_work_is_not(asked: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    before.announce(DEPENDS, ["report"], 2, told.append)  # no training is stale
    monkeypatch.setenv("NMTKD_LAUNCH", "srun")  # and this host's speed is not a cluster's
    before.announce(DEPENDS, ["corpus"], 2, told.append)
    monkeypatch.delenv("NMTKD_LAUNCH")
    monkeypatch.setattr(before, "Path", lambda _: Path("nothing.yaml"))  # a stage tells what is wrong with it
    before.announce(DEPENDS, ["corpus"], 2, told.append)
    assert (told, asked) == ([], [])
