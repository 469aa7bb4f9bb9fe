"""runner.forecast.sizes, against models that fairseq builds and products that torch counts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from nmtkd.plan.models import Architecture
from runner.forecast.assumptions import Memory, Sizes
from runner.forecast.sizes import Model
from tests.conftest import Tiny
from tests.unit.network.building import GATED, PLAIN, built, recipe

V = 24  # of the tiny dictionary
UNEVEN = Architecture(encoder_layers=3, decoder_layers=1, width=16, ffn=40, heads=2)
TEXT = Sizes(train=1, valid=0, tests=0, source=5.0, target=10.0)


def model(architecture: Architecture, **changes: Any) -> Model:
    return Model(architecture=architecture, training=recipe(**changes), rows=V, vocabulary=V)


@pytest.mark.parametrize("architecture", [PLAIN, UNEVEN, GATED])
def test_products_are_those_of_a_forward_pass(tiny: Tiny, architecture: Architecture) -> None:
    loaded, _ = built(tiny, architecture=architecture)
    source, target = torch.full((2, 5), 7), torch.full((2, 3), 7)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        loaded.model(source, torch.full((2,), 5), target)
    counted = counter.get_flop_counts()["Global"]
    weights = sum(count for name, count in counted.items() if "bmm" not in str(name))
    a_source, a_target = model(architecture).products
    assert weights == 2 * (2 * 5 * a_source + 2 * 3 * a_target)


def test_a_step_is_three_forward_passes_over_a_batch_of_max_tokens() -> None:
    one = model(PLAIN, max_tokens=100)
    source, target = one.products
    # 100 tokens of the longer side are 100 of the target and 50 of the source.
    assert one.step_flops(TEXT) == 3 * 2 * (50 * source + 100 * target)
    assert one.line_flops(TEXT, beam=4) == 2 * (5 * source + 4 * 10 * target)


MEMORY = Memory(base=1000, parameter=18, encoder=24, decoder=40, ffn=2, scores=2, ends=36, float32=2)


@pytest.mark.parametrize(
    ("architecture", "token"),
    [
        # One layer a side, width 16, ffn 24, 2 heads, lines of 20 tokens, three attentions.
        (PLAIN, 16 * (24 + 40) + 2 * 24 * 2 + 2 * 2 * 20 * 3 + 36 * 16),
        # Three layers and one, ffn 40, five attentions.
        (UNEVEN, 16 * (3 * 24 + 40) + 2 * 40 * 4 + 2 * 2 * 20 * 5 + 36 * 16),
        # Two layers a side, six attentions, and a gate beside each unit of ffn.
        (GATED, 16 * 2 * (24 + 40) + 2 * 2 * 24 * 4 + 2 * 2 * 20 * 6 + 36 * 16),
    ],
)
@pytest.mark.parametrize("text", [TEXT, TEXT.model_copy(update={"source": 10.0, "target": 5.0})])
def test_memory_grows_with_tokens_and_parameters(architecture: Architecture, token: int, text: Sizes) -> None:
    """The longer side is the one that fills a batch."""
    half = {"precision": "bfloat16"}
    one, two = (model(architecture, max_tokens=tokens, **half).memory(text, MEMORY) for tokens in (100, 200))
    assert two - one == 100 * token
    assert one == 1000 + 18 * model(architecture).parameters + 100 * token
    assert model(architecture, max_tokens=100).memory(text, MEMORY) == one + 100 * token


def test_checkpoints_are_weights_to_average_and_two_states() -> None:
    one = model(PLAIN, average=2)
    assert one.model_bytes == 4 * one.parameters
    assert one.checkpoint_bytes == (2 + 2 * 3) * 4 * one.parameters
