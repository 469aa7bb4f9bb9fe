"""More than one process for an entry, by torch's own launcher: one a GPU, on one node or several."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Sequence
from typing import Any

from nmtkd import machine, processes
from runner import tasks
from runner.schedule import LOOK

TRAININGS = ("teacher", "student")  # entries whose work nodes can share
SHARED = (*TRAININGS, "targets")  # and processes of one node, which may write into one mapped file
REPORT = "TORCHELASTIC_ERROR_FILE"  # where the launcher reads what a process says of its end
LOST = "lost"  # in a report: whether the message only says that another process is gone


class ProcessError(OSError):
    """A process of an entry ended, and so did all."""


def shared(entry: str, arguments: Sequence[str]) -> bool:
    """Runs an entry in as many processes as it is given, if these are several. Whether it did.

    Each task of a job starts those of its node. Raises ProcessError with what the first of these that failed
    said, LostError where they only lost those of another task. The others are then ended.
    """
    if entry not in SHARED or processes.shared():
        return False
    count, nodes = machine.processes(), tasks.count()
    if count == nodes == 1:
        return False
    logging.disable(logging.ERROR)  # torch's tables say less than we do
    cores = str(max(1, machine.threads() // count))
    os.environ.update(NMTKD_THREADS=cores, OMP_NUM_THREADS=cores)
    if tasks.number() == 0:
        each = "" if nodes == 1 else f" on each of {nodes} nodes"
        print(f"[{entry} {' '.join(arguments)}] {count} processes{each} share the work", flush=True)
    over = threading.Event()
    threading.Thread(target=_end_with_taker, args=(over,), daemon=True).start()
    try:
        with tempfile.TemporaryDirectory(prefix="torchrun-") as logs:  # torch would leave its own behind
            _launch(count, entry, arguments, logs)
    finally:
        over.set()
    return True


def _launch(count: int, entry: str, arguments: Sequence[str], logs: str) -> None:
    """Runs the processes of an entry on this machine. Raises KeyboardInterrupt, ProcessError, LostError."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.elastic.rendezvous.api import RendezvousError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        logs_specs=DefaultLogsSpecs(log_dir=logs),
        nproc_per_node=count,
        rdzv_backend="c10d",
        max_restarts=0,
        shutdown_timeout=int(machine.PATIENCE),
        **(meeting := _meeting()),
    )
    try:
        elastic_launch(config, sys.executable)("-u", "-m", f"stages.{entry}", *arguments)
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        message, lost = cause(error.failures)
        raise (processes.LostError if lost else ProcessError)(message) from None
    except RendezvousError as error:
        raise processes.LostError(
            f"the tasks of this job do not find each other at {meeting['rdzv_endpoint']}: one is gone, or "
            f"its node cannot reach that address ({type(error).__name__})"
        ) from None


def _meeting() -> dict[str, Any]:
    """Where the launchers of all tasks meet. That of a single one meets itself."""
    if tasks.count() == 1:
        return {"min_nodes": 1, "max_nodes": 1, "run_id": uuid.uuid4().hex, "rdzv_endpoint": "localhost:0"}
    first, own = tasks.addresses()
    return {
        "min_nodes": tasks.count(),
        "max_nodes": tasks.count(),
        "run_id": tasks.step(),
        "rdzv_endpoint": f"{first}:{tasks.port()}",
        "rdzv_configs": {"is_host": tasks.number() == 0},
        "local_addr": own,
    }


def cause(failures: dict[int, Any]) -> tuple[str, bool]:
    """What ended a stage, from torch's record of each process that failed, by number.

    A reason that a process gave comes first. A signal leaves none; and where others only say that they lost a
    process, it is the signal that explains it. Also says whether it may only be that another task's process
    is gone: a process of NCCL's then aborts.
    """
    said = [one for one in failures.values() if LOST in one.error_file_data]  # torch fills in for the others
    reasons = [one for one in said if not one.error_file_data[LOST]]
    killed = [(number, one) for number, one in failures.items() if -one.exitcode in KILLS]
    if killed and not reasons:
        number, one = killed[0]
        name = signal.Signals(-one.exitcode).name
        return (
            f"process {number} of this stage was ended by {name}, and the others with it; where memory "
            "was full, lower max_tokens; run it again: a training goes on from its last checkpoint"
        ), name == signal.SIGABRT.name
    if not said:
        number, one = min(failures.items())
        return (
            f"process {number} of this stage ended with exit code {one.exitcode}, and said nothing",
            False,
        )
    first = min(reasons or said, key=lambda one: one.error_file_data["timestamp"])
    return str(first.error_file_data["message"]), not reasons


def _end_with_taker(over: threading.Event) -> None:
    """Ends the launcher, and so all processes, once nobody waits for the result: it only waits itself.

    So too once another task has told why the stage ends.
    """
    while not over.wait(machine.PROGRESS_SECONDS):
        try:
            machine.check_parents()
            gone = tasks.told()
        except machine.MachineError:
            gone = True
        if gone:
            os.kill(os.getpid(), signal.SIGTERM)


def join() -> None:
    """Begins a process that shares the work: it ends with its launcher, and only the first one speaks."""

    def end_with(launcher: int) -> None:
        while os.getppid() == launcher:
            time.sleep(LOOK)
        os._exit(1)

    threading.Thread(target=end_with, args=(os.getppid(),), daemon=True).start()
    if not processes.first():
        sys.stdout = sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


# SIGTERM is how the launcher ends the others.
KILLS = {int(one) for one in (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL)}


def report(message: str, *, lost: bool = False) -> bool:
    """Leaves a message for the launcher, which tells the first one. Whether there is a launcher."""
    if not processes.shared() or REPORT not in os.environ:
        return False
    with open(os.environ[REPORT], "w", encoding="utf-8") as file:
        json.dump({"message": message, "timestamp": time.time(), LOST: lost}, file)
    return True
