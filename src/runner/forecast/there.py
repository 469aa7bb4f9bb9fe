"""Which stages of an experiment are done already, by DVC's lock and its run cache, without a checkout.

An experiment that params.yaml does not hold is looked at in a folder of its own, with this workspace's code
and cache. The hash of what a done stage wrote is the hash of what the next one reads.
"""

from __future__ import annotations

import copy
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from dvc.dependency.param import ParamsDependency
from dvc.exceptions import DvcException
from dvc.repo import Repo
from dvc.stage import cache as stage_cache
from dvc.stage.serialize import to_single_stage_lockfile
from dvc_data.hashfile.hash_info import HashInfo
from dvc_data.hashfile.tree import Tree

from runner import schedule

PIPELINE, LOCK, PARAMS = "dvc.yaml", "dvc.lock", "params.yaml"
RUNS, CODE = "report", "manifests"  # stages whose inputs or outputs are not those of one other stage
DIR = ".dir"  # ending of the hash of a folder

Hashes = dict[str, str]  # of what stages wrote, by path


def workspace(folder: Path, params: Path) -> None:
    """Makes `folder` a DVC repository with this one's pipeline, code and cache, and other params."""
    for name in (PIPELINE, LOCK):
        if Path(name).exists():
            shutil.copy(name, folder / name)
    shutil.copy(params, folder / PARAMS)
    with Repo() as repo:
        cache = Path(repo.cache.legacy.path).resolve()
    place = folder / ".dvc"
    place.mkdir()
    lines = ["[core]", "    no_scm = true", f"    site_cache_dir = {place}/site", "    analytics = false"]
    lines += ["[cache]", f"    dir = {cache}"]
    (place / "config").write_text("\n".join(lines) + "\n", encoding="utf-8")


def linked() -> bool:
    """Whether this workspace's files are links into its cache, and so take no disk of their own."""
    with Repo() as repo:
        return bool({"hardlink", "symlink"} & set(repo.config["cache"].get("type") or []))


@contextmanager
def opened(folder: Path) -> Iterator[Repo]:
    """The repository in a folder, which is the working folder meanwhile: stages name paths from it."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        with Repo(str(folder)) as repo:
            yield repo
    finally:
        os.chdir(before)


def graph(repo: Repo) -> dict[str, list[str]]:
    """Each stage's direct dependencies."""
    found = repo.index.graph
    return {
        stage.addressing: [other.addressing for other in found.successors(stage)]
        for stage in repo.index.stages
    }


def in_order(depends: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Stages, each behind those that it depends on."""
    plan = schedule.Plan(depends, list(depends))
    while ready := plan.ready():
        for name in ready:
            plan.start(name)
            yield name
            plan.done(name)


class Done:
    """The stages whose results are in the cache, all of them from code and params as they are."""

    def __init__(self, repo: Repo, origin: Path) -> None:
        """`origin` is the workspace whose code and files stages would read."""
        self._repo, self._origin = repo, origin
        self._outs = {out.def_path for stage in repo.index.stages for out in stage.outs}
        self.written = Hashes()
        self.stages = self._done()

    def file(self, path: str) -> Path | None:
        """Where the cache has a file that one of them wrote; None if it has not."""
        digest = _hash(self._repo, path, self.written)
        return None if digest is None else _object(self._repo, digest)

    def _done(self) -> set[str]:
        """Names of stages that are done. Notes what they wrote."""
        lock, found = _lock(), {CODE}
        stages = {stage.addressing: stage for stage in self._repo.index.stages}
        for name in in_order(graph(self._repo)):
            if name in (CODE, RUNS) or not all(map(self._fill, stages[name].deps)):
                continue
            outs = _outs(self._repo, stages[name], lock.get(name))
            if outs is not None:
                found.add(name)
                self.written.update(outs)
        return found | ({RUNS} if len(found) == len(stages) - 1 else set())

    def _fill(self, dep: Any) -> bool:
        """Gives a dependency the hash that it has, or would have once it is written. Whether it could."""
        path = PurePosixPath(dep.def_path)
        made = any(str(place) in self._outs for place in (path, *path.parents))
        if made and path.parts[0] != CODE:  # manifests are there, as the code is
            digest = _hash(self._repo, str(path), self.written)
            dep.hash_info = HashInfo("md5", digest)
            return digest is not None
        if not isinstance(dep, ParamsDependency):
            _bring(Path(path), self._origin)
        try:
            dep.save()
        except (DvcException, OSError):  # a file or a param that is not there
            return False
        return True


def _bring(path: Path, origin: Path) -> None:
    """Links a file or folder that no stage writes into this folder."""
    if not path.is_absolute() and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(origin / path)


def _lock() -> Mapping[str, Any]:
    path = Path(LOCK)
    if not path.exists():
        return {}
    return yaml.safe_load(path.read_text(encoding="utf-8")).get("stages", {})


def _outs(repo: Repo, stage: Any, locked: Any) -> Hashes | None:
    """Hashes of what a stage wrote from inputs as they are; None if it never did, or its results are gone."""
    key = stage_cache._get_cache_hash(to_single_stage_lockfile(stage), key=True)
    for entry in [*([locked] if locked else []), *_run(repo, key)]:
        if stage_cache._get_cache_hash(copy.deepcopy(entry), key=True) == key:
            outs = {out["path"]: out["md5"] for out in entry["outs"]}
            if all(_cached(repo, digest) for digest in outs.values()):
                return outs
    return None


def _run(repo: Repo, key: str) -> Iterator[Any]:
    """What the run cache has under a key, the newest first."""
    folder = Path(repo.stage_cache._get_cache_dir(key))
    for path in sorted(folder.glob("*"), key=lambda path: path.stat().st_mtime, reverse=True):
        if entry := repo.stage_cache._load_cache(key, path.name):
            yield entry


def _hash(repo: Repo, path: str, written: Hashes) -> str | None:
    """The hash of a path that a stage wrote, by itself or as a part of a folder."""
    if path in written:
        return written[path]
    for parent in PurePosixPath(path).parents:
        digest = written.get(str(parent))
        if digest is not None and digest.endswith(DIR):
            inner = PurePosixPath(path).relative_to(parent).parts
            return _part(repo, digest, inner)
    return None


def _part(repo: Repo, digest: str, inner: tuple[str, ...]) -> str | None:
    """The hash of a file or folder inside a folder with a hash."""
    listed = json.loads(_object(repo, digest).read_text(encoding="utf-8"))
    name = "/".join(inner)
    for entry in listed:
        if entry["relpath"] == name:
            return str(entry["md5"])
    below = [
        {**entry, "relpath": entry["relpath"][len(name) + 1 :]}
        for entry in listed
        if entry["relpath"].startswith(f"{name}/")
    ]
    if not below:
        return None
    tree = Tree.from_list(below, hash_name="md5")
    tree.digest()
    return str(tree.hash_info.value)


def _object(repo: Repo, digest: str) -> Path:
    return Path(repo.cache.local.oid_to_path(digest))


def _cached(repo: Repo, digest: str) -> bool:
    """Whether an object is in the cache, a folder with all its files."""
    path = _object(repo, digest)
    if not path.exists():
        return False
    if not digest.endswith(DIR):
        return True
    listed = json.loads(path.read_text(encoding="utf-8"))
    return all(_object(repo, entry["md5"]).exists() for entry in listed)
