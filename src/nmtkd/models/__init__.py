"""Engines: training, scoring and translating with fairseq's models."""

from nmtkd import lean  # noqa: F401  before anything here imports fairseq
