"""Stages side by side: which ones are to run, which may start, and a process for each. repro.py joins this with DVC."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from multiprocessing import connection
from multiprocessing.process import BaseProcess

from nmtkd import machine

# Most of a study waits for its teacher, and cores beside it soon have nothing to do. So its bytes are those of all cores, whatever JOBS is.
ALONE = frozenset({"teacher"})

Start = Callable[[str, Mapping[str, str]], BaseProcess]  # a stage's name and its environment; a process that has been started


class Plan:
    """Which stages are still to run, and which of them may start: those whose dependencies are up to date."""

    def __init__(self, depends: Mapping[str, Collection[str]], stale: Collection[str]) -> None:
        """`depends` names each stage's direct dependencies. Whatever depends on a stale stage is run too: DVC sees whether it must."""
        self.left: dict[str, set[str]] = {}
        reached = set(stale)
        while grown := {stage for stage, others in depends.items() if stage not in reached and reached & set(others)}:
            reached |= grown
        for stage, others in depends.items():
            if stage in reached:
                self.left[stage] = set(others) & reached
        self.after = chains(self.left)

    def ready(self) -> list[str]:
        """The longest chain of stages to come first, else in the order of `depends`: the teacher goes before plain students."""
        return sorted((stage for stage, others in self.left.items() if not others), key=lambda stage: -self.after[stage])

    def start(self, stage: str) -> None:
        """It is no longer to be started; what depends on it still waits."""
        del self.left[stage]

    def done(self, stage: str) -> None:
        """What waited for it waits no longer."""
        for others in self.left.values():
            others.discard(stage)


def chains(depends: Mapping[str, Collection[str]]) -> dict[str, int]:
    """For each stage, how many stages the longest chain after it has."""
    found = dict.fromkeys(depends, 0)
    for _ in depends:  # a chain is no longer than all stages
        longer = [(other, found[stage] + 1) for stage, others in depends.items() for other in others if found[other] <= found[stage]]
        if not longer:
            break
        for other, length in longer:
            found[other] = max(found[other], length)
    return found


def alone(stage: str) -> bool:
    """Whether a stage has the machine to itself."""
    return stage.partition("@")[0] in ALONE


def following(plan: Plan, running: Collection[str], jobs: int) -> list[str]:
    """Stages to start now. One that runs alone waits until nothing runs, and while it waits or runs nothing else starts."""
    ready = plan.ready()
    if any(map(alone, running)):
        return []
    if ready and alone(ready[0]):
        return [] if running else ready[:1]
    return list(itertools.takewhile(lambda stage: not alone(stage), ready))[: jobs - len(running)]


def run(plan: Plan, jobs: int, start: Start) -> int:
    """Runs all of a plan, at most `jobs` stages at once; the first exit status that is not 0, or 0. After a failure none is started."""
    running: dict[str, BaseProcess] = {}
    failed = 0
    while running or (plan.left and not failed):
        for stage in [] if failed else following(plan, running, jobs):
            plan.start(stage)
            cores = str(max(1, machine.threads() // (1 if alone(stage) else jobs)))
            running[stage] = start(stage, {"NMTKD_THREADS": cores, "OMP_NUM_THREADS": cores})
        connection.wait([process.sentinel for process in running.values()])
        for stage, process in list(running.items()):
            if process.exitcode is not None:
                del running[stage]
                plan.done(stage)
                failed = failed or process.exitcode
    return failed
