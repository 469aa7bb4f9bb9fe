"""nmtkd.locks: one process at a time, whatever becomes of the others."""

import errno
import fcntl
import json
import multiprocessing
import os
import platform
import signal
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from nmtkd import locks

FORKS = multiprocessing.get_context("fork")


def hold(path: Path, pipe: Connection, facts: dict[str, Any]) -> None:
    """Holds a lock until told to go on, then leaves facts."""
    with locks.held(path, "other") as lock:
        pipe.send(lock.left)
        if pipe.recv() == "leave":
            lock.leave(**facts)
    pipe.send("gone")


def started(path: Path, **facts: Any) -> tuple[Any, Connection]:
    ours, theirs = FORKS.Pipe()
    process = FORKS.Process(target=hold, args=(path, theirs, facts), daemon=True)
    process.start()
    return process, ours


def test_lock_names_its_process_and_is_gone_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "deep" / ".x.lock"
    with locks.held(path, "teacher clean") as lock:
        assert lock.left == {}
        facts = json.loads(path.read_text(encoding="utf-8"))
        assert facts == {"host": platform.node(), "pid": os.getpid(), "who": "teacher clean"}
    assert not path.exists()


def test_one_process_holds_a_lock_and_the_next_one_says_for_whom_it_waits(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / ".x.lock"
    first, pipe = started(path, made="key")
    assert pipe.recv() == {}
    second, other = started(path)
    assert not other.poll(0.5)
    pipe.send("leave")
    assert other.recv() == {"made": "key"}  # what the first one left for it
    assert path.exists()
    other.send("go")
    assert other.recv() == pipe.recv() == "gone"
    first.join(), second.join()
    assert not path.exists()
    name = f"process {first.pid} on {platform.node()} (other)"
    assert capfd.readouterr().err == f"[other] waiting for {name}: it does the same work ({path})\n"


def test_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / ".x.lock"
    process, pipe = started(path)
    pipe.recv()
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert path.exists()
    with locks.held(path, "next") as lock:
        assert lock.left == {}
    assert not path.exists()


def test_many_processes_hold_it_in_turn(tmp_path: Path) -> None:
    """Each removes the file at its end, under those that already wait for it."""
    path = tmp_path / ".x.lock"

    def work() -> None:
        for _ in range(20):
            with locks.held(path, "w"):
                (tmp_path / "alone").mkdir()  # fails where another is within
                time.sleep(0.001)
                (tmp_path / "alone").rmdir()

    processes = [FORKS.Process(target=work, daemon=True) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert list(tmp_path.iterdir()) == []


def test_disk_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(locks.LockError, match=r"x\.lock: cannot be locked \(No locks available\); use a disk"),
        locks.held(tmp_path / "x.lock", "w"),
    ):
        pytest.fail("never entered")
