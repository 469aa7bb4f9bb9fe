"""fairseq plugin (`--user-dir`): the task, criterions and architecture of distillation, and what puts them in place of stock ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nmtkd import lean  # noqa: F401  before anything here imports fairseq
from nmtkd.params import Architecture, Consistency, Method
from nmtkd_fairseq import gated
from nmtkd_fairseq.consistency import CONSISTENCY
from nmtkd_fairseq.criterion import CRITERION
from nmtkd_fairseq.hybrid import HYBRID, LEARNED
from nmtkd_fairseq.online import ONLINE
from nmtkd_fairseq.task import TASK

__all__ = ["Adapt", "distil", "gated", "quick", "regularise"]

Adapt = Callable[[DictConfig], None]


def distil(
    method: Method,
    architecture: Architecture,
    *,
    targets: Path | None = None,
    teachers: Sequence[Path] = (),
    temperature: float = 1.0,
    gate: float | None = None,
) -> Adapt | None:
    """What `method` and the gates of `architecture` change in fairseq's configuration; None where that is nothing.

    `gate` is one of the method's fixed values, where it has any.
    """
    term: dict[str, Any] = {
        "teacher_weight": method.teacher_weight,
        "temperature": temperature,
        "divergence": method.divergence,
        "hardest": method.hardest if method.hardest is not None else 1.0,
    }
    term |= {"beta": method.beta} if method.beta is not None else {}
    term |= {"ranking": method.ranking.weight, "ranked": method.ranking.tokens} if method.ranking else {}
    gates = architecture.gates
    if gates:
        term |= {"budget": gates.budget, "budget_weight": gates.weight, "polarity": gates.polarity, "closing": gates.closing}
    name = CRITERION
    if method.gate:
        name, term = HYBRID, {**term, "gate": LEARNED if gate is None else gate, "width": architecture.width}
    if method.on_policy:
        drawn = method.on_policy
        name, term = ONLINE, {**term, "teachers": ":".join(map(str, teachers)), "share": drawn.share}
        term |= {"sampling_temperature": drawn.temperature, "from_update": drawn.from_update, "max_length_offset": drawn.max_length_offset}

    if not gates and method.teacher_weight == 0.0 and not method.gate:
        return None

    def adapt(cfg: DictConfig) -> None:
        cfg.task._name, cfg.task.token_targets, cfg.task.hypotheses = TASK, str(targets) if targets else "", method.gate is not None
        cfg.criterion._name = name
        cfg.criterion.update(term)

    return adapt


def regularise(consistency: Consistency | None) -> Adapt | None:
    """Puts the consistency criterion in the place of the stock one; None for None."""
    if consistency is None:
        return None

    def adapt(cfg: DictConfig) -> None:
        cfg.criterion._name, cfg.criterion.kind = CONSISTENCY, consistency.kind
        cfg.criterion.weight, cfg.criterion.cutoff = consistency.weight, consistency.cutoff or 0.0

    return adapt


def quick(cfg: DictConfig) -> None:
    """Puts the stock loss without logits in the place of the stock loss: for models that learn from text alone."""
    cfg.criterion._name = CRITERION
