"""Methods, which define a student's loss, and families, which define what a student reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, model_validator

from nmtkd.plan.decoding import LengthOffset
from nmtkd.plan.values import SMALLEST, Count, Fraction, Section, Share, Temperature, Weight

# Options that belong to one divergence only.
DIVERGENCE_OPTIONS = {"jensen_shannon": "beta"}


class Ranking(Section):
    """A hinge loss that ranks the teacher's best token above the student's top ones (Zhang et al. 2023)."""

    weight: Weight  # relative to the divergence
    # 5 in print. Every dictionary of a natural language has a hundred pieces; the stage `bpe` sees to it.
    tokens: Annotated[int, Field(ge=1, le=100)]


class Gate(Section):
    """Weights of a hybrid student's two losses: g for the token level, 1 - g for the sentence level."""

    # validated: one student is trained per value; the one with the best validation BLEU is kept
    kind: Literal["learned", "fixed", "validated"]
    values: list[Fraction]  # none for learned, one for fixed, several for validated

    @model_validator(mode="after")
    def _values_fit_kind(self) -> Gate:
        fits = {
            "learned": not self.values,
            "fixed": len(self.values) == 1,
            "validated": len(set(self.values)) > 1,
        }
        if not fits[self.kind]:
            raise ValueError(
                "values: none for learned, one for fixed, several different ones for validated; "
                f"got {self.values}"
            )
        return self


class OnPolicy(Section):
    """Prefixes that the student samples itself (GKD, Agarwal et al. 2024).

    Along them the loss is the teacher's term alone.
    """

    share: Fraction  # lambda, share of batches; 0.0 is word-level distillation with the teacher in memory
    temperature: Temperature  # of sampling
    from_update: Count  # earlier prefixes are all gold: an untrained student samples noise
    # a sample is at most so many BPE tokens longer than the batch's longest gold text
    max_length_offset: LengthOffset


class Method(Section):
    """A student's loss: (1 - a) CE(y) + a T^2 D(teacher, student) along y.

    y is the gold text, the teacher's hypothesis, or both.
    """

    # closest: the n-best entry with the highest sentence BLEU against gold
    sequence: Literal["gold", "hypothesis", "closest", "gold_and_hypothesis"]
    teacher_weight: Fraction  # a; 0.0 needs no soft targets
    divergence: Literal["forward_kl", "reverse_kl", "jensen_shannon", "total_variation"] | None = None
    beta: Annotated[float, Field(ge=SMALLEST, lt=1.0)] | None = None  # of jensen_shannon
    # share of a batch's tokens, those with the largest loss, that have the teacher's term
    hardest: Share | None = None
    ranking: Ranking | None = None
    gate: Gate | None = None
    on_policy: OnPolicy | None = None

    @model_validator(mode="after")
    def _options_fit(self) -> Method:
        if (self.teacher_weight > 0.0) != (self.divergence is not None):
            raise ValueError("teacher_weight above 0.0 goes with a divergence, and only it does")
        for divergence, option in DIVERGENCE_OPTIONS.items():
            if (self.divergence == divergence) != (getattr(self, option) is not None):
                raise ValueError(f"divergence {divergence} goes with {option}, and only it does")
        if (self.sequence == "gold_and_hypothesis") != (self.gate is not None):
            raise ValueError("sequence gold_and_hypothesis goes with a gate, and only it does")
        shaped = self.hardest is not None or self.ranking is not None or self.on_policy is not None
        if self.teacher_weight == 0.0 and shaped:
            raise ValueError(
                "hardest, ranking and on_policy shape the teacher's term: they need teacher_weight above 0.0"
            )
        if self.on_policy and self.sequence != "gold":
            raise ValueError(f"on_policy goes with sequence gold; got {self.sequence}")
        if self.gate and self.hardest is not None:
            raise ValueError("hardest picks tokens of a batch, a gate weighs sentences: choose one")
        return self


@dataclass(frozen=True, kw_only=True)
class Family:
    """What a family's students read beside the training text, and their criterion.

    All fields but `sentence` decide what a student learns: they are part of the student's manifest.
    """

    sequences: tuple[str, ...]  # allowed values of Method.sequence
    hypotheses: bool = False  # reads the teacher's translations; decoding is then an axis
    targets: str = ""  # reads soft targets along this text: gold or hypothesis
    teacher: bool = False  # reads the teacher model itself
    criterion: str  # name in nmtkd.training.criterions
    sentence: str  # description on the report's page

    @property
    def weighs(self) -> bool:
        """Whether the teacher's distributions enter the loss."""
        return self.teacher or bool(self.targets)


FAMILIES = {
    "plain": Family(
        sequences=("gold",),
        criterion="chunked_cross_entropy",
        sentence="learns from the corpus alone: what the others are measured against, "
        "at the same size, noise condition, seed and updates.",
    ),
    "word": Family(
        sequences=("gold",),
        targets="gold",
        criterion="distillation",
        sentence="also learns the teacher's distribution over the next token along the reference.",
    ),
    "seq": Family(
        sequences=("hypothesis", "closest"),
        hypotheses=True,
        criterion="chunked_cross_entropy",
        sentence="learns from the teacher's translations in place of the references.",
    ),
    "both": Family(
        sequences=("hypothesis",),
        hypotheses=True,
        targets="hypothesis",
        criterion="distillation",
        sentence="learns from the teacher's translations and from its distributions along them.",
    ),
    "hybrid": Family(
        sequences=("gold_and_hypothesis",),
        hypotheses=True,
        targets="gold",
        criterion="hybrid_distillation",
        sentence="learns from references with distributions and from translations, "
        "in a ratio that a gate sets sentence by sentence.",
    ),
    "online": Family(
        sequences=("gold",),
        teacher=True,
        criterion="online_distillation",
        sentence="asks the teacher for its distribution along the reference, "
        "or along what the student itself says.",
    ),
}
