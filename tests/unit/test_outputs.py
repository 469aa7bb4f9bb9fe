"""nmtkd.outputs: whole or not at all, one process at a time, and from what still stands."""

import errno
import multiprocessing
import os
import shutil
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nmtkd import files, locks, machine, outputs
from nmtkd.outputs import AlreadyMade, DiskFullError, made

FORKS = multiprocessing.get_context("fork")


class Basis:
    """As runner.notes has it."""

    def __init__(self, key: str = "k1") -> None:
        self.key, self.changed = key, False

    def check(self) -> None:
        if self.changed:
            raise ValueError("lr was 1 and is 2")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NMTKD_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def out(tmp_path: Path, root: Path) -> Path:
    return tmp_path / "data" / "x"


def make(out: Path, basis: Basis | None = None, text: str = "1", **how: Any) -> None:
    with made(out, "stage x", basis, **how) as output:
        assert list(output.path.iterdir()) == []
        (output.path / "a").write_text(text)


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# In place


def test_output_appears_whole(out: Path) -> None:
    with made(out, "x") as output:
        (output.path / "a").write_text("1")
        assert not out.exists()
        assert output.path.parent == out.parent  # one disk: it is moved, not copied
    assert names(out.parent) == ["x", "x/a"]


def test_output_replaces_an_older_one_by_a_whole_one_only(out: Path) -> None:
    make(out, text="old")
    with pytest.raises(RuntimeError, match="killed"), made(out, "x") as output:
        (output.path / "b").write_text("half")
        raise RuntimeError("killed")
    assert names(out.parent) == ["x", "x/a"]
    with made(out, "x") as output:
        (output.path / "new").write_text("2")
    assert names(out.parent) == ["x", "x/new"]


def test_what_killed_processes_left_is_removed(out: Path) -> None:
    for name in (".x.17.part", ".x.17.part.old", ".y.17.part"):
        (out.parent / name).mkdir(parents=True)
    make(out)
    assert names(out.parent) == [".y.17.part", "x", "x/a"]


def test_shared_folder_keeps_what_others_wrote(out: Path) -> None:
    (out / "studies/other").mkdir(parents=True)
    (out / "runs").mkdir()
    (out / "runs/left the grid").write_text("")
    (out / "mine").write_text("")
    with made(out, "x", shared=("studies",)) as output:
        for folder in ("studies/this", "runs"):
            (output.path / folder).mkdir(parents=True)
        (output.path / "runs/b").write_text("")
        (output.path / "table").write_text("")
    assert names(out) == ["mine", "runs", "runs/b", "studies", "studies/other", "studies/this", "table"]


# From what still stands


def test_changed_basis_puts_nothing_in_place(out: Path) -> None:
    basis = Basis()
    make(out, basis, "old")
    with pytest.raises(ValueError, match="lr was 1 and is 2"), made(out, "x", basis) as output:
        (output.path / "a").write_text("new")
        basis.changed = True
    assert (out / "a").read_text() == "old"
    assert names(out.parent) == ["x", "x/a"]


def test_what_was_made_from_a_changed_basis_is_taken_once_it_is_put_back(out: Path, root: Path) -> None:
    basis = Basis()
    with pytest.raises(ValueError, match="lr was 1"), made(out, "x", basis) as output:
        (output.scratch("teacher", "k") / "state").write_text("")
        (output.path / "a").write_text("long work")
        basis.changed = True
    assert not out.exists()
    make(out, Basis("other"), "of another basis")
    assert (out / "a").read_text() == "of another basis"
    assert [path.name[:10] for path in root.iterdir()] == ["output-k1-"]  # no checkpoints are left
    with pytest.raises(AlreadyMade, match="made by an earlier run from the same, and kept"):
        make(out, Basis())
    assert (out / "a").read_text() == "long work"
    assert list(root.iterdir()) == []
    make(out, Basis(), "again")  # asked for once more it is made once more
    assert (out / "a").read_text() == "again"


def test_what_is_taken_into_a_shared_folder_keeps_what_others_wrote(out: Path, root: Path) -> None:
    (out / "studies/other").mkdir(parents=True)
    (out / "mine").write_text("")
    basis = Basis()
    with pytest.raises(ValueError, match="lr was 1"), made(out, "x", basis, shared=("studies",)) as output:
        (output.path / "studies/this").mkdir(parents=True)
        basis.changed = True
    with pytest.raises(AlreadyMade, match="made by an earlier run"):
        make(out, Basis(), shared=("studies",))
    assert names(out) == ["mine", "studies", "studies/other", "studies/this"]
    assert list(root.iterdir()) == []


