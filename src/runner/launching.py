"""Stages on a cluster: an entry hands itself to a launcher, such as Slurm's srun, and waits for it.

NMTKD_LAUNCH is the launcher's command, or a YAML file with a command for each stage. Whatever launches must
wait for the stage, pass its output on, and end with its exit code. DVC stays where it is and sees no
difference. A job leaves a receipt in scratch space, by which both sides know that they share a disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from nmtkd import outputs, processes
from nmtkd.plan.reading import read_yaml
from nmtkd.plan.values import Line, Section
from runner import tasks
from runner.jobs import HOSTS_OWN, RECEIPT, RETRIED, VARIABLE, Job, LaunchError, tell

Stage = Literal["teacher", "decode", "targets", "student", "evaluate"]
GPU_STAGES: tuple[Stage, ...] = get_args(Stage)


class Launch(Section):
    """The YAML file that NMTKD_LAUNCH names."""

    # how often a job is tried again that its time limit, a preemption or a lost node has ended
    retries: Annotated[int, Field(ge=0, le=1000)]
    stages: dict[Stage, Line]  # others run here


def asked() -> Launch | None:
    """What NMTKD_LAUNCH says. Raises LaunchError that says what is wrong with it."""
    text = os.environ.get(VARIABLE, "").strip()
    if not text:
        return None
    if not text.endswith((".yaml", ".yml")):
        return Launch(retries=0, stages=dict.fromkeys(GPU_STAGES, text))
    path = Path(text)
    if not path.is_file():
        raise LaunchError(f"{VARIABLE}: {path}: no such file; correct the path, or give a command")
    try:
        return Launch.model_validate(read_yaml(path))
    except ValidationError as error:
        lines = [
            f"  {'.'.join(map(str, item['loc'])) or '(top level)'}: {item['msg']}" for item in error.errors()
        ]
        raise LaunchError(
            f"{VARIABLE}: {path}: needs `retries` and `stages` with commands of {', '.join(GPU_STAGES)}\n"
            + "\n".join(lines)
        ) from None


def away(entry: str) -> bool:
    """Whether an entry's stage runs elsewhere."""
    launch = asked()
    return launch is not None and entry in launch.stages and RECEIPT not in os.environ


def command(launch: Launch, entry: str) -> list[str]:
    """The launcher's command for an entry. Raises LaunchError for one that cannot be started."""
    try:
        words = shlex.split(launch.stages[entry])  # type: ignore[index]
    except ValueError as error:
        raise LaunchError(f"{VARIABLE}: {launch.stages[entry]!r}: {error}") from None  # type: ignore[index]
    if not words or shutil.which(words[0]) is None:
        raise LaunchError(
            f"{VARIABLE}: {words[0] if words else ''!r}: no such program on this host; correct it, or unset "
            f"{VARIABLE} to run stages here"
        )
    return words


def launched(entry: str, arguments: Sequence[str]) -> bool:
    """Lets a launcher run an entry, where one is named for it. Whether it did.

    A job that ended for no fault of its own is tried again. Raises SystemExit with the job's exit code if it
    failed, after a line that says how it ended; LaunchError where it could not begin, or never will.
    """
    if not away(entry):
        return False
    launch = asked()
    assert launch is not None, "away() has seen it"
    words, stage = command(launch, entry), " ".join([entry, *arguments])
    for attempt in range(launch.retries + 1):
        job = Job(stage, [*words, sys.executable, "-m", f"stages.{entry}", *arguments])
        ended = job.run()
        if ended.code == 0:
            return True
        again = ended.state in RETRIED and attempt < launch.retries
        left = f"; tried again, {launch.retries - attempt} times more at most" if again else ""
        tell(stage, f"{ended}{left}")
        if not again:
            break
    raise SystemExit(ended.code if ended.code > 0 else 1)


@contextlib.contextmanager
def job(*, several: bool) -> Iterator[None]:
    """Within it an entry runs, as a job where it is one: the receipt says so, and cores are the job's own.

    `several` is whether the tasks of a job can share its work. Raises LaunchError where the job's node does
    not see scratch space, or has tasks that cannot share.
    """
    receipt = os.environ.get(RECEIPT)
    if receipt is None or processes.shared():
        yield
        return
    path = Path(receipt)
    if not path.exists():
        raise LaunchError(
            f"{path.parent}: {platform.node()} does not see this scratch space; name a folder of a disk that "
            "all nodes share in NMTKD_SCRATCH"
        )
    said = {"host": platform.node(), "job": os.environ.get("SLURM_JOB_ID", "")}
    _write(path, said)
    if tasks.count() > 1 and not (several and tasks.started()):
        raise LaunchError(
            f"{VARIABLE}: {tasks.count()} tasks were asked for; this stage is one task, which starts what it "
            "needs: ask for --ntasks=1 with all its GPUs and cores (teacher and student may have one a node, "
            "by srun)"
        )
    cores = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE")
    for name in HOSTS_OWN if cores else ():
        os.environ.setdefault(name, str(cores))
    done = said | {"done": True}
    try:
        yield
    except outputs.AlreadyMade:
        _write(path, done)
        raise
    _write(path, done)


def _write(receipt: Path, said: dict[str, Any]) -> None:
    """The first task of a job writes for all."""
    if tasks.number() == 0:
        receipt.write_text(json.dumps(said), encoding="utf-8")
