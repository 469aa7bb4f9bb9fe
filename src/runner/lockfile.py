"""dvc.lock: read fast, and in one order, whatever order stages ended in: two equal runs write equal files."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from dvc.utils.serialize import _yaml

from nmtkd import files

NAME = "dvc.lock"
with_comments = _yaml.parse_yaml_for_update

STAGE = re.compile(r"^  (?! )(?P<name>\S.*):$", re.MULTILINE)  # a stage's first line: two spaces and its name


def read_fast() -> None:
    """From now on DVC reads its lock file as it reads all others.

    To write a stage into it, DVC reads all of it by a parser that keeps comments, and takes longer with every
    stage of the grid. The file is DVC's own, and has none.
    """
    _yaml.parse_yaml_for_update = lambda text, path: (
        _yaml.parse_yaml(text, path) if os.fspath(path).endswith(NAME) else with_comments(text, path)
    )


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
