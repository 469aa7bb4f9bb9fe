"""runner.schedule: what must run, what may start when, and the time that is left."""

import multiprocessing
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from nmtkd import machine
from runner import schedule
from runner.schedule import Plan

# corpus -> teacher -> (a, b) -> report, and plain, which needs no teacher
GRAPH = {
    "corpus": [],
    "teacher": ["corpus"],
    "a": ["teacher"],
    "b": ["teacher"],
    "plain": ["corpus"],
    "report": ["a", "b", "plain"],
}


@pytest.mark.parametrize(
    ("threads", "free", "gpu", "device", "jobs"),
    [
        (2, 24, False, "auto", 2),
        (16, 64, False, "auto", 8),
        (4, 7, False, "auto", 2),
        (4, 1, False, "auto", 1),
        (4, 64, True, "auto", 1),
        (4, 64, True, "cpu", 4),
    ],
)
def test_stages_at_once_follow_cores_and_free_memory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    threads: int,
    free: int,
    gpu: bool,
    device: str,
    jobs: int,
) -> None:
    monkeypatch.setattr(machine, "threads", lambda: threads)
    monkeypatch.setenv("NMTKD_DEVICE", device)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free * 2**30))
    for name in ("nvidiactl", *["nvidia0"] * gpu):
        (tmp_path / name).touch()
    assert schedule.at_once(tmp_path) == jobs


def test_plan_holds_all_that_depends_on_a_stale_stage() -> None:
    assert list(Plan(GRAPH, {"teacher"}).left) == ["teacher", "a", "b", "report"]
    assert list(Plan(GRAPH, {"plain", "b"}).left) == ["b", "plain", "report"]
    assert Plan(GRAPH, set()).left == {}


def test_plan_lets_a_stage_wait_for_what_it_depends_on() -> None:
    plan = Plan(GRAPH, {"teacher", "plain"})
    assert plan.ready() == ["teacher", "plain"]
    plan.start("teacher")
    assert plan.ready() == ["plain"]
    plan.done("teacher")
    assert plan.ready() == ["a", "b", "plain"]
    for stage in ("a", "b", "plain"):
        plan.start(stage)
    for stage in ("a", "b"):
        plan.done(stage)
        assert plan.ready() == []
    plan.done("plain")
    assert plan.ready() == ["report"]


def test_plan_starts_the_longest_chain_first() -> None:
    """A plain student, though named before the teacher, starts after it: the teacher has two stages after
    it, the student one."""
    graph = {
        "corpus": [],
        "plain": ["corpus"],
        "teacher": ["corpus"],
        "word": ["teacher"],
        "report": ["plain", "word"],
    }
    assert schedule.chains(graph) == {"corpus": 3, "plain": 1, "teacher": 2, "word": 1, "report": 0}
    plan = Plan(graph, graph)
    plan.start("corpus")
    plan.done("corpus")
    assert plan.ready() == ["teacher", "plain"]
    assert Plan(graph, {"plain", "word"}).ready() == ["plain", "word"]


def silent(line: str) -> None:
    pass


class Shell:
    """In place of DVC: a line of a log at a stage's start and end, and failure at once where the stage is
    called b."""

    script = 'echo "+$0 $NMTKD_THREADS" >> log; test "$0" != b || exit 1; sleep 0.3; echo "-$0" >> log'

    def work(self, stage: str, environment: Mapping[str, str]) -> None:
        """A process's target."""
        raise SystemExit(subprocess.call(["sh", "-c", self.script, stage], env={**os.environ, **environment}))

    def start(self, stage: str, environment: Mapping[str, str]) -> BaseProcess:
        """What schedule.run calls."""
        process = multiprocessing.get_context("fork").Process(target=self.work, args=(stage, environment))
        process.start()
        return process

    def lines(self) -> list[str]:
        """The log."""
        return Path("log").read_text(encoding="utf-8").split("\n")[:-1]


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Shell:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NMTKD_THREADS", "4")
    return Shell()


def test_run_starts_no_more_than_so_many_at_once_and_shares_the_cores(shell: Shell) -> None:
    graph = {"a": [], "c": [], "d": [], "e": ["a", "c", "d"]}
    assert schedule.run(Plan(graph, graph), 2, shell.start, {}, silent)[0] == 0
    lines = shell.lines()
    assert sorted(lines[:2]) == ["+a 2", "+c 2"] and sorted(lines[2:4]) == ["-a", "-c"]
    assert lines[4:] == ["+d 2", "-d", "+e 2", "-e"]


def test_teacher_runs_alone_on_all_cores(shell: Shell) -> None:
    """It comes when its turn has come, after what runs already; the longest chain, which is its own, is
    first in turn."""
    graph = {"a": [], "c": [], "teacher@x": ["a"], "d": [], "e": ["teacher@x"], "f": ["e"]}
    assert schedule.run(Plan(graph, graph), 2, shell.start, {}, silent)[0] == 0
    lines = shell.lines()
    begun, ended = lines.index("+teacher@x 4"), lines.index("-teacher@x")
    assert ended == begun + 1
    before = {line for line in lines[:begun] if line.startswith("+")}
    assert {"+a 2"} <= before and all(f"-{line[1]}" in lines[:begun] for line in before)
    assert {line for line in lines if line.startswith("+")} == {
        "+a 2",
        "+c 2",
        "+d 2",
        "+e 2",
        "+f 2",
        "+teacher@x 4",
    }


