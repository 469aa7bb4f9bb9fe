"""Sizes of a model that follow from its shape: multiplications, FLOPs, memory, disk."""

from __future__ import annotations

from dataclasses import dataclass

from nmtkd.plan.models import Architecture, Training
from nmtkd.plan.size import parameters
from nmtkd.plan.values import FLOAT32
from runner.forecast.assumptions import Memory, Sizes

FLOPS_A_PRODUCT = 2  # a multiplication and an addition
PASSES = 3  # of a training step, in forward passes: the backward pass costs two
SPECIAL = 4  # fairseq's own tokens of a dictionary
FP32_BYTES = 4
STATES, PARTS_OF_STATE = 2, 3  # of checkpoints (training/checkpoints.py)
LONGER = 2.0  # a token stands in a line of about twice the mean length


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model and its recipe. `rows` are those of its embeddings, `vocabulary` those of its output."""

    architecture: Architecture
    training: Training
    rows: int
    vocabulary: int

    def __hash__(self) -> int:
        """Of its text: a recipe holds a list."""
        return hash(repr(self))

    @property
    def parameters(self) -> int:
        """Trainable parameters, before units of gates are closed."""
        return parameters(self.architecture, self.rows, pre_norm=self.training.pre_norm)

    @property
    def products(self) -> tuple[int, int]:
        """Multiplications by weights for a source token and for a target token. Scores of attention: none."""
        shape = self.architecture
        square = shape.width * shape.width
        block = (3 if shape.gates else 2) * shape.width * shape.ffn
        # Keys and values of the attention across are computed of the source.
        source = shape.encoder_layers * (4 * square + block) + shape.decoder_layers * 2 * square
        target = shape.decoder_layers * (4 * square + 2 * square + block) + self.vocabulary * shape.width
        return source, target

    def step_flops(self, text: Sizes) -> float:
        """FLOPs of a batch of max_tokens, forward and backward."""
        source, target = self.products
        longer = max(text.source, text.target)
        shares = text.source / longer, text.target / longer
        tokens = self.training.max_tokens
        return PASSES * FLOPS_A_PRODUCT * tokens * (source * shares[0] + target * shares[1])

    def line_flops(self, text: Sizes, beam: int = 1) -> float:
        """FLOPs of the translation, or with beam 1 of the scoring, of a line."""
        source, target = self.products
        return FLOPS_A_PRODUCT * (source * text.source + beam * target * text.target)

    def memory(self, text: Sizes, a: Memory) -> float:
        """Bytes of memory that a training of it takes, in its precision."""
        shape, length = self.architecture, LONGER * max(text.source, text.target)
        layers = shape.width * (a.encoder * shape.encoder_layers + a.decoder * shape.decoder_layers)
        blocks = (2 if shape.gates else 1) * a.ffn * shape.ffn * (shape.encoder_layers + shape.decoder_layers)
        attentions = shape.encoder_layers + 2 * shape.decoder_layers
        token = layers + blocks + a.scores * shape.heads * length * attentions + a.ends * shape.width
        token *= a.float32 if self.training.precision == FLOAT32 else 1
        return a.base + a.parameter * self.parameters + token * self.training.max_tokens

    @property
    def model_bytes(self) -> int:
        """Bytes of its file."""
        return FP32_BYTES * self.parameters

    @property
    def checkpoint_bytes(self) -> int:
        """Bytes of its checkpoints at their most: weights to average, and two states with Adam's moments."""
        return (self.training.average + STATES * PARTS_OF_STATE) * self.model_bytes
