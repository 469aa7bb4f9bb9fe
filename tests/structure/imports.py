"""Which first-party files a file needs: its imports, followed to the end.

`python -m tests.structure.imports` writes imports/: for each entry of stages/ a folder of links to these files, which is what its stages
depend on in dvc.yaml. DVC hashes what a link points to.
"""

from __future__ import annotations

import ast
import os
import shutil
from functools import lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINKS = ROOT / "imports"
PACKAGES = {"nmtkd": ROOT / "src/nmtkd", "nmtkd_fairseq": ROOT / "src/nmtkd_fairseq", "stages": ROOT / "stages"}


def imported(path: Path) -> set[str]:
    """Dotted names of all modules that `path` imports, wherever in the file; "from a import b" gives both a and a.b."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import; write the whole name"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def file_of(module: str) -> Path | None:
    """The first-party file of a dotted name; None for libraries, for names inside modules and for empty package files."""
    package, *rest = module.split(".")
    if package not in PACKAGES:
        return None
    base = PACKAGES[package].joinpath(*rest)
    candidates = [base.with_suffix(".py")] if rest else []
    for path in [*candidates, base / "__init__.py"]:
        if path.exists() and path.read_text(encoding="utf-8").strip():
            return path
    return None


def closure(path: Path) -> set[Path]:
    """`path` and every first-party file that it needs."""
    found: set[Path] = set()
    waiting = [path]
    while waiting:
        current = waiting.pop()
        if current in found:
            continue
        found.add(current)
        waiting += [file for file in map(file_of, imported(current)) if file is not None]
    return found


@lru_cache
def code_of(stage: str) -> list[str]:
    """Paths, as dvc.yaml writes them, of the code that `python -m stages.STAGE` runs."""
    modules = closure(ROOT / "stages" / f"{stage}.py")
    beside = {file for path in modules for file in path.parent.glob(f"{path.stem}.*") if file.suffix != ".pyc"}  # page.py reads page.css
    return sorted(str(path.relative_to(ROOT)) for path in modules | beside)


def entries() -> list[str]:
    """The modules of stages/ that a stage runs."""
    return sorted(path.stem for path in (ROOT / "stages").glob("*.py") if path.stem != "__init__")


def linked(entry: str) -> list[str]:
    """Paths of the files that imports/ENTRY links to. Raises ValueError where something in it is no link to the file of its own path."""
    folder, found = LINKS / entry, []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_symlink() and path.parent.joinpath(os.readlink(path)).resolve() == ROOT / name:
            found.append(str(name))
        elif path.is_symlink() or not path.is_dir():
            raise ValueError(f"{path}: must be a link to {name}; run `make imports`")
    return found


def main() -> None:
    """Writes all links anew."""
    shutil.rmtree(LINKS, ignore_errors=True)
    for entry in entries():
        for name in code_of(entry):
            path = LINKS / entry / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(os.path.relpath(ROOT / name, path.parent))


if __name__ == "__main__":
    main()