def test_what_was_kept_and_is_damaged_is_made_anew(out: Path, root: Path) -> None:
    basis = Basis()
    with pytest.raises(ValueError, match="lr was 1"), made(out, "x", basis) as output:
        (output.path / "a").write_text("long work")
        basis.changed = True
    next(root.glob("output-*/a")).write_text("long w\0\0\0")
    make(out, Basis(), "anew")
    assert (out / "a").read_text() == "anew"
    assert list(root.iterdir()) == []


# One process at a time


def beside(out: Path, basis: Basis | None) -> tuple[threading.Thread, list[str]]:
    """A second maker in a thread, and what came of it."""
    said: list[str] = []

    def work() -> None:
        try:
            make(out, basis, "second")
            said.append("made")
        except (AlreadyMade, ValueError) as taken:
            said.append(str(taken))

    return threading.Thread(target=work), said


def started(second: threading.Thread, capfd: pytest.CaptureFixture[str]) -> str:
    """What it says once it waits."""
    second.start()
    end = time.monotonic() + 30
    shown = ""
    while "waiting for process" not in shown and time.monotonic() < end:
        time.sleep(0.01)
        shown += capfd.readouterr().err
    return shown


@pytest.mark.parametrize(
    ("key", "outcome", "text"), [("k1", "made by the process", "first"), ("k2", "made", "second")]
)
def test_second_process_waits_and_takes_what_it_would_have_made(
    out: Path, key: str, outcome: str, text: str, capfd: pytest.CaptureFixture[str]
) -> None:
    second, said = beside(out, Basis(key))
    with made(out, "x", Basis("k1")) as output:
        (output.path / "a").write_text("first")
        assert f"[stage x] waiting for process {os.getpid()} on " in started(second, capfd)
        assert said == []
    second.join()
    assert outcome in said[0]
    assert (out / "a").read_text() == text
    assert names(out.parent) == ["x", "x/a"]


@pytest.mark.parametrize(
    ("there", "changed", "outcome", "text"),
    [
        ("first", False, "made by the process that this one waited for", "first"),
        ("first", True, "lr was 1 and is 2", "first"),
        ("other", False, "made", "second"),  # something else has written it since
        (None, False, "made", "second"),
    ],
)
def test_what_another_process_made_is_taken_as_it_made_it_from_what_still_stands(
    out: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    there: str | None,
    changed: bool,
    outcome: str,
    text: str,
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "first/a").write_text("first")
    basis = Basis()
    second, said = beside(out, basis)
    with locks.held(out.with_name(".x.lock"), "x") as lock:
        started(second, capfd)
        if there:
            out.mkdir()
            (out / "a").write_text(there)
        basis.changed = changed
        lock.leave(basis=basis.key, content=files.folder_hash(tmp_path / "first"))
    second.join()
    assert said[0].removeprefix(f"{out}: ") == outcome
    assert (out / "a").read_text() == text


def test_what_was_kept_is_taken_by_none_whose_basis_has_changed(out: Path, root: Path) -> None:
    basis = Basis()
    with pytest.raises(ValueError, match="lr was 1"), made(out, "x", basis) as output:
        (output.path / "a").write_text("long work")
        basis.changed = True
    with pytest.raises(ValueError, match="lr was 1"):
        make(out, basis)
    assert not out.exists()
    with pytest.raises(AlreadyMade, match="made by an earlier run"):
        make(out, Basis())
    assert (out / "a").read_text() == "long work"


def test_second_process_makes_what_the_first_one_failed_to(out: Path) -> None:
    second, said = beside(out, Basis())
    with pytest.raises(RuntimeError, match="failed"), made(out, "x", Basis()):
        second.start()
        time.sleep(0.2)
        raise RuntimeError("failed")
    second.join()
    assert said == ["made"] and (out / "a").read_text() == "second"


