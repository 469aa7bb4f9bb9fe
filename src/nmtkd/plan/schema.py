"""The schema of params.yaml."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from nmtkd.plan.data import Bpe, Corpus, Noise, Prepare
from nmtkd.plan.decoding import Decoding, Evaluate, Targets
from nmtkd.plan.methods import Method
from nmtkd.plan.models import Architecture, Shared, Teacher, Training
from nmtkd.plan.values import SMALLEST, Name, Positive, Section, Seed


class Report(Section):
    """Significance tests against the matching plain student, by paired bootstrap."""

    study: Name  # names the folder of reports/studies/ that keeps the results
    # more tell nothing new, and their counts of 1,500 groups would be gigabytes; plan/rules.py: how few
    bootstrap_samples: Annotated[int, Field(ge=1, le=10**5)]
    bootstrap_seed: Seed
    # below a half it would say what is rather not so; beyond 0.9999 it asks for more than 20,000 samples
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)]
    # BLEU that the validation curve still gains over the last quarter of a training, by a fitted line: beyond
    # it a model is said to climb, and claims about its cell carry that caution
    max_climb: Annotated[float, Field(ge=SMALLEST, le=100.0)]
    min_segments: Positive  # of the test set: below it there is no interval, no p and no verdict


class Families(Section):
    """Methods by what a student reads.

    Each family is a block of dvc.yaml, since DVC has no conditional dependencies.
    """

    plain: list[Name]  # the training text
    word: list[Name]  # the training text, and soft targets along it
    seq: list[Name]  # the teacher's hypotheses
    both: list[Name]  # the teacher's hypotheses, and soft targets along them
    hybrid: list[Name]  # the training text, soft targets along it, and hypotheses, weighed by a gate
    online: list[Name]  # the training text, and the teacher model


class Grid(Section):
    """The axes whose product is the set of runs."""

    methods: Families
    capacities: list[Name]
    noises: list[Name]
    decodings: list[Name]
    seeds: list[Seed]


class Params(Section):
    """params.yaml."""

    corpus: Corpus
    prepare: Prepare
    bpe: Bpe
    noises: dict[Name, Noise]
    architecture: Shared
    teacher: Teacher
    decodings: dict[Name, Decoding]
    targets: Targets
    methods: dict[Name, Method]
    capacities: dict[Name, Architecture]
    # the capacities of this scale by size, from small to large; study=capacity runs them
    ladder: Annotated[list[Name], Field(min_length=1)]
    training: Training
    evaluate: Evaluate
    report: Report
    grid: Grid

    if not TYPE_CHECKING:  # mypy still reports a misspelt section

        def __getattr__(self, name: str) -> Any:
            raise AttributeError(
                f"params.{name} was not asked for: name it in load() and under `params:` in dvc.yaml"
            )
