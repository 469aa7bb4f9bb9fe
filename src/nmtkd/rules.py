"""Rules of params.yaml that hold between its sections: names that must exist, and what a method's family must read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nmtkd.params import Params


def unknown_names(raw: dict[str, Any]) -> list[str]:
    """Grid values that name nothing. Works on raw data, so that these are listed together with type errors."""
    grid = raw.get("grid")
    if not isinstance(grid, dict):
        return []
    axes = [(f"grid.{axis}", grid.get(axis), axis) for axis in ("capacities", "noises", "decodings")]
    families = grid.get("methods")
    if isinstance(families, dict):
        axes += [(f"grid.methods.{family}", values, "methods") for family, values in families.items()]
    lines = []
    for place, values, section in axes:
        known = raw.get(section)
        if not isinstance(values, list) or not isinstance(known, dict):
            continue
        lines += [
            f"{place}: {value!r} names nothing under `{section}:` (known: {', '.join(sorted(map(str, known)))}); add it there or correct it"
            for value in values
            if isinstance(value, str | bool) and value not in known
        ]
        lines += [f"{place}: {value!r} stands twice; remove one" for value in values if values.count(value) > 1][:1]
    seeds = grid.get("seeds")
    if isinstance(seeds, list) and len(set(map(str, seeds))) != len(seeds):
        lines.append(f"grid.seeds: a seed stands twice; got {seeds}; remove one")
    return lines


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a family's students read beside the training text; its methods have one of these sequences."""

    sequences: tuple[str, ...]
    hypotheses: bool = False  # so that a decoding is one of its axes
    targets: str = ""  # the teacher's distributions along: gold or hypothesis
    teacher: bool = False  # the model itself

    @property
    def weighs(self) -> bool:
        """Whether the teacher's distributions enter the loss."""
        return self.teacher or bool(self.targets)


FAMILY_SHAPES = {
    "plain": Shape(sequences=("gold",)),
    "word": Shape(sequences=("gold",), targets="gold"),
    "seq": Shape(sequences=("hypothesis", "closest"), hypotheses=True),
    "both": Shape(sequences=("hypothesis",), hypotheses=True, targets="hypothesis"),
    "hybrid": Shape(sequences=("gold_and_hypothesis",), hypotheses=True, targets="gold"),
    "online": Shape(sequences=("gold",), teacher=True),
}
RESERVED = {"gold": "the gold prefix of word-level targets", "student": "prefixes that a student samples", "none": "no decoding"}


def late_gates(params: Params) -> list[str]:
    """Gates that close among the checkpoints that are averaged, or never: the mean would be of different models."""
    last = params.training.updates - (params.training.average - 1) * params.training.checkpoint_every
    found = [(name, gates.closing) for name in params.grid.capacities if (gates := params.capacities[name].gates)]
    return [
        f"capacities.{name}.gates.closing: must be {last} or less, the first checkpoint that is averaged; got {closing}; lower it"
        for name, closing in found
        if closing > last
    ]


def cross_checks(params: Params) -> list[str]:
    """Rules that hold between sections."""
    lines = []
    for family, shape in FAMILY_SHAPES.items():
        for name in getattr(params.grid.methods, family):
            method = params.methods[name]
            fits = method.sequence in shape.sequences and (method.teacher_weight > 0.0) == shape.weighs
            if not fits or (method.on_policy is not None) != shape.teacher:
                wanted = f"sequence: {' or '.join(shape.sequences)} and teacher_weight {'above 0.0' if shape.weighs else '0.0'}"
                got = f"{method.sequence} and {method.teacher_weight}"
                lines.append(
                    f"grid.methods.{family}: {name!r} reads something else: this family needs {wanted}{' and on_policy' * shape.teacher}; "
                    f"got {got}{' and on_policy' * (method.on_policy is not None)}; move it to its own family"
                )
    for axis in ("capacities", "noises", "seeds"):
        if not getattr(params.grid, axis):
            lines.append(f"grid.{axis}: empty, so that there is nothing to run; name at least one")
    learners = [name for family, shape in FAMILY_SHAPES.items() if shape.hypotheses for name in getattr(params.grid.methods, family)]
    if learners and not params.grid.decodings:
        lines.append("grid.decodings: empty, while methods that learn from hypotheses are asked for; name at least one")
    for name in RESERVED.keys() & params.decodings.keys():
        lines.append(f"decodings.{name}: this name stands for {RESERVED[name]}; choose another")
    if len(set(params.teacher.seeds)) != len(params.teacher.seeds):
        lines.append(f"teacher.seeds: a seed stands twice; got {params.teacher.seeds}; remove one")
    lines += late_gates(params)
    if params.training.consistency:
        lines.append("training.consistency: regularises a teacher, no student's loss has it; name it under teacher.training, or remove it")
    if params.teacher.architecture.gates:
        lines.append("teacher.architecture.gates: gates adapt a student's capacity; remove them here")
    if params.corpus.source == params.corpus.target:
        lines.append(f"corpus.target: must differ from corpus.source; got {params.corpus.target!r} for both")
    if not params.corpus.tests:
        lines.append("corpus.tests: empty; name at least one test set")
    return lines
