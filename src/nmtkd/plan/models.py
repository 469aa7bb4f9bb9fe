"""Parameters of models: architecture, training recipe, regulariser, teacher."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nmtkd.plan.values import (
    MOST_BATCH_TOKENS,
    NOT_DUST,
    SMALLEST,
    Level,
    Line,
    Positive,
    Precision,
    Section,
    Seed,
    Share,
    Weight,
)

# 40 GB of float32, and as much for each of Adam's two moments: dense translation models end at half of it.
LARGEST_MODEL = 10**10
ATTENTION = 4  # matrices of width x width: queries, keys, values, output
FEED_FORWARD = 2  # matrices of width x ffn
Layers = Annotated[int, Field(ge=1, le=100)]  # ten times the usual depth; beyond it plain residuals diverge


class UnitGates(Section):
    """Adaptive capacity: learned gates on feed-forward units. Training closes all units beyond a budget."""

    # c: target of the gates' mean openness during training, and the share of units that stay open
    budget: Share
    weight: Weight  # of the budget penalty, relative to the loss per token
    # weight of the term that pushes gates to 0 or 1; it grows linearly up to this value
    polarity: Level
    # update at which the less open units (on the validation set) close; the penalty applies before it only
    closing: Positive
    # bias of the gates before training; at 10 either way a gate stands at 1 or 0 and has no gradient
    opening: Annotated[float, Field(ge=-10.0, le=10.0), NOT_DUST]


class Shared(Section):
    """What all models of an experiment have in common, since students read their teacher's tokens."""

    # joint: one dictionary, and one matrix for source, target and output. separate: a dictionary for each
    # side, and a matrix for the source beside one for target and output, as most published counts have it.
    # The codes are joint either way.
    embeddings: Literal["joint", "separate"]


class Architecture(Section):
    """A Transformer's size, without its embeddings."""

    encoder_layers: Layers
    decoder_layers: Layers
    width: Annotated[int, Field(ge=4, le=2**14)]  # fairseq's sines of positions need four
    ffn: Annotated[int, Field(ge=1, le=2**16)]  # four times the width, as usual
    heads: Annotated[int, Field(ge=1, le=2**14)]  # they divide the width
    gates: UnitGates | None = None  # adaptive capacity; ffn is then the size before trimming

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Architecture:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self

    @model_validator(mode="after")
    def _fits_a_machine(self) -> Architecture:
        attentions = self.encoder_layers + 2 * self.decoder_layers  # a decoder's layer also reads the source
        blocks = self.encoder_layers + self.decoder_layers
        size = self.width * (ATTENTION * attentions * self.width + FEED_FORWARD * blocks * self.ffn)
        if size > LARGEST_MODEL:
            raise ValueError(
                f"encoder_layers, decoder_layers, width and ffn: {size:,} parameters without embeddings, "
                f"at most {LARGEST_MODEL:,}; lower one"
            )
        return self


class Consistency(Section):
    """A consistency regulariser, which makes two views of a pair agree: for a stronger single teacher."""

    # rdrop: two dropout masks (Liang et al. 2021)
    # simcut: the second view also has tokens cut off (Gao et al. 2022)
    kind: Literal["rdrop", "simcut"]
    weight: Weight  # alpha
    # of simcut: share of tokens whose embeddings become zero; without any, or of all, there is no second view
    cutoff: Annotated[float, Field(ge=SMALLEST, lt=1.0)] | None = None

    @model_validator(mode="after")
    def _cutoff_is_simcuts(self) -> Consistency:
        if (self.kind == "simcut") != (self.cutoff is not None):
            raise ValueError("kind simcut goes with cutoff, and only it does")
        return self


class Training(Section):
    """A training recipe. All students of a study share one: equal updates, equal selection."""

    precision: Precision
    updates: Annotated[
        int, Field(ge=1, le=10**7)
    ]  # a hundred times Vaswani et al.'s; half a year at 1 s each
    max_tokens: Annotated[
        int, Field(ge=1, le=MOST_BATCH_TOKENS)
    ]  # per batch: tokens of the longer side, padding included
    # batches of one update (fairseq's update_freq), over all devices, whatever their number: no fact of a
    # machine is part of a result; None for 1. The last update of an epoch may have fewer.
    accumulate: Positive | None = None
    # Adam moves a weight by about lr an update; weights start below 1, so that more is a random walk.
    lr: Annotated[float, Field(ge=SMALLEST, le=1.0)]
    warmup: Positive  # updates of linear warm-up; then the inverse square root (Vaswani et al. 2017)
    # at 1 a moment never sees a gradient
    adam_betas: Annotated[
        list[Annotated[float, Field(ge=0.0, lt=1.0), NOT_DUST]], Field(min_length=2, max_length=2)
    ]
    # What is left is scaled by 1 / (1 - dropout): by ten at 0.9, by a division by zero at 1. 0.5 is much.
    dropout: Annotated[float, Field(ge=0.0, le=0.9), NOT_DUST]
    label_smoothing: Annotated[float, Field(ge=0.0, lt=1.0), NOT_DUST]  # at 1 the label says nothing
    clip_norm: Level  # 0 for none
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0), NOT_DUST]  # each update takes lr times this share
    pre_norm: bool
    checkpoint_every: Positive  # updates between checkpoints; each is also a point of the learning curve
    average: Positive  # model.pt is the mean of the last so many checkpoints
    # validation pairs translated greedily at each checkpoint, for the curve's BLEU; 0 for none, and more than
    # there are for all; a hundred thousand are a training set
    curve_pairs: Annotated[int, Field(ge=0, le=10**5)]
    consistency: Consistency | None = None
    # folder of another run, whose model the weights start from: absolute for queued experiments, which run
    # elsewhere; conf/random_weights for a training from scratch. The pipeline needs one of them.
    init: Line | None = None

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
