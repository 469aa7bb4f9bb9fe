"""What stages declare is what they read; what the graph holds is what the grid says."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path
from typing import Any

import pytest

from nmtkd.plan import layout, params
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.runs import Run, runs
from runner import manifests
from runner.declared import declared
from tests.structure.graph import ROOT, Project, Stage, projects

STAGES = [
    stage
    for stage in {stage.name: stage for project in projects() for stage in project.stages}.values()
    if stage.name != "manifests"
]
each_project = pytest.mark.parametrize("project", projects(), ids=lambda project: project.name)


class Read(Exception):  # noqa: N818  not an error: it ends a stage once it has said what it reads
    """Raised in place of loading, with the names asked for."""


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_declared_params_are_those_that_the_stage_loads(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
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


@each_project
def test_what_a_stage_notes_is_what_dvc_records(project: Project) -> None:
    """It compares them when it ends: runner.declared reads dvc.yaml as DVC does."""
    for stage in project.stages:
        if stage.name == "manifests":
            continue
        found = declared(
            " ".join(["python", "-m", f"stages.{stage.command[0]}", *stage.command[1:]]), project.params
        )
        assert found is not None, stage.name
        assert set(found.params) == stage.params
        assert set(map(str, found.deps)) == stage.deps


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name)
def test_a_stage_depends_on_its_manifest_and_no_other(stage: Stage) -> None:
    assert [dep for dep in stage.deps if dep.startswith("manifests/")] == [
        str(layout.manifest(stage.command[0]))
    ]


def test_the_manifests_stage_writes_one_for_each_entry() -> None:
    stage = projects()[0].stage("manifests")
    assert set(stage.outs) == {str(layout.manifest(entry)) for entry in manifests.entries()}
    assert stage.deps == {"src", "stages", "requirements.lock"}


@pytest.mark.parametrize("entry", manifests.entries())
def test_committed_manifests_are_those_of_the_code(entry: str) -> None:
    manifests.check(entry)


@pytest.mark.parametrize("entry", sorted({stage.command[0] for stage in STAGES}))
def test_a_stage_loads_params_once_and_by_literal_names(entry: str) -> None:
    text = (ROOT / "stages" / f"{entry}.py").read_text(encoding="utf-8")
    assert text.count("params.load(") == 1


def test_no_family_is_left_out() -> None:
    """One of the grids has stages of every block of dvc.yaml."""
    blocks = {f"{kind}_{family}" for kind in ("student", "evaluate") for family in FAMILIES}
    assert blocks <= {stage.name.partition("@")[0] for stage in STAGES}


@each_project
def test_students_of_the_graph_are_the_runs_of_the_grid(project: Project) -> None:
    students = runs(params.validate(project.params).grid)
    assert {stage.name for stage in project.stages if stage.name.startswith("student")} == {
        f"student_{run.family}@{run.key}" for run in students
    }
    assert {
        stage.name
        for stage in project.stages
        if stage.name.startswith("evaluate") and "teacher" not in stage.name
    } == {f"evaluate_{run.family}@{run.key}" for run in students}
    for run in students:
        student, evaluate = (
            project.stage(f"{kind}_{run.family}@{run.key}") for kind in ("student", "evaluate")
        )
        assert student.outs == (str(layout.student_dir(run.key)),)
        assert str(layout.student_dir(run.key)) in evaluate.deps
        assert evaluate.outs == (str(layout.translations_dir(run.key)),)
        assert Run.from_key(*student.command[1:]) == run
        assert Run.from_key(*evaluate.command[1:]) == run


@each_project
def test_students_depend_on_what_their_family_reads(project: Project) -> None:
    for run in runs(params.validate(project.params).grid):
        family = FAMILIES[run.family]
        wanted = {str(layout.BPE), str(layout.noise_dir(run.noise)), layout.RANDOM_WEIGHTS}
        if family.hypotheses:
            wanted.add(str(layout.hypotheses_dir(run.noise, run.decoding)))
        if family.targets:
            wanted.add(
                str(layout.targets_dir(run.noise, layout.GOLD if family.targets == "gold" else run.decoding))
            )
        teacher = layout.model_dir(layout.teacher_dir(run.noise))
        if family.targets or family.hypotheses:
            wanted.add(f"{teacher}/model.sha256")
        if family.teacher:
            wanted.add(str(teacher))
        deps = project.stage(f"student_{run.family}@{run.key}").deps
        assert {dep for dep in deps if not dep.startswith("manifests/")} == wanted


@each_project
def test_every_data_dependency_is_the_output_of_a_stage(project: Project) -> None:
    outs = [Path(out) for stage in project.stages for out in stage.outs]
    for stage in project.stages:
        if stage.name == "manifests":
            continue
        for dep in sorted(stage.deps):
            path = Path(dep)
            if dep.startswith("manifests/") or dep in (
                project.params["corpus"]["folder"],
                layout.RANDOM_WEIGHTS,
            ):
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
            data = [dep for dep in stage.deps if not dep.startswith("manifests/")]
            assert not [dep for dep in data if "teacher" in dep or "hypotheses" in dep or "targets" in dep]


def test_no_student_depends_on_a_teachers_model() -> None:
    """But for those that ask it while they train."""
    for stage in STAGES:
        if stage.name.startswith("student"):
            models = [
                dep
                for dep in stage.deps
                if dep.startswith("models/teacher") and not dep.endswith("model.sha256")
            ]
            assert bool(models) == stage.name.startswith("student_online@")
