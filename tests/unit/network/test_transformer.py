"""nmtkd.network.transformer: fairseq's Transformer by fewer passes."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import transformer
from nmtkd.network.dropout import Dropout
from nmtkd.plan.models import Architecture
from tests.conftest import Tiny
from tests.unit.network.building import GATED, built

PLAIN = Architecture(encoder_layers=2, decoder_layers=2, width=16, ffn=24, heads=2)
LINES = (3, 0, 7, 12)
KINDS: dict[str, dict[str, Any]] = {
    "pre-norm": {"architecture": PLAIN},
    "post-norm": {"architecture": PLAIN, "pre_norm": False},
    "gated": {"architecture": GATED},
}
# has no gradient: softmax does not see what is added to all scores; what stands there is rounding
BIAS = "k_proj.bias"


def batch(loaded: bridge.Loaded, tiny: Tiny) -> dict[str, Any]:
    """Four lines of unequal lengths: padding on both sides."""
    dataset = bridge.pairs(loaded, tiny.sources, tiny.targets)
    found = bridge.collate(dataset, LINES, "cpu")
    assert found["net_input"]["src_tokens"].eq(1).any() and found["target"].eq(1).any()
    return found


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: weight.grad.clone() for name, weight in model.named_parameters() if weight.grad is not None}


@pytest.mark.parametrize("kind", KINDS)
def test_features_and_gradients_are_the_stock_ones(tiny: Tiny, kind: str) -> None:
    loaded, _ = built(tiny, **KINDS[kind])
    model, sample = loaded.model, batch(loaded, tiny)
    assert transformer.fits(model)
    real = sample["target"].ne(1)
    wanted, found = (
        model(**sample["net_input"])[0][real],
        transformer.logits(model, sample["net_input"])[real],
    )
    assert torch.allclose(wanted, found, atol=1e-5)
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    stock, ours = (gradients(model, (one * weights).sum()) for one in (wanted, found))
    assert stock.keys() == ours.keys()
    assert all(
        torch.allclose(stock[name], ours[name], atol=1e-4) for name in stock if not name.endswith(BIAS)
    )


def test_encode_needs_no_mask_without_padding(tiny: Tiny) -> None:
    loaded, _ = built(tiny, architecture=PLAIN)
    dataset = bridge.pairs(loaded, ["w1 w2", "w3 w4"], ["w5", "w6"])
    sample = bridge.collate(dataset, (0, 1), "cpu")
    assert transformer.encode(loaded.model, sample["net_input"]["src_tokens"]).padding_BS is None
    assert torch.allclose(
        loaded.model(**sample["net_input"])[0],
        transformer.logits(loaded.model, sample["net_input"]),
        atol=1e-5,
    )


def test_gates_are_read_as_fairseq_lays_them_out(tiny: Tiny) -> None:
    loaded, _ = built(tiny, architecture=GATED)
    sample = batch(loaded, tiny)
    seen = []
    for run in (
        lambda: loaded.model(**sample["net_input"]),
        lambda: transformer.features(loaded.model, **sample["net_input"]),
    ):
        run()
        seen.append(
            [
                layer.fc1.opened
                for side in (loaded.model.encoder, loaded.model.decoder)
                for layer in side.layers
            ]
        )
    real = sample["target"].ne(1).t()
    assert torch.allclose(seen[0][-1][real], seen[1][-1][real], atol=1e-6)
    assert [one.shape for one in seen[0]] == [one.shape for one in seen[1]]


def test_features_have_dropout_in_training_alone_by_the_seed(tiny: Tiny) -> None:
    loaded, _ = built(tiny, architecture=PLAIN, dropout=0.3)
    model, sample = loaded.model, batch(loaded, tiny)
    quiet = transformer.features(model, **sample["net_input"])
    assert torch.equal(quiet, transformer.features(model, **sample["net_input"]))
    model.train()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(transformer.features(model, **sample["net_input"]))
    assert (
        torch.equal(found[0], found[1])
        and not torch.equal(found[0], found[2])
        and not torch.equal(found[0], quiet)
    )


def test_every_dropout_that_was_drawn_is_applied(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """After embeddings, each attention and each feed-forward block."""
    made: list[Dropout] = []

    class Counted(Dropout):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            made.append(self)

    loaded, _ = built(tiny, architecture=PLAIN, dropout=0.3)
    monkeypatch.setattr(transformer, "Dropout", Counted)
    transformer.features(loaded.model.train(), **batch(loaded, tiny)["net_input"])
    assert [one._place for one in made] == [1 + 2 * 2, 1 + 3 * 2]


@pytest.mark.parametrize(
    "option",
    [
        "--attention-dropout=0.1",
        "--activation-dropout=0.1",
        "--layernorm-embedding",
        "--encoder-layerdrop=0.2",
    ],
)
def test_logits_of_a_model_with_more_to_it_are_the_stock_ones(tiny: Tiny, option: str) -> None:
    loaded, _ = built(tiny, *option.split("="), architecture=PLAIN)
    assert not transformer.fits(loaded.model)
    sample = batch(loaded, tiny)
    assert torch.equal(
        transformer.logits(loaded.model, sample["net_input"]), loaded.model(**sample["net_input"])[0]
    )


def test_soften_is_the_mean_of_softmax_in_float32() -> None:
    """At T = 2, logits 2 log 3 and 0 are 3/4 and 1/4; the second member's are halves."""
    one, two = torch.tensor([[2 * math.log(3), 0.0]]), torch.zeros(1, 2)
    assert transformer.soften([one], 2.0).tolist() == [pytest.approx([0.75, 0.25])]
    assert transformer.soften([one, two], 2.0).tolist() == [pytest.approx([0.625, 0.375])]
    assert transformer.soften([two.bfloat16()], 2.0).dtype == torch.float32
