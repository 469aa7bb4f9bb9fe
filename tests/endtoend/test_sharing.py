"""DVC as its users know it: results shared through a remote, experiments, queues, and differences."""

from __future__ import annotations

import re

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab

COSTLY = ("teacher", "decode", "score", "student")


def test_a_second_clone_trains_nothing(copy: CopyLab) -> None:
    first = copy()
    remote = first.folder.parent / "remote"
    first.run("dvc", "remote", "add", "-d", "store", str(remote))
    first.run("git", "commit", "-qam", "remote")
    first.run("dvc", "push", "--run-cache")
    folder = first.folder.parent / "clone"
    first.run("git", "clone", "-q", str(first.folder), str(folder))
    second = Lab(folder)
    second.run("dvc", "pull", "--run-cache")
    assert not {stage for stage in second.repro() if stage.startswith(COSTLY)}
    lean = Lab(first.folder.parent / "lean")
    first.run("git", "clone", "-q", str(first.folder), str(lean.folder))
    assert lean.repro("--pull", "--allow-missing") == set()


def test_experiments(copy: CopyLab) -> None:
    lab = copy()
    small = ["-S", "grid.noises=[clean]", "-S", "grid.methods.word=[]", "-S", "grid.methods.both=[]", "-S", "grid.capacities=[tiny]"]
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
    assert "print(tables.as_text(table))" in text
    stage.write_text(text.replace("print(tables.as_text(table))", "print('a queued change')"), encoding="utf-8")
    lab.run("dvc", "exp", "run", "--queue", "-n", "queued", "-S", "report.bootstrap_samples=50")
    stage.write_text(text, encoding="utf-8")
    lab.run("dvc", "queue", "start")
    lab.run("dvc", "queue", "logs", "queued", "-f")
    assert "a queued change" in lab.run("dvc", "queue", "logs", "queued")
    assert "Success" in lab.run("dvc", "queue", "status")
