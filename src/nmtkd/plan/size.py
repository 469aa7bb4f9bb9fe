"""The size of a model, by its shape."""

from __future__ import annotations

from nmtkd.plan.models import Architecture


def parameters(architecture: Architecture, rows: int, *, pre_norm: bool) -> int:
    """Number of trainable parameters of an architecture.

    Its embeddings have `rows`, one a token of each dictionary, fairseq's special tokens included. Only a
    model that normalises before its blocks normalises once more at the end of both sides.
    """
    width, ffn = architecture.width, architecture.ffn
    attention = 4 * (width * width + width)
    inputs = 2 if architecture.gates else 1  # a gated block has a second input matrix, for its gates
    feedforward = inputs * (width * ffn + ffn) + ffn * width + width
    norm = 2 * width
    encoder = attention + feedforward + 2 * norm
    decoder = 2 * attention + feedforward + 3 * norm
    return (
        rows * width
        + architecture.encoder_layers * encoder
        + architecture.decoder_layers * decoder
        + 2 * norm * pre_norm
    )
