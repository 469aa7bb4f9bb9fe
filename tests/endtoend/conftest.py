"""One finished laboratory for all end-to-end tests, and copies of it to change."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.endtoend.lab import Lab, make_lab

CopyLab = Callable[[], Lab]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, str]:
    """A finished laboratory, two stages at a time, committed; and what was printed. Not to be changed.

    The first worker that needs it makes it for all.
    """
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "finished"
    folder.mkdir(exist_ok=True)
    lab, printed = folder / "lab", folder / "printed.txt"
    with open(folder / "lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not printed.exists():
            shutil.rmtree(lab, ignore_errors=True)
            shutil.rmtree(folder / "corpus", ignore_errors=True)
            made = make_lab(lab)
            told = made.run("python", "-m", "runner", "2")
            made.run("git", "add", "-A")
            made.run("git", "commit", "-qm", "results")
            printed.write_text(told, encoding="utf-8")
    return Lab(lab), printed.read_text(encoding="utf-8")


@pytest.fixture
def copy(finished: tuple[Lab, str], tmp_path: Path) -> CopyLab:
    """Makes copies of the finished laboratory, cache and all."""
    numbers = itertools.count()

    def make() -> Lab:
        folder = tmp_path / f"lab{next(numbers)}"
        shutil.copytree(finished[0].folder, folder, symlinks=True)
        return Lab(folder)

    return make
