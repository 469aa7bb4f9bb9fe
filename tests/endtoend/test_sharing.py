"""DVC as its users know it: results shared through a remote, experiments, queues, and differences."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from nmtkd.plan.methods import FAMILIES
from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab, make_lab, records
from tests.endtoend.test_pipeline import METHODS

COSTLY = ("teacher", "decode", "targets", "student")
KINDS = {
    "manifests", "corpus", "prepare", "bpe", "noise", "teacher", "decode", "targets", "targets_gold",
    "student_both", "evaluate_teacher", "evaluate_both", "report",
}  # fmt: skip


def clone(lab: Lab, name: str) -> Lab:
    """A fresh clone beside a laboratory."""
    folder = lab.folder.parent / name
    lab.run("git", "clone", "-q", str(lab.folder), str(folder))
    return Lab(folder)


def test_equal_runs_write_equal_records(finished: tuple[Lab, str], copy: CopyLab, tmp_path: Path) -> None:
    """From nothing, in another folder, with the same JOBS, in no fork: the same record to the byte.

    Of one student, which needs all that the others do. The report of all is made anew from the same results,
    in no fork either.
    """
    lab = make_lab(tmp_path / "lab", corpus=finished[0].folder.parent / "corpus")
    one: dict[str, list[str]] = {family: [] for family in FAMILIES} | {"both": ["both"]}
    lab.edit("params.yaml", ("grid.methods", one), ("grid.capacities", ["tiny"]))
    lab.forks = False
    lab.run("python", "-m", "runner", "2")
    ours = records(lab)
    all_records = records(finished[0])
    whole = {name: all_records[name] for name in all_records if name in ours}
    assert list(ours) == list(whole), "in one order"
    assert {name.partition("@")[0] for name in ours} == KINDS
    del ours["report"], whole["report"]  # it reads the grid
    assert ours == whole
    tracked = set(finished[0].run("git", "ls-files", "reports", "manifests").splitlines())
    machine = {name for name in tracked if name.startswith("reports/machine/")}
    assert len(machine) > len(METHODS), "each model's times stand there"
    made = {name for name in tracked if name.startswith(("reports/runs/", "manifests/"))}
    there = {name for name in made if (lab.folder / name).exists()}
    assert there >= {"manifests/student.json", "reports/runs/both-tiny-clean-beam-1.json"}
    for name in there:
        assert lab.read(name) == finished[0].read(name), name

    again = copy()
    again.forks = False
    report = tracked - machine - made
    assert {"reports/index.html", "reports/results.csv"} <= report
    for name in report:
        (again.folder / name).unlink()
    again.run("python", "-m", "stages.report")
    for name in report:
        assert again.read(name) == finished[0].read(name), name


def test_a_fresh_clone_with_the_cache_runs_nothing(copy: CopyLab) -> None:
    first = copy()
    second = clone(first, "second")
    shutil.copytree(first.folder / ".dvc/cache", second.folder / ".dvc/cache")
    assert second.repro() == set()
    assert (second.folder / "models/teacher/clean/model/model.pt").exists()
    assert not second.run("git", "status", "--porcelain")


def test_a_fresh_clone_that_pulls_the_run_cache_runs_nothing(copy: CopyLab) -> None:
    first = copy()
    remote = first.folder.parent / "remote"
    first.run("dvc", "remote", "add", "-d", "store", str(remote))
    first.run("git", "commit", "-qam", "remote")
    first.run("dvc", "push", "--run-cache")
    second = clone(first, "second")
    second.run("dvc", "pull", "--run-cache")
    assert second.repro() == set()
    lean = clone(first, "lean")
    assert lean.repro("--pull", "--allow-missing") == set()


def test_experiments(copy: CopyLab) -> None:
    lab = copy()
    small = [
        "-S",
        "grid.noises=[clean]",
        "-S",
        "grid.methods.word=[]",
        "-S",
        "grid.methods.both=[]",
        "-S",
        "grid.capacities=[tiny]",
    ]
    printed = lab.run("dvc", "exp", "run", "-n", "narrow", *small, "-S", "capacities.tiny.width=12")
    ran = set(re.findall(r"Running stage '([^']+)'", printed))
    assert {stage for stage in ran if stage.startswith(COSTLY)} == {
        "student_plain@plain-tiny-clean-1",
        "student_seq@seq-tiny-clean-beam-1",
    }
    assert "narrow" in lab.run("dvc", "exp", "show", "--csv")
    difference = lab.run("dvc", "metrics", "diff", "HEAD")
    assert "tiny" in difference
    page = lab.run("dvc", "plots", "diff", "HEAD", "narrow")
    assert "index.html" in page


def test_a_queued_experiment_runs_its_own_code(copy: CopyLab) -> None:
    lab = copy()
    stage = lab.folder / "stages/report.py"
    text = stage.read_text(encoding="utf-8")
    assert "print(screen.text(settings.grid))" in text
    queued = text.replace("print(screen.text(settings.grid))", "print('a queued change')")
    stage.write_text(queued, encoding="utf-8")
    lab.run("dvc", "exp", "run", "--queue", "-n", "queued", "-S", "report.bootstrap_samples=50")
    stage.write_text(text, encoding="utf-8")
    lab.run("dvc", "queue", "start")
    lab.run("dvc", "queue", "logs", "queued", "-f")
    assert "a queued change" in lab.run("dvc", "queue", "logs", "queued")
    assert "Success" in lab.run("dvc", "queue", "status")
