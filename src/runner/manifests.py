"""Manifests of the code that each entry of stages/ runs: they make a stage stale and are part of resume keys.

A manifest holds:
- for each file that the entry imports, a hash of its syntax tree without comments and docstrings;
- for files beside a module (page.css), a hash of their bytes;
- the pinned versions of the libraries that these files import.
plan/, machine.py, locks.py and outputs.py are in no manifest: they can stop a run, not change it. The
exception is FAMILIES: `student` holds what families read and their criterion, `report` their sentences.
"""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from nmtkd import files
from nmtkd.plan import layout
from nmtkd.plan.methods import FAMILIES

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {name: ROOT / "src" / name for name in ("nmtkd", "nmtkd_fairseq")} | {"stages": ROOT / "stages"}
# These can stop a run, not change it: what is asked for, facts of the machine, where an output lies until
# it is whole, how an entry ends.
LEFT_OUT = (
    ROOT / "src/nmtkd/plan",
    *(ROOT / f"src/nmtkd/{name}.py" for name in ("machine", "locks", "outputs")),
    ROOT / "stages/__init__.py",
)
LOCK = ROOT / "requirements.lock"
KEPT = "src/runner/__pycache__/manifests.json"  # beside what Python keeps of sources

# Libraries whose distribution has another name than their module.
DISTRIBUTIONS = {"fairseq": "fairseq-fixed", "yaml": "pyyaml"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


class ManifestError(ValueError):
    """The present code is not the code of a manifest."""


def entries() -> list[str]:
    """The modules of stages/ that stages run, without the one that writes the manifests."""
    return sorted(
        path.stem for path in (ROOT / "stages").glob("*.py") if path.stem not in ("__init__", "manifests")
    )


@dataclass(frozen=True)
class Source:
    """What a file imports, as dotted names; hashes of its syntax tree without docstrings and of its bytes."""

    imports: frozenset[str]
    digest: str
    content: str


@cache
def parsed(path: Path) -> Source:
    """A file, read once. Comments, white space and docstrings do not enter its hash."""
    text = path.read_bytes()
    content = hashlib.sha256(text).hexdigest()
    imports, digest = _kept().get(content) or _parsed(path, text)
    return Source(frozenset(imports), digest, content)


@cache
def _kept() -> dict[str, Any]:
    """What `write` found in files, by the hash of their bytes: each stage would parse them all."""
    try:
        found = files.read_object(ROOT / KEPT, "reader", "sources")
    except files.DamagedError:
        return {}
    return found["sources"] if found["reader"] == _reader() else {}


def _reader() -> str:
    """What else decides what is found in a file: Python's grammar, and this module."""
    return f"{sys.version} {files.file_hash(Path(__file__))}"


def _parsed(path: Path, text: bytes) -> tuple[set[str], str]:
    tree = ast.parse(text)
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import; write the whole name"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:]
    digest = hashlib.sha256(ast.dump(tree).encode()).hexdigest()[: files.SHORT_DIGITS]
    return names, digest


def imported(path: Path) -> frozenset[str]:
    """Dotted names of what `path` imports, wherever in the file; "from a import b" gives a and a.b."""
    return parsed(path).imports


@cache  # of a closure each module is imported a hundred times
def files_of(module: str) -> tuple[Path, ...]:
    """First-party files that run when a dotted name is imported, its packages' and its own; no libraries."""
    package, *rest = module.split(".")
    if package not in PACKAGES:
        return ()
    folders = [PACKAGES[package].joinpath(*rest[:depth]) for depth in range(len(rest) + 1)]
    paths = [folder / "__init__.py" for folder in folders] + [folders[-1].with_suffix(".py")] * bool(rest)
    return tuple(path for path in paths if path.exists() and path.read_text(encoding="utf-8").strip())


def forget() -> None:
    """Reads all files anew from now on."""
    parsed.cache_clear()
    _kept.cache_clear()
    files_of.cache_clear()


def closure(path: Path) -> set[Path]:
    """`path` and all first-party files it imports, also indirectly, without those that change no result."""
    reached: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in reached or any(left == current or left in current.parents for left in LEFT_OUT):
            continue
        reached.add(current)
        waiting += [file for module in imported(current) for file in files_of(module)]
    return reached


def libraries(paths: Iterable[Path]) -> dict[str, str]:
    """The pinned version of each library that `paths` import, without a build (+cpu, +cu).

    Raises ManifestError if requirements.lock does not pin a library.
    """
    modules = {name.partition(".")[0] for path in paths for name in imported(path)}
    modules -= PACKAGES.keys() | set(sys.stdlib_module_names)
    pinned = dict(
        re.findall(r"^([A-Za-z0-9._-]+)==([^\s+]+)", LOCK.read_text(encoding="utf-8"), re.MULTILINE)
    )
    versions = {_plain(name): version for name, version in pinned.items()}
    libraries: dict[str, str] = {}
    for module in sorted(modules):
        name = DISTRIBUTIONS.get(module, _plain(module))
        if name not in versions:
            raise ManifestError(
                f"{LOCK.name}: pins no version of {module}, which a stage imports; run `make lock`, "
                "or name its distribution in runner/manifests.py"
            )
        libraries[name] = versions[name]
    return dict(sorted(libraries.items()))


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def sources(entry: str) -> set[Path]:
    """The files of code that an entry runs: modules, and what lies beside them (page.css)."""
    modules = closure(ROOT / "stages" / f"{entry}.py")
    return modules | {
        path
        for module in modules
        for path in module.parent.glob(f"{module.stem}.*")
        if path.suffix not in (".py", ".pyc")
    }


def manifest(entry: str) -> dict[str, Any]:
    """The content of manifests/ENTRY.json for the present code."""
    code = {
        path: parsed(path).digest if path.suffix == ".py" else files.file_hash(path)[: files.SHORT_DIGITS]
        for path in sources(entry)
    }
    modules = [path for path in code if path.suffix == ".py"]
    content: dict[str, Any] = {
        "code": {path.relative_to(ROOT).as_posix(): digest for path, digest in sorted(code.items())},
        "libraries": libraries(modules),
    }
    if rows := family_rows(entry):
        content["families"] = rows
    return content


def family_rows(entry: str) -> dict[str, Any]:
    """The part of FAMILIES that decides what `entry` writes."""
    rows = {name: asdict(family) for name, family in FAMILIES.items()}
    sentences = {name: row.pop("sentence") for name, row in rows.items()}
    return json.loads(json.dumps({"student": rows, "report": sentences}.get(entry, {})))


def write() -> None:
    """Writes manifests/ENTRY.json for each entry, into the current folder."""
    read: set[Source] = set()
    for entry in entries():
        files.write_json(layout.manifest(entry), manifest(entry))
        read |= {parsed(path) for path in sources(entry) if path.suffix == ".py"}
    found = {source.content: (sorted(source.imports), source.digest) for source in read}
    with suppress(OSError):  # code that may not be written to is parsed each time
        files.write_json(ROOT / KEPT, {"reader": _reader(), "sources": found})


def check(entry: str) -> None:
    """Raises ManifestError unless manifests/ENTRY.json matches the code: else DVC would record other code."""
    path = layout.manifest(entry)
    if not path.exists():
        raise ManifestError(f"{path}: not there; run `dvc repro manifests`, then this stage again")
    if changes := differences(files.read_json(path), manifest(entry)):
        raise ManifestError(
            f"{path}: names other code than there is now ({', '.join(changes)} differ); "
            "run `dvc repro manifests`, then this stage again"
        )


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Names of the files, libraries and families in which two manifests differ."""
    return [
        str(name)
        for part in sorted(before.keys() | after.keys())
        for name in sorted(before.get(part, {}).keys() | after.get(part, {}).keys())
        if before.get(part, {}).get(name) != after.get(part, {}).get(name)
    ]
