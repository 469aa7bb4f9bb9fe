"""A student's loss in fairseq's configuration. The criterion gets the method of params.yaml as JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nmtkd.plan.methods import FAMILIES, Method
from nmtkd.plan.models import Architecture
from nmtkd.training.criterions import cross_entropy, distillation, hybrid, online
from nmtkd.training.task import TASK

CRITERIONS = {module.CRITERION: module for module in (cross_entropy, distillation, hybrid, online)}
Adapt = Callable[[DictConfig], None]


def distil(
    family: str,
    method: Method,
    architecture: Architecture,
    *,
    targets: Path | None = None,
    teachers: Sequence[Path] = (),
    temperature: float = 1.0,
    gate: float | None = None,
) -> Adapt:
    """A function that sets a student's task and criterion in fairseq's configuration.

    `gate` is one of the method's fixed values, if it has any.
    """
    criterion = FAMILIES[family].criterion
    assert criterion in CRITERIONS, f"{criterion}: no criterion of this name"
    options: dict[str, Any] = {
        "unit_gates": architecture.gates.model_dump_json() if architecture.gates else ""
    }
    if criterion != cross_entropy.CRITERION:
        options |= {"method": method.model_dump_json(), "temperature": temperature}
    if criterion == hybrid.CRITERION:
        options |= {"gate": hybrid.LEARNED if gate is None else gate, "width": architecture.width}
    if criterion == online.CRITERION:
        options["teachers"] = ":".join(map(str, teachers))

    def adapt(cfg: DictConfig) -> None:
        if targets or method.gate:
            cfg.task._name = TASK
            cfg.task.token_targets, cfg.task.hypotheses = (
                str(targets) if targets else "",
                method.gate is not None,
            )
        cfg.criterion._name = criterion
        cfg.criterion.update(options)

    return adapt
