"""nmtkd.transformer: fairseq's Transformer by fewer passes, and a step of training that is fairseq's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fairseq.trainer import Trainer
from torch import Tensor

from nmtkd import transformer
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.models.batches import KeptBatches
from nmtkd.models.stepping import Stepper
from nmtkd.params import Architecture
from nmtkd_fairseq.criterion import DistillationConfig, DistillationCriterion
from tests.conftest import Tiny
from tests.unit import test_gates as gated

PLAIN = Architecture(encoder_layers=2, decoder_layers=2, width=16, ffn=24, heads=2)
LINES = (3, 0, 7, 12)
KINDS: dict[str, dict[str, Any]] = {
    "pre-norm": {"architecture": PLAIN},
    "post-norm": {"architecture": PLAIN, "pre_norm": False},
    "gated": {"architecture": gated.SMALL},
}
BIAS = "k_proj.bias"  # has no gradient: softmax does not see what is added to all scores; what stands there is rounding


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
    loaded, _ = gated.built(tiny, **KINDS[kind])
    model, sample = loaded.model, batch(loaded, tiny)
    assert transformer.fits(model)
    real = sample["target"].ne(1)
    wanted, found = model(**sample["net_input"])[0][real], transformer.logits(model, sample["net_input"])[real]
    assert torch.allclose(wanted, found, atol=1e-5)
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1))
    stock, ours = (gradients(model, (one * weights).sum()) for one in (wanted, found))
    assert stock.keys() == ours.keys()
    assert all(torch.allclose(stock[name], ours[name], atol=1e-4) for name in stock if not name.endswith(BIAS))
    assert torch.allclose(transformer.project(model, transformer.features(model, **sample["net_input"]))[real], found, atol=1e-5)


def test_a_batch_without_padding_needs_no_mask(tiny: Tiny) -> None:
    loaded, _ = gated.built(tiny, architecture=PLAIN)
    dataset = bridge.pairs(loaded, ["w1 w2", "w3 w4"], ["w5", "w6"])
    sample = bridge.collate(dataset, (0, 1), "cpu")
    assert transformer.encode(loaded.model, sample["net_input"]["src_tokens"]).padding_BS is None
    assert torch.allclose(loaded.model(**sample["net_input"])[0], transformer.logits(loaded.model, sample["net_input"]), atol=1e-5)


def test_gates_are_read_as_fairseq_lays_them_out(tiny: Tiny) -> None:
    loaded, _ = gated.built(tiny, architecture=gated.SMALL)
    sample = batch(loaded, tiny)
    seen = []
    for run in (lambda: loaded.model(**sample["net_input"]), lambda: transformer.features(loaded.model, **sample["net_input"])):
        run()
        seen.append([layer.fc1.opened for side in (loaded.model.encoder, loaded.model.decoder) for layer in side.layers])
    real = sample["target"].ne(1).t()
    assert torch.allclose(seen[0][-1][real], seen[1][-1][real], atol=1e-6)
    assert [one.shape for one in seen[0]] == [one.shape for one in seen[1]]


def test_dropout_is_in_training_alone_and_follows_the_seed(tiny: Tiny) -> None:
    loaded, _ = gated.built(tiny, architecture=PLAIN, dropout=0.3)
    model, sample = loaded.model, batch(loaded, tiny)
    quiet = transformer.features(model, **sample["net_input"])
    assert torch.equal(quiet, transformer.features(model, **sample["net_input"]))
    model.train()
    found = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(transformer.features(model, **sample["net_input"]))
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2]) and not torch.equal(found[0], quiet)


@pytest.mark.parametrize(
    "option", ["--attention-dropout=0.1", "--activation-dropout=0.1", "--layernorm-embedding", "--encoder-layerdrop=0.2"]
)
def test_a_model_with_more_to_it_goes_the_stock_way(tiny: Tiny, option: str) -> None:
    loaded, _ = gated.built(tiny, *option.split("="), architecture=PLAIN)
    assert not transformer.fits(loaded.model)
    sample = batch(loaded, tiny)
    assert torch.equal(transformer.logits(loaded.model, sample["net_input"]), loaded.model(**sample["net_input"])[0])


# A step


def trainer(tiny: Tiny, criterion: Callable[[Any], Any] | None, **changes: Any) -> tuple[Trainer, list[dict[str, Any]]]:
    """fairseq's Trainer of a new model, with its stock criterion or another; and batches."""
    loaded, command = gated.built(tiny, architecture=PLAIN, **changes)
    cfg = bridge.configuration(command)
    cfg.common.cpu = True
    cfg.task.data = str(tiny.folder)
    made = criterion(loaded.task) if criterion else loaded.task.build_criterion(cfg.criterion)
    found = Trainer(cfg, loaded.task, loaded.model, made)
    found.lr_step(0)
    dataset = bridge.pairs(loaded, tiny.sources, tiny.targets)
    return found, [bridge.collate(dataset, range(start, start + 8), "cpu") for start in range(0, 40, 8)]


def ours(task: Any) -> DistillationCriterion:
    return DistillationCriterion(task, DistillationConfig(sentence_avg=False, label_smoothing=0.1))


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_a_step_is_the_trainers(tiny: Tiny, clip_norm: float) -> None:
    """Ten updates with warm-up, weight decay and clipping: the weights are fairseq's up to the order of sums."""
    changes = {"clip_norm": clip_norm, "weight_decay": 0.01, "warmup": 3, "lr": 0.01}
    stock, batches = trainer(tiny, None, **changes)
    quick, _ = trainer(tiny, ours, **changes)
    start = {name: weight.clone() for name, weight in quick.get_model().state_dict().items()}
    stepper = Stepper(quick)
    for sample in batches * 2:
        wanted, found = stock.train_step([sample]), stepper.step(sample)
        assert found["loss"] == pytest.approx(float(wanted["loss"]), abs=1e-3)  # fairseq rounds
        assert quick.get_lr() == stock.get_lr() and quick.get_num_updates() == stock.get_num_updates()
    names = [name for name, value in start.items() if value.is_floating_point() and not name.endswith(BIAS)]
    weights = stock.get_model().state_dict(), quick.get_model().state_dict()
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in names) < 2e-5
    assert max(float((weights[1][name] - start[name]).abs().max()) for name in names) > 0.02


def test_a_gradient_that_is_no_number_stops_the_training(tiny: Tiny) -> None:
    quick, batches = trainer(tiny, ours)
    stepper = Stepper(quick)
    with torch.no_grad():
        quick.get_model().decoder.layers[0].fc1.weight[0, 0] = torch.nan
    with pytest.raises(bridge.ModelError, match=r"update 1: .* lower training\.lr, or set training\.clip_norm"):
        stepper.step(batches[0])


# Batches


class Counted:
    """A dataset that counts what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __getitem__(self, index: int) -> int:
        self.asked.append(index)
        return 10 * index

    def __len__(self) -> int:
        return 4

    def collater(self, samples: list[int]) -> dict[str, Any]:
        return {"net_input": {"a": torch.tensor(samples)}}


def test_a_batch_is_put_together_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmtkd.models.batches.KEPT_BYTES", 2 * 8)
    counted = Counted()
    kept = KeptBatches(counted)
    for _ in range(2):
        assert kept.collater([kept[2], kept[1]])["net_input"]["a"].tolist() == [20, 10]
        assert kept.collater([kept[3]])["net_input"]["a"].tolist() == [30]
    assert counted.asked == [2, 1, 3, 3]  # the second batch would not fit any more
