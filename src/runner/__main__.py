"""`python -m runner [JOBS]`: `dvc repro` with JOBS stages at once, progress, and the result at the end.

Each stage runs through DVC's own command line, so that DVC's record is its own. DVC is imported once: stages
are forks of this process, which has read nothing of the repository. Importing DVC anew costs a quarter of a
second.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from dulwich.file import FileLocked
from dvc import cli
from dvc import logger as dvc_logger
from dvc.exceptions import DvcException
from dvc.repo import Repo, lock_repo
from dvc.repo.scm_context import SCMContext

from nmtkd import files, machine
from nmtkd.plan import layout
from runner import lockfile, mending, schedule
from runner.forecast.before import announce

# A process that writes dvc.lock makes others wait, not fail. Stages speak for themselves.
REPRO = ("--wait-for-lock", "repro", "--quiet")
# A stage that took under this share of its earlier time came from a cache: the earlier time stands.
CACHED = 0.3
INTERRUPTED = 130  # exit status, as shells have it
PRELOADED = (
    "dvc.cli.parser",
    "dvc.dvcfile",
    "dvc.repo.datasets",
    "dvc.repo.plots",
    "dvc.repo.reproduce",
    "dvc.stage.cache",
    "dvc.stage.run",
    "dvc_data.hashfile.build",
    "networkx",
    "pyparsing",
)
FORKS = multiprocessing.get_context("fork")
TABLE = layout.REPORTS / "table.md"  # the stage `report` writes it, and then shows the last screen
SECONDS = layout.MACHINE / "stages.json"  # what each stage took when it last ran


def dvc(arguments: Sequence[str]) -> int:
    """`dvc ARGUMENTS`; the exit status. Errors are told: DVC's own --quiet hides why a stage failed."""
    SCMContext.track_changed_files = patient
    lockfile.be_fast()
    level = dvc_logger.set_loggers_level
    dvc_logger.set_loggers_level = lambda _: level(logging.ERROR)
    try:
        return cli.main([*arguments])
    finally:
        dvc_logger.set_loggers_level = level


def command(arguments: list[str], environment: Mapping[str, str]) -> None:
    """`dvc ARGUMENTS`, as a process's target; it leads a group with all that it starts, and ends with us."""
    os.setpgid(0, 0)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job of a shell's background ignores it
    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    os.environ.update(environment)
    # What DVC writes into its lock file, and names to those who wait.
    sys.argv = ["dvc", *arguments, mending.named()]
    raise SystemExit(dvc(arguments))


def end_with(parent: int) -> None:
    """Ends this process's group once `parent` is no longer its parent, killed as it was."""
    while os.getppid() == parent:
        time.sleep(schedule.LOOK)
    for number in (signal.SIGINT, signal.SIGKILL):
        os.killpg(0, number)
        time.sleep(schedule.PATIENCE)


track_changed_files = SCMContext.track_changed_files


def patient(context: SCMContext) -> None:
    """DVC's `git add` after a stage, once no other program holds git's index: DVC would fail at once."""
    while True:
        try:
            track_changed_files(context)
            return
        except FileLocked as locked:
            mending.wait_for_git(Path(os.fsdecode(locked.lockfilename)), tell)


def start(stage: str, environment: Mapping[str, str]) -> BaseProcess:
    """`dvc repro --single-item STAGE` in a process of its own."""
    process = FORKS.Process(target=command, args=([*REPRO, "--single-item", stage], environment))
    process.start()
    return process


def send_graph(sender: Connection) -> None:
    """Sends each stage's direct dependencies, and which stages are stale.

    For a process of its own: DVC keeps files open.
    """
    try:
        with Repo(_wait_for_lock=True) as repo, lock_repo(repo):
            graph = repo.index.graph
            depends = {
                stage.addressing: [other.addressing for other in graph.successors(stage)]
                for stage in repo.index.stages
            }
            sender.send((depends, list(repo.status())))
    except DvcException:  # `dvc repro` meets it again, and tells it
        sender.close()


def read_graph() -> tuple[dict[str, list[str]], list[str]] | None:
    """Dependencies by stage, and stale stages, as DVC sees them. None where DVC cannot read them."""
    receiver, sender = FORKS.Pipe(duplex=False)
    process = FORKS.Process(target=send_graph, args=(sender,))
    process.start()
    sender.close()
    try:
        depends, stale = receiver.recv()
        return depends, stale
    except EOFError:
        return None
    finally:
        process.join()


def tell(line: str) -> None:
    """A line of progress of the whole."""
    print(f"[repro] {line}", file=sys.stderr, flush=True)


def run_stale(jobs: int) -> int:
    """Runs what is stale; returns the exit status."""
    mending.mend(tell)
    manifests = start("manifests", {})
    try:
        manifests.join()
    except KeyboardInterrupt:
        schedule.stop([manifests])
        raise
    if manifests.exitcode:
        return manifests.exitcode
    graph = read_graph()
    if graph is None:
        return dvc(REPRO)
    depends, stale = graph
    before = timed()
    announce(depends, stale, jobs, tell)
    try:
        status, took = schedule.run(schedule.Plan(depends, stale), jobs, start, before, tell)
    except schedule.Stopped as stopped:
        note(before, stopped.took)
        tell("stopped; what is done stays done, a training goes on from its last checkpoint: run it again")
        return INTERRUPTED
    note(before, took)
    status = status or dvc(REPRO)  # sees that nothing is left
    lockfile.sort(Path(lockfile.NAME), list(depends))
    return status


def timed() -> dict[str, float]:
    """Seconds of each stage when it last ran; none where nothing whole tells them."""
    try:
        found = files.read_object(SECONDS)
    except files.DamagedError:
        return {}
    return {stage: seconds for stage, seconds in found.items() if isinstance(seconds, int | float)}


def note(before: Mapping[str, float], took: Mapping[str, float]) -> None:
    """Keeps what stages took, for the time left of a later run."""
    ran = {
        stage: round(seconds, 1)
        for stage, seconds in took.items()
        if seconds > CACHED * before.get(stage, 0.0)
    }
    if ran:
        files.write_json(SECONDS, {**before, **ran})


def written(path: Path) -> int | None:
    """When a file was written, in nanoseconds; None where there is none."""
    return path.stat().st_mtime_ns if path.exists() else None


def terminated(*_: object) -> None:
    """SIGTERM stops a run as SIGINT does."""
    raise KeyboardInterrupt


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("jobs", type=int, nargs="?", help="by default one a core, as far as memory goes")
    asked = parser.parse_args().jobs
    try:
        jobs = schedule.at_once() if asked is None else asked
    except machine.MachineError as error:
        parser.error(str(error))
    if jobs < 1:
        parser.error(f"JOBS must be 1 or more; got {jobs}")
    if asked is None:
        tell(f"JOBS={jobs} on this machine: stages at once, and a part of what their digits depend on")
    signal.signal(signal.SIGTERM, terminated)
    for name in PRELOADED:
        importlib.import_module(name)
    before = written(TABLE)
    try:
        status = run_stale(jobs)
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    if not status and written(TABLE) == before:  # the stage `report` did not run, and so did not show it
        status = subprocess.run([sys.executable, "-m", "stages.report", "--show"], check=False).returncode
    raise SystemExit(status)


if __name__ == "__main__":
    main()