def test_processes_at_one_output_do_not_disturb_each_other(out: Path) -> None:
    def work(number: int) -> None:
        with made(out, f"{number}", Basis(str(number))) as output:
            for name in "abc":
                (output.path / name).write_text(str(number))
                time.sleep(0.01)

    processes = [FORKS.Process(target=work, args=(number,), daemon=True) for number in range(5)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 5
    assert names(out.parent) == ["x", "x/a", "x/b", "x/c"]
    assert len({(out / name).read_text() for name in "abc"}) == 1


# Scratch space


def test_scratch_is_removed_once_the_output_is_in_place(out: Path, root: Path) -> None:
    with made(out, "x") as output:
        folder = output.scratch("teacher", "k1")
        assert folder == root / "teacher-k1"
        (folder / "state").write_text("whole")
        assert output.scratch("teacher", "k2") != folder
    assert list(root.iterdir()) == []


def test_scratch_is_kept_on_failure_and_found_again_by_the_same_key(out: Path, root: Path) -> None:
    with pytest.raises(RuntimeError, match="killed"), made(out, "x") as output:
        (output.scratch("teacher", "k1") / "state").write_text("half")
        raise RuntimeError("killed")
    with made(out, "x") as output:
        assert names(output.scratch("teacher", "k2")) == names(output.scratch("student", "k1")) == []
        assert names(output.scratch("teacher", "k1")) == ["state"]
    assert list(root.iterdir()) == []


def test_scratch_is_held_by_one_process_at_a_time(out: Path, root: Path) -> None:
    """Of two workspaces, whose outputs are others."""
    seen: list[list[str]] = []

    def other() -> None:
        with made(out.with_name("y"), "y") as output:
            seen.append(names(output.scratch("teacher", "k1")))

    second = threading.Thread(target=other)
    with made(out, "x") as output:
        (output.scratch("teacher", "k1") / "state").write_text("half")
        second.start()
        time.sleep(0.2)
        assert seen == []
    second.join()
    assert seen == [[]]


@pytest.mark.parametrize("place", ["", "deep"])
def test_scratch_space_that_is_a_file_is_told(
    out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NMTKD_SCRATCH", str(tmp_path / "file" / place))
    with (
        pytest.raises(machine.MachineError, match=r"must be a folder, and it is a file.*NMTKD_SCRATCH"),
        made(out, "x") as output,
    ):
        output.scratch("teacher", "k")


# Full disks


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError("118976 requested and 4096 written"),
    ],
)
def test_full_disk_is_one_message(out: Path, monkeypatch: pytest.MonkeyPatch, error: OSError) -> None:
    usage = SimpleNamespace(free=3 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage)
    message = (
        "the disk is full: stage x was writing there and needs more than the 3.00 MiB that are free "
        "(2.00 KiB of its output were written); free some"
    )
    with pytest.raises(DiskFullError) as caught, made(out, "stage x") as output:
        (output.path / "a").write_bytes(b"0" * 2048)
        raise error
    assert message in str(caught.value)
    assert not out.exists()


def test_other_errors_stay_as_they_are(out: Path) -> None:
    with pytest.raises(PermissionError, match="not yours"), made(out, "x"):
        raise PermissionError(errno.EACCES, "not yours")


def test_room_is_checked_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda place: SimpleNamespace(free=2**29))
    outputs.check_room(tmp_path, 2**29, "teacher clean", "checkpoints")
    message = (
        r"teacher clean needs 1\.50 GiB more for checkpoints, 512\.00 MiB are free; "
        "free some, or name a larger disk in NMTKD_SCRATCH"
    )
    with pytest.raises(DiskFullError, match=message):
        outputs.check_room(tmp_path, 3 * 2**29, "teacher clean", "checkpoints")


def write_bytes(path: Path) -> None:
    path.write_bytes(b"0" * 2**21)


def write_array(path: Path) -> None:
    np.save(path, np.zeros(2**18))


def write_json(path: Path) -> None:
    files.write_json(path, "0" * 2**21)


@pytest.mark.parametrize("write", [write_bytes, write_array, write_json])
def test_disk_that_is_full_in_truth(root: Path, small_disk: Path, write: Any) -> None:
    out = small_disk / "x"
    with (
        pytest.raises(DiskFullError, match="the disk is full: stage x was writing"),
        made(out, "stage x") as output,
    ):
        write(output.path / "a.npy")
    assert names(small_disk) == []
    make(out)
    assert names(small_disk) == ["x", "x/a"]
