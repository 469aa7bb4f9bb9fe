"""What a stage is made from, noted when it begins and compared before its output is put in its place.

DVC hashes params and dependencies when a command has ended. Without this an edit of params.yaml in
mid-training would be recorded as what the model was trained with.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nmtkd import files
from nmtkd.plan.params import PARAMS_FILE, read_yaml
from runner import manifests
from runner.declared import declared, lookup


class ChangedError(ValueError):
    """A stage's params, code or inputs changed while it ran."""


Stat = tuple[int, int, int]  # bytes, nanoseconds of the last change, inode


def stat(path: Path) -> Stat | None:
    """By what a file is known to be untouched; None if there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


@dataclass(frozen=True)
class Notes:
    """Params by name, hashes of files by path, and the code of an entry, as they were when it began."""

    entry: str
    stage: str  # the entry and its names
    params: Mapping[str, Any]
    inputs: Mapping[Path, tuple[Stat | None, str]]
    deps: tuple[Path, ...]
    code: Mapping[str, Any]
    sources: Mapping[Path, Stat | None]

    @classmethod
    def begin(cls, entry: str, arguments: Iterable[str]) -> Notes:
        """Notes all that DVC will record of the entry, and its code."""
        raw = read_yaml(PARAMS_FILE)
        stage = " ".join([entry, *arguments])
        asked = declared(f"python -m stages.{stage}", raw)
        deps = asked.deps if asked else ()
        sources = {path: stat(path) for path in manifests.sources(entry)}
        return cls(
            entry=entry,
            stage=stage,
            params={name: lookup(raw, name) for name in (asked.params if asked else ())},
            inputs={path: (stat(path), files.file_hash(path)) for path in _files(deps)},
            deps=deps,
            code=manifests.manifest(entry),
            sources=sources,
        )

    @cached_property
    def key(self) -> str:
        """A hash of all of it: equal keys make equal outputs."""
        inputs = sorted((path.as_posix(), digest) for path, (_, digest) in self.inputs.items())
        content = json.dumps([self.stage, self.params, inputs, self.code], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[: files.SHORT_DIGITS]

    def check(self) -> None:
        """Raises ChangedError that lists what is no longer as it was."""
        lines = [*self._changed_params(), *self._changed_code(), *self._changed_inputs()]
        if lines:
            raise ChangedError(
                f"{self.stage}: while it ran, its basis changed\n"
                + "".join(f"  {line}\n" for line in lines)
                + "  DVC would record what it finds now, so nothing is recorded. What was made is kept in\n"
                "  scratch space: put back what changed and run it again to have it, or run it as things are"
            )

    def _changed_params(self) -> list[str]:
        raw = read_yaml(PARAMS_FILE)
        now = {name: lookup(raw, name) for name in self.params}
        return [
            f"{PARAMS_FILE}: {place} was {before} and is {after}"
            for name in self.params
            for place, before, after in differences(name, self.params[name], now[name])
        ]

    def _changed_code(self) -> list[str]:
        if all(stat(path) == before for path, before in self.sources.items()):
            return []
        manifests.forget()
        changed = manifests.differences(self.code, manifests.manifest(self.entry))
        return [f"{name}: its code was changed" for name in changed]

    def _changed_inputs(self) -> list[str]:
        lines = []
        for path, (before, digest) in self.inputs.items():
            now = stat(path)
            if now is None:
                lines.append(f"{path}: is gone")
            elif now != before and (found := files.file_hash(path)) != digest:
                lines.append(
                    f"{path}: was sha256 {digest[: files.SHOWN]}... and is {found[: files.SHOWN]}..."
                )
        return lines + [f"{path}: is new" for path in _files(self.deps) if path not in self.inputs]


def differences(name: str, before: Any, after: Any) -> list[tuple[str, Any, Any]]:
    """The dotted names below `name` whose values differ, with both."""
    if before == after and type(before) is type(after):
        return []
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        names = [*before, *(name for name in after if name not in before)]
        pairs = [(f"{name}.{each}", lookup(before, each), lookup(after, each)) for each in names]
        return [found for pair in pairs for found in differences(*pair)]
    return [(name, before, after)]


def _files(deps: Iterable[Path]) -> list[Path]:
    """The files of dependencies, but for hidden ones: other stages may be writing beside them."""
    found = []
    for dep in deps:
        if dep.is_file():
            found.append(dep)
        for folder, names, inside in os.walk(dep):
            names[:] = sorted(name for name in names if not name.startswith("."))
            found += [Path(folder) / name for name in sorted(inside) if not name.startswith(".")]
    return found
