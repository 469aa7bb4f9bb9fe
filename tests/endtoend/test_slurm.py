"""Stages as jobs of a real Slurm of one node: the same bytes, tries anew, reasons, and no job left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab
from tests.endtoend.slurm import Slurm
from tests.endtoend.test_interrupted import start, wait_for
from tests.endtoend.test_processes import ENDLESS

TEACHER = "models/teacher/clean/model/model.pt"
COMPARED = (
    TEACHER,
    "data/hypotheses/clean-beam/hypotheses.jsonl",
    "data/targets/clean-beam/probs.npy",
    "models/student/both-tiny-clean-beam-1/model/model.pt",
    "reports/runs/both-tiny-clean-beam-1.json",
)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    made = Slurm(tmp_path_factory.mktemp("slurm"))
    if made.why:
        pytest.skip(made.why)
    yield made
    made.close()


def launching(lab: Lab, slurm: Slurm, command: str = "srun --quiet", retries: int | None = None) -> Lab:
    """The laboratory with its GPU stages on the cluster; with `retries` by a file, and only teachers."""
    lab.env |= {**slurm.env, "NMTKD_LAUNCH": command}
    if retries is not None:
        file = lab.folder / "launch.yaml"
        file.write_text(f"retries: {retries}\nstages:\n  teacher: {command}\n", encoding="utf-8")
        lab.env["NMTKD_LAUNCH"] = str(file)
    return lab


def ended(process: subprocess.Popen[str]) -> str:
    """What a process printed until its end."""
    printed, _ = process.communicate(timeout=120)
    return printed


def test_pipeline_on_the_cluster_has_the_same_bytes(
    finished: tuple[Lab, str], copy: CopyLab, slurm: Slurm
) -> None:
    """From nothing, eight stages at once; what DVC records knows of no cluster. Data stages run here.

    As everywhere in this file a job is a fork if who waits for it is one.
    """
    lab = launching(copy(), slurm)
    grid = yaml.safe_load(lab.read("params.yaml"))["grid"]
    one: dict[str, list[str]] = {family: [] for family in grid["methods"]} | {"both": ["both"]}
    lab.edit("params.yaml", ("grid.methods", one), ("grid.capacities", ["tiny"]))
    lab.run("git", "rm", "-q", "--cached", "dvc.lock")
    lab.run("rm", "-rf", "dvc.lock", ".dvc/cache", "data", "models", "reports")
    before = len(slurm.ask("squeue", "--states=all", "--noheader").splitlines())
    lab.run("python", "-m", "runner", "8")
    for name in COMPARED:
        assert lab.read(name) == finished[0].read(name), name
    ours, whole = (yaml.safe_load(one.read("dvc.lock"))["stages"] for one in (lab, finished[0]))
    assert {name for name in ours if ours[name] != whole[name]} == {"report"}  # it reads the grid
    jobs = len(slurm.ask("squeue", "--states=all", "--noheader").splitlines()) - before
    assert jobs == 1 + 1 + 2 + 1 + 2  # teacher, decode, targets, student, evaluations
    assert not list((lab.folder / ".scratch").glob("*.job"))


def test_a_job_of_a_lost_node_is_tried_again_and_ends_in_the_same_bytes(
    finished: tuple[Lab, str], copy: CopyLab, slurm: Slurm
) -> None:
    """Jobs are processes of their own, which Slurm ends as it would a user's."""
    lab = launching(copy(), slurm, retries=2)
    (lab.folder / TEACHER).unlink()
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/checkpoint-*.json")
    host = slurm.ask("sinfo", "--noheader", "--format=%n").strip()
    slurm.ask("scontrol", "update", f"nodename={host}", "state=down", "reason=test")
    time.sleep(1)
    slurm.ask("scontrol", "update", f"nodename={host}", "state=resume")
    printed = ended(training)
    assert training.returncode == 0, printed
    assert "NODE_FAIL, exit code" in printed and "tried again, 2 times more at most" in printed
    assert "going on from update" in printed
    assert lab.read(TEACHER) == finished[0].read(TEACHER)


