"""Rules between sections of params.yaml, such as that a method must fit its family."""

from __future__ import annotations

import math
from fractions import Fraction
from os.path import normpath
from pathlib import PurePath

from nmtkd.plan import layout
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.names import taken_names
from nmtkd.plan.runs import runs
from nmtkd.plan.schema import Params
from nmtkd.plan.values import INT8, SMALLEST


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


def endless_warmups(params: Params) -> list[str]:
    """Problems of trainings that end before their learning rate has come up to lr."""
    return [
        f"{section}.warmup: must be updates ({recipe.updates}) or less, else lr is never reached; "
        f"got {recipe.warmup}; lower it"
        for section, recipe in (("teacher.training", params.teacher.training), ("training", params.training))
        if recipe.warmup > recipe.updates
    ]


def idle_noises(params: Params) -> list[str]:
    """Problems of noise that hits no word in ten million, or of a mixture that hits words more than once."""
    lines = []
    for name, noise in params.noises.items():
        if 0.0 < (noise.rate or 0.0) < SMALLEST:
            lines.append(
                f"noises.{name}.rate: must be at least {SMALLEST:g}, else no word is hit; got {noise.rate}"
            )
        rates = noise.rates.model_dump() if noise.rates else {}
        lines += [
            f"noises.{name}.rates.{kind}: must be 0 or at least {SMALLEST:g}, else no word is hit; got {rate}"
            for kind, rate in rates.items()
            if 0.0 < rate < SMALLEST
        ]
        if rates and not 0.0 < math.fsum(rates.values()) <= 1.0:
            lines.append(
                f"noises.{name}.rates: deletion, substitution and swap: together above 0.0 and at most 1.0, "
                f"one corruption a word; got {rates}"
            )
    return lines


def few_samples(params: Params) -> list[str]:
    """The problem of a bootstrap whose smallest p, 2 / (1 + samples), is no gain at the confidence asked for.

    That p is evidence.bootstrap's.
    """
    report = params.report
    # Exact on the decimals as written: 1 - 0.95 is not 0.05.
    enough = math.floor(2 / (1 - Fraction(str(report.confidence))))
    if report.bootstrap_samples >= enough:
        return []
    return [
        f"report.bootstrap_samples: must be {enough} or more, else no p is below 1 - report.confidence "
        f"({report.confidence}); got {report.bootstrap_samples}; raise it"
    ]


def rounded_ensembles(params: Params) -> list[str]:
    """Problems of int8 where the teacher is an ensemble: fairseq translates with it, in float32 alone.

    Of `evaluate` too: students in int8 beside a teacher in float32 are no comparison.
    """
    seeds = params.teacher.seeds
    computes = {
        f"decodings.{name}": params.decodings[name].compute
        for name in params.grid.decodings
        if name in params.decodings
    }
    computes["evaluate"] = params.evaluate.compute
    return [
        f"{where}.compute: must be float32 where the teacher is an ensemble, with which fairseq translates; "
        f"got int8 and teacher.seeds {seeds}; set it to float32, or name one seed"
        for where, compute in computes.items()
        if compute == INT8 and len(seeds) > 1
    ]


def own_starts(params: Params) -> list[str]:
    """Problems of trainings that start from nothing that is said, or from what they write themselves."""
    lines = []
    outs = {
        "teacher.training": [layout.teacher_dir(noise) for noise in params.grid.noises],
        "training": [layout.student_dir(run.key) for run in runs(params.grid)],
    }
    for section, folders in outs.items():
        init = (params.teacher.training if section == "teacher.training" else params.training).init
        if init is None:
            lines.append(f"{section}.init: missing; say {layout.RANDOM_WEIGHTS}, or the folder of a run")
            continue
        if init.startswith("~"):
            lines.append(f"{section}.init: {init!r}: nobody expands ~ here; write the home folder out")
        start = PurePath(normpath(init))
        if any(folder == start or folder in start.parents or start in folder.parents for folder in folders):
            lines.append(
                f"{section}.init: {init!r} is a run of this grid, which would start from itself; "
                "copy it elsewhere, or take it out of the grid"
            )
    return lines


def cross_checks(params: Params) -> list[str]:
    """Problems between sections."""
    lines = misplaced_methods(params) + taken_names(params) + late_gates(params) + endless_warmups(params)
    lines += few_samples(params) + idle_noises(params) + own_starts(params) + rounded_ensembles(params)
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
    if len(set(params.teacher.seeds)) != len(params.teacher.seeds):
        lines.append(f"teacher.seeds: a seed stands twice; got {params.teacher.seeds}; remove one")
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
