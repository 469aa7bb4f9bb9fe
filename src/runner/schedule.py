"""Running stages in parallel: which ones must run, which may start, their processes, and the time left."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Collection, Mapping
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil

from nmtkd import machine
from runner import launching

# A teacher runs alone on all cores: nearly everything waits for it, and its bytes are equal for every JOBS.
EXCLUSIVE_STAGES = frozenset({"teacher"})
STAGE_BYTES = 3 * 2**30  # no stage took more, of 4.5 million pairs (reports/bench/memory.json)
MOST_AT_ONCE = 8  # the default grid's students; more threads for each serve a large machine better
GPUS = "nvidia[0-9]*"  # below /dev, by NVIDIA's driver; asking torch takes longer than a toy's stage
MINUTE = 60.0  # seconds
PATIENCE = machine.PATIENCE
LOOK = 0.5  # seconds between two looks whether the runner lives

# Starts a process for a stage, from the stage's name and its environment.
Start = Callable[[str, Mapping[str, str]], BaseProcess]
Tell = Callable[[str], None]  # shows a message


def on_gpu(devices: Path = Path("/dev")) -> bool:
    """Whether stages will use a GPU, as far as can be told without torch."""
    return os.environ.get("NMTKD_DEVICE") != "cpu" and any(devices.glob(GPUS))


def at_once(devices: Path = Path("/dev")) -> int:
    """How many stages run at once unless told: one a core, as far as free memory goes; 1 on a GPU."""
    if on_gpu(devices):
        return 1
    free = psutil.virtual_memory().available // STAGE_BYTES
    return max(1, min(machine.threads(), free, MOST_AT_ONCE))


class Stopped(Exception):  # noqa: N818  no error: somebody stopped the run
    """The run was interrupted; `took` has the seconds of the stages that are done."""

    def __init__(self, took: Mapping[str, float]) -> None:
        super().__init__()
        self.took = dict(took)


class Plan:
    """The stages still to run. A stage may start when its dependencies are up to date."""

    def __init__(self, depends: Mapping[str, Collection[str]], stale: Collection[str]) -> None:
        """`depends` holds each stage's direct dependencies.

        Stages that depend on a stale one are planned too; DVC decides whether they must run.
        """
        self.left: dict[str, set[str]] = {}
        reached = set(stale)
        while dependents := {
            stage for stage, others in depends.items() if stage not in reached and reached & set(others)
        }:
            reached |= dependents
        for stage, others in depends.items():
            if stage in reached:
                self.left[stage] = set(others) & reached
        self.after = chains(self.left)

    def ready(self) -> list[str]:
        """Stages that may start, those before the longest chain first: a teacher precedes plain students."""
        startable = [stage for stage, others in self.left.items() if not others]
        return sorted(startable, key=lambda stage: -self.after[stage])

    def start(self, stage: str) -> None:
        """Removes a started stage. Stages that depend on it still wait."""
        del self.left[stage]

    def done(self, stage: str) -> None:
        """Frees the stages that waited for this one."""
        for others in self.left.values():
            others.discard(stage)


def chains(depends: Mapping[str, Collection[str]]) -> dict[str, int]:
    """For each stage, the length of the longest chain of stages after it."""
    lengths = dict.fromkeys(depends, 0)
    for _ in depends:  # no chain has more stages than there are
        longer = [
            (other, lengths[stage] + 1)
            for stage, others in depends.items()
            for other in others
            if lengths[other] <= lengths[stage]
        ]
        if not longer:
            break
        for other, length in longer:
            lengths[other] = max(lengths[other], length)
    return lengths


def block(stage: str) -> str:
    """The block of dvc.yaml that defines a stage."""
    return stage.partition("@")[0]


def exclusive(stage: str) -> bool:
    """Whether a stage must run alone."""
    return block(stage) in EXCLUSIVE_STAGES


def entry(stage: str) -> str:
    """The module of stages/ that runs a stage: it begins the name of the stage's block."""
    return block(stage).partition("_")[0]


def here(stage: str) -> bool:
    """Whether a stage runs on this host's cores, and not by a launcher elsewhere."""
    return not launching.away(entry(stage))


