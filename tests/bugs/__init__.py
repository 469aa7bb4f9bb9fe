"""Planted bugs: what is replaced where, and the tests that must catch it (`python -m tests.planted_bugs`)."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from pathlib import Path


class NotPlantedError(ValueError):
    """A bug that does not fit the code as it is."""


@dataclass(frozen=True, kw_only=True)
class Bug:
    """`old` stands once in a function of a module, `new` in its place is wrong, each of `tests` must say so.

    Neither files nor lines are named, so that a bug outlives moves. `where` is `function`, `Class.method` or
    a constant of the module. White space in `old` is as good as none, so that it outlives the formatter.
    Tests go by their names, which are unique.
    """

    name: str
    module: str
    where: str
    old: str
    new: str
    tests: tuple[str, ...]


def source(root: Path, bug: Bug) -> Path:
    """The file of its module."""
    return root / ("" if bug.module.startswith("stages.") else "src") / f"{bug.module.replace('.', '/')}.py"


def segment(tree: ast.Module, where: str) -> tuple[int, int]:
    """First and last line of a function, method or constant, counted from 1."""
    node: ast.AST = tree
    for part in where.split("."):
        inside = [child for child in getattr(node, "body", []) if part in names(child)]
        if len(inside) != 1:
            raise NotPlantedError(f"{where}: {part} is defined {len(inside)} times")
        node = inside[0]
    assert isinstance(node, ast.stmt) and node.end_lineno is not None
    return node.lineno, node.end_lineno


def names(node: ast.AST) -> list[str]:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


def planted(text: str, bug: Bug) -> str:
    """The module's text with the bug. Raises NotPlantedError unless it applies once, and to some effect."""
    first, last = segment(ast.parse(text), bug.where)
    lines = text.splitlines(keepends=True)
    part = "".join(lines[first - 1 : last])
    characters = [re.escape(character) for character in bug.old if not character.isspace()]
    changed, count = re.subn(r"\s*".join(characters), lambda _: bug.new, part)
    if count != 1:
        raise NotPlantedError(f"{bug.module}, {bug.where}: the text to replace stands {count} times")
    result = "".join(lines[: first - 1]) + changed + "".join(lines[last:])
    if ast.dump(ast.parse(result)) == ast.dump(ast.parse(text)):
        raise NotPlantedError(f"{bug.module}, {bug.where}: the replacement changes nothing")
    return result


def node_ids(root: Path) -> dict[str, str]:
    """The node id of each test of one process by its name. Raises NotPlantedError where two have one name."""
    ids: dict[str, str] = {}
    places = ("tests/unit", "tests/stages")
    for path in sorted(path for place in places for path in (root / place).rglob("test_*.py")):
        for name in re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            node_id = f"{path.relative_to(root).as_posix()}::{name}"
            if name in ids:
                raise NotPlantedError(
                    f"{name}: two tests of this name, {ids[name]} and {node_id}; rename one"
                )
            ids[name] = node_id
    return ids
