"""One finished laboratory for all end-to-end tests, and copies of it to change."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.endtoend.lab import Lab, make_lab

CopyLab = Callable[[], Lab]


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, str]:
    """A finished laboratory, two stages at a time, committed; and what was printed. Not to be changed."""
    lab = make_lab(tmp_path_factory.mktemp("finished") / "lab")
    printed = lab.run("python", "-m", "runner", "2")
    lab.run("git", "add", "-A")
    lab.run("git", "commit", "-qm", "results")
    return lab, printed


@pytest.fixture
def copy(finished: tuple[Lab, str], tmp_path: Path) -> CopyLab:
    """Makes copies of the finished laboratory, cache and all."""
    numbers = itertools.count()

    def make() -> Lab:
        folder = tmp_path / f"lab{next(numbers)}"
        shutil.copytree(finished[0].folder, folder, symlinks=True)
        return Lab(folder)

    return make
