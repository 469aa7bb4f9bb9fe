"""A stage's job on a cluster: started, watched in its queue, cancelled, and known by how it ended."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmtkd import machine

VARIABLE = "NMTKD_LAUNCH"
RECEIPT = "NMTKD_JOB"  # set for a job: the path of its receipt
# For a job of several tasks, unless said otherwise: srun ends a task that outlives another one by so many
# seconds (it has spoken by then if it lost that one), and torch does not warn of a loss, with C++ frames.
TOGETHER = {"SLURM_WAIT": "60", "TORCH_CPP_LOG_LEVEL": "ERROR"}
HOSTS_OWN = ("NMTKD_THREADS", "OMP_NUM_THREADS")  # numbers of this host's cores, none of a job's
# States of a job whose end is no fault of the stage, and which goes on where it stopped (squeue's names).
RETRIED = ("TIMEOUT", "PREEMPTED", "NODE_FAIL", "BOOT_FAIL")
UNDER_WAY = ("PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED")
# Reasons for which a job waits for ever (Slurm's "job reason codes"); so do limits per job.
HOPELESS = re.compile(
    "BadConstraints|DependencyNeverSatisfied|InvalidAccount|InvalidQOS|JobHeld(User|Admin)|"
    "Partition(Node|Time)Limit|Partition(Down|Inactive)|.*PerJobLimit"
)
LOOK = 1.0  # seconds between two looks at a job
QUEUE_LOOK = 10.0  # and at the queue, where it waits: schedulers ask for patience
SETTLING = 15.0  # seconds that Slurm may take to say how a job ended
MARK = 8  # digits that tell a job from others of its stage
PR_SET_PDEATHSIG = 1  # of Linux's prctl.h
NAME = re.compile("[^A-Za-z0-9_.-]+")  # what has no place in a job's name


class LaunchError(ValueError):
    """A launcher that cannot be used, or a job that could not do its work."""


def tell(stage: str, message: str) -> None:
    """A line about a stage's job."""
    print(f"[{stage}] {message}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Ended:
    """How a job ended: the launcher's exit code, and what the scheduler and the job say of it."""

    code: int
    state: str = ""
    number: str = ""
    host: str = ""

    def __str__(self) -> str:
        job = f"job {self.number}" if self.number else "the job"
        return f"{job}{f' on {self.host}' * bool(self.host)}: {self.state or 'ended'}, exit code {self.code}"


class Job:
    """One attempt to run a stage elsewhere."""

    def __init__(self, stage: str, words: Sequence[str]) -> None:
        self._stage, self._words = stage, list(words)
        self.name = NAME.sub("-", f"nmtkd {stage} {uuid.uuid4().hex[:MARK]}")  # by it the scheduler finds it
        self.receipt = machine.scratch_root() / f"{self.name}.job"
        self._told = ""

    def run(self) -> Ended:
        """Runs it to its end. Raises LaunchError if it never began, or ended before the stage did."""
        self.receipt.parent.mkdir(parents=True, exist_ok=True)
        self.receipt.write_text("", encoding="utf-8")
        try:
            code = self._wait()
            return self._ended(code, self._received())
        finally:
            for left in self.receipt.parent.glob(f"{self.receipt.name}*"):  # and what runner/tasks.py marks
                left.unlink(missing_ok=True)

    def _wait(self) -> int:
        environment = {name: value for name, value in os.environ.items() if name not in HOSTS_OWN}
        names = {"SLURM_JOB_NAME": self.name, "SBATCH_JOB_NAME": self.name}
        process = subprocess.Popen(
            self._words,
            env={**TOGETHER, **environment, **names, RECEIPT: str(self.receipt)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C comes to us alone: we cancel the job
            preexec_fn=_end_with_parent,  # noqa: PLW1509  no thread was started yet
        )
        looked = time.monotonic()
        try:
            while True:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    return process.wait(LOOK)
                machine.check_parents()
                if time.monotonic() - looked >= QUEUE_LOOK and not self._received():
                    looked = time.monotonic()
                    self._look_at_queue()
        except BaseException:
            self._cancel(process)
            raise

    def _look_at_queue(self) -> None:
        """Tells why the job waits. Raises LaunchError where it would wait for ever."""
        number, state, reason = self._queue()
        if state != "PENDING":
            return
        if HOPELESS.fullmatch(reason):
            raise LaunchError(
                f"{self._stage}: job {number} would never start ({reason}); it is cancelled: ask for less in "
                f"{VARIABLE}, or ask who runs the cluster"
            )
        if reason != self._told:
            self._told = reason
            tell(self._stage, f"job {number} waits in the queue ({reason})")

    def _queue(self) -> tuple[str, str, str]:
        """Number, state and reason of the job by its name; empty where no Slurm tells."""
        if shutil.which("squeue") is None:
            return "", "", ""
        asked_for = ["squeue", "--noheader", "--states=all", f"--name={self.name}", "--format=%i|%T|%r"]
        done = subprocess.run(asked_for, capture_output=True, text=True, check=False)
        lines = [line.split("|", 2) for line in done.stdout.splitlines() if line.count("|") > 1]
        number, state, reason = lines[-1] if lines else ("", "", "")
        return number.strip(), state.strip(), reason.strip()

    def _cancel(self, process: subprocess.Popen[bytes]) -> None:
        if shutil.which("scancel"):
            subprocess.run(["scancel", f"--name={self.name}"], capture_output=True, check=False)
        for number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(machine.PATIENCE / 2)
                return

    def _received(self) -> Mapping[str, Any]:
        """What the job has written into its receipt so far."""
        try:
            found = json.loads(self.receipt.read_text(encoding="utf-8") or "{}")
        except (OSError, ValueError):  # it is being written
            return {}
        return found if isinstance(found, dict) else {}

    def _ended(self, code: int, received: Mapping[str, Any]) -> Ended:
        number, state, _ = self._queue()
        end = time.monotonic() + SETTLING
        done = code == 0 and bool(received.get("done"))
        while not done and state in UNDER_WAY and time.monotonic() < end:
            time.sleep(LOOK)
            number, state, _ = self._queue()
        # srun comes back with 0 where a node is lost, or a job of several is slow to end.
        if code == 0 and not done and state not in (*RETRIED, "CANCELLED"):
            raise LaunchError(
                f"{VARIABLE}: {self._words[0]} came back before the stage was done; it must wait for it "
                "(sbatch needs --wait)"
            )
        if code and not received and state not in (*RETRIED, "CANCELLED"):
            tell(
                self._stage,
                f"its code never began there; does the job's node see {Path.cwd()}, {sys.executable} and "
                f"{self.receipt.parent}?",
            )
        return Ended(code if done else code or 1, state, number, received.get("host", ""))


def _end_with_parent() -> None:
    """The launcher gets SIGTERM if this process is killed, so that it cancels its job (Linux)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
