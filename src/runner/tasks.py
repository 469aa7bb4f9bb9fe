"""The tasks of a job on several nodes, one a node: where they meet, and which of them tells how it ended."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from pathlib import Path

from nmtkd import machine
from runner.jobs import LOOK, RECEIPT, LaunchError

FIRST_PORT = 20_000  # above those of services
PORTS = 12_000  # and so many, below those that Linux gives away itself (from 32,768)
STRIDE = 97  # ports between two jobs in a row, for the steps of one: prime, so that 12,000 jobs all differ
PATIENCE = 2 * machine.PATIENCE  # for another task's reason, which ends its own processes before it speaks
ADDRESS = re.compile(r"\bNodeAddr=(\S+)")


def count() -> int:
    """Tasks of this job. A process that is no job is one."""
    return int(os.environ.get("SLURM_NTASKS", "1")) if RECEIPT in os.environ else 1


def number() -> int:
    """The number of this one, from 0."""
    return int(os.environ.get("SLURM_PROCID", "0")) if count() > 1 else 0


def started() -> bool:
    """Whether srun started each of the tasks: the script of a batch is one process for all."""
    return count() == 1 or "SLURM_STEP_ID" in os.environ


def step() -> str:
    """A name for this run of the tasks: equal in all of them, another one where Slurm runs the job again."""
    names = ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT")
    return "-".join(os.environ.get(name, "0") for name in names)


def port() -> int:
    """The port at which the tasks meet, by job and step: others of the same node have others."""
    job, part = (int(os.environ.get(name, "0")) for name in ("SLURM_JOB_ID", "SLURM_STEP_ID"))
    return FIRST_PORT + (STRIDE * job + part) % PORTS


def addresses() -> tuple[str, str]:
    """Of the node of the first task and of this one: those by which Slurm's own daemons find them.

    Raises LaunchError where Slurm does not tell them.
    """
    nodes = os.environ.get("SLURM_STEP_NODELIST", "")
    place = int(os.environ.get("SLURM_NODEID", "0"))
    asked = ["scontrol", "--oneliner", "show", "node", nodes]
    try:
        said = subprocess.run(asked, capture_output=True, text=True, check=False)
    except OSError as error:
        raise LaunchError(f"scontrol: {error.strerror}; a training on several nodes needs it there") from None
    found = ADDRESS.findall(said.stdout)
    if len(found) != int(os.environ.get("SLURM_STEP_NUM_NODES", "1")):
        raise LaunchError(
            f"scontrol show node {nodes}: tells {len(found)} addresses ({said.stderr.strip()}); a training "
            "on several nodes needs that of each: ask who runs the cluster, or ask for one node"
        )
    return found[0], found[place]


def told() -> bool:
    """Whether another task has told why the stage ends."""
    return count() > 1 and _mark().exists()


def speaks(*, lost: bool = False) -> bool:
    """Whether it is this task that tells why the stage ends: one does.

    One that only `lost` another waits for that one's reason, and speaks where none comes.
    """
    if count() == 1:
        return True
    if lost:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(1))
    end = time.monotonic() + PATIENCE
    while lost and not told() and time.monotonic() < end:
        time.sleep(LOOK)
    try:
        _mark().touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # it does not see scratch space, and says so
        return True
    return True


def _mark() -> Path:
    """The file that says that a task has spoken. Whoever launched the job removes it."""
    return Path(f"{os.environ[RECEIPT]}.{step()}")
