"""More than one process for an entry, by torch's own launcher: one a GPU."""

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
from runner.schedule import LOOK

SHARED = ("teacher", "student", "targets")  # entries whose work several processes share
REPORT = "TORCHELASTIC_ERROR_FILE"  # where the launcher reads what a process says of its end
LOST = "lost"  # in a report: whether the message only says that another process is gone


class ProcessError(OSError):
    """A process of an entry ended, and so did all."""


def shared(entry: str, arguments: Sequence[str]) -> bool:
    """Runs an entry in as many processes as it is given, if these are several. Whether it did.

    Raises ProcessError with what the first of them that failed said. The others are then ended.
    """
    if entry not in SHARED or processes.shared() or (count := machine.processes()) == 1:
        return False
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # its tables say less than we do
    cores = str(max(1, machine.threads() // count))
    os.environ.update(NMTKD_THREADS=cores, OMP_NUM_THREADS=cores)
    with tempfile.TemporaryDirectory(prefix="torchrun-") as logs:  # torch would leave its own behind
        _launch(count, entry, arguments, logs)
    return True


def _launch(count: int, entry: str, arguments: Sequence[str], logs: str) -> None:
    """Runs the processes of an entry on this machine. Raises KeyboardInterrupt and ProcessError."""
    from torch.distributed.elastic.multiprocessing.api import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        logs_specs=DefaultLogsSpecs(log_dir=logs),
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        run_id=uuid.uuid4().hex,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        shutdown_timeout=int(machine.PATIENCE),
    )
    threading.Thread(target=_end_with_taker, daemon=True).start()
    print(f"[{entry} {' '.join(arguments)}] {count} processes share the work", flush=True)
    try:
        elastic_launch(config, sys.executable)("-u", "-m", f"stages.{entry}", *arguments)
    except SignalException:
        raise KeyboardInterrupt from None
    except ChildFailedError as error:
        raise ProcessError(cause(error.failures)) from None


def cause(failures: dict[int, Any]) -> str:
    """What ended an entry, from torch's record of each process that failed, by number.

    A reason that a process gave comes first. A signal leaves none; and where others only say that they lost a
    process, it is the signal that explains it.
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
        )
    if not said:
        number, one = min(failures.items())
        return f"process {number} of this stage ended with exit code {one.exitcode}, and said nothing"
    first = min(reasons or said, key=lambda one: one.error_file_data["timestamp"])
    return str(first.error_file_data["message"])


def _end_with_taker() -> None:
    """Ends the launcher, and so all processes, once nobody waits for the result: it only waits itself."""
    while True:
        time.sleep(machine.PROGRESS_SECONDS)
        try:
            machine.check_parents()
        except machine.MachineError:
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
