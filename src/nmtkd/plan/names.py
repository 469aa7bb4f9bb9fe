"""Names in params.yaml: those of the grid must exist, and none may stand for two things."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from nmtkd.plan.layout import GOLD, LONG, NONE, STUDENT, TEACHER, TRAIN, UNSPLIT, VALID
from nmtkd.plan.problems import shown
from nmtkd.plan.schema import Params

# By section: a name becomes a folder, a column's value or a key beside these, and would take their place.
RESERVED: Mapping[str, Mapping[str, str]] = {
    "decodings": {
        GOLD: "the gold prefix of word-level targets",
        STUDENT: "prefixes that a student samples",
        NONE: "no decoding",
    },
    "methods": {TEACHER: "the teacher among results"},
    "capacities": {TEACHER: "the teacher among results"},
    "corpus.tests": {
        TRAIN: "the training text",
        VALID: "the validation set",
        UNSPLIT: "a corpus that does not come split",
    },
}


def unknown_names(raw: Mapping[str, Any]) -> list[str]:
    """Problems of values of the grid and the ladder that name nothing.

    Reads raw YAML, to list them together with type errors.
    """
    grid = raw.get("grid")
    axes = [("ladder", raw.get("ladder"), "capacities")]
    if not isinstance(grid, dict):
        grid = {}
    axes += [(f"grid.{axis}", grid.get(axis), axis) for axis in ("capacities", "noises", "decodings")]
    families = grid.get("methods")
    if isinstance(families, dict):
        axes += [(f"grid.methods.{family}", values, "methods") for family, values in families.items()]
    lines = []
    for where, values, section in axes:
        known = raw.get(section)
        if not isinstance(values, list) or not isinstance(known, dict):
            continue
        lines += [
            f"{where}: {shown(value)} names nothing under `{section}:` "
            f"(known: {', '.join(sorted(map(str, known)))}); add it there or correct it"
            for value in values
            if isinstance(value, str | bool) and value not in known
        ]
        lines += _twice(where, values)
    seeds = grid.get("seeds")
    numbers = [seed for seed in seeds if type(seed) is int] if isinstance(seeds, list) else []
    if len(set(numbers)) != len(numbers):
        lines.append(f"grid.seeds: a seed stands twice; got {shown(seeds)}; remove one")
    return lines


def _twice(where: str, values: Sequence[Any]) -> list[str]:
    """The problem of the first name that stands twice, if one does."""
    names = [value for value in values if isinstance(value, str | bool)]
    return [f"{where}: {shown(name)} stands twice; remove one" for name in names if names.count(name) > 1][:1]


def taken_names(params: Params) -> list[str]:
    """Problems of names that stand for something else already, in a folder, a column or a key."""
    tests = params.corpus.tests
    given: dict[str, Iterable[str]] = {
        "decodings": params.decodings,
        "methods": params.methods,
        "capacities": params.capacities,
        "corpus.tests": tests,
    }
    lines = [
        f"{section}.{name}: this name stands for {RESERVED[section][name]}; choose another"
        for section, names in given.items()
        for name in names
        if name in RESERVED[section]
    ]
    lines += _twice("corpus.tests", tests)
    if params.evaluate.long_words:
        lines += [
            f"corpus.tests.{name}: {name!r} is also what the segments of {name.removesuffix(LONG)!r} with "
            f"{params.evaluate.long_words} words and more are called (evaluate.long_words); choose another"
            for name in tests
            if name.endswith(LONG) and name.removesuffix(LONG) in tests
        ]
    lines += _twice("corpus.archives", [archive.name for archive in params.corpus.archives])
    return lines
