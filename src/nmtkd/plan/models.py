"""Parameters of models: architecture, training recipe, regulariser, teacher."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nmtkd.plan.values import Count, Fraction, Positive, Section, Seed


class UnitGates(Section):
    """Adaptive capacity: learned gates on feed-forward units. Training closes all units beyond a budget."""

    # c: target of the gates' mean openness during training, and the share of units that stay open
    budget: Annotated[float, Field(gt=0.0, le=1.0)]
    weight: Annotated[float, Field(gt=0.0)]  # of the budget penalty, relative to the loss per token
    # weight of the term that pushes gates to 0 or 1; it grows linearly up to this value
    polarity: Annotated[float, Field(ge=0.0)]
    # update at which the less open units (on the validation set) close; the penalty applies before it only
    closing: Positive
    opening: float  # bias of the gates before training


class Architecture(Section):
    """A Transformer's size. Source, target and output embeddings share one matrix (joint dictionary)."""

    encoder_layers: Positive
    decoder_layers: Positive
    width: Positive
    ffn: Positive
    heads: Positive
    gates: UnitGates | None = None  # adaptive capacity; ffn is then the size before trimming

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Architecture:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class Consistency(Section):
    """A consistency regulariser, which makes two views of a pair agree: for a stronger single teacher."""

    # rdrop: two dropout masks (Liang et al. 2021)
    # simcut: the second view also has tokens cut off (Gao et al. 2022)
    kind: Literal["rdrop", "simcut"]
    weight: Annotated[float, Field(gt=0.0)]  # alpha
    cutoff: Fraction | None = None  # of simcut: share of tokens whose embeddings become zero

    @model_validator(mode="after")
    def _cutoff_is_simcuts(self) -> Consistency:
        if (self.kind == "simcut") != (self.cutoff is not None):
            raise ValueError("kind simcut goes with cutoff, and only it does")
        return self


class Training(Section):
    """A training recipe. All students of a study share one: equal updates, equal selection."""

    updates: Positive
    max_tokens: Positive  # per batch: tokens of the longer side, padding included
    lr: Annotated[float, Field(gt=0.0)]
    warmup: Positive  # updates of linear warm-up; then the inverse square root (Vaswani et al. 2017)
    adam_betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    dropout: Fraction
    label_smoothing: Fraction
    clip_norm: Annotated[float, Field(ge=0.0)]
    weight_decay: Annotated[float, Field(ge=0.0)]
    pre_norm: bool
    checkpoint_every: Positive  # updates between checkpoints; each is also a point of the learning curve
    average: Positive  # model.pt is the mean of the last so many checkpoints
    # validation pairs translated greedily at each checkpoint, for the curve's BLEU; 0 for none
    curve_pairs: Count
    consistency: Consistency | None = None

    @model_validator(mode="after")
    def _enough_checkpoints(self) -> Training:
        if self.updates % self.checkpoint_every:
            raise ValueError(
                f"updates ({self.updates}) must be a multiple of checkpoint_every ({self.checkpoint_every})"
            )
        if self.average * self.checkpoint_every > self.updates:
            raise ValueError(f"cannot average {self.average} checkpoints: {self.updates} updates write fewer")
        return self


class Teacher(Section):
    """The large model: size, recipe and seeds. Several seeds make an ensemble, which acts as one model."""

    architecture: Architecture
    training: Training
    seeds: Annotated[list[Seed], Field(min_length=1)]
