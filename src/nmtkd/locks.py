"""Locks: one process at a time writes an output, a scratch folder, an archive.

A lock ends with its process, however that ends. It is for the processes of one host: what others see of it is
their file system's affair.
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO


class LockError(OSError):
    """A file system without locks."""


class Lock:
    """A lock that this process holds."""

    def __init__(self, file: BinaryIO, left: dict[str, Any]) -> None:
        """`left` is what the process wrote for this one that it had to wait for; {} if it did not wait."""
        self._file, self.left = file, left

    def leave(self, **facts: Any) -> None:
        """Writes facts for those who wait: they read them once the lock is theirs."""
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(facts).encode())
        self._file.flush()


@contextmanager
def held(path: Path, who: str) -> Iterator[Lock]:
    """Holds the lock file `path`, which names host and process; it is gone afterwards.

    Says as `[who]` for whom it waits. A file that a killed process left is taken over. Raises LockError where
    the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    left: dict[str, Any] = {}
    while True:
        with path.open("a+b") as file:
            if _wait(file, path, who):
                left = _read(file)
            if not _is_at(file, path):  # its last holder removed it: another process may lock a new one
                continue
            lock = Lock(file, left)
            lock.leave(host=platform.node(), pid=os.getpid(), who=who)
            try:
                yield lock
            finally:
                path.unlink(missing_ok=True)
            return


def _wait(file: BinaryIO, path: Path, who: str) -> bool:
    """Locks the file. Whether another process held it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        other = _read(file)
        name = f"process {other['pid']} on {other['host']} ({other['who']})" if other else "another process"
        print(f"[{who}] waiting for {name}: it does the same work ({path})", file=sys.stderr, flush=True)
        fcntl.flock(file, fcntl.LOCK_EX)
        return True
    except OSError as error:
        raise LockError(
            f"{path}: cannot be locked ({error.strerror}); use a disk whose file system has locks"
        ) from None


def _read(file: BinaryIO) -> dict[str, Any]:
    file.seek(0)
    try:
        facts = json.loads(file.read())
    except ValueError:  # its holder is about to write it
        return {}
    return facts if isinstance(facts, dict) else {}


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
