"""Typed parameters: the one reader of params.yaml.

A stage calls `load("training", "methods.word")` with exactly the names that its block in dvc.yaml declares under `params:`.
The whole file is validated, so a typo anywhere stops the first stage that runs, with every problem listed at once;
but only the named sections can be read, so a stage cannot depend on a value that DVC does not know it reads.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from nmtkd.recipes import Architecture, Consistency, Gate, Gates, Method, OnPolicy, Ranking, Training
from nmtkd.rules import FAMILY_SHAPES, Shape, cross_checks, unknown_names
from nmtkd.sections import (  # every section is known by this module's name
    Archive,
    Bpe,
    Corpus,
    Decoding,
    Evaluate,
    Families,
    Grid,
    Noise,
    Prepare,
    Rates,
    Report,
    Sampling,
    Score,
    Teacher,
)
from nmtkd.values import Name, Section

__all__ = [
    "FAMILY_SHAPES",
    "Architecture",
    "Archive",
    "Bpe",
    "Consistency",
    "Corpus",
    "Decoding",
    "Evaluate",
    "Families",
    "Gate",
    "Gates",
    "Grid",
    "Method",
    "Noise",
    "OnPolicy",
    "Params",
    "ParamsError",
    "Prepare",
    "Ranking",
    "Rates",
    "Report",
    "Sampling",
    "Score",
    "Section",
    "Shape",
    "Teacher",
    "Training",
    "load",
    "validate",
]

PARAMS_FILE = Path("params.yaml")


class ParamsError(ValueError):
    """Everything that is wrong with params.yaml, one line a problem."""


class Params(Section):
    """params.yaml."""

    corpus: Corpus
    prepare: Prepare
    bpe: Bpe
    noises: dict[Name, Noise]
    teacher: Teacher
    decodings: dict[Name, Decoding]
    score: Score
    methods: dict[Name, Method]
    capacities: dict[Name, Architecture]
    training: Training
    evaluate: Evaluate
    report: Report
    grid: Grid

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"params.{name} was not asked for: name it in load() and under `params:` in dvc.yaml")


def load(*names: str, path: Path = PARAMS_FILE) -> Params:
    """Validates all of `path` and returns the named parts alone.

    `names` are sections ("training"), or one value of a section ("methods.word", "prepare.long_words").
    Raises ParamsError with every problem found, each with its place, rule, value and remedy.
    """
    whole = validate(read_yaml(path), path)
    kept: dict[str, Any] = {}
    for name in names:
        section, _, entry = name.partition(".")
        value = getattr(whole, section)
        if not entry:
            kept[section] = value
        elif isinstance(value, dict) and entry in value:
            kept.setdefault(section, {})[entry] = value[entry]
        elif isinstance(value, Section) and entry in type(value).model_fields:
            before = vars(kept[section]) if section in kept else {}
            kept[section] = type(value).model_construct(_fields_set=None, **before, **{entry: getattr(value, entry)})
        else:
            known = ", ".join(sorted(value if isinstance(value, dict) else type(value).model_fields))
            raise ParamsError(f"{path}: {name}: no such entry (known: {known}); add it under `{section}:` or correct the name")
    return Params.model_construct(_fields_set=None, **kept)


def read_yaml(path: Path) -> Any:
    """The parsed file. Raises ParamsError where there is no file or no YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ParamsError(f"{path}: not found; run from the repository's root") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ParamsError(f"{path}: not readable as YAML: {error}") from None


def validate(raw: Any, path: Path = PARAMS_FILE) -> Params:
    """`raw` as Params. Raises ParamsError that lists all problems."""
    try:
        params = Params.model_validate(raw)
    except ValidationError as error:
        lines = [_explain(item) for item in error.errors()]
        if isinstance(raw, dict):
            lines += unknown_names(raw)
        raise _problems(path, lines) from None
    lines = unknown_names(raw) + cross_checks(params)
    if lines:
        raise _problems(path, lines)
    return params


def _problems(path: Path, lines: list[str]) -> ParamsError:
    count = f"{len(lines)} problem" + ("s" if len(lines) > 1 else "")
    return ParamsError(f"{path}: {count}\n" + "\n".join(f"  {line}" for line in lines))


def _explain(item: Any) -> str:
    """One pydantic error as: place: rule; got; remedy."""
    place = ".".join(str(part) for part in item["loc"]) or "(top level)"
    place = place.replace(".[key]", "")
    if item["type"] == "extra_forbidden":
        return f"{place}: unknown key; remove it or correct its spelling{_siblings(item['loc'])}"
    if item["type"] == "missing":
        return f"{place}: missing; add it"
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    got = item["input"]
    shown = "" if isinstance(got, dict) else f"; got {got!r}"
    hint = ""
    if isinstance(got, str) and re.fullmatch(r"[0-9.]+[eE][-+]?[0-9]+", got):
        hint = "; YAML 1.1 reads this as text: write it with a decimal point and without an exponent, as in 0.0005"
    elif isinstance(got, str) and item["type"] in ("int_type", "float_type") and re.fullmatch(r"-?[0-9.]+", got):
        hint = "; remove the quotes"
    elif isinstance(got, bool) and item["type"] == "string_type":
        hint = "; YAML reads a bare no, yes, on or off as a truth value: quote it"
    return f"{place}: {message}{shown}{hint}"


def _siblings(location: tuple[Any, ...]) -> str:
    """The keys that are known where an unknown one was found."""
    model: Any = Params
    for part in location[:-1]:
        field = getattr(model, "model_fields", {}).get(part)
        annotation = field.annotation if field else None
        if annotation is None:  # an entry of a named section: dict[Name, Section]
            continue
        inside = [part for part in getattr(annotation, "__args__", ()) if hasattr(part, "model_fields")]  # of dict[Name, X] and X | None
        model = inside[-1] if inside else annotation
    fields = getattr(model, "model_fields", {})
    return f" (known: {', '.join(sorted(fields))})" if fields else ""
