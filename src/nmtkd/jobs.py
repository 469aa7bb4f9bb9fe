"""Stages side by side: each through `dvc repro --single-item`, so that what DVC records is what it records one after the other.

`python -m nmtkd.jobs N`. Every stage gets its share of the cores. A last plain `dvc repro` sees that nothing is left.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import time
from collections.abc import Collection, Mapping

from nmtkd import machine

LOOK_SECONDS = 0.2  # between two looks at what has ended
DVC = ("dvc", "--wait-for-lock", "repro")


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

    def ready(self) -> list[str]:
        """In the order of `depends`."""
        return [stage for stage, others in self.left.items() if not others]

    def start(self, stage: str) -> None:
        """It is no longer to be started; what depends on it still waits."""
        del self.left[stage]

    def done(self, stage: str) -> None:
        """What waited for it waits no longer."""
        for others in self.left.values():
            others.discard(stage)


def read() -> Plan:
    """The pipeline in this folder, as DVC sees it. Raises subprocess.CalledProcessError where DVC has told of a problem."""
    drawn, status = (
        subprocess.run(["dvc", *command], stdout=subprocess.PIPE, text=True, check=True).stdout
        for command in (("dag", "--dot"), ("status", "--json"))
    )
    return Plan(dependencies(drawn), json.loads(status))


def dependencies(dot: str) -> dict[str, list[str]]:
    """Each stage's direct dependencies, from lines such as `"corpus";` and `"corpus" -> "prepare";`."""
    found: dict[str, list[str]] = {}
    for line in dot.splitlines():
        names = re.findall('"([^"]+)"', line)
        if names:
            found.setdefault(names[-1], []).extend(names[:-1])
    return found


def run(plan: Plan, jobs: int) -> int:
    """Runs all of a plan, at most `jobs` stages at once; the first exit status that is not 0, or 0. After a failure none is started."""
    cores = max(1, machine.threads() // jobs)
    environment = {**os.environ, "NMTKD_THREADS": str(cores), "OMP_NUM_THREADS": str(cores)}
    running: dict[str, subprocess.Popen[bytes]] = {}
    failed = 0
    while running or (plan.left and not failed):
        for stage in plan.ready()[: 0 if failed else jobs - len(running)]:
            plan.start(stage)
            running[stage] = subprocess.Popen([*DVC, "--single-item", stage], env=environment)
        time.sleep(LOOK_SECONDS)
        for stage, status in [(stage, process.poll()) for stage, process in running.items()]:
            if status is not None:
                del running[stage]
                plan.done(stage)
                failed = failed or status
    return failed


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=int)
    found = parser.parse_args()
    if found.jobs < 1:
        parser.error(f"JOBS must be 1 or more; got {found.jobs}")
    try:
        status = run(read(), found.jobs) if found.jobs > 1 else 0
    except subprocess.CalledProcessError as error:
        status = error.returncode
    raise SystemExit(status or subprocess.call(DVC))


if __name__ == "__main__":
    main()
