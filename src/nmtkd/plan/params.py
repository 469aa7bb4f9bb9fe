"""Typed parameters: the one reader of params.yaml.

A stage calls `load("training", "methods.word")` with the names that its block in dvc.yaml lists under
`params:`. The whole file is validated: a typo anywhere stops the first stage that runs, with all problems
listed at once. Only the named sections can be read: a stage cannot depend on a value that DVC does not
track for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.names import unknown_names
from nmtkd.plan.problems import ParamsError, place, problems, shown
from nmtkd.plan.reading import read_yaml
from nmtkd.plan.rules import cross_checks
from nmtkd.plan.schema import Params

__all__ = ["Params", "ParamsError", "load", "read_yaml", "validate"]

PARAMS_FILE = Path("params.yaml")


def load(*names: str, path: Path = PARAMS_FILE) -> Params:
    """Validates all of `path` and returns only the named parts.

    A name is a section ("training") or a value in it ("methods.word", "teacher.training.max_tokens").
    Raises ParamsError that lists all problems, each with its yaml path, rule, value and remedy.
    """
    all_params = validate(read_yaml(path), path)
    parts: Any = None
    for name in names:
        parts = _with(parts, all_params, name.split("."), name, path)
    return parts or Params.model_construct()


def _with(parts: Any, whole: Any, entries: list[str], name: str, path: Path) -> Any:
    """`parts` of a section `whole`, and one entry more. None stands for no part yet."""
    first, *rest = entries
    fields = whole if isinstance(whole, dict) else dict.fromkeys(type(whole).model_fields)
    if first not in fields:
        raise ParamsError(
            f"{path}: {name}: no such entry (known: {', '.join(sorted(fields))}); "
            "add it there or correct the name"
        )
    value = whole[first] if isinstance(whole, dict) else getattr(whole, first)
    had = dict(parts if isinstance(parts, dict) else vars(parts)) if parts is not None else {}
    had[first] = _with(had.get(first), value, rest, name, path) if rest else value
    return had if isinstance(whole, dict) else type(whole).model_construct(_fields_set=None, **had)


def check_dictionary(sizes: Mapping[str, int], path: Path = PARAMS_FILE) -> None:
    """Raises ParamsError for a method of the grid that ranks more tokens than the target dictionary has.

    `sizes` counts the pieces of the joint dictionary and of the target's own, as `joint` and `tgt`.

    The stage `bpe` asks, before a teacher is trained: its students would fail.
    """
    params = validate(read_yaml(path), path)
    pieces = sizes["joint" if params.architecture.embeddings == "joint" else "tgt"]
    asked = [name for family in FAMILIES for name in getattr(params.grid.methods, family)]
    lines = [
        f"methods.{name}.ranking.tokens: must be {pieces} or less, the pieces of the dictionary; "
        f"got {ranking.tokens}; lower it, or raise bpe.merges"
        for name in asked
        if (ranking := params.methods[name].ranking) and ranking.tokens > pieces
    ]
    if lines:
        raise problems(path, lines)


def validate(raw: Any, path: Path = PARAMS_FILE) -> Params:
    """Params of parsed YAML. Raises ParamsError that lists all problems."""
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        if isinstance(raw, dict):
            lines += unknown_names(raw)
        raise problems(path, lines) from None
    lines = unknown_names(raw) + cross_checks(params)
    if lines:
        raise problems(path, lines)
    return params


def _explain(item: Any) -> str:
    """A pydantic error as "yaml path: rule; got; remedy"."""
    where = place(part for part in item["loc"] if part != "[key]") or "(top level)"
    if item["type"] == "extra_forbidden":
        return f"{where}: unknown key; remove it or correct its spelling{_siblings(item['loc'])}"
    if item["type"] == "missing":
        return f"{where}: missing; add it"
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    got = item["input"]
    value = "" if isinstance(got, dict) else f"; got {shown(got)}"
    hint = "" if item["loc"] else "; `make params` writes the file anew"
    if isinstance(got, str) and re.fullmatch(r"[0-9.]+[eE][-+]?[0-9]+", got):
        hint = "; YAML 1.1 reads this as text: write it with a decimal point and without an exponent, "
        hint += "as in 0.0005"
    elif (
        isinstance(got, str)
        and item["type"] in ("int_type", "float_type")
        and re.fullmatch(r"-?[0-9.]+", got)
    ):
        hint = "; remove the quotes"
    elif isinstance(got, bool) and item["type"] == "string_type":
        hint = "; YAML reads a bare no, yes, on or off as a truth value: quote it"
    return f"{where}: {message}{value}{hint}"


def _siblings(location: tuple[Any, ...]) -> str:
    """The known keys of the section that holds an unknown one."""
    model: Any = Params
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        annotation = field.annotation if field else None
        if annotation is None:  # an entry of a named section: dict[Name, Section]
            continue
        # X of dict[Name, X] and of X | None
        sections = [arg for arg in getattr(annotation, "__args__", ()) if hasattr(arg, "model_fields")]
        model = sections[-1] if sections else annotation
    fields = getattr(model, "model_fields", {})
    return f" (known: {', '.join(sorted(fields))})" if fields else ""
