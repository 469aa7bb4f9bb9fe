"""Settings of the machine, from the environment: threads, device, scratch space. They never change a result.

NMTKD_DEVICE   auto (a GPU if there is one), cpu or cuda
NMTKD_THREADS  cores to use; all by default
NMTKD_PROCESSES  processes that share a training or token targets; one a GPU by default, and one on a CPU
NMTKD_SCRATCH  folder for checkpoints of training; `.scratch` of the repository by default
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

GIB = 2**30
PROGRESS_SECONDS = 5.0  # least time between two progress lines
# Threads beyond the cores only wait for each other, and a process of text/workers.py or a translator of
# CTranslate2 for each costs its memory. Some more are allowed, for a share of cores that was rounded up.
MOST_THREADS_A_CORE = 4
PATIENCE = 10.0  # seconds that a process has to end by itself
MOST_PROCESSES = 1024  # that share a stage: as many GPUs are the largest machines' that train such models
BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")  # flags of its products: two of x86, one of ARM
SHOWN = 40  # characters of a setting that a message quotes


class MachineError(OSError):
    """The machine cannot do what was asked."""


def threads() -> int:
    """Cores to use. Raises MachineError if NMTKD_THREADS is no positive whole number, or far too large."""
    cores = os.cpu_count() or 1
    text = os.environ.get("NMTKD_THREADS", "")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else cores
    digits = text.lstrip("0")
    if not (digits and text.isascii() and text.isdigit()):
        raise MachineError(f"NMTKD_THREADS: must be a positive whole number; got {_cut(text)}")
    most = MOST_THREADS_A_CORE * cores
    if len(digits) > len(str(most)) or int(digits) > most:
        raise MachineError(
            f"NMTKD_THREADS: at most {most} on this machine's {cores} cores, {MOST_THREADS_A_CORE} each; "
            f"got {_cut(text)}; lower it, or unset it to use all cores"
        )
    return int(digits)


def _cut(text: str) -> str:
    return repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")


def device() -> str:
    """`cuda` or `cpu`. Raises MachineError for an unknown NMTKD_DEVICE, and for cuda without a GPU."""
    import torch

    requested = os.environ.get("NMTKD_DEVICE", "auto")
    if requested not in ("auto", "cpu", "cuda"):
        raise MachineError(f"NMTKD_DEVICE: must be auto, cpu or cuda; got {requested!r}")
    has_gpu = torch.cuda.is_available()
    if requested == "cuda" and not has_gpu:
        raise MachineError("NMTKD_DEVICE: cuda was asked for, but torch finds no GPU; set it to auto or cpu")
    return "cuda" if has_gpu and requested != "cpu" else "cpu"


def gpus() -> int:
    """GPUs that may be used: 0 on a CPU."""
    import torch

    return torch.cuda.device_count() if device() == "cuda" else 0


def memory_bytes() -> int:
    """Memory of the smallest GPU that may be used, or on a CPU of the machine."""
    import psutil
    import torch

    sizes = [torch.cuda.get_device_properties(number).total_memory for number in range(gpus())]
    return int(min(sizes, default=psutil.virtual_memory().total))


def processes() -> int:
    """Processes that share a stage. Raises MachineError for a bad NMTKD_PROCESSES, or too few GPUs."""
    text = os.environ.get("NMTKD_PROCESSES", "")
    if not text:
        return max(1, gpus())
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_PROCESSES))) or not (
        1 <= int(text) <= MOST_PROCESSES
    ):
        raise MachineError(
            f"NMTKD_PROCESSES: must be a whole number from 1 to {MOST_PROCESSES}; got {_cut(text)}"
        )
    if 0 < gpus() < int(text):
        raise MachineError(
            f"NMTKD_PROCESSES: each has a GPU of its own; {text} were asked for, there are {gpus()}; lower it"
        )
    return int(text)


def description(gpus: int = 1) -> dict[str, str | int]:
    """Processor, device and cores, for the measurements in reports/machine/. `gpus` worked at once."""
    return {
        "processor": _of_processor("model name") or platform.processor() or platform.machine(),
        "device": f"cuda on {gpus} GPUs" if gpus > 1 and device() == "cuda" else device(),
        "cores": threads(),
    }


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for it, as far as Linux tells."""
    flags = (_of_processor("flags") or _of_processor("Features")).split()
    return any(flag in flags for flag in BFLOAT16)


def gpu_multiplies_bfloat16() -> bool:
    """Whether the GPU has instructions for it, which torch would else emulate."""
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)


def _of_processor(name: str) -> str:
    """A field of the first core in /proc/cpuinfo; empty if there is none."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def measurement(kind: str, key: str, model: str, gpus: int = 1, **values: Any) -> dict[str, Any]:
    """What this machine measured of the model with content hash `model`, for layout.machine_file.

    `gpus` worked at once, where it has any: a speed of several is told as such.
    """
    return {"kind": kind, "key": key, "model": model, "machine": description(gpus), **values}


def keep_freed_memory() -> None:
    """Lets glibc keep large freed blocks, which saves page faults: each step frees and allocates its logits.

    bench/training.py measures the gain. Results do not change; outside glibc nothing happens.
    """
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(mmap, GIB)
    mallopt(trim, 2 * GIB - 1)


def scratch_root() -> Path:
    """Folder of unfinished work. A workspace of a queued DVC experiment uses that of its repository."""
    configured = os.environ.get("NMTKD_SCRATCH")
    if configured:
        return Path(configured).resolve()
    here = Path.cwd().resolve()
    for parent in here.parents:
        if parent.name == "exps" and parent.parent.name == "tmp" and parent.parent.parent.name == ".dvc":
            return parent.parent.parent.parent / ".scratch"
    return here / ".scratch"


_parents: list[Any] = []
SHELLS = ("sh", "bash", "dash", "zsh", "fish", "ksh")


def watch_parents() -> None:
    """From now on `check_parents` sees whether DVC is alive, which started this stage, maybe by a shell."""
    import psutil

    _parents[:] = []
    for parent in psutil.Process().parents():
        _parents.append(parent)
        if parent.name() not in SHELLS:
            return


def check_parents() -> None:
    """Raises MachineError if a process is gone that `watch_parents` noted: the result has no taker."""
    import psutil

    for parent in _parents:
        try:
            alive = parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            alive = False
        if not alive:
            raise MachineError(
                "the run that started this stage is gone; it ends here, and the next run goes on from its "
                "last checkpoint"
            )


_last_shown: dict[str, float] = {}


def progress(stage: str, done: int, total: int, what: str) -> None:
    """Prints a progress line as `show` does. Then sees that somebody still waits for the result."""
    if show(stage, done, total, what):
        check_parents()


def show(stage: str, done: int, total: int, what: str) -> bool:
    """Prints a progress line to stderr, at most every PROGRESS_SECONDS, and always the last one.

    Returns whether it did.
    """
    now = time.monotonic()
    if done < total and now - _last_shown.setdefault(stage, now) < PROGRESS_SECONDS:
        return False
    _last_shown[stage] = now
    print(f"[{stage}] {done}/{total} {what}", file=sys.stderr, flush=True)
    return True
