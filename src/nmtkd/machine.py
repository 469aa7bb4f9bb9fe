"""Facts of the machine, which never change a result: threads, device, scratch space, progress. They come from the environment.

NMTKD_DEVICE   auto (a GPU where there is one), cpu or cuda
NMTKD_THREADS  cores to use; all by default
NMTKD_SCRATCH  where training keeps its checkpoints; `.scratch` of the repository by default
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

GIB = 2**30
KEY_DIGITS = 16  # of a scratch folder's name: 64 bits
PROGRESS_SECONDS = 5.0  # between two progress lines: seldom enough for a log, often enough to be seen alive


class MachineError(OSError):
    """The machine cannot do what was asked."""


def threads() -> int:
    """Cores to use. Raises MachineError where NMTKD_THREADS is no positive number."""
    text = os.environ.get("NMTKD_THREADS", "")
    if not text:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if not (text.isascii() and text.isdigit() and int(text)):
        raise MachineError(f"NMTKD_THREADS: must be a positive whole number; got {text!r}")
    return int(text)


def device() -> str:
    """`cuda` or `cpu`. Raises MachineError where NMTKD_DEVICE asks for what is not there."""
    import torch

    wanted = os.environ.get("NMTKD_DEVICE", "auto")
    if wanted not in ("auto", "cpu", "cuda"):
        raise MachineError(f"NMTKD_DEVICE: must be auto, cpu or cuda; got {wanted!r}")
    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise MachineError("NMTKD_DEVICE: cuda was asked for, but torch finds no GPU; set it to auto or cpu")
    return "cuda" if there and wanted != "cpu" else "cpu"


def autocast() -> Any:
    """What the arithmetic of training runs under: bfloat16 on a GPU, float32 on a CPU (where bfloat16 is slower). A context manager."""
    import torch

    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=device() == "cuda")


def keep_freed_memory() -> None:
    """Lets glibc keep large freed blocks. A training step frees its logits and asks for them again, and pays for it in page faults.

    bench/training.py measures how much; no effect on results, none outside glibc.
    """
    trim, mmap = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(mmap, GIB)
    mallopt(trim, 2 * GIB - 1)


def scratch_root() -> Path:
    """Where unfinished work is kept. A workspace that DVC makes for a queued experiment uses its repository's own."""
    named = os.environ.get("NMTKD_SCRATCH")
    if named:
        return Path(named).resolve()
    here = Path.cwd().resolve()
    for parent in here.parents:
        if parent.name == "exps" and parent.parent.name == "tmp" and parent.parent.parent.name == ".dvc":
            return parent.parent.parent.parent / ".scratch"
    return here / ".scratch"


def fingerprint(config: str, files: Iterable[Path]) -> str:
    """A name for a piece of work: hash of its settings and of its inputs and code, by content."""
    digest = hashlib.sha256(config.encode())
    for path in sorted(files):
        digest.update(f"\0{path.name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:KEY_DIGITS]


def code(*packages: str) -> list[Path]:
    """The Python files of packages under src/, as in code("nmtkd/models", "nmtkd_fairseq")."""
    src = Path(__file__).parent.parent
    return [path for package in packages for path in (src / package).glob("*.py")]


@contextmanager
def scratch(stage: str, key: str, need_bytes: int = 0) -> Iterator[Path]:
    """A folder for unfinished work, the same for the same key: what a killed process left there is found again.

    One process at a time holds it; another waits. It is removed on success and kept on failure.
    Raises MachineError where less than `need_bytes` are free.
    """
    folder = scratch_root() / f"{stage}-{key}"
    folder.mkdir(parents=True, exist_ok=True)
    there = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())  # what a killed process wrote is not needed again
    free = shutil.disk_usage(folder).free + there
    if free < need_bytes:
        raise MachineError(
            f"{folder}: {stage} needs about {need_bytes / GIB:.2f} GiB of scratch space, {free / GIB:.2f} GiB are free; "
            "free some, or name a larger disk in NMTKD_SCRATCH"
        )
    with open(scratch_root() / f"{stage}-{key}.lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"[{stage}] another process does the same work; waiting for it", file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        shutil.rmtree(folder)


@contextmanager
def whole(out: Path) -> Iterator[Path]:
    """A folder that becomes `out` only when all of it is written: half an output is never taken for a whole one."""
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    yield part
    shutil.rmtree(out, ignore_errors=True)
    os.replace(part, out)


_last_shown: dict[str, float] = {}


def progress(stage: str, done: int, total: int, what: str) -> None:
    """A line on stderr now and then, and always at the end."""
    now = time.monotonic()
    if done < total and now - _last_shown.setdefault(stage, now) < PROGRESS_SECONDS:
        return
    _last_shown[stage] = now
    print(f"[{stage}] {done}/{total} {what}", file=sys.stderr, flush=True)