def test_run_starts_nothing_after_a_failure_and_lets_end_what_runs(shell: Shell) -> None:
    graph = {"a": [], "b": [], "c": [], "d": ["a"]}
    assert schedule.run(Plan(graph, graph), 2, shell.start, {}, silent)[0] == 1
    assert {line[1:2] for line in shell.lines()} == {"a", "b"}


def test_run_returns_the_seconds_of_each_stage_that_ended_well(shell: Shell) -> None:
    graph = {"a": [], "b": [], "c": ["a"]}
    status, took = schedule.run(Plan(graph, graph), 2, shell.start, {}, silent)
    assert status == 1
    assert took.keys() == {"a"}
    assert 0.25 < took["a"] < 10.0  # a sleep of 0.3 s


def test_run_tells_how_far_the_whole_is(shell: Shell) -> None:
    """Two stages of the kind `a`, one of which was timed in an earlier run."""
    said: list[str] = []
    graph = {"a@1": [], "a@2": ["a@1"]}
    schedule.run(Plan(graph, graph), 2, shell.start, {"a@1": 0.3}, said.append)
    assert [re.sub(r"\d+ s", "N s", line) for line in said] == [
        "0/2 done; starting a@1",
        "1/2 done, about N s left; a@1 took N s",
        "1/2 done; starting a@2",
    ]  # of the end the last screen tells


def test_run_tells_what_failed_and_what_to_do(shell: Shell) -> None:
    said: list[str] = []
    assert schedule.run(Plan({"b": []}, {"b"}), 1, shell.start, {}, said.append) == (1, {})
    assert said == [
        "0/1 done; starting b",
        "b FAILED; what is done stays done: mend it and run the same command again",
    ]


class Sleeper(Shell):
    """A stage that leads a group with a process of its own, and one that no interrupt ends."""

    script = 'test "$0" = stubborn && trap "" INT; echo "+$$" >> log; sleep 60 & wait; sleep 60'

    def work(self, stage: str, environment: Mapping[str, str]) -> None:
        os.setpgid(0, 0)
        child = subprocess.Popen(["sh", "-c", self.script, stage])
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # as DVC does while a stage runs
        raise SystemExit(child.wait())


def test_an_interrupted_run_leaves_no_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule, "PATIENCE", 1.0)
    shell = Sleeper()

    def interrupt() -> None:
        while not Path("log").exists() or len(shell.lines()) < 2:
            time.sleep(0.02)
        time.sleep(0.5)  # Python loses an interrupt of what it runs right after a fork
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(schedule.Stopped) as caught:
            schedule.run(Plan({"easy": [], "stubborn": []}, {"easy", "stubborn"}), 2, shell.start, {}, silent)
    finally:
        signal.signal(signal.SIGINT, before)
    assert caught.value.took == {}
    for line in shell.lines():
        left = subprocess.run(
            ["ps", "-o", "stat=", "-p", line[1:]], capture_output=True, text=True, check=False
        )
        assert left.stdout.strip()[:1] in ("", "Z"), "not even a process of a stage"


def test_run_of_nothing_is_done(shell: Shell) -> None:
    assert schedule.run(Plan(GRAPH, set()), 2, shell.start, {}, silent) == (0, {})


# The time that is left


def test_time_left_is_what_stages_took_before() -> None:
    """10 + 30 on two cores."""
    before = {"a": 10.0, "c": 30.0}
    assert schedule.time_left(["a", "c"], {}, {}, before, 1) == 40.0
    assert schedule.time_left(["a", "c"], {}, {}, before, 2) == 20.0


def test_time_left_counts_an_exclusive_stage_in_full() -> None:
    """100 + (10 + 30) / 2."""
    before = {"teacher@x": 100.0, "a": 10.0, "c": 30.0}
    assert schedule.time_left(["teacher@x", "a", "c"], {}, {}, before, 2) == 120.0


def test_time_left_takes_off_what_running_stages_have_run() -> None:
    """(10 - 4) + 30, and no less than nothing for a stage that takes longer than before."""
    before = {"a": 10.0, "c": 30.0}
    assert schedule.time_left(["c"], {"a": 4.0}, {}, before, 1) == 36.0
    assert schedule.time_left(["c"], {"a": 14.0}, {}, before, 1) == 30.0


def test_time_left_is_scaled_to_this_machine() -> None:
    """What took 10 s then takes 20 s now: 30 s then are 60 s. A stage that only this run timed scales
    nothing."""
    before = {"a": 10.0, "c": 30.0}
    assert schedule.time_left(["c"], {}, {"a": 20.0}, before, 1) == 60.0
    assert schedule.time_left(["c"], {}, {"a": 20.0, "z": 1.0}, before, 1) == 60.0


def test_time_left_of_a_new_stage_is_the_mean_of_its_kind() -> None:
    """(10 + 20) / 2; what this run timed counts as it is."""
    before = {"s@1": 10.0, "s@2": 20.0, "t": 99.0}
    assert schedule.time_left(["s@3"], {}, {}, before, 1) == 15.0
    assert schedule.time_left(["s@3"], {}, {"s@9": 30.0}, before, 1) == 20.0


def test_time_left_is_not_known_where_a_kind_was_never_timed() -> None:
    assert schedule.time_left(["new"], {}, {"a": 1.0}, {"c": 1.0}, 1) is None
    assert schedule.time_left([], {"new": 5.0}, {}, {}, 1) is None
    assert schedule.time_left([], {}, {}, {}, 1) == 0.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (40.2, "40 s"), (119.9, "120 s"), (120.0, "2 min"), (750.0, "12 min")]
)
def test_clock_is_as_a_person_says_it(seconds: float, text: str) -> None:
    assert schedule.clock(seconds) == text
