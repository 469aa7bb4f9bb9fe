"""runner.entries: how an entry ends: one message for what its user can mend, a traceback for what is ours."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from nmtkd import machine, outputs
from runner import entries, manifests
from runner.notes import Notes
from tests.structure.graph import ROOT


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("lr: too high"), 1, "error: lr: too high\n"),
        (FileNotFoundError(errno.ENOENT, "none", "x"), 1, "error: [Errno 2] none: 'x'\n"),
        (outputs.DiskFullError("x: the disk is full"), 1, "error: x: the disk is full\n"),
        (
            MemoryError("8 TiB"),
            1,
            "error: memory is full (8 TiB); lower the max_tokens of this stage, or choose smaller models\n",
        ),
        (
            RuntimeError("CUDA out of memory: 2 GiB"),
            1,
            "error: memory is full (CUDA out of memory: 2 GiB); lower the max_tokens of this stage, or "
            "choose smaller models\n",
        ),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_a_users_mistake_is_one_message(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, said: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        entries.run(raising(error))
    assert caught.value.code == code
    assert capsys.readouterr().err == said


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("size mismatch"), AssertionError()])
def test_our_own_mistake_is_a_traceback(error: Exception) -> None:
    with pytest.raises(type(error)):
        entries.run(raising(error))


def test_what_is_already_made_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    entries.run(raising(outputs.AlreadyMade("models/x: made by another")))
    assert capsys.readouterr().out == "nothing to do: models/x: made by another\n"


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """An entry `student a b` in whose place nothing is checked; what was called, in order."""
    calls: list[Any] = []
    spec = type("Spec", (), {"name": "stages.student"})
    monkeypatch.setattr("sys.argv", ["student", "a", "b"])
    monkeypatch.setattr("__main__.__spec__", spec, raising=False)
    monkeypatch.setattr(manifests, "check", lambda name: calls.append(("check", name)))
    monkeypatch.setattr(machine, "watch_parents", lambda: calls.append("watch"))
    monkeypatch.setattr(entries, "_begun", [])

    def begin(name: str, arguments: list[str]) -> Any:
        calls.append(("begin", name, arguments))
        return type(
            "Notes", (), {"stage": "student a b", "key": "k", "check": lambda self: calls.append("compare")}
        )()

    monkeypatch.setattr(Notes, "begin", begin)
    monkeypatch.setattr(entries, "leave", lambda: calls.append("leave"))
    before = signal.getsignal(signal.SIGTERM)
    yield calls
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("by_dvc", [True, False])
def test_entry_notes_its_basis_first_and_compares_before_its_output_is_in_place(
    begun: list[Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by_dvc: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    if by_dvc:
        monkeypatch.setenv("DVC_STAGE", "student@a")

    def main() -> None:
        begun.append("main")
        with entries.output(tmp_path / "out") as made:
            assert made.stage == "student a b"
            begun.append("made")
        begun.append("in place" if (tmp_path / "out").exists() else "nowhere")

    entries.entry(main)
    first = [("check", "student"), ("begin", "student", ["a", "b"]), "main", "made", "compare", "in place"]
    assert begun == [*["watch"] * by_dvc, *first, "leave"]


def test_entry_that_is_terminated_ends_as_one_that_is_interrupted(
    begun: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        entries.entry(lambda: signal.raise_signal(signal.SIGTERM))
    assert caught.value.code == 130
    assert capsys.readouterr().err == "stopped\n"


def test_entry_that_is_terminated_once_it_has_failed_says_no_more() -> None:
    """As a launcher does with all its processes once one has failed, this one maybe too."""
    program = """
import atexit, importlib.machinery, os, signal, sys
from runner import entries, manifests

sys.modules["__main__"].__spec__ = importlib.machinery.ModuleSpec("stages.bpe", None)
manifests.check = entries.Notes.begin = lambda *_: None
atexit.register(os.kill, os.getpid(), signal.SIGTERM)

def main():
    raise ValueError("wrong")

entries.entry(main)
"""
    done = alone(program)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGTERM, "", "error: wrong\n")


def test_entry_that_is_interrupted_while_it_tells_why_it_ends_says_no_more(
    monkeypatch: pytest.MonkeyPatch, begun: list[Any]
) -> None:
    monkeypatch.setattr(entries, "failed", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    with pytest.raises(SystemExit) as caught:
        entries.entry(raising(ValueError("wrong")))
    assert caught.value.code == 130


def test_full_disk_outside_of_an_output_is_told_too(
    begun: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        entries.entry(raising(OSError(errno.ENOSPC, "No space left on device")))
    assert "the disk is full: student a b was writing there" in capsys.readouterr().err


def alone(program: str) -> subprocess.CompletedProcess[str]:
    """Runs a program by itself."""
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONUNBUFFERED": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_leaves_with_all_said_and_nothing_taken_apart() -> None:
    program = """
import atexit, sys, threading, time
from runner.entries import leave

class Held:
    def __del__(self):
        print("taken apart")

held = Held()
atexit.register(print, "at exit")
threading.Thread(target=lambda: (time.sleep(0.2), print("a thread"))).start()
sys.stdout.write("said, ")
sys.stderr.write("told")
leave()
"""
    done = alone(program)
    assert (done.returncode, done.stderr) == (0, "told")
    assert done.stdout == "said, a thread\nat exit\n"
