"""fairseq, and only what of it is used here. To be imported before fairseq is.

At its import fairseq imports every model, task and criterion that it has, and with them scikit-learn: half of a stage's start-up.
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
    """Within it, folders of USED in `package` seem to hold nothing else: fairseq imports what os.listdir finds."""
    whole = os.listdir

    def listdir(path: Any = ".") -> Any:
        place = Path(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else Path()
        used = USED.get(place.name) if place.parent == package else None
        return [name for name in whole(path) if used is None or name in used]

    os.listdir = listdir
    try:
        yield
    finally:
        os.listdir = whole


if "fairseq" not in sys.modules:
    spec = importlib.util.find_spec("fairseq")
    assert spec is not None and spec.origin is not None, "fairseq is not installed"
    with only_used(Path(spec.origin).parent):
        importlib.import_module("fairseq")
