"""What stages declare is what they read; what the graph holds is what the grid says."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nmtkd import grid, params
from tests.structure.imports import ROOT, code_of
from tests.structure.pipeline import Stage, project

STAGES, RAW = project()


class Read(Exception):  # noqa: N818  not an error: it ends a stage once it has said what it reads
    """Raised in place of loading, with the names asked for."""


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_declared_params_are_those_that_the_stage_loads(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def load(*names: str, **_: Any) -> Any:
        asked.extend(names)
        raise Read

    monkeypatch.setattr(params, "load", load)
    entry, *names = stage.command
    module = importlib.import_module(f"stages.{entry}")
    monkeypatch.setattr(sys, "argv", [entry, *names])
    with pytest.raises(Read):
        module.main()
    assert set(asked) == stage.params


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_declared_code_is_what_the_stage_imports(stage: Stage) -> None:
    declared = sorted(path for path in stage.deps if path.startswith(("src/", "stages/")))
    assert declared == code_of(stage.command[0])


@pytest.mark.parametrize("entry", sorted({stage.command[0] for stage in STAGES}))
def test_a_stage_loads_params_once_and_by_literal_names(entry: str) -> None:
    text = (ROOT / "stages" / f"{entry}.py").read_text(encoding="utf-8")
    assert text.count("params.load(") == 1


def test_students_of_the_graph_are_the_runs_of_the_grid() -> None:
    runs = grid.runs(params.validate(RAW).grid)
    assert {stage.name for stage in STAGES if stage.name.startswith("student")} == {f"student_{run.family}@{run.key}" for run in runs}
    assert {stage.name for stage in STAGES if stage.name.startswith("evaluate") and "teacher" not in stage.name} == {
        f"evaluate_{run.family}@{run.key}" for run in runs
    }
    for run in runs:
        stage = next(stage for stage in STAGES if stage.name == f"student_{run.family}@{run.key}")
        assert stage.outs == (str(grid.student_dir(run.key)),)
        assert grid.Run.named(stage.command[1], stage.command[2:]) == run


def test_dvc_resolves_the_same_stages() -> None:
    listed = subprocess.run(
        [Path(sys.executable).parent / "dvc", "stage", "list", "--name-only"], capture_output=True, text=True, check=True
    )
    assert sorted(listed.stdout.split()) == sorted(stage.name for stage in STAGES)


def test_every_data_dependency_is_the_output_of_a_stage() -> None:
    outs = [Path(out) for stage in STAGES for out in stage.outs]
    for stage in STAGES:
        for dep in sorted(stage.deps):
            path = Path(dep)
            if dep.startswith(("src/", "stages/")) or dep == RAW["corpus"]["folder"]:
                continue
            inside = any(out == path or out in path.parents for out in outs)
            around = any(path in out.parents for out in outs)
            assert inside or around, f"{stage.name}: {dep}"


def test_plain_students_depend_on_nothing_of_the_teacher() -> None:
    for stage in STAGES:
        if stage.name.startswith(("student_plain", "evaluate_plain")):
            assert not [
                dep for dep in stage.deps if "teacher" in dep or ("hypotheses" in dep and not dep.endswith(".py")) or "data/targets" in dep
            ]


def test_no_student_depends_on_a_teachers_model() -> None:
    for stage in STAGES:
        if stage.name.startswith("student"):
            assert not [dep for dep in stage.deps if dep.startswith("models/teacher") and not dep.endswith("model.sha256")]
