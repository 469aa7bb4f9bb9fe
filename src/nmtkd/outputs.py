"""Outputs of stages: written by one process at a time, whole or not at all, from what still stands."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from nmtkd import files, locks, machine, processes

FULL = (errno.ENOSPC, errno.EDQUOT)
UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))
NUMPYS_FULL = re.compile(r"\d+ requested and \d+ written")  # numpy's error has a message and no number


class DiskFullError(OSError):
    """A disk without room for what a stage writes."""


class AlreadyMade(Exception):  # noqa: N818  no error: nothing is left to do
    """Another process has written the same output."""


class Basis(Protocol):
    """What an output is made from, as its stage noted it at its beginning. `key` is a hash of that."""

    @property
    def key(self) -> str: ...  # noqa: D102

    def check(self) -> None:
        """Raises an error where it is no longer what it was."""


class Output:
    """A folder that is being written: `path` takes its place once it is whole."""

    def __init__(self, path: Path, stage: str, held: ExitStack) -> None:
        """`held` is left when the folder is in its place, or is never to be."""
        self.path, self.stage, self._held = path, stage, held
        self._finished: list[Path] = []

    def scratch(self, kind: str, key: str) -> Path:
        """A folder for unfinished work: equal kinds and keys have one, also after a kill.

        One process at a time holds it; others wait. It is removed once the output is in its place, and kept
        where the output never gets there. Raises MachineError if scratch space is no folder.
        """
        root = machine.scratch_root()
        folder = root / f"{kind}-{key}"
        if not processes.first():
            return folder  # the first process of the stage holds it
        try:
            self._held.enter_context(locks.held(root / f"{folder.name}.lock", self.stage))
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError):
            raise machine.MachineError(
                f"{root}: scratch space must be a folder, and it is a file; remove it, or name a folder in "
                "NMTKD_SCRATCH"
            ) from None
        self._finished.append(folder)
        return folder

    def finish(self) -> None:
        """Removes the scratch folders."""
        for folder in self._finished:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def made(
    folder: Path, stage: str, basis: Basis | None = None, *, shared: Collection[str] | None = None
) -> Iterator[Output]:
    """Yields an Output for `folder`, whose path is an empty folder. At the end it replaces `folder`.

    With `shared`, `folder` is everybody's: each entry of the new one replaces its namesake, and within the
    subfolders that `shared` names each of theirs. `stage` is how messages name the process. Before anything
    is replaced, `basis` is checked; where that fails the folder is kept in scratch space for whoever makes it
    again from the same basis.

    Of processes that share the work, the first makes the output; the others have a folder that is dropped.

    Raises AlreadyMade where another process has made the same meanwhile or before, DiskFullError where there
    is no room.
    """
    if not processes.first():
        with _helped(folder, stage) as output:
            yield output
        return
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    with ExitStack() as held:
        lock = held.enter_context(locks.held(folder.with_name(f".{folder.name}.lock"), stage))
        for left in folder.parent.glob(f".{folder.name}.*.part*"):  # of killed processes: the lock is ours
            shutil.rmtree(left, ignore_errors=True)
        how = _taken(folder, basis, lock.left, shared) if basis else ""
        if processes.first_does(lambda: how):
            raise AlreadyMade(f"{folder}: {how}")
        part.mkdir(parents=True)
        output = Output(part, stage, held)
        try:
            with full_disk_told(stage, part):
                yield output
                files.sync(part)
            content = files.folder_hash(part)
            if basis:
                _check(basis, part, content, output)
            _place(part, folder, shared)
            output.finish()
            if basis:
                lock.leave(basis=basis.key, content=content)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _helped(folder: Path, stage: str) -> Iterator[Output]:
    """The output of a process that helps the first one, once that one has begun."""
    if how := processes.first_does(str):
        raise AlreadyMade(f"{folder}: {how}")
    with ExitStack() as held:
        place = held.enter_context(tempfile.TemporaryDirectory())
        yield Output(Path(place), stage, held)


def _taken(folder: Path, basis: Basis, left: Mapping[str, str], shared: Collection[str] | None) -> str:
    """How another process has made the output from the same basis; "" if none has."""
    if left.get("basis") == basis.key and folder.is_dir() and files.folder_hash(folder) == left["content"]:
        basis.check()
        return "made by the process that this one waited for"
    for parked in machine.scratch_root().glob(f"output-{basis.key}-*"):
        if parked.name.endswith(files.folder_hash(parked)):
            basis.check()
            _place(parked, folder, shared)
            shutil.rmtree(parked, ignore_errors=True)
            return "made by an earlier run from the same, and kept"
        shutil.rmtree(parked)
    return ""


def _check(basis: Basis, part: Path, content: str, output: Output) -> None:
    """Raises what `basis` raises, and keeps the finished folder for whoever makes it from the same again."""
    try:
        basis.check()
    except ValueError:
        kept = machine.scratch_root() / f"output-{basis.key}-{content}"
        shutil.rmtree(kept, ignore_errors=True)
        kept.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(part, kept)
        output.finish()
        raise


def _place(part: Path, folder: Path, shared: Collection[str] | None) -> None:
    """Puts a finished folder in its place."""
    if shared is None:
        files.replace(part, folder)
        return
    for entry in sorted(part.iterdir()):
        for path in sorted(entry.iterdir()) if entry.name in shared else [entry]:
            files.replace(path, folder / path.relative_to(part))


def check_room(folder: Path, need: int, stage: str, what: str) -> None:
    """Raises DiskFullError if less than `need` bytes are free on the disk of `folder`, for `what`."""
    free = shutil.disk_usage(folder).free
    if free < need:
        raise DiskFullError(
            f"{folder}: {stage} needs {size(need)} more for {what}, {size(free)} are free; free some, "
            "or name a larger disk in NMTKD_SCRATCH"
        )


def is_full(error: OSError) -> bool:
    """Whether a disk is full, by whatever library said it."""
    return error.errno in FULL or bool(NUMPYS_FULL.search(str(error)))


@contextmanager
def full_disk_told(stage: str, part: Path = Path()) -> Iterator[None]:
    """Turns the many errors of a full disk into one message. `part` is the output that is being written."""
    try:
        yield
    except DiskFullError:
        raise
    except OSError as error:
        if not is_full(error):
            raise
        places = [part, part.parent, machine.scratch_root(), Path(tempfile.gettempdir())]
        free, place = min((shutil.disk_usage(place).free, place) for place in places if place.is_dir())
        there = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        written = f" ({size(there)} of its output were written)" if part != Path() else ""
        raise DiskFullError(
            f"{error.filename or place.resolve()}: the disk is full: {stage} was writing there and needs "
            f"more than the {size(free)} that are free{written}; free some, or name larger disks in "
            "NMTKD_SCRATCH and TMPDIR, and run it again: what is done stays done"
        ) from None


def size(count: int) -> str:
    """A number of bytes for a message."""
    for unit, name in UNITS:
        if count >= unit:
            return f"{count / unit:.2f} {name}"
    return f"{count} bytes"