def following(plan: Plan, running: Collection[str], jobs: int) -> list[str]:
    """Stages to start now, at most `jobs` at once, and no more of this host's than it has cores.

    An exclusive one waits until nothing runs here; meanwhile nothing else starts here.
    """
    local = [stage for stage in running if here(stage)]
    closed = any(map(exclusive, local))
    most, chosen = jobs if launching.asked() is None else min(jobs, machine.threads()), list[str]()
    for stage in plan.ready():
        if len(running) + len(chosen) >= jobs:
            break
        if not here(stage):
            chosen.append(stage)
        elif not closed and exclusive(stage):
            closed = True
            chosen += [] if local else [stage]
            local.append(stage)
        elif not closed and len(local) < most:
            chosen.append(stage)
            local.append(stage)
    return chosen


def time_left(
    left: Collection[str],
    running: Mapping[str, float],
    took: Mapping[str, float],
    before: Mapping[str, float],
    jobs: int,
) -> float | None:
    """Seconds until all stages are done; None if no stage of some block was ever timed.

    `running` holds elapsed seconds of running stages, `took` seconds of finished ones, `before` seconds of an
    earlier run. That may be from another machine: its times are scaled by the stages in both.
    """
    both = took.keys() & before.keys()
    earlier = sum(before[stage] for stage in both)
    scale = sum(took[stage] for stage in both) / earlier if earlier else 1.0
    known = {**{stage: scale * seconds for stage, seconds in before.items()}, **took}
    total = 0.0
    for stage in [*left, *running]:
        alike = [seconds for other, seconds in known.items() if block(other) == block(stage)]
        if stage not in known and not alike:
            return None
        needed = known[stage] if stage in known else sum(alike) / len(alike)
        total += max(0.0, needed - running.get(stage, 0.0)) / (1 if exclusive(stage) else jobs)
    return total


def clock(seconds: float) -> str:
    """A rounded duration: 40 s, 12 min."""
    return f"{seconds:.0f} s" if seconds < 2 * MINUTE else f"{seconds / MINUTE:.0f} min"


def run(
    plan: Plan, jobs: int, start: Start, before: Mapping[str, float], tell: Tell
) -> tuple[int, dict[str, float]]:
    """Runs a plan, at most `jobs` stages at once, and reports progress.

    Returns the first non-zero exit status, or 0, and the seconds of each stage. After a failure no stage is
    started. Raises Stopped after a KeyboardInterrupt, when no process is left.
    """
    running: dict[str, tuple[BaseProcess, float]] = {}
    took: dict[str, float] = {}
    try:
        return _run(plan, jobs, start, before, tell, running, took), took
    except KeyboardInterrupt:
        stop([process for process, _ in running.values()])
        raise Stopped(took) from None


def stop(processes: Collection[BaseProcess]) -> None:
    """Interrupts processes with all that they started: each leads a group. Kills what does not end."""
    for number in (signal.SIGINT, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid or 0, number)
        end = time.monotonic() + PATIENCE
        for process in processes:
            process.join(max(0.0, end - time.monotonic()))


def _run(
    plan: Plan,
    jobs: int,
    start: Start,
    before: Mapping[str, float],
    tell: Tell,
    running: dict[str, tuple[BaseProcess, float]],
    took: dict[str, float],
) -> int:
    """The loop of `run`, which notes in `running` and `took` how far it is."""
    total, failed = len(plan.left), 0
    while running or (plan.left and not failed):
        for stage in [] if failed else following(plan, list(running), jobs):
            plan.start(stage)
            cores = str(max(1, machine.threads() // (1 if exclusive(stage) else jobs)))
            own = {"NMTKD_THREADS": cores, "OMP_NUM_THREADS": cores} if here(stage) else {}
            running[stage] = (start(stage, own), time.monotonic())
            tell(f"{len(took)}/{total} done; starting {stage}")
        connection.wait([process.sentinel for process, _ in running.values()])
        for stage, (process, began) in list(running.items()):
            if process.exitcode is None:
                continue
            del running[stage]
            plan.done(stage)
            failed = failed or process.exitcode
            if process.exitcode:
                tell(f"{stage} FAILED; what is done stays done: mend it and run the same command again")
                continue
            took[stage] = time.monotonic() - began
            if len(took) == total:
                continue  # the last screen says it
            now = time.monotonic()
            run_for = {name: now - since for name, (_, since) in running.items()}
            seconds = time_left(plan.left, run_for, took, before, jobs)
            left = "" if seconds is None else f", about {clock(seconds)} left"
            tell(f"{len(took)}/{total} done{left}; {stage} took {clock(took[stage])}")
    return failed
