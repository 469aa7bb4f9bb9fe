"""The sections of params.yaml that say what a student is: its method, its size, its training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nmtkd.values import Count, Fraction, Positive, Section


class Ranking(Section):
    """A hinge that puts the teacher's best token above the student's `tokens` best ones (Zhang et al. 2023)."""

    weight: Annotated[float, Field(gt=0.0)]  # beside the divergence
    tokens: Positive


class Gate(Section):
    """How a hybrid student weighs its two levels: g of token level, 1 - g of sentence level."""

    kind: Literal["learned", "fixed", "validated"]  # validated: a student for each value, the one with the best validation BLEU is kept
    values: list[Fraction]  # none for learned, one for fixed, several for validated

    @model_validator(mode="after")
    def _values_fit_kind(self) -> Gate:
        fits = {"learned": not self.values, "fixed": len(self.values) == 1, "validated": len(set(self.values)) > 1}
        if not fits[self.kind]:
            raise ValueError(f"values: none for learned, one for fixed, several different ones for validated; got {self.values}")
        return self


class OnPolicy(Section):
    """Prefixes that the student samples from itself (GKD, Agarwal et al. 2024); along them the loss is the teacher's term alone."""

    share: Fraction  # lambda: of the batches; 0.0 is word-level distillation with the teacher online
    temperature: Annotated[float, Field(gt=0.0)]  # of sampling
    from_update: Count  # before it all prefixes are gold: an untrained student samples noise
    max_length_offset: Count  # a sample ends so many BPE tokens after the batch's longest gold text


class Method(Section):
    """A student's loss: (1 - a) CE(y) + a T^2 D(teacher, student) along y, y being gold or the teacher's hypothesis; or both."""

    sequence: Literal["gold", "hypothesis", "closest", "gold_and_hypothesis"]  # closest: the n-best entry most like gold (sentence BLEU)
    teacher_weight: Fraction  # a; 0 needs no token targets
    divergence: Literal["forward_kl", "reverse_kl", "jensen_shannon", "total_variation"] = "forward_kl"
    beta: Annotated[float, Field(gt=0.0, lt=1.0)] | None = None  # of jensen_shannon
    hardest: Annotated[float, Field(gt=0.0, le=1.0)] | None = None  # the teacher's term for this share of a batch's tokens alone
    ranking: Ranking | None = None
    gate: Gate | None = None
    on_policy: OnPolicy | None = None

    @model_validator(mode="after")
    def _options_fit(self) -> Method:
        if (self.divergence == "jensen_shannon") != (self.beta is not None):
            raise ValueError("divergence jensen_shannon goes with beta, and only it does")
        if (self.sequence == "gold_and_hypothesis") != (self.gate is not None):
            raise ValueError("sequence gold_and_hypothesis goes with a gate, and only it does")
        told = self.divergence != "forward_kl" or self.hardest is not None or self.ranking is not None or self.on_policy is not None
        if self.teacher_weight == 0.0 and told:
            raise ValueError("divergence, hardest, ranking and on_policy shape the teacher's term: they need teacher_weight above 0.0")
        if self.on_policy and self.sequence != "gold":
            raise ValueError(f"on_policy goes with sequence gold; got {self.sequence}")
        if self.gate and (self.hardest is not None):
            raise ValueError("hardest picks tokens of a batch, a gate weighs sentences: choose one")
        return self


class Gates(Section):
    """Adaptive capacity: feed-forward units behind learned gates, of which training closes all but a budget and goes on without them."""

    budget: Annotated[float, Field(gt=0.0, le=1.0)]  # c: the mean openness that training is pulled to, and the share of units that stays
    weight: Annotated[float, Field(gt=0.0)]  # of the budget's penalty beside the loss a token
    polarity: Annotated[float, Field(ge=0.0)]  # how much a unit must choose between open and closed; grows linearly
    closing: Positive  # the update at which the less open units (validation set) are closed for good; no penalty is paid from then on
    opening: float  # bias of the gates before training


class Architecture(Section):
    """A Transformer's size; source, target and output embeddings are one matrix (joint dictionary)."""

    encoder_layers: Positive
    decoder_layers: Positive
    width: Positive
    ffn: Positive
    heads: Positive
    gates: Gates | None = None  # adaptive capacity; ffn is then what training starts from

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Architecture:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class Consistency(Section):
    """A regulariser that makes two views of a pair agree: for a stronger single teacher."""

    kind: Literal[
        "rdrop", "simcut"
    ]  # rdrop: two dropout masks (Liang et al. 2021); simcut: one of them with tokens cut off (Gao et al. 2022)
    weight: Annotated[float, Field(gt=0.0)]  # alpha
    cutoff: Fraction | None = None  # of simcut: the share of tokens whose embeddings become zero

    @model_validator(mode="after")
    def _cutoff_is_simcuts(self) -> Consistency:
        if (self.kind == "simcut") != (self.cutoff is not None):
            raise ValueError("kind simcut goes with cutoff, and only it does")
        return self


class Training(Section):
    """A recipe. Every student of a study uses the same one: equal updates, equal selection."""

    updates: Positive
    max_tokens: Positive  # a batch holds at most so many tokens of the longer side, padding included
    lr: Annotated[float, Field(gt=0.0)]
    warmup: Positive  # updates of linear warm-up; then the inverse square root (Vaswani et al. 2017)
    adam_betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    dropout: Fraction
    label_smoothing: Fraction
    clip_norm: Annotated[float, Field(ge=0.0)]
    weight_decay: Annotated[float, Field(ge=0.0)]
    pre_norm: bool
    checkpoint_every: Positive  # updates between checkpoints; each one is also a point of the learning curve
    average: Positive  # model.pt is the mean of so many last checkpoints
    curve_pairs: Count  # validation pairs translated greedily for the curve's BLEU at each checkpoint; 0 for none
    consistency: Consistency | None = None

    @model_validator(mode="after")
    def _enough_checkpoints(self) -> Training:
        if self.updates % self.checkpoint_every:
            raise ValueError(f"updates ({self.updates}) must be a multiple of checkpoint_every ({self.checkpoint_every})")
        if self.average * self.checkpoint_every > self.updates:
            raise ValueError(f"cannot average {self.average} checkpoints: {self.updates} updates write fewer")
        return self
