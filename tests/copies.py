"""Copies of the project for tools that break it, and where tests of a copy find its code."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COPIED = (
    *("src", "stages", "tests", "conf", "manifests", "docs", "dvc.yaml", "params.yaml", "pyproject.toml"),
    *("dvc.lock", "requirements.lock", "README.md", ".dvcignore"),
)


def copied(folder: Path) -> Path:
    """A copy of the project in `folder`, in place of what is there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """One thread, and the copy's own code."""
    path = os.pathsep.join([str(folder / "src"), str(folder)])
    threads = {"NMTKD_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **threads, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