@pytest.mark.slow
def test_a_job_cut_off_by_its_time_is_tried_again_and_ends_in_the_same_bytes(
    copy: CopyLab, slurm: Slurm
) -> None:
    """Slurm cuts at whole minutes, with half a minute of delay: the training has to be a longer one."""
    labs = [copy(), launching(copy(), slurm, "srun --quiet --time=1", retries=20)]
    for lab in labs:
        lab.edit("params.yaml", ("teacher.training.updates", 6000))
    alone = threading.Thread(target=labs[0].run, args=("python", "-m", "stages.teacher", "clean"))
    alone.start()
    done = labs[1].ask("python", "-m", "stages.teacher", "clean")
    alone.join()
    assert done.returncode == 0, done.stderr
    assert "TIMEOUT, exit code" in done.stderr and "going on from update" in done.stdout
    assert labs[0].read(TEACHER) == labs[1].read(TEACHER)


def test_a_cancelled_job_ends_the_stage_with_its_reason(copy: CopyLab, slurm: Slurm) -> None:
    """It is not tried again: somebody wanted it so."""
    lab = launching(copy(), slurm, retries=3)
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/checkpoint-*.json")
    number = slurm.jobs()[0].split()[0]
    slurm.ask("scancel", number)
    printed = ended(training)
    assert training.returncode not in (0, None)
    assert f"[teacher clean] job {number} on " in printed and ": CANCELLED, exit code " in printed
    assert "tried again" not in printed and not slurm.jobs()


def test_a_failing_job_shows_its_own_message(copy: CopyLab, slurm: Slurm) -> None:
    lab = launching(copy(), slurm, retries=3)
    lab.edit("params.yaml", ("teacher.training.max_tokens", 3))
    done = lab.ask("python", "-m", "stages.teacher", "clean")
    assert done.returncode == 1
    first, second = [
        line for line in done.stderr.splitlines() if line.startswith(("error: ", "[teacher clean] job"))
    ]
    assert first.startswith("error: train.") and "raise teacher.training.max_tokens" in first
    assert ": FAILED, exit code 1" in second and "tried again" not in second


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_job_is_left_behind(copy: CopyLab, slurm: Slurm, number: int) -> None:
    lab = launching(copy(), slurm)
    lab.edit("params.yaml", ("teacher.training.updates", ENDLESS))
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/checkpoint-*.json")
    assert len(slurm.jobs()) == 1
    os.kill(training.pid, number)
    ended(training)
    assert training.returncode in (130, -signal.SIGKILL)
    slurm.wait(0)


def test_ctrl_c_at_the_runner_leaves_no_job(copy: CopyLab, slurm: Slurm) -> None:
    lab = launching(copy(), slurm)
    lab.edit("params.yaml", ("teacher.training.updates", ENDLESS))
    run = start(lab, "runner", "8")
    wait_for(lab, "teacher-*/checkpoint-*.json")
    os.kill(run.pid, signal.SIGINT)
    printed = ended(run)
    assert "stopped; what is done stays done" in printed
    slurm.wait(0)


def test_a_job_that_would_never_start_is_cancelled(copy: CopyLab, slurm: Slurm) -> None:
    lab = launching(copy(), slurm, "srun --quiet --hold")
    done = lab.ask("python", "-m", "stages.teacher", "clean")
    assert done.returncode == 1
    assert "would never start (JobHeldUser); it is cancelled" in done.stderr
    assert not slurm.jobs()


def test_a_node_that_does_not_see_the_scratch_space_says_so(
    copy: CopyLab, slurm: Slurm, tmp_path: Path
) -> None:
    """A job whose receipt is nowhere: as on a node with a disk of its own."""
    lab = launching(copy(), slurm, "srun --quiet env NMTKD_JOB=/nowhere/of/mine.job")
    done = lab.ask("python", "-m", "stages.teacher", "clean")
    assert done.returncode == 1
    assert "error: /nowhere/of: " in done.stderr and "does not see this scratch space" in done.stderr
    assert not list(tmp_path.glob("**/*.job"))
