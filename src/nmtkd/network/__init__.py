"""The Transformer: fairseq's modules with a faster forward pass."""

from nmtkd.network import slim_fairseq  # noqa: F401  must precede every import of fairseq
