"""Translating and scoring with trained models."""

from nmtkd.network import slim_fairseq  # noqa: F401  before anything here imports fairseq
