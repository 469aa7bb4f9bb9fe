"""Methods and their terms for tests: as params.yaml would have them."""

from typing import Any

from nmtkd.distil.divergences import DIVERGENCES
from nmtkd.distil.token_loss import TeacherTerm
from nmtkd.plan.methods import DIVERGENCE_OPTIONS, Method

KINDS = list(DIVERGENCES)  # what tests of every divergence run over
OPTIONS = {"beta": 0.5}  # a value of each option of a divergence


def method(**changes: Any) -> Method:
    """Half of forward KL along gold, with some values replaced; no divergence where the teacher has no
    weight."""
    values: dict[str, Any] = {"sequence": "gold", "teacher_weight": 0.5} | changes
    if values["teacher_weight"] > 0.0:
        values.setdefault("divergence", "forward_kl")
    if option := DIVERGENCE_OPTIONS.get(values.get("divergence", "")):
        values.setdefault(option, OPTIONS[option])
    return Method.model_validate(values)


def teacher_term(temperature: float = 1.0, **changes: Any) -> TeacherTerm:
    """The term of such a method."""
    return TeacherTerm(method=method(**changes), temperature=temperature)
