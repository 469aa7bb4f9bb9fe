"""`python -m runner JOBS`: what DVC finds stale is run, side by side, and nothing is left."""

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from runner import __main__ as runner
from runner import mending, schedule
from runner.schedule import Plan

ROOT = Path(__file__).resolve().parents[3]

PIPELINE = """
stages:
  manifests: {cmd: echo 1 > m, outs: [m]}
  report: {cmd: "mkdir -p reports && cat b c > r && cp r reports/table.md", deps: [b, c], outs: [r]}
  first: {cmd: echo 1 > a, deps: [m], outs: [a]}
  second: {cmd: "test $NMTKD_THREADS = 2 && cp a b", deps: [a], outs: [b]}
  beside: {cmd: echo 1 > c, deps: [m], outs: [c]}
"""
ORDER = ["manifests", "report", "first", "second", "beside"]


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A repository of small stages, in which the four cores of NMTKD_THREADS are shared by two."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NMTKD_THREADS", "4")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    (tmp_path / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    dvc("init", "--no-scm", "--quiet")
    return tmp_path


def apart(target: Callable[..., Any], *arguments: Any) -> int:
    """The exit code of a process of its own: DVC keeps files open, and changes what it runs in."""
    process = runner.FORKS.Process(target=target, args=arguments)
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def dvc(*arguments: str) -> int:
    return apart(runner.command, list(arguments), {})


def stages(text: str) -> list[str]:
    """The stages of a lock file, in its order."""
    return [line[2:-1] for line in text.splitlines() if line.startswith("  ") and line[2] != " "]


def stale() -> dict[str, set[str]]:
    graph = runner.read_graph()
    assert graph is not None
    return Plan(*graph).left


def test_jobs_are_checked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["runner", "0"])
    with pytest.raises(SystemExit):
        runner.main()
    assert "JOBS must be 1 or more; got 0" in capsys.readouterr().err


def test_jobs_that_nobody_named_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    taken: list[int] = []

    def run_stale(jobs: int) -> int:
        taken.append(jobs)
        return 1

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(runner, "run_stale", run_stale)
    monkeypatch.setattr(schedule, "at_once", lambda: 3)
    for arguments in ([], ["2"]):
        monkeypatch.setattr("sys.argv", ["runner", *arguments])
        with pytest.raises(SystemExit):
            runner.main()
    assert taken == [3, 2]
    assert capsys.readouterr().err.splitlines() == [
        "[repro] JOBS=3 on this machine: stages at once, and a part of what their digits depend on"
    ]


def test_graph_is_what_dvc_finds_stale(pipeline: Path) -> None:
    assert stale() == {
        "manifests": set(),
        "first": {"manifests"},
        "second": {"first"},
        "beside": {"manifests"},
        "report": {"second", "beside"},
    }
    assert dvc("repro", "--quiet", "first") == 0
    assert stale() == {"second": set(), "beside": set(), "report": {"second", "beside"}}


def test_runner_runs_stages_through_dvc_which_then_has_nothing_left(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["runner", "2"])
    assert apart(runner.main) == 0
    assert (pipeline / "r").read_text(encoding="utf-8") == "1\n1\n"  # second ran with two of the four cores
    assert stale() == {}
    lock = (pipeline / "dvc.lock").read_text(encoding="utf-8")
    assert sorted(stages(lock)) == sorted(ORDER)
    seconds = json.loads((pipeline / "reports/machine/stages.json").read_text(encoding="utf-8"))
    assert sorted(seconds) == sorted(set(ORDER) - {"manifests"})  # which was run before the graph was read
    assert "[repro] 3/4 done; starting report\n" in capfd.readouterr().err


def test_runner_tells_why_dvc_failed(pipeline: Path) -> None:
    """A dependency that is missing is DVC's to tell: no stage runs that could."""
    (pipeline / "dvc.yaml").write_text(PIPELINE.replace("deps: [a], outs: [b]", "deps: [nowhere], outs: [b]"))
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "runner", "2"], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "ERROR: failed to reproduce 'second': [Errno 2] No such file or directory" in done.stderr
    assert "[repro] second FAILED" in done.stderr


