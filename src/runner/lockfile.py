"""dvc.lock in one order, whatever order stages ended in: two equal runs write equal files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from nmtkd import files

STAGE = re.compile(r"^  (?! )(?P<name>\S.*):$", re.MULTILINE)  # a stage's first line: two spaces and its name


def sort(path: Path, order: Sequence[str]) -> None:
    """Rewrites `path` with its stages in `order`; those that are not named there follow as they are."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    starts = list(STAGE.finditer(text))
    if not starts:
        return
    ends = [match.start() for match in starts[1:]] + [len(text)]
    blocks = {
        match["name"].strip("'\""): text[match.start() : end] for match, end in zip(starts, ends, strict=True)
    }
    places = {name: place for place, name in enumerate(order)}
    ordered = sorted(blocks, key=lambda name: places.get(name, len(places)))
    found = text[: starts[0].start()] + "".join(blocks[name] for name in ordered)
    if found != text:
        files.write_text(path, found)
