"""fairseq's `--user-dir`: importing this registers the gated model, the task and the criterions."""

from nmtkd.network import gated
from nmtkd.training import task
from nmtkd.training.criterions import consistency, cross_entropy, distillation, hybrid, online

__all__ = ["consistency", "cross_entropy", "distillation", "gated", "hybrid", "online", "task"]
