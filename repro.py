"""`python repro.py JOBS`: `dvc repro`, with JOBS stages at once. Each runs through DVC's own command line, so that DVC's record is its own.

The one place that imports DVC. It does so once: stages are forks of this process, which has read nothing of the repository, in place of
processes that each import DVC anew (a quarter of a second of CPU a stage). A last plain `dvc repro` sees that nothing is left.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import sys
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from dvc import cli
from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo

from nmtkd import jobs

WAIT = "--wait-for-lock"  # a process that writes dvc.lock makes the others wait, not fail
NEEDED = ("dvc.cli.parser", "dvc.dvcfile", "dvc.repo.reproduce", "dvc.stage.cache", "dvc.stage.run", "dvc_data.hashfile.build", "networkx")
FORKS = multiprocessing.get_context("fork")


def preload() -> None:
    """Imports what `dvc repro` imports, for the forks to have."""
    for name in NEEDED:
        importlib.import_module(name)


def command(arguments: list[str], environment: Mapping[str, str]) -> None:
    """`dvc ARGUMENTS`, as a process's target."""
    os.environ.update(environment)
    sys.argv = ["dvc", *arguments]  # what DVC writes into its lock file, and names to those who wait
    raise SystemExit(cli.main(arguments))


def start(arguments: list[str], environment: Mapping[str, str]) -> BaseProcess:
    """`dvc ARGUMENTS` in a process of its own."""
    process = FORKS.Process(target=command, args=(arguments, environment))
    process.start()
    return process


def look(sender: Connection) -> None:
    """Sends each stage's direct dependencies and which stages are stale; in a process of its own, as DVC keeps files open."""
    try:
        with Repo(_wait_for_lock=True) as repo, lock_repo(repo):
            graph = repo.index.graph
            depends = {stage.addressing: [other.addressing for other in graph.successors(stage)] for stage in repo.index.stages}
            sender.send((depends, list(repo.status())))
    except DvcException:  # `dvc repro` meets it again, and tells it
        sender.close()


def read() -> jobs.Plan | None:
    """The pipeline in this folder, as DVC sees it; None where DVC cannot read it, for `dvc repro` to tell why."""
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=look, args=(sender,))
    process.start()
    sender.close()
    try:
        return jobs.Plan(*receiver.recv())
    except EOFError:
        return None
    finally:
        process.join()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=int)
    found = parser.parse_args()
    if found.jobs < 1:
        parser.error(f"JOBS must be 1 or more; got {found.jobs}")
    preload()
    status = 0
    if found.jobs > 1 and (plan := read()):
        status = jobs.run(plan, found.jobs, lambda stage, environment: start([WAIT, "repro", "--single-item", stage], environment))
    raise SystemExit(status or cli.main([WAIT, "repro"]))


if __name__ == "__main__":
    main()
