"""Training: fairseq's trainer in our loop, and the losses."""

from nmtkd.network import slim_fairseq  # noqa: F401  before anything here imports fairseq
