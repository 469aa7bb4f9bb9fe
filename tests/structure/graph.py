"""dvc.yaml as DVC itself resolves it: every stage with its command, params, dependencies and outputs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from dvc.dependency.param import ParamsDependency
from dvc.repo import Repo

ROOT = Path(__file__).resolve().parents[2]
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
    """One stage; paths are relative to the repository."""

    name: str
    command: tuple[str, ...]  # after `python -m stages.`: the entry and its names
    params: frozenset[str]
    deps: frozenset[str]
    outs: tuple[str, ...]
    needs: frozenset[str]  # the stages whose outputs it reads


def read(folder: Path) -> tuple[Stage, ...]:
    """All stages of the repository in `folder`."""
    with Repo(str(folder)) as repo:
        graph = repo.index.graph
        return tuple(_stage(stage, graph.successors(stage), folder) for stage in repo.index.stages)


def _stage(stage: Any, needs: Iterable[Any], folder: Path) -> Stage:
    def path(entry: Any) -> str:
        place = Path(entry.fs_path)
        return (
            str(place.relative_to(folder.resolve())) if place.is_relative_to(folder.resolve()) else str(place)
        )

    assert stage.cmd.startswith("python -m stages."), stage.cmd
    return Stage(
        name=stage.name,
        command=tuple(stage.cmd.removeprefix("python -m stages.").split()),
        params=frozenset(
            name for dep in stage.deps if isinstance(dep, ParamsDependency) for name in dep.params
        ),
        deps=frozenset(path(dep) for dep in stage.deps if not isinstance(dep, ParamsDependency)),
        outs=tuple(path(out) for out in stage.outs),
        needs=frozenset(other.name for other in needs),
    )


def downstream(stages: Iterable[Stage], names: Iterable[str]) -> set[str]:
    """These stages and all that read what they write, to the end."""
    reached, stages = set(names), tuple(stages)
    while more := {stage.name for stage in stages if stage.name not in reached and stage.needs & reached}:
        reached |= more
    return reached


@dataclass(frozen=True)
class Project:
    """Params and the stages that dvc.yaml makes of them."""

    name: str
    stages: tuple[Stage, ...]
    params: dict[str, Any]

    def stage(self, name: str) -> Stage:
        """The stage of this name."""
        return next(stage for stage in self.stages if stage.name == name)


@lru_cache
def projects() -> tuple[Project, ...]:
    """The project with the grid of params.yaml, and with a grid that has something of everything."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    found = []
    for name, content in (("default", params), ("fuller", {**params, "grid": FULLER})):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(ROOT / "dvc.yaml", folder)
            (Path(folder) / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
            Repo.init(folder, no_scm=True).close()
            found.append(Project(name, read(Path(folder)), content))
    return tuple(found)
