"""What stages declare is what they read; what the graph holds is what the grid says."""

from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmtkd import grid, params
from tests.structure import imports
from tests.structure.imports import ROOT, code_of
from tests.structure.pipeline import Project, Stage, projects

STAGES = list({stage.name: stage for project in projects() for stage in project.stages}.values())
each_project = pytest.mark.parametrize("project", projects(), ids=lambda project: project.name)


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


@pytest.mark.parametrize("entry", imports.entries())
def test_links_to_the_code_of_an_entry_are_links(entry: str) -> None:
    """A copy in place of a link would stay as it is when the code changes."""
    assert imports.linked(entry) == code_of(entry), "run `make imports`"


def test_anything_else_among_the_links_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "noise/stages").mkdir(parents=True)
    (tmp_path / "noise/stages/noise.py").symlink_to(ROOT / "stages/noise.py")
    monkeypatch.setattr(imports, "LINKS", tmp_path)
    assert imports.linked("noise") == ["stages/noise.py"]
    wrong = tmp_path / "noise/stages/bpe.py"
    for make in (lambda: wrong.write_text("", encoding="utf-8"), lambda: wrong.symlink_to(ROOT / "stages/noise.py")):
        make()
        with pytest.raises(ValueError, match=r"must be a link to stages/bpe\.py"):
            imports.linked("noise")
        wrong.unlink()


@pytest.mark.parametrize("entry", sorted({stage.command[0] for stage in STAGES}))
def test_a_stage_loads_params_once_and_by_literal_names(entry: str) -> None:
    text = (ROOT / "stages" / f"{entry}.py").read_text(encoding="utf-8")
    assert text.count("params.load(") == 1


def test_no_family_is_left_out() -> None:
    """One of the grids has stages of every block of dvc.yaml."""
    blocks = {f"{kind}_{family}" for kind in ("student", "evaluate") for family in params.FAMILY_SHAPES}
    assert blocks <= {stage.name.partition("@")[0] for stage in STAGES}


@each_project
def test_students_of_the_graph_are_the_runs_of_the_grid(project: Project) -> None:
    runs = grid.runs(params.validate(project.params).grid)
    assert {stage.name for stage in project.stages if stage.name.startswith("student")} == {
        f"student_{run.family}@{run.key}" for run in runs
    }
    assert {stage.name for stage in project.stages if stage.name.startswith("evaluate") and "teacher" not in stage.name} == {
        f"evaluate_{run.family}@{run.key}" for run in runs
    }
    for run in runs:
        student, evaluate = (project.stage(f"{kind}_{run.family}@{run.key}") for kind in ("student", "evaluate"))
        assert student.outs == (str(grid.student_dir(run.key)),)
        assert str(grid.student_dir(run.key)) in evaluate.deps
        assert evaluate.outs == (str(grid.translations_dir(run.key)), str(grid.result_file(run.key)))
        assert grid.Run.named(student.command[1], student.command[2:]) == run
        assert grid.Run.named(evaluate.command[1], evaluate.command[2:]) == run


@each_project
def test_students_depend_on_what_their_family_reads(project: Project) -> None:
    for run in grid.runs(params.validate(project.params).grid):
        shape = params.FAMILY_SHAPES[run.family]
        wanted = {str(grid.BPE), str(grid.noise_dir(run.noise))}
        if shape.hypotheses:
            wanted.add(str(grid.hypotheses_dir(run.noise, run.decoding)))
        if shape.targets:
            wanted.add(str(grid.targets_dir(run.noise, grid.GOLD if shape.targets == "gold" else run.decoding)))
        teacher = grid.teacher_dir(run.noise)
        if shape.targets and not shape.hypotheses:
            wanted.add(f"{teacher}/model.sha256")
        if shape.teacher:
            wanted |= {f"{teacher}/model.pt", f"{teacher}/model.sha256"}
        deps = project.stage(f"student_{run.family}@{run.key}").deps
        assert {dep for dep in deps if not dep.startswith(("src/", "stages/"))} == wanted


@each_project
def test_dvc_resolves_the_same_stages(project: Project, tmp_path: Path) -> None:
    """In a repository that holds dvc.yaml and these params alone."""
    (tmp_path / "dvc.yaml").write_bytes((ROOT / "dvc.yaml").read_bytes())
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(project.params), encoding="utf-8")
    dvc = Path(sys.executable).parent / "dvc"
    env = {**os.environ, "DVC_NO_ANALYTICS": "1"}
    for command in ("init --no-scm --quiet", "stage list --name-only"):
        listed = subprocess.run([dvc, *command.split()], capture_output=True, text=True, check=True, cwd=tmp_path, env=env)
    assert sorted(listed.stdout.split()) == sorted(stage.name for stage in project.stages)


@each_project
def test_every_data_dependency_is_the_output_of_a_stage(project: Project) -> None:
    outs = [Path(out) for stage in project.stages for out in stage.outs]
    for stage in project.stages:
        for dep in sorted(stage.deps):
            path = Path(dep)
            if dep.startswith(("src/", "stages/")) or dep == project.params["corpus"]["folder"]:
                continue
            inside = any(out == path or out in path.parents for out in outs)
            around = any(path in out.parents for out in outs)
            assert inside or around, f"{stage.name}: {dep}"


@each_project
def test_no_two_stages_write_the_same(project: Project) -> None:
    outs = sorted(Path(out) for stage in project.stages for out in stage.outs)
    assert len(set(outs)) == len(outs)
    assert not [(one, other) for one, other in itertools.pairwise(outs) if one in other.parents]


def test_plain_students_depend_on_nothing_of_the_teacher() -> None:
    for stage in STAGES:
        if stage.name.startswith(("student_plain", "evaluate_plain")):
            data = [dep for dep in stage.deps if not dep.startswith(("src/", "stages/"))]
            assert not [dep for dep in data if "teacher" in dep or "hypotheses" in dep or "targets" in dep]


def test_no_student_depends_on_a_teachers_model() -> None:
    """But for those that ask it while they train."""
    for stage in STAGES:
        if stage.name.startswith("student"):
            models = [dep for dep in stage.deps if dep.startswith("models/teacher") and not dep.endswith("model.sha256")]
            assert bool(models) == stage.name.startswith("student_online@")
