"""Rules between sections of params.yaml: names must exist, and a method must fit its family."""

from __future__ import annotations

from typing import Any

from nmtkd.plan.layout import GOLD, NONE, STUDENT
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.schema import Params

RESERVED = {
    GOLD: "the gold prefix of word-level targets",
    STUDENT: "prefixes that a student samples",
    NONE: "no decoding",
}


def unknown_names(raw: dict[str, Any]) -> list[str]:
    """Problems of grid values that name nothing. Reads raw YAML, to list them together with type errors."""
    grid = raw.get("grid")
    if not isinstance(grid, dict):
        return []
    axes = [(f"grid.{axis}", grid.get(axis), axis) for axis in ("capacities", "noises", "decodings")]
    families = grid.get("methods")
    if isinstance(families, dict):
        axes += [(f"grid.methods.{family}", values, "methods") for family, values in families.items()]
    lines = []
    for where, values, section in axes:
        known = raw.get(section)
        if not isinstance(values, list) or not isinstance(known, dict):
            continue
        lines += [
            f"{where}: {value!r} names nothing under `{section}:` "
            f"(known: {', '.join(sorted(map(str, known)))}); add it there or correct it"
            for value in values
            if isinstance(value, str | bool) and value not in known
        ]
        lines += [
            f"{where}: {value!r} stands twice; remove one" for value in values if values.count(value) > 1
        ][:1]
    seeds = grid.get("seeds")
    if isinstance(seeds, list) and len(set(map(str, seeds))) != len(seeds):
        lines.append(f"grid.seeds: a seed stands twice; got {seeds}; remove one")
    return lines


def late_gates(params: Params) -> list[str]:
    """Problems of gates that close after the first averaged checkpoint: unequal models cannot be averaged."""
    last = params.training.updates - (params.training.average - 1) * params.training.checkpoint_every
    closings = [
        (name, gates.closing)
        for name in params.grid.capacities
        if name in params.capacities and (gates := params.capacities[name].gates)
    ]
    return [
        f"capacities.{name}.gates.closing: must be {last} or less, the first checkpoint that is averaged; "
        f"got {closing}; lower it"
        for name, closing in closings
        if closing > last
    ]


def misplaced_methods(params: Params) -> list[str]:
    """Problems of methods that stand in a family that reads something else."""
    lines = []
    for family, shape in FAMILIES.items():
        for name in getattr(params.grid.methods, family):
            if name not in params.methods:
                continue  # unknown_names tells it
            method = params.methods[name]
            fits = method.sequence in shape.sequences and (method.teacher_weight > 0.0) == shape.weighs
            if not fits or (method.on_policy is not None) != shape.teacher:
                sequences, weight = " or ".join(shape.sequences), "above 0.0" if shape.weighs else "0.0"
                needs = f"sequence: {sequences} and teacher_weight {weight}{' and on_policy' * shape.teacher}"
                got = f"{method.sequence} and {method.teacher_weight}"
                got += " and on_policy" * (method.on_policy is not None)
                lines.append(
                    f"grid.methods.{family}: {name!r} reads something else: this family needs {needs}; "
                    f"got {got}; move it to its own family"
                )
    return lines


def cross_checks(params: Params) -> list[str]:
    """Problems between sections."""
    lines = misplaced_methods(params)
    for axis in ("capacities", "noises", "seeds"):
        if not getattr(params.grid, axis):
            lines.append(f"grid.{axis}: empty, so that there is nothing to run; name at least one")
    if not any(getattr(params.grid.methods, family) for family in FAMILIES):
        lines.append("grid.methods: no family has a method, so that there is no student; name at least one")
    learners = [
        name
        for family, shape in FAMILIES.items()
        if shape.hypotheses
        for name in getattr(params.grid.methods, family)
    ]
    if learners and not params.grid.decodings:
        lines.append(
            "grid.decodings: empty, while methods that learn from hypotheses are asked for; name at least one"
        )
    for name in RESERVED.keys() & params.decodings.keys():
        lines.append(f"decodings.{name}: this name stands for {RESERVED[name]}; choose another")
    if len(set(params.teacher.seeds)) != len(params.teacher.seeds):
        lines.append(f"teacher.seeds: a seed stands twice; got {params.teacher.seeds}; remove one")
    lines += late_gates(params)
    if params.training.consistency:
        lines.append(
            "training.consistency: regularises a teacher, no student's loss has it; "
            "name it under teacher.training, or remove it"
        )
    if params.teacher.architecture.gates:
        lines.append("teacher.architecture.gates: gates adapt a student's capacity; remove them here")
    if params.corpus.source == params.corpus.target:
        lines.append(f"corpus.target: must differ from corpus.source; got {params.corpus.target!r} for both")
    if params.corpus.folder.startswith("~"):
        lines.append(
            f"corpus.folder: {params.corpus.folder!r}: nobody expands ~ here; write the home folder out"
        )
    if not params.corpus.tests:
        lines.append("corpus.tests: empty; name at least one test set")
    return lines
