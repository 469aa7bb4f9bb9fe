"""What dvc.yaml declares for the stage that a command runs: DVC records it when the command has ended."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

PIPELINE = Path("dvc.yaml")
VARIABLE = re.compile(r"\$\{([a-z_.]+)\}")  # as in ${key}, ${item.noise} and ${corpus.folder}
ABSENT = "(not there)"  # in place of a param's value


@dataclass(frozen=True)
class Declared:
    """The dotted names of params, and the paths of dependencies."""

    params: tuple[str, ...]
    deps: tuple[Path, ...]


def declared(command: str, params: Mapping[str, Any]) -> Declared | None:
    """What the stage declares whose `cmd` is `command`. None if dvc.yaml has no such stage."""
    if not PIPELINE.exists():
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    blocks = yaml.load(PIPELINE.read_text(encoding="utf-8"), Loader=loader)["stages"]
    for block in blocks.values():
        values = _matched(block, command)
        if values is None:
            continue
        values = {name: str(lookup(params, name)) for name in _variables(block)} | values

        def fill(text: str, values: Mapping[str, str] = values) -> str:
            return VARIABLE.sub(lambda match: values[match[1]], text)

        return Declared(
            tuple(map(fill, block.get("params", []))), tuple(Path(fill(dep)) for dep in block.get("deps", []))
        )
    return None


def _matched(block: Mapping[str, Any], command: str) -> dict[str, str] | None:
    """Values of ${key} and ${item...} by which the block's `cmd` is `command`; None if there are none."""
    literals = VARIABLE.split(block["cmd"])[::2]
    found = re.fullmatch(r"(\S+)".join(map(re.escape, literals)), command)
    if found is None:
        return None
    values = dict(zip(_of(block["cmd"]), found.groups(), strict=True))
    axes = list(block.get("matrix", {}))
    if "key" in values:
        items = values["key"].split("-")
        return values | {f"item.{axis}": item for axis, item in zip(axes, items, strict=False)}
    return values | {"key": "-".join(values[f"item.{axis}"] for axis in axes)}


def _of(text: str) -> list[str]:
    return VARIABLE.findall(text)


def _variables(block: Mapping[str, Any]) -> set[str]:
    """Names of the params that stand in a block's dependencies."""
    names = {name for text in block.get("deps", []) for name in _of(text)}
    return {name for name in names if name != "key" and not name.startswith("item.")}


def lookup(params: Mapping[str, Any], name: str) -> Any:
    """The value of a dotted name."""
    value: Any = params
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return ABSENT
        value = value[part]
    return value
