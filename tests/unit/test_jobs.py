"""Stages side by side: what must run, and what may start when (nmtkd.jobs)."""

from pathlib import Path

import pytest

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


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """In place of DVC: a line of a log at a stage's start and end, and failure where the stage is called b."""
    script = 'echo "+$1 $NMTKD_THREADS" >> log; sleep 0.3; echo "-$1" >> log; test "$1" != b'
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NMTKD_THREADS", "4")
    monkeypatch.setattr(jobs, "DVC", ("sh", "-c", script))
    return tmp_path / "log"


def test_no_more_than_so_many_run_at_once_and_share_the_cores(shell: Path) -> None:
    graph = {"a": [], "c": [], "d": [], "e": ["a", "c", "d"]}
    assert jobs.run(Plan(graph, graph), 2) == 0
    lines = shell.read_text(encoding="utf-8").split("\n")[:-1]
    assert sorted(lines[:2]) == ["+a 2", "+c 2"] and sorted(lines[2:4]) == ["-a", "-c"]
    assert lines[4:] == ["+d 2", "-d", "+e 2", "-e"]


def test_after_a_failure_nothing_starts_and_what_runs_may_end(shell: Path) -> None:
    graph = {"a": [], "b": [], "c": [], "d": ["a"]}
    assert jobs.run(Plan(graph, graph), 2) == 1
    assert {line[1:2] for line in shell.read_text(encoding="utf-8").split("\n")[:-1]} == {"a", "b"}


def test_the_number_of_jobs_is_checked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["jobs", "0"])
    with pytest.raises(SystemExit):
        jobs.main()
    assert "JOBS must be 1 or more; got 0" in capsys.readouterr().err


def test_the_graph_is_read_from_dvcs_drawing() -> None:
    drawn = 'strict digraph {\n"corpus";\n"a@x-1";\n"report";\n"corpus" -> "a@x-1";\n"a@x-1" -> "report";\n"corpus" -> "report";\n}\n'
    assert jobs.dependencies(drawn) == {"corpus": [], "a@x-1": ["corpus"], "report": ["a@x-1", "corpus"]}
