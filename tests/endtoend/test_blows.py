"""Runs that are killed with all that they started, locks that a kill leaves, and full disks."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.conftest import mounted
from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab, records
from tests.endtoend.test_interrupted import LIMIT, wait_for

TEACHER = "models/teacher/clean/model/model.pt"


def processes(lab: Lab) -> list[psutil.Process]:
    """All that run in a laboratory, however they were started."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(lab.folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def wait_for_the_end(lab: Lab) -> None:
    end = time.monotonic() + LIMIT
    while left := processes(lab):
        assert time.monotonic() < end, [process.cmdline() for process in left]
        time.sleep(0.05)


# No process is left


@pytest.mark.parametrize(
    ("command", "number"),
    [
        (["python", "-m", "runner", "2"], signal.SIGKILL),
        (["python", "-m", "runner", "2"], signal.SIGTERM),
        (["dvc", "repro"], signal.SIGKILL),
        (["dvc", "repro"], signal.SIGTERM),
    ],
)
def test_a_run_that_is_gone_leaves_no_stage(
    finished: tuple[Lab, str], copy: CopyLab, command: list[str], number: int
) -> None:
    """The stage ends at its next checkpoint at the latest, and the next run goes on from there."""
    lab = copy()
    shutil.rmtree(lab.folder / "models")
    shutil.rmtree(lab.folder / ".dvc/cache")
    run = lab.begin(*command)
    wait_for(lab, "teacher-*/checkpoint-*.json")
    os.kill(run.pid, number)
    run.wait()
    wait_for_the_end(lab)
    assert not (lab.folder / TEACHER).exists()
    assert "going on from update" in lab.run("dvc", "repro", "teacher@clean")
    assert lab.read(TEACHER) == finished[0].read(TEACHER)
    assert not list((lab.folder / ".scratch").iterdir())
    assert not list(lab.folder.glob("*/**/.*.lock"))


def test_a_runner_that_is_process_1_of_a_container_ends_with_all_its_stages(copy: CopyLab) -> None:
    lab = copy()
    shutil.rmtree(lab.folder / "models")
    shutil.rmtree(lab.folder / ".dvc/cache")
    space = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a container's process 1 can be had by root alone")
    run = lab.begin(*space, "python", "-m", "runner", "2")
    wait_for(lab, "teacher-*/checkpoint-*.json")
    (runner,) = psutil.Process(run.pid).children()
    os.kill(runner.pid, signal.SIGTERM)
    printed, _ = run.communicate(timeout=LIMIT)
    assert "[repro] stopped; what is done stays done" in printed
    assert processes(lab) == []


# DVC's own files


@pytest.mark.parametrize("text", ["", '{"write": {"x": {"pid": 1, "cmd": "dvc repro"}}, "re', "process 1"])
def test_a_lock_that_blocks_for_ever_is_mended(copy: CopyLab, text: str) -> None:
    lab = copy()
    path = lab.folder / ".dvc/tmp/rwlock"
    if text == "process 1":  # of a container that is gone; here it is another
        entry = '{"pid": 1, "cmd": "dvc repro"}'
        text = f'{{"write": {{"{lab.folder}/models/teacher/clean": {entry}}}, "read": {{}}}}'
    lab.edit("params.yaml", ("report.bootstrap_samples", 50))
    path.write_text(text, encoding="utf-8")
    if not text.endswith("}}"):
        assert "JSON structure is corrupted" in lab.ask("dvc", "repro").stderr
    said = lab.run("python", "-m", "runner", "1")
    assert (
        "[repro] .dvc/tmp/rwlock " in said
        and "no DVC works here: set aside as .dvc/tmp/rwlock.damaged-" in said
    )
    (kept,) = path.parent.glob("rwlock.damaged-*")
    assert kept.read_text(encoding="utf-8") == text


def test_an_empty_lock_file_is_written_anew_and_nothing_is_trained(copy: CopyLab) -> None:
    """Of a smaller grid than was run: its report alone is made."""
    lab = copy()
    whole = records(lab)
    grid: dict[str, list[str]] = {family: [] for family in ("word", "seq", "both", "hybrid", "online")}
    lab.edit("params.yaml", ("grid.methods", {"plain": ["plain"], **grid}), ("grid.capacities", ["tiny"]))
    (lab.folder / "dvc.lock").write_bytes(b"")
    said = lab.run("python", "-m", "runner", "2")
    assert "[repro] dvc.lock is not whole, and no DVC works here: set aside as dvc.lock.damaged-" in said
    anew = records(lab)
    assert {"teacher@clean", "student_plain@plain-tiny-clean-1", "report"} <= anew.keys()
    del anew["report"]
    assert anew == {name: whole[name] for name in anew}
    assert "target tokens/s" not in said


def test_git_at_work_is_waited_for(copy: CopyLab) -> None:
    """DVC stages dvc.lock after each stage: `git commit` in an editor would fail it."""
    lab = copy()
    lab.edit("params.yaml", ("report.bootstrap_samples", 50))
    index = lab.folder / ".git/index.lock"
    index.write_bytes(b"")
    run = lab.begin("python", "-m", "runner", "1", fork=True)
    assert run.stdout is not None
    told = "index.lock: another git command works here; if none does, delete that file"
    printed = next((line for line in run.stdout if told in line), "")
    index.unlink()
    rest, _ = run.communicate(timeout=LIMIT)
    assert run.returncode == 0, rest
    assert printed, rest
    assert "dvc.lock" in lab.run("git", "diff", "--cached", "--name-only")


# Full disks


STAGES = [
    ("corpus",),
    ("prepare",),
    ("bpe",),
    ("noise", "clean"),
    ("teacher", "clean"),
    ("decode", "clean", "beam"),
    ("targets", "clean", "gold"),
    ("student", "word", "word-tiny-clean-1"),
    ("evaluate", "word", "word-tiny-clean-1"),
    ("report",),
]


def test_a_full_disk_is_one_message_and_then_all_ends_in_the_same_bytes(
    finished: tuple[Lab, str], tmp_path: Path
) -> None:
    with mounted(tmp_path / "disk", "64m") as disk:
        fill_and_free(finished[0], disk)


def fill_and_free(whole: Lab, disk: Path) -> None:
    folder = disk / "lab"
    shutil.copytree(whole.folder, folder, symlinks=True, ignore=shutil.ignore_patterns("cache", ".git"))
    lab = Lab(folder)
    lab.env["TMPDIR"] = str(disk)
    before = contents(lab)
    filler = disk / "filler"
    for stage in STAGES:
        with filler.open("wb") as file:
            file.write(bytes(max(0, shutil.disk_usage(disk).free - 8192)))
        done = lab.ask("python", "-m", f"stages.{stage[0]}", *stage[1:])
        filler.unlink()
        assert done.returncode == 1, stage
        message = done.stderr[done.stderr.index("error: ") :]
        assert stage[0] in message and " free" in message and "; free some, or " in message, message
        assert "Traceback" not in done.stderr
    assert contents(lab) == before  # nothing was replaced
    for stage in STAGES:
        lab.run("python", "-m", f"stages.{stage[0]}", *stage[1:])
    assert contents(lab) == before


def contents(lab: Lab) -> dict[str, bytes]:
    """All results of a laboratory."""
    paths = [path for top in ("data", "models", "reports") for path in (lab.folder / top).rglob("*")]
    return {
        str(path.relative_to(lab.folder)): path.read_bytes()
        for path in paths
        if path.is_file() and "machine" not in path.parts
    }
