"""nmtkd.training.options: what a family, a method and gates become in fairseq's configuration."""

from pathlib import Path

import pytest

from nmtkd.plan.methods import FAMILIES, Method
from nmtkd.plan.models import Architecture, Consistency, UnitGates
from nmtkd.training.criterions import cross_entropy
from nmtkd.training.criterions.consistency import regularise
from nmtkd.training.options import CRITERIONS, distil
from tests.conftest import Tiny
from tests.unit.training.helpers import DRAWN, METHODS, configured_by

SMALL = Architecture(encoder_layers=1, decoder_layers=2, width=16, ffn=24, heads=2)


@pytest.mark.parametrize("family", ["word", "both", "hybrid", "online"])
def test_method_arrives_at_its_criterion_with_all_its_options(tiny: Tiny, family: str) -> None:
    wanted = METHODS[family]
    found = configured_by(
        tiny, distil(family, wanted, SMALL, teachers=[Path("a")], temperature=1.5)
    ).criterion
    assert Method.model_validate_json(found.method) == wanted
    assert (found._name, found.temperature) == (FAMILIES[family].criterion, 1.5)
    assert found.unit_gates == ""
    assert found.label_smoothing == 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_family_has_a_criterion_that_builds(tiny: Tiny, family: str) -> None:
    """fairseq builds the criterion that the family's row names, and it holds the method."""
    from fairseq import tasks

    cfg = configured_by(tiny, distil(family, METHODS[family], SMALL, teachers=[Path("a")]))
    cfg.task.data = str(tiny.folder)
    criterion = tasks.setup_task(cfg.task).build_criterion(cfg.criterion)
    assert type(criterion).__module__ == CRITERIONS[FAMILIES[family].criterion].__name__
    assert getattr(criterion, "method", METHODS[family]) == METHODS[family]
    assert criterion.eps == 0.1


def test_unit_gates_arrive_at_every_criterion(tiny: Tiny) -> None:
    gates = UnitGates(budget=0.5, weight=2.0, polarity=0.1, closing=40, opening=1.0)
    gated = SMALL.model_copy(update={"gates": gates})
    for family, asked in METHODS.items():
        found = configured_by(tiny, distil(family, asked, gated, teachers=[Path("a")])).criterion
        assert UnitGates.model_validate_json(found.unit_gates) == gates
    found = configured_by(tiny, distil("plain", METHODS["plain"], gated)).criterion
    assert found._name == cross_entropy.CRITERION
    assert "method" not in found


@pytest.mark.parametrize("gate", [None, 0.25])
def test_gate_of_a_hybrid_is_learned_or_one_value(tiny: Tiny, gate: float | None) -> None:
    cfg = configured_by(tiny, distil("hybrid", METHODS["hybrid"], SMALL, gate=gate))
    wanted = ("hybrid_distillation", -1.0 if gate is None else 0.25, 16)
    assert (cfg.criterion._name, cfg.criterion.gate, cfg.criterion.width) == wanted
    assert cfg.task.hypotheses


def test_teachers_arrive_at_the_online_criterion(tiny: Tiny) -> None:
    adapt = distil("online", METHODS["online"], SMALL, teachers=[Path("a"), Path("b")])
    found = configured_by(tiny, adapt).criterion
    assert (found._name, found.teachers) == ("online_distillation", "a:b")
    policy = Method.model_validate_json(found.method).on_policy
    assert policy is not None and policy.model_dump() == DRAWN


def test_stored_targets_arrive_at_the_task(tiny: Tiny) -> None:
    found = configured_by(tiny, distil("word", METHODS["word"], SMALL, targets=Path("t"))).task
    assert (found._name, found.token_targets, found.hypotheses) == ("distillation", "t", False)
    assert configured_by(tiny, distil("plain", METHODS["plain"], SMALL)).task._name == "translation"


def test_consistency_becomes_a_configuration(tiny: Tiny) -> None:
    found = configured_by(tiny, regularise(Consistency(kind="simcut", weight=3.0, cutoff=0.05))).criterion
    wanted = ("consistency_regularised_cross_entropy", "simcut", 3.0, 0.05)
    assert (found._name, found.kind, found.weight, found.cutoff) == wanted