def test_runner_writes_one_lock_whatever_the_jobs(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stage at a time the order of ends is another."""
    monkeypatch.setenv("NMTKD_THREADS", "2")  # second asks for two
    ticks = itertools.count()
    monkeypatch.setattr(runner, "written", lambda _: next(ticks))  # no screen: there is no report to show
    locks = []
    for jobs in ("1", "3"):
        for name in ("dvc.lock", "m", "a", "b", "c", "r"):
            (pipeline / name).unlink(missing_ok=True)
        monkeypatch.setenv("NMTKD_THREADS", str(2 * int(jobs)))
        monkeypatch.setattr("sys.argv", ["runner", jobs])
        assert apart(runner.main) == 0
        locks.append((pipeline / "dvc.lock").read_text(encoding="utf-8"))
    assert locks[0] == locks[1]


def test_runner_shows_the_last_screen_unless_the_report_did(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """DVC may skip the report though its turn came: in a clone it is up to date once all else is there."""
    monkeypatch.chdir(tmp_path)
    runner.TABLE.parent.mkdir()
    runner.TABLE.write_text("of an earlier run", encoding="utf-8")
    os.utime(runner.TABLE, (1, 1))
    shown: list[Sequence[str]] = []

    def run(command: Sequence[str], check: bool) -> SimpleNamespace:
        shown.append(command[1:])
        return SimpleNamespace(returncode=7)

    monkeypatch.setattr("subprocess.run", run)
    monkeypatch.setattr("sys.argv", ["runner", "1"])
    for status, reports, code in ((0, False, 7), (0, True, 0), (3, False, 3)):

        def run_stale(_: int, status: int = status, reports: bool = reports) -> int:
            if reports:
                runner.TABLE.write_text("of this run", encoding="utf-8")
            return status

        monkeypatch.setattr(runner, "run_stale", run_stale)
        with pytest.raises(SystemExit) as caught:
            runner.main()
        assert caught.value.code == code
    assert shown == [["-m", "stages.report", "--show"]]


def test_graph_that_dvc_cannot_read_is_left_to_it_to_tell(
    pipeline: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = "stages: {first: {cmd: true, deps: [a], outs: [a]}}"
    (pipeline / "dvc.yaml").write_text(text, encoding="utf-8")
    assert runner.read_graph() is None
    assert capfd.readouterr().err == ""


def test_times_are_of_what_ran_not_of_what_a_cache_had(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    runner.note({"cached": 100.0, "faster": 10.0, "idle": 7.0}, {"cached": 5.0, "faster": 8.0, "new": 2.0})
    assert runner.timed() == {"cached": 100.0, "faster": 8.0, "idle": 7.0, "new": 2.0}
    runner.note(runner.timed(), {"cached": 1.0})
    assert runner.timed() == {"cached": 100.0, "faster": 8.0, "idle": 7.0, "new": 2.0}


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder whose run has one stage to do, and times of an earlier one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mending, "mend", lambda _: None)
    monkeypatch.setattr(runner, "start", lambda *_: SimpleNamespace(join=lambda: None, exitcode=0))
    monkeypatch.setattr(runner, "read_graph", lambda: ({"a": []}, ["a"]))
    monkeypatch.setattr(runner, "announce", lambda *_: None)
    runner.note({}, {"a": 2.0, "b": 4.0})
    return tmp_path


def test_a_stopped_run_keeps_the_times_that_were_known(
    planned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object) -> None:
        raise schedule.Stopped({"a": 3.0})

    monkeypatch.setattr(schedule, "run", stopped)
    assert runner.run_stale(1) == runner.INTERRUPTED
    assert runner.timed() == {"a": 3.0, "b": 4.0}
    assert capsys.readouterr().err == (
        "[repro] stopped; what is done stays done, a training goes on from its last checkpoint: run it "
        "again\n"
    )


@pytest.mark.parametrize(
    ("of_stages", "of_dvc", "status", "asked"), [(0, 0, 0, 1), (0, 255, 255, 1), (3, 0, 3, 0)]
)
def test_a_run_ends_as_its_stages_did_and_then_as_dvc_does(
    planned: Path, monkeypatch: pytest.MonkeyPatch, of_stages: int, of_dvc: int, status: int, asked: int
) -> None:
    """DVC is asked once more whether nothing is left, but not after a failure. Times are kept either way."""
    said: list[Sequence[str]] = []

    def run(_: Plan, jobs: int, start: object, before: object, tell: object) -> tuple[int, dict[str, float]]:
        assert (jobs, before) == (5, {"a": 2.0, "b": 4.0})  # from which the time left is told
        return of_stages, {"a": 3.0}

    def dvc(arguments: Sequence[str]) -> int:
        said.append(arguments)
        return of_dvc

    monkeypatch.setattr(schedule, "run", run)
    monkeypatch.setattr(runner, "dvc", dvc)
    assert runner.run_stale(5) == status
    assert said == [runner.REPRO] * asked
    assert runner.timed() == {"a": 3.0, "b": 4.0}
