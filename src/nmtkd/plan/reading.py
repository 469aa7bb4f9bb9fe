"""Reads the YAML of params.yaml. A key that stands twice, or is no text, YAML takes in silence: not here."""

from __future__ import annotations

import copy
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from nmtkd.plan.problems import ParamsError, place, problems

TEXT, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
Place = tuple[Any, ...]


def read_yaml(path: Path) -> Any:
    """The parsed file. Raises ParamsError if it cannot be read, is not YAML, or has a key that misleads."""
    try:
        parsed, lines = _parsed(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: not found; run from the repository's root") from None
    except OSError as error:
        raise ParamsError(f"{path}: not readable: {error.strerror}; it must be a file of YAML") from None
    # Beside errors of YAML's own: numbers of thousands of digits, dates that do not exist, endless nesting.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ParamsError(f"{path}: not readable as YAML: {error}") from None
    if lines:
        raise problems(path, list(lines))
    return copy.deepcopy(parsed)


@functools.lru_cache(maxsize=1)  # a stage reads params.yaml three times
def _parsed(text: str) -> tuple[Any, tuple[str, ...]]:
    """What the text says; nothing, and the problems, where a key misleads."""
    loader = yaml.SafeLoader(text)
    tree = loader.get_single_node()
    lines = tuple(_misleading(tree)) if tree else ()
    return loader.construct_document(tree) if tree and not lines else None, lines


def _misleading(tree: yaml.Node) -> Iterator[str]:
    """Problems of keys that stand twice in a section, or are no text, in the order of the file."""
    seen: set[int] = set()
    waiting: list[tuple[Place, yaml.Node]] = [((), tree)]
    while waiting:
        where, node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        inner: list[tuple[Place, yaml.Node]] = []
        if isinstance(node, yaml.SequenceNode):
            inner = [((*where, number), child) for number, child in enumerate(node.value)]
        elif isinstance(node, yaml.MappingNode):
            yield from _misleading_keys(where, node)
            inner = [((*where, _key(key)), child) for key, child in node.value]
        waiting += reversed(inner)


def _misleading_keys(where: Place, section: yaml.MappingNode) -> Iterator[str]:
    lines: dict[str, int] = {}
    for key, _ in section.value:
        line, told = key.start_mark.line + 1, place((*where, _key(key)))
        if key.tag not in (TEXT, MERGE):
            yield f"{told}: line {line}: a key must be text, YAML reads another value; quote it or rename it"
        elif key.tag == TEXT and key.value in lines:
            yield (
                f"{told}: stands in line {lines[key.value]} and again in line {line}, "
                "of which YAML takes the last; remove one"
            )
        elif key.tag == TEXT:
            lines[key.value] = line


def _key(node: yaml.Node) -> str:
    return node.value if isinstance(node, yaml.ScalarNode) else "(no name)"
