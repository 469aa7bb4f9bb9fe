"""Stages side by side: what must run, and what may start when (nmtkd.jobs)."""

import multiprocessing
import os
import subprocess
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

import repro
from nmtkd import jobs
from nmtkd.jobs import Plan

# corpus -> teacher -> (a, b) -> report, and plain, which needs no teacher
GRAPH = {"corpus": [], "teacher": ["corpus"], "a": ["teacher"], "b": ["teacher"], "plain": ["corpus"], "report": ["a", "b", "plain"]}


def test_all_that_depends_on_a_stale_stage_is_left() -> None:
    assert list(Plan(GRAPH, {"teacher"}).left) == ["teacher", "a", "b", "report"]
    assert list(Plan(GRAPH, {"plain", "b"}).left) == ["b", "plain", "report"]
    assert Plan(GRAPH, set()).left == {}


def test_a_stage_waits_for_what_it_depends_on() -> None:
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


def test_the_longest_chain_goes_first() -> None:
    """A plain student, though named before the teacher, starts after it: the teacher has two stages after it, the student one."""
    graph = {"corpus": [], "plain": ["corpus"], "teacher": ["corpus"], "word": ["teacher"], "report": ["plain", "word"]}
    assert jobs.chains(graph) == {"corpus": 3, "plain": 1, "teacher": 2, "word": 1, "report": 0}
    plan = Plan(graph, graph)
    plan.start("corpus")
    plan.done("corpus")
    assert plan.ready() == ["teacher", "plain"]
    assert Plan(graph, {"plain", "word"}).ready() == ["plain", "word"]


class Shell:
    """In place of DVC: a line of a log at a stage's start and end, and failure at once where the stage is called b."""

    script = 'echo "+$0 $NMTKD_THREADS" >> log; test "$0" != b || exit 1; sleep 0.3; echo "-$0" >> log'

    def work(self, stage: str, environment: Mapping[str, str]) -> None:
        """A process's target."""
        raise SystemExit(subprocess.call(["sh", "-c", self.script, stage], env={**os.environ, **environment}))

    def start(self, stage: str, environment: Mapping[str, str]) -> BaseProcess:
        """What jobs.run calls."""
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


def test_no_more_than_so_many_run_at_once_and_share_the_cores(shell: Shell) -> None:
    graph = {"a": [], "c": [], "d": [], "e": ["a", "c", "d"]}
    assert jobs.run(Plan(graph, graph), 2, shell.start) == 0
    lines = shell.lines()
    assert sorted(lines[:2]) == ["+a 2", "+c 2"] and sorted(lines[2:4]) == ["-a", "-c"]
    assert lines[4:] == ["+d 2", "-d", "+e 2", "-e"]


def test_a_teacher_runs_alone_on_all_cores(shell: Shell) -> None:
    """It comes when its turn has come, after what runs already; the longest chain, which is its own, is first in turn."""
    graph = {"a": [], "c": [], "teacher@x": ["a"], "d": [], "e": ["teacher@x"], "f": ["e"]}
    assert jobs.run(Plan(graph, graph), 2, shell.start) == 0
    lines = shell.lines()
    begun, ended = lines.index("+teacher@x 4"), lines.index("-teacher@x")
    assert ended == begun + 1
    before = {line for line in lines[:begun] if line.startswith("+")}
    assert {"+a 2"} <= before and all(f"-{line[1]}" in lines[:begun] for line in before)
    assert {line for line in lines if line.startswith("+")} == {"+a 2", "+c 2", "+d 2", "+e 2", "+f 2", "+teacher@x 4"}


def test_after_a_failure_nothing_starts_and_what_runs_may_end(shell: Shell) -> None:
    graph = {"a": [], "b": [], "c": [], "d": ["a"]}
    assert jobs.run(Plan(graph, graph), 2, shell.start) == 1
    assert {line[1:2] for line in shell.lines()} == {"a", "b"}


def test_the_number_of_jobs_is_checked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["repro", "0"])
    with pytest.raises(SystemExit):
        repro.main()
    assert "JOBS must be 1 or more; got 0" in capsys.readouterr().err


PIPELINE = """
stages:
  first: {cmd: echo 1 > a, outs: [a]}
  second: {cmd: "test $NMTKD_THREADS = 2 && cp a b", deps: [a], outs: [b]}
  beside: {cmd: echo 1 > c, outs: [c]}
"""


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A repository with three small stages, in which the four cores of NMTKD_THREADS are shared by two."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NMTKD_THREADS", "4")
    monkeypatch.setenv("DVC_NO_ANALYTICS", "1")
    (tmp_path / "dvc.yaml").write_text(PIPELINE, encoding="utf-8")
    dvc("init", "--no-scm", "--quiet")
    return tmp_path


def dvc(*arguments: str) -> int:
    process = repro.start(list(arguments), {})
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def test_the_plan_is_what_dvc_finds_stale(pipeline: Path) -> None:
    plan = repro.read()
    assert plan is not None
    assert plan.left == {"first": set(), "second": {"first"}, "beside": set()}
    assert dvc("repro", "--quiet", "first") == 0
    plan = repro.read()
    assert plan is not None
    assert plan.left == {"second": set(), "beside": set()}


def test_stages_run_through_dvc_which_then_has_nothing_left(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["repro", "2"])
    process = multiprocessing.get_context("fork").Process(target=repro.main)
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (pipeline / "b").read_text(encoding="utf-8") == "1\n"  # with two of the four cores
    plan = repro.read()
    assert plan is not None
    assert plan.left == {}


def test_what_dvc_cannot_read_is_left_to_it_to_tell(pipeline: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (pipeline / "dvc.yaml").write_text("stages: {first: {cmd: true, deps: [a], outs: [a]}}", encoding="utf-8")
    assert repro.read() is None
    assert capfd.readouterr().err == ""
