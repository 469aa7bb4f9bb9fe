"""runner.mending: what a kill leaves of DVC's files is mended where nobody works, and only there."""

import json
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runner import mending

LOCK = "schema: '2.0'\nstages:\n  corpus:\n    cmd: python -m stages.corpus\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".dvc/tmp").mkdir(parents=True)
    return tmp_path


def mend() -> list[str]:
    said: list[str] = []
    mending.mend(said.append)
    return said


def entries(pid: int, cmd: str = "dvc repro") -> str:
    entry = {"pid": pid, "cmd": cmd}
    return json.dumps({"write": {"/w/models/x": entry}, "read": {"/w/data/x": [entry]}})


def copies(folder: Path, name: str) -> list[str]:
    return [path.read_text(encoding="utf-8") for path in folder.glob(f"{name}.damaged-*")]


@pytest.fixture
def foreign(workspace: Path) -> Iterator[int]:
    """A process that is no DVC."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process.pid
    process.kill()
    process.wait()


@pytest.fixture
def other_dvc(workspace: Path) -> Iterator[int]:
    """What looks like a DVC that works in this folder."""
    (workspace / "dvc").write_text("import time; time.sleep(60)", encoding="utf-8")
    process = subprocess.Popen([sys.executable, "dvc", "repro"], cwd=workspace)
    yield process.pid
    process.kill()
    process.wait()


def test_nothing_is_wrong(workspace: Path) -> None:
    assert mend() == []
    mending.RWLOCK.write_text("{}", encoding="utf-8")
    mending.LOCK.write_text(LOCK, encoding="utf-8")
    assert mend() == []
    gone = subprocess.Popen(["true"])
    gone.wait()
    mending.RWLOCK.write_text(entries(gone.pid), encoding="utf-8")  # DVC drops such entries itself
    assert mend() == []
    assert mending.RWLOCK.exists() and mending.LOCK.exists()


@pytest.mark.parametrize(
    "torn",
    ["", entries(1)[:-9], "[]", '{"read": {"a": {"pid": 1}}}', '{"write": {"a": {"cmd": ""}}}', "\0" * 80],
)
def test_torn_rwlock_is_set_aside(workspace: Path, torn: str) -> None:
    mending.RWLOCK.write_text(torn, encoding="utf-8")
    (line,) = mend()
    assert line.startswith(
        ".dvc/tmp/rwlock is not whole, and no DVC works here: set aside as .dvc/tmp/rwlock."
    )
    assert not mending.RWLOCK.exists()
    assert copies(workspace / ".dvc/tmp", "rwlock") == [torn]


def test_rwlock_of_processes_that_are_no_dvc_is_set_aside(workspace: Path, foreign: int) -> None:
    """As a container leaves it whose process numbers were given to others."""
    mending.RWLOCK.write_text(entries(foreign), encoding="utf-8")
    (line,) = mend()
    assert f"waits for processes that are no DVC of this workspace ({foreign}), and no DVC works here" in line
    assert copies(workspace / ".dvc/tmp", "rwlock") == [entries(foreign)]


def test_rwlock_of_another_host_is_left(workspace: Path, foreign: int) -> None:
    text = entries(foreign, "dvc repro -s x (on host elsewhere)")
    mending.RWLOCK.write_text(text, encoding="utf-8")
    (line,) = mend()
    assert line.endswith("of a run on elsewhere: if nothing runs there any more, delete it")
    assert mending.RWLOCK.read_text(encoding="utf-8") == text


def test_rwlock_of_this_host_by_its_name_is_ours(workspace: Path, foreign: int) -> None:
    mending.RWLOCK.write_text(entries(foreign, f"dvc repro -s x {mending.named()}"), encoding="utf-8")
    assert platform.node() in mending.named()
    assert "set aside" in mend()[0]


@pytest.mark.parametrize("text", ["", "{"])
def test_torn_rwlock_is_left_while_a_dvc_works(workspace: Path, other_dvc: int, text: str) -> None:
    mending.RWLOCK.write_text(text, encoding="utf-8")
    (line,) = mend()
    assert f"It is left as it is, since DVC works here ({other_dvc}: " in line
    assert mending.RWLOCK.read_text(encoding="utf-8") == text


def test_rwlock_of_a_dvc_that_works_is_no_fault(workspace: Path, other_dvc: int) -> None:
    mending.RWLOCK.write_text(entries(other_dvc), encoding="utf-8")
    assert mend() == []


def test_dvc_of_another_folder_is_not_ours(workspace: Path, other_dvc: int) -> None:
    assert list(mending.living(workspace, os.getpid())) == [other_dvc]
    assert mending.living(workspace, other_dvc) == {}
    assert list(mending.living(workspace.parent, os.getpid())) == [other_dvc]  # it works within
    assert mending.living(workspace / "deeper", os.getpid()) == {}


@pytest.mark.parametrize("torn", ["", LOCK[:30], "\0" * 80, "- a", "stages: [", "schema: '2.0'\n"])
def test_torn_lock_file_is_set_aside(workspace: Path, torn: str) -> None:
    mending.LOCK.write_text(torn, encoding="utf-8")
    (line,) = mend()
    assert line.startswith("dvc.lock is not whole, and no DVC works here: set aside as dvc.lock.damaged-")
    assert copies(workspace, "dvc.lock") == [torn]


def test_git_is_waited_for(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "WAITING", 0.3)
    monkeypatch.setattr(mending, "LOOK", 0.01)
    lock = workspace / "index.lock"
    mending.wait_for_git(lock, pytest.fail)
    lock.write_text("")
    said: list[Any] = []
    threading.Timer(0.8, lock.unlink).start()
    start = time.monotonic()
    mending.wait_for_git(lock, said.append)
    assert 0.7 < time.monotonic() - start < 10.0
    assert len(said) in (2, 3)
    assert said[0] == f"waiting for {lock}: another git command works here; if none does, delete that file"
