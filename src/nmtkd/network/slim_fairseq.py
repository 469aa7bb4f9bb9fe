"""Imports fairseq without its unused models, tasks and criterions, which saves 1.3 s a process.

Must be imported before fairseq: its packages import every file that they find, and thereby scikit-learn.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

USED = {
    "models": {"transformer"},
    "tasks": {"translation.py"},
    "criterions": {"cross_entropy.py", "label_smoothed_cross_entropy.py"},
}


@contextmanager
def only_used(package: Path) -> Iterator[None]:
    """Within it, os.listdir hides unused files of USED folders in `package`: fairseq imports all it lists."""
    real_listdir = os.listdir

    def listdir(path: Any = ".") -> Any:
        folder = Path(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else Path()
        used = USED.get(folder.name) if folder.parent == package else None
        return [name for name in real_listdir(path) if used is None or name in used]

    os.listdir = listdir
    try:
        yield
    finally:
        os.listdir = real_listdir


if "fairseq" not in sys.modules:
    spec = importlib.util.find_spec("fairseq")
    assert spec is not None and spec.origin is not None, "fairseq is not installed"
    with only_used(Path(spec.origin).parent):
        importlib.import_module("fairseq")
