"""dvc.lock: read and written fast, and in one order whatever stage ended first: equal runs, equal bytes.

With it all YAML that DVC reads: each stage reads params.yaml again.
"""

from __future__ import annotations

import io
import os
import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from dvc.utils.serialize import _yaml

NAME = "dvc.lock"
with_comments, with_all, parsed = _yaml.parse_yaml_for_update, _yaml._dump, _yaml.parse_yaml  # DVC's own
KEPT = 4  # texts that are not parsed again: params.yaml, and the lock file as it was and is

STAGE = re.compile(r"^  (?! )(?P<name>\S.*):$", re.MULTILINE)  # a stage's first line: two spaces and its name
ANCHOR = "&id"  # as DVC's writer names what stands twice


class _Blocks:
    """The lock file as it was read last: each stage's text, and what the text says."""

    def __init__(self) -> None:
        self._read: Any = None
        self._texts: dict[str, tuple[str, str]] = {}

    def parse(self, text: str, path: Any) -> Any:
        """What the file says, by DVC's parser for all other files."""
        self._read, self._texts = _yaml.parse_yaml(text, path), {}
        texts = _split(text)[1]
        stages = self._read.get("stages") if isinstance(self._read, dict) else None
        # Else a stage's text may refer to another one's, or lack its end.
        whole = ANCHOR not in text and text.endswith("\n")
        if whole and isinstance(stages, dict) and list(stages) == list(texts):
            self._texts = {name: (_meant(stages[name]), texts[name]) for name in texts}
        return self._read

    def dump(self, data: Any, stream: TextIO) -> None:
        """Writes what was read and changed since: of a stage that is as it was, the text that was read."""
        if not data or data is not self._read or list(data) != ["schema", "stages"] or not data["stages"]:
            with_all(data, stream)
            return
        stream.write(_text({"schema": data["schema"]}) + "stages:\n")
        for name, stage in data["stages"].items():
            meant, text = self._texts.get(name, ("", ""))
            same = meant == _meant(stage)
            stream.write(text if same else _text({"stages": {name: stage}}).removeprefix("stages:\n"))


def _meant(stage: Any) -> str:
    """By what two equal stages are known: numbers of other types, and another order, are not equal."""
    return repr(stage)


def _text(data: Any) -> str:
    stream = io.StringIO()
    with_all(data, stream)
    return stream.getvalue()


def _once(parse: Callable[..., Any]) -> Callable[..., Any]:
    """A parser that parses a text once while it is kept. Each caller gets an object of its own."""
    kept: dict[str, bytes] = {}

    def found(text: Any, path: Any, typ: str = "safe") -> Any:
        if typ != "safe" or not isinstance(text, str):
            return parse(text, path, typ)
        if text not in kept:
            kept[text] = pickle.dumps(parse(text, path, typ))
            if len(kept) > KEPT:
                del kept[next(iter(kept))]
        return pickle.loads(kept[text])

    return found


def be_fast() -> None:
    """From now on DVC reads its lock file as it reads all others, and writes anew only what has changed.

    To write a stage into it, DVC reads all of it by a parser that keeps comments, and writes all of it: that
    takes longer with every stage of the grid. The file is DVC's own, and has no comments. And a text that DVC
    has just read is not parsed again: params.yaml is read for each stage of the grid.
    """
    blocks = _Blocks()

    def parse(text: str, path: Any) -> Any:
        lock = os.fspath(path).endswith(NAME)
        return blocks.parse(text, path) if lock else with_comments(text, path)

    _yaml.parse_yaml_for_update, _yaml._dump, _yaml.parse_yaml = parse, blocks.dump, _once(parsed)


def _split(text: str) -> tuple[str, dict[str, str]]:
    """What stands before the first stage, and the text of each stage by its name."""
    starts = list(STAGE.finditer(text))
    ends = [*(match.start() for match in starts[1:]), len(text)][: len(starts)]
    head = text[: starts[0].start()] if starts else text
    return head, {
        match["name"].strip("'\""): text[match.start() : end] for match, end in zip(starts, ends, strict=True)
    }


def sort(path: Path, order: Sequence[str]) -> None:
    """Rewrites `path` with its stages in `order`; those that are not named there follow as they are."""
    if not path.exists():
        return
    text = path.read_text(encoding="utf-8")
    head, blocks = _split(text)
    places = {name: place for place, name in enumerate(order)}
    ordered = sorted(blocks, key=lambda name: places.get(name, len(places)))
    found = head + "".join(blocks[name] for name in ordered)
    if found != text:
        from nmtkd import files  # here: whoever wants DVC fast needs nothing of ours

        files.write_text(path, found)
