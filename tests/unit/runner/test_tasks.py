"""runner.tasks: what the tasks of a job on several nodes know of each other, and which of them speaks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nmtkd import machine
from nmtkd.processes import LostError
from runner import entries, jobs, launching, tasks, torchrun

TOLD = """\
NodeName=n4 CPULoad=0.1 NodeAddr=10.0.0.4 NodeHostName=n4 Port=1
NodeName=n7 CPULoad=0.1 NodeAddr=10.0.0.7 NodeHostName=n7 Port=1
"""
ENDED = "process 4 of this stage was ended by"


@pytest.fixture
def second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """This process as the second of two tasks; the file that says that one has spoken."""
    values = {
        jobs.RECEIPT: str(tmp_path / "a.job"), "SLURM_JOB_ID": "5", "SLURM_STEP_ID": "3",
        "SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_NODEID": "1", "SLURM_STEP_NODELIST": "n[4,7]",
        "SLURM_STEP_NUM_NODES": "2",
    }  # fmt: skip
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tasks, "LOOK", 0.01)
    (tmp_path / "a.job").write_text("", encoding="utf-8")
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path / "a.job.5-3-0"
    signal.signal(signal.SIGTERM, before)


def scontrol(folder: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    """A scontrol that says so, to the question that it should be asked."""
    program = folder / "scontrol"
    asked = "[ \"$*\" = '--oneliner show node n[4,7]' ] || exit 1"
    program.write_text(f"#!/bin/sh\n{asked}\ncat <<END\n{said}END\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_tasks_are_those_of_a_job_of_ours(second: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC itself may run in an allocation of many tasks."""
    assert (tasks.count(), tasks.number(), tasks.step()) == (2, 1, "5-3-0")
    assert tasks.port() == 20_000 + 5 * 97 + 3
    monkeypatch.setenv("SLURM_JOB_ID", "1000000")
    assert tasks.port() == 24_003
    monkeypatch.delenv(jobs.RECEIPT)
    assert (tasks.count(), tasks.number(), tasks.told(), tasks.speaks()) == (1, 0, False, True)


def test_tasks_meet_at_the_address_of_the_first_ones_node(
    second: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scontrol(tmp_path, monkeypatch, TOLD)
    assert torchrun._meeting() == {
        "min_nodes": 2,
        "max_nodes": 2,
        "run_id": "5-3-0",
        "rdzv_endpoint": "10.0.0.4:20488",
        "rdzv_configs": {"is_host": False},
        "local_addr": "10.0.0.7",
    }


def test_an_address_that_slurm_does_not_tell_is_said(
    second: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    scontrol(tmp_path, monkeypatch, TOLD.splitlines(keepends=True)[0])
    with pytest.raises(jobs.LaunchError, match=r"^scontrol show node n\[4,7\]: tells 1 addresses"):
        tasks.addresses()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(jobs.LaunchError, match=r"^scontrol: No such file or directory; a training on"):
        tasks.addresses()


def test_one_task_speaks(second: Path) -> None:
    assert not tasks.told()
    assert tasks.speaks() and tasks.told()
    assert not tasks.speaks()


def test_a_task_that_lost_another_waits_for_its_reason(second: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "PATIENCE", 10.0)
    threading.Timer(0.3, second.touch).start()
    assert not tasks.speaks(lost=True)


def test_a_task_that_lost_another_speaks_where_no_reason_comes(
    second: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "PATIENCE", 0.1)
    assert tasks.speaks(lost=True) and second.exists()


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("x"), 1, "error: x\n"),
        (LostError("x"), 1, "error: x\n"),
        (KeyboardInterrupt(), 130, "stopped\n"),
    ],
)
def test_a_task_ends_silently_where_another_one_has_spoken(
    second: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    code: int,
    said: str,
) -> None:
    monkeypatch.setattr(tasks, "PATIENCE", 0.1)

    def main() -> None:
        raise error

    for expected in ((code, said), (1, "")):
        with pytest.raises(SystemExit) as caught:
            entries.run(main)
        assert (caught.value.code, capsys.readouterr().err) == expected


def test_only_the_first_task_writes_the_receipt(
    second: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in jobs.HOSTS_OWN:
        monkeypatch.setenv(name, "1")
    with launching.job(several=True):
        pass
    assert (tmp_path / "a.job").read_text(encoding="utf-8") == ""
    monkeypatch.setenv("SLURM_PROCID", "0")
    with launching.job(several=True):
        assert "done" not in (tmp_path / "a.job").read_text(encoding="utf-8")
    assert '"done": true' in (tmp_path / "a.job").read_text(encoding="utf-8")


@pytest.mark.parametrize(("several", "by_srun"), [(False, True), (True, False)])
def test_tasks_that_cannot_share_are_refused(
    second: Path, monkeypatch: pytest.MonkeyPatch, several: bool, by_srun: bool
) -> None:
    """So are those of a batch's script, which is one process."""
    if not by_srun:
        monkeypatch.delenv("SLURM_STEP_ID")
    told = pytest.raises(jobs.LaunchError, match=r"2 tasks were asked for; .* --ntasks=1")
    with told, launching.job(several=several):
        pass


def test_a_launcher_ends_once_another_task_has_spoken(second: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless it ends by itself."""
    monkeypatch.setattr(machine, "PROGRESS_SECONDS", 0.05)
    ended: list[int] = []
    over = threading.Event()

    def kill(_pid: int, number: int) -> None:
        ended.append(number)
        over.set()

    monkeypatch.setattr(os, "kill", kill)
    second.touch()
    for _ in range(2):
        watcher = threading.Thread(target=torchrun._end_with_taker, args=(over,), daemon=True)
        watcher.start()
        watcher.join(2.0)
        assert not watcher.is_alive() and ended == [signal.SIGTERM]


def failure(code: int, message: str = "", when: int = 0, *, lost: bool = False) -> Any:
    said = {"message": message, "timestamp": when, "lost": lost} if message else {"message": "torch's"}
    return SimpleNamespace(exitcode=code, error_file_data=said)


@pytest.mark.parametrize(
    ("failures", "starts", "lost"),
    [
        ({3: failure(1, "gone", lost=True), 4: failure(1, "too high", 9)}, "too high", False),
        ({3: failure(1, "gone", lost=True)}, "gone", True),
        ({3: failure(1, "gone", lost=True), 4: failure(-9)}, f"{ENDED} SIGKILL", False),
        ({4: failure(-6)}, f"{ENDED} SIGABRT", True),
        ({4: failure(7)}, "process 4 of this stage ended with exit code 7", False),
    ],
)  # fmt: skip
def test_a_reason_is_told_from_a_loss(failures: dict[int, Any], starts: str, lost: bool) -> None:
    """Where NCCL loses another node its process aborts."""
    message, only_lost = torchrun.cause(failures)
    assert message.startswith(starts) and only_lost == lost
