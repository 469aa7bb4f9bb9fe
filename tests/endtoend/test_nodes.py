"""A training that two nodes share, of a real Slurm whose nodes are both this host: bytes, ends, refusals."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab
from tests.endtoend.slurm import Slurm
from tests.endtoend.test_interrupted import start, wait_for
from tests.endtoend.test_processes import ENDLESS, shared
from tests.endtoend.test_slurm import TEACHER, ended, launching

COMMAND = "srun --quiet --nodes=2 --ntasks-per-node=1"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    made = Slurm(tmp_path_factory.mktemp("slurm"), nodes=2)
    if made.why:
        pytest.skip(made.why)
    yield made
    made.close()


def on_two_nodes(copy: CopyLab, slurm: Slurm, retries: int | None = None) -> Lab:
    """A laboratory whose teacher is to be trained by a process on each of two nodes."""
    lab = launching(shared(copy), slurm, COMMAND, retries)
    del lab.env["NMTKD_PROCESSES"]
    lab.env["NMTKD_DEVICE"] = "cpu"
    (lab.folder / TEACHER).unlink()
    return lab


def tasks_of(lab: Lab) -> list[psutil.Process]:
    """Every process of a job of this laboratory."""
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:
            continue
        if environment.get("NMTKD_SCRATCH") == lab.env["NMTKD_SCRATCH"] and "SLURM_PROCID" in environment:
            found.append(process)
    return found


def errors(printed: str) -> list[str]:
    """Lines of ours or of Python's that tell why a stage ended."""
    return [line for line in printed.splitlines() if line.startswith(("error: ", "stopped", "Traceback"))]


@pytest.fixture(scope="module")
def whole(finished: tuple[Lab, str], tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The teacher that two processes of one node make."""
    folder = tmp_path_factory.mktemp("whole") / "lab"
    lab = shared(lambda: Lab(shutil.copytree(finished[0].folder, folder, symlinks=True)))
    lab.run("python", "-m", "stages.teacher", "clean")
    return lab.read(TEACHER)


def test_two_nodes_make_what_two_processes_of_one_make(copy: CopyLab, slurm: Slurm, whole: bytes) -> None:
    lab = on_two_nodes(copy, slurm)
    printed = lab.run("python", "-m", "stages.teacher", "clean")
    assert printed.count("1 processes on each of 2 nodes share the work") == 1
    assert printed.count("updates, loss") == printed.count("about")  # one speaks
    assert lab.read(TEACHER) == whole
    nodes = slurm.ask("squeue", "--noheader", "--states=all", "--format=%D").split()
    assert nodes[0] == "2" and not list((lab.folder / ".scratch").glob("*"))


def test_a_process_that_dies_is_told_once_and_a_rerun_has_the_same_bytes(
    copy: CopyLab, slurm: Slurm, whole: bytes
) -> None:
    """On the second node, while the first process is on the first one."""
    lab = on_two_nodes(copy, slurm)
    training = start(lab, "stages.teacher", "clean", fork=True)
    wait_for(lab, "teacher-*/checkpoint-*.json")
    (victim,) = [one for one in tasks_of(lab) if one.environ().get("RANK") == "1"]
    assert victim.environ()["SLURM_PROCID"] == "1"
    os.kill(victim.pid, signal.SIGKILL)
    printed = ended(training)
    assert training.returncode == 1
    (line,) = errors(printed)
    assert line.startswith("error: process 1 of this stage was ended by SIGKILL"), printed
    assert ": FAILED, exit code 1" in printed
    assert not tasks_of(lab) and not list((lab.folder / ".scratch").glob("*.job*"))
    assert "going on from update" in lab.run("python", "-m", "stages.teacher", "clean")
    assert lab.read(TEACHER) == whole


def test_a_lost_node_is_no_end(copy: CopyLab, slurm: Slurm, whole: bytes) -> None:
    """The job is tried again as a whole."""
    lab = on_two_nodes(copy, slurm, retries=2)
    training = start(lab, "stages.teacher", "clean", fork=True)
    wait_for(lab, "teacher-*/checkpoint-*.json")
    slurm.ask("scontrol", "update", f"nodename={slurm.nodes[1]}", "state=down", "reason=test")
    time.sleep(1)
    slurm.ask("scontrol", "update", f"nodename={slurm.nodes[1]}", "state=resume")
    printed = ended(training)
    assert training.returncode == 0, printed
    assert "NODE_FAIL, exit code" in printed and "going on from update" in printed
    assert lab.read(TEACHER) == whole


def test_a_cancelled_job_ends_on_both_nodes(copy: CopyLab, slurm: Slurm) -> None:
    lab = on_two_nodes(copy, slurm)
    lab.edit("params.yaml", ("teacher.training.updates", ENDLESS))
    training = start(lab, "stages.teacher", "clean")
    wait_for(lab, "teacher-*/checkpoint-*.json")
    assert len(tasks_of(lab)) == 4  # two launchers with a process each
    slurm.ask("scancel", slurm.jobs()[0].split()[0])
    printed = ended(training)
    assert training.returncode not in (0, None)
    assert errors(printed) == ["stopped"] and ": CANCELLED, exit code " in printed
    slurm.wait(0)
    assert not tasks_of(lab)


@pytest.mark.parametrize(
    ("accumulate", "stage", "told"),
    [
        (
            3,
            "teacher clean",
            "error: teacher.training.accumulate: an update has 3 batches, which 2 processes",
        ),
        (2, "decode clean beam", "error: NMTKD_LAUNCH: 2 tasks were asked for; this stage is one task"),
    ],
)
def test_what_nodes_cannot_share_is_refused_once(
    copy: CopyLab, slurm: Slurm, accumulate: int, stage: str, told: str
) -> None:
    lab = on_two_nodes(copy, slurm)
    lab.edit("params.yaml", ("teacher.training.accumulate", accumulate))
    name, *arguments = stage.split()
    done = lab.ask("python", "-m", f"stages.{name}", *arguments)
    assert done.returncode == 1
    (line,) = errors(done.stderr)
    assert line.startswith(told)
    assert ": FAILED, exit code 1" in done.stderr and "never began" not in done.stderr
