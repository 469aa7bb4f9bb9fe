"""nmtkd.training.checkpoints: how many parameters a model will have."""

import pytest

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.models import Architecture, UnitGates
from nmtkd.training import checkpoints
from tests.conftest import Tiny
from tests.unit.network.building import GATED, built


def test_parameters_are_known_before_a_model_is_built(tiny: Tiny) -> None:
    uneven = GATED.model_copy(update={"encoder_layers": 1, "ffn": 31})
    for architecture in (GATED, uneven, GATED.model_copy(update={"gates": None})):
        assert built(tiny, architecture=architecture)[0].parameters() == checkpoints.parameters(
            architecture, 24
        )


def test_parameters_of_the_tiny_model_are_known(tiny: Tiny) -> None:
    architecture = Architecture(encoder_layers=1, decoder_layers=2, width=16, ffn=24, heads=2)
    assert bridge.load_model(tiny.folder, "cpu").parameters() == checkpoints.parameters(architecture, 24)


@pytest.mark.parametrize("layers", [(1, 1), (2, 3)])
def test_parameters_of_a_gated_model_are_known_before_it_is_built(
    tiny: Tiny, layers: tuple[int, int]
) -> None:
    gates = UnitGates(budget=0.5, weight=10.0, polarity=1.0, closing=1, opening=0.0)
    architecture = Architecture(
        encoder_layers=layers[0], decoder_layers=layers[1], width=16, ffn=24, heads=2, gates=gates
    )
    assert built(tiny, architecture=architecture)[0].parameters() == checkpoints.parameters(architecture, 24)
