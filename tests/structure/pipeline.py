"""dvc.yaml as DVC resolves it: every stage with its command, params and dependencies."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from tests.structure.imports import ROOT, linked

FULLER = {
    "methods": {
        "plain": ["plain"],
        "word": ["word", "word_js", "word_rank"],
        "seq": ["seq", "interp"],
        "both": ["both"],
        "hybrid": ["hybrid", "hybrid_best"],
        "online": ["on_policy"],
    },
    "capacities": ["tiny", "gated25"],
    "noises": ["clean", "del30_clean"],
    "decodings": ["beam", "sample"],
    "seeds": [1, 2],
}


@dataclass(frozen=True)
class Stage:
    name: str
    command: tuple[str, ...]  # after `python -m stages.`: the entry and its names
    params: frozenset[str]
    deps: frozenset[str]  # where dvc.yaml has imports/ENTRY, the files that it links to
    outs: tuple[str, ...]


def _fill(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{([^}]+)\}", lambda match: values[match[1]], text)


def _followed(dep: str) -> list[str]:
    return linked(dep.removeprefix("imports/")) if dep.startswith("imports/") else [dep]


def _look_up(params: Any, reference: str) -> Any:
    for part in reference.removeprefix("${").removesuffix("}").split("."):
        params = params[part]
    return params


def resolve(definition: dict[str, Any], params: dict[str, Any]) -> list[Stage]:
    """All stages of a dvc.yaml under params: what DVC's templates expand to."""
    found = []
    for name, block in definition["stages"].items():
        axes = {axis: _look_up(params, reference) for axis, reference in block.get("matrix", {}).items()}
        for values in itertools.product(*axes.values()):
            item = {f"item.{axis}": str(value) for axis, value in zip(axes, values, strict=True)}
            filled = {**item, "key": "-".join(map(str, values)), "corpus.folder": params["corpus"]["folder"]}
            outs = [out if isinstance(out, str) else next(iter(out)) for out in block["outs"]]
            command = _fill(block["cmd"], filled)
            assert command.startswith("python -m stages."), command
            found.append(
                Stage(
                    name=f"{name}@{filled['key']}" if axes else name,
                    command=tuple(command.removeprefix("python -m stages.").split()),
                    params=frozenset(_fill(entry, filled) for entry in block["params"]),
                    deps=frozenset(dep for entry in block["deps"] for dep in _followed(_fill(entry, filled))),
                    outs=tuple(_fill(entry, filled) for entry in outs),
                )
            )
    return found


@dataclass(frozen=True)
class Project:
    """Params and the stages that dvc.yaml makes of them."""

    name: str
    stages: tuple[Stage, ...]
    params: dict[str, Any]

    def stage(self, name: str) -> Stage:
        return next(stage for stage in self.stages if stage.name == name)


@lru_cache
def projects() -> tuple[Project, ...]:
    """The project as params.yaml has it, whose grid leaves families empty, and with a grid that has something of everything."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    definition = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    fuller = {**params, "grid": FULLER}
    return tuple(Project(name, tuple(resolve(definition, one)), one) for name, one in (("default", params), ("fuller", fuller)))
