"""`python -m runner.forecast` on a finished laboratory: what it says is done is what a run would not do."""

from __future__ import annotations

import re

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab
from tests.structure import graph

ALL = "data", "teacher", "decode", "targets", "student tiny", "student small", "evaluate", "report", "all"


def plan(lab: Lab, *arguments: str) -> tuple[str, dict[str, tuple[int, int]]]:
    """The screen, and of each row the number of stages and of those done."""
    told = lab.run("python", "-m", "runner.forecast", *arguments)
    rows = re.findall(r"^(\w+(?: \w+)?) +(\d+) +(\d+)(?: |$)", told, re.MULTILINE)
    return told, {name: (int(stages), int(done)) for name, stages, done in rows}


def test_what_is_done_is_known(copy: CopyLab) -> None:
    lab = copy()
    told, rows = plan(lab)
    assert set(rows) == set(ALL)
    assert all(stages == done for stages, done in rows.values())
    assert "Time: none; all is done." in told
    assert "300 pairs of train (counted)" in told

    # Without its workspace, from the cache alone; and without its lock, from the run cache.
    for folder in ("data", "models"):
        lab.run("rm", "-r", folder)
    lab.run("rm", "dvc.lock")
    _, rows = plan(lab)
    assert rows["all"] == (27, 27)

    # Another experiment in the same cache, which params.yaml does not hold.
    _, rows = plan(lab, "training.lr=0.02", "--card", "h100")
    assert rows == {
        **{name: (rows[name][0],) * 2 for name in ("data", "teacher", "decode", "targets")},
        "student tiny": (4, 0),
        "student small": (4, 0),
        "evaluate": (9, 1),
        "report": (1, 0),
        "all": (27, 10),
    }


def test_what_is_not_done_is_what_a_run_would_do(copy: CopyLab) -> None:
    lab = copy()
    lab.edit("params.yaml", ("targets.top_k", 5))
    _, rows = plan(lab)
    stale = graph.downstream(graph.read(lab.folder), {"targets@clean-beam", "targets_gold@clean"})
    assert rows["all"] == (27, 27 - len(stale))
    assert rows["targets"] == (2, 0)
    assert rows["student tiny"] == (4, 2)  # plain and seq read no targets

    # A result that the cache lost is to be made again, and so is all that needs it.
    other = copy()
    lost = re.search(
        r"models/teacher/clean\n      hash: md5\n      md5: (\w\w)(\w+)\.dir", other.read("dvc.lock").decode()
    )
    assert lost
    other.run("rm", f".dvc/cache/files/md5/{lost[1]}/{lost[2]}.dir")
    _, rows = plan(other)
    assert rows["teacher"] == (1, 0)
    assert rows["decode"] == (1, 0)


def test_a_card_that_is_not_here(copy: CopyLab) -> None:
    lab = copy()
    told, _ = plan(lab, "study=capacity", "--card", "h100", "--cards", "8")
    assert "not measured, and so a range" in told
    assert re.search(r"student medium +12 +0", told)
    refused = lab.ask("python", "-m", "runner.forecast", "--card", "h900")
    assert refused.returncode == 2
    assert "CARD must be one of v100, t4, l4, rtx4090, a100, h100; got h900" in refused.stderr
    refused = lab.ask("python", "-m", "runner.forecast", "study=capaity")
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: study=capaity: In 'config': Could not find 'study/capaity'")


def test_a_workspace_may_be_linked_to_its_cache(copy: CopyLab) -> None:
    """Read-only and once on the disk. Stages replace links, and never write through them."""
    lab = copy()
    lab.run("dvc", "config", "--local", "cache.type", "hardlink,copy")
    lab.run("dvc", "checkout", "--relink")
    key = "models/student/plain-tiny-clean-1/model/model.pt"
    before, old = lab.read(key), (lab.folder / key).stat()
    assert old.st_nlink == 2
    assert old.st_mode & 0o222 == 0
    none: dict[str, list[str]] = {family: [] for family in ("word", "seq", "both", "hybrid", "online")}
    lab.edit(
        "params.yaml",
        ("training.lr", 0.02),
        ("grid.methods", {"plain": ["plain"], **none}),
        ("grid.capacities", ["tiny"]),
    )
    assert "student_plain@plain-tiny-clean-1" in lab.repro()
    assert lab.read(key) != before
    assert (lab.folder / key).stat().st_nlink == 2
    _, rows = plan(lab)
    assert rows["all"][0] == rows["all"][1]
    lab.run("git", "checkout", "-q", "--", "params.yaml")
    assert not lab.repro() & {"student_plain@plain-tiny-clean-1"}  # from the cache, which nobody wrote into
    assert lab.read(key) == before
    assert "in the workspace, which is linked" in plan(lab, "training.lr=0.04", "--card", "t4")[0]
