"""nmtkd.training.step: a step of training is fairseq's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fairseq.trainer import Trainer

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.models import Architecture
from nmtkd.training.criterions.cross_entropy import CrossEntropyConfig, CrossEntropyCriterion
from nmtkd.training.step import Stepper
from tests.conftest import Tiny
from tests.unit.network.building import built

# has no gradient: softmax does not see what is added to all scores; what stands there is rounding
BIAS = "k_proj.bias"
TWO_LAYERS = Architecture(encoder_layers=2, decoder_layers=2, width=16, ffn=24, heads=2)


def trainer(
    tiny: Tiny, criterion: Callable[[Any], Any] | None, **changes: Any
) -> tuple[Trainer, list[dict[str, Any]]]:
    """fairseq's Trainer of a new model, with its stock criterion or another; and batches."""
    loaded, command = built(tiny, architecture=TWO_LAYERS, **changes)
    cfg = bridge.configuration(command)
    cfg.common.cpu = True
    cfg.task.data = str(tiny.folder)
    made = criterion(loaded.task) if criterion else loaded.task.build_criterion(cfg.criterion)
    found = Trainer(cfg, loaded.task, loaded.model, made)
    found.lr_step(0)
    dataset = bridge.pairs(loaded, tiny.sources, tiny.targets)
    return found, [bridge.collate(dataset, range(start, start + 8), "cpu") for start in range(0, 40, 8)]


def chunked(task: Any) -> CrossEntropyCriterion:
    return CrossEntropyCriterion(task, CrossEntropyConfig(sentence_avg=False, label_smoothing=0.1))


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_step_is_the_trainers(tiny: Tiny, clip_norm: float) -> None:
    """Ten updates with warm-up, weight decay and clipping: the weights are fairseq's up to the order of
    sums."""
    changes = {"clip_norm": clip_norm, "weight_decay": 0.01, "warmup": 3, "lr": 0.01}
    stock, batches = trainer(tiny, None, **changes)
    quick, _ = trainer(tiny, chunked, **changes)
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


def test_step_stops_at_a_gradient_that_is_no_number(tiny: Tiny) -> None:
    quick, batches = trainer(tiny, chunked)
    stepper = Stepper(quick)
    with torch.no_grad():
        quick.get_model().decoder.layers[0].fc1.weight[0, 0] = torch.nan
    with pytest.raises(
        bridge.ModelError, match=r"update 1: .* lower training\.lr, or set training\.clip_norm"
    ):
        stepper.step(batches[0])
