"""nmtkd.training.step: a step of training is fairseq's."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from fairseq.trainer import Trainer

from nmtkd import machine, processes
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import gpu_memory
from nmtkd.plan.models import Architecture
from nmtkd.plan.values import BFLOAT16, FLOAT16, FLOAT32
from nmtkd.training import step
from nmtkd.training.batches import EqualBatches
from nmtkd.training.criterions.cross_entropy import CrossEntropyConfig, CrossEntropyCriterion
from nmtkd.training.dataset import TokenTargetsDataset
from nmtkd.training.step import Stepper
from tests.conftest import Tiny
from tests.unit.network.building import GATED, built
from tests.unit.training.criterions.test_consistency import consistent
from tests.unit.training.helpers import lengths, mixed, online, word

# has no gradient: softmax does not see what is added to all scores; what stands there is rounding
BIAS = "k_proj.bias"
TWO_LAYERS = Architecture(encoder_layers=2, decoder_layers=2, width=16, ffn=24, heads=2)


def trainer(
    tiny: Tiny,
    criterion: Callable[[bridge.Loaded], Any] | None,
    architecture: Architecture = TWO_LAYERS,
    **changes: Any,
) -> tuple[Trainer, list[dict[str, Any]]]:
    """fairseq's Trainer of a new model, with its stock criterion or another; and batches."""
    loaded, command = built(tiny, architecture=architecture, **changes)
    cfg = bridge.configuration(command)
    cfg.common.cpu = True
    cfg.task.data = str(tiny.folder)
    made = criterion(loaded) if criterion else loaded.task.build_criterion(cfg.criterion)
    found = Trainer(cfg, loaded.task, loaded.model, made)
    found.lr_step(0)
    dataset = bridge.pairs(loaded, tiny.sources, tiny.targets)
    return found, [bridge.collate(dataset, range(start, start + 8), "cpu") for start in range(0, 40, 8)]


def chunked(loaded: bridge.Loaded) -> CrossEntropyCriterion:
    return CrossEntropyCriterion(loaded.task, CrossEntropyConfig(sentence_avg=False, label_smoothing=0.1))


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
def test_step_is_the_trainers(tiny: Tiny, clip_norm: float) -> None:
    """Ten updates with warm-up, weight decay and clipping: the weights are fairseq's up to the order of
    sums."""
    changes: dict[str, Any] = {"clip_norm": clip_norm, "weight_decay": 0.01, "warmup": 3, "lr": 0.01}
    stock, batches = trainer(tiny, None, **changes)
    quick, _ = trainer(tiny, chunked, **changes)
    start = {name: weight.clone() for name, weight in quick.get_model().state_dict().items()}
    stepper = Stepper(quick)
    for sample in batches * 2:
        wanted, found = stock.train_step([sample]), stepper.step([[sample]]).read()
        assert found["loss"] == pytest.approx(float(wanted["loss"]), abs=1e-3)  # fairseq rounds
        assert quick.get_lr() == stock.get_lr() and quick.get_num_updates() == stock.get_num_updates()
    names = [name for name, value in start.items() if value.is_floating_point() and not name.endswith(BIAS)]
    weights = stock.get_model().state_dict(), quick.get_model().state_dict()
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in names) < 2e-5
    assert max(float((weights[1][name] - start[name]).abs().max()) for name in names) > 0.02


def test_log_has_the_gradients_norm_before_it_is_clipped(tiny: Tiny) -> None:
    """Of the mean over target tokens."""
    one, batches = trainer(tiny, chunked, clip_norm=0.001)
    model = one.get_model().train()
    loss, size, _ = one.get_criterion()(model, batches[0])
    loss.backward()
    squares = [float(weight.grad.square().sum()) for weight in model.parameters() if weight.grad is not None]
    other, _ = trainer(tiny, chunked, clip_norm=0.001)
    found = Stepper(other).step([batches[:1]]).read()["gradient_norm"]
    assert found == pytest.approx(sum(squares) ** 0.5 / size, rel=1e-5)
    assert found > 0.1


def test_step_stops_at_a_gradient_that_is_no_number(tiny: Tiny) -> None:
    quick, batches = trainer(tiny, chunked)
    stepper = Stepper(quick)
    with torch.no_grad():
        quick.get_model().decoder.layers[0].fc1.weight[0, 0] = torch.nan
    with pytest.raises(
        bridge.ModelError, match=r"update 1: .* lower training\.lr, or set training\.clip_norm"
    ):
        stepper.step([batches[:1]])


# Batches in parts

CRITERIONS: dict[str, Callable[[bridge.Loaded, Tiny], Any]] = {
    "plain": lambda loaded, _: chunked(loaded),
    "word": lambda loaded, _: word(loaded, divergence="jensen_shannon", beta=0.3),
    "ranking": lambda loaded, _: word(loaded, ranking={"weight": 0.5, "tokens": 3}),
    "all of the hardest": lambda loaded, _: word(loaded, hardest=1.0),
    "hybrid": lambda loaded, _: mixed(loaded),
    "fixed gate": lambda loaded, _: mixed(loaded, gate=0.25),
    "online": lambda loaded, tiny: online(tiny, loaded),
    "rdrop": lambda loaded, _: consistent(loaded, "rdrop"),
    "simcut": lambda loaded, _: consistent(loaded, "simcut", cutoff=1.0),
}


def stepped(
    tiny: Tiny,
    dataset: TokenTargetsDataset,
    made: Callable[[bridge.Loaded, Tiny], Any],
    architecture: Architecture,
    max_tokens: int,
) -> tuple[dict[str, torch.Tensor], list[float], int]:
    """Weights after three updates on sixteen pairs each, the losses, and in how many parts these were."""
    gates = architecture.gates

    def criterion(loaded: bridge.Loaded) -> Any:
        found = made(loaded, tiny)
        found.unit_gates = gates
        return found

    one, _ = trainer(tiny, criterion, architecture, lr=0.01, warmup=1)
    batches, stepper = EqualBatches(dataset, lengths(tiny.sources, tiny.targets), max_tokens), Stepper(one)
    samples = [batches.collater(range(start, start + 16)) for start in (0, 16, 24)]
    logs = [stepper.step([parts]).read() for parts in samples]
    weights = {**one.get_model().state_dict(), **one.get_criterion().state_dict()}
    return weights, [value for log in logs for value in seen(log)], max(map(len, samples))


def seen(log: dict[str, Any]) -> list[float]:
    """What a log says, by the name of what it says."""
    return [float(value) for _, value in sorted(log.items())]


@pytest.mark.parametrize("gated", [False, True], ids=["plain units", "gated units"])
@pytest.mark.parametrize("name", CRITERIONS)
def test_update_in_parts_is_that_of_the_whole_batch(
    tiny: Tiny, dataset: TokenTargetsDataset, name: str, gated: bool
) -> None:
    """Weights, those of a learnt gate too, and all that the log says, up to the order of sums."""
    architecture = GATED if gated else TWO_LAYERS
    whole, parts = (
        stepped(tiny, dataset, CRITERIONS[name], architecture, max_tokens) for max_tokens in (1000, 50)
    )
    assert whole[2] == 1 and parts[2] > 2
    assert parts[1] == pytest.approx(whole[1], rel=1e-4)
    names = [
        name for name, value in whole[0].items() if value.is_floating_point() and not name.endswith(BIAS)
    ]
    assert max(float((whole[0][name] - parts[0][name]).abs().max()) for name in names) < 1e-4
    first, _ = trainer(tiny, chunked, architecture)
    start = first.get_model().state_dict()
    assert max(float((start[name] - parts[0][name]).abs().max()) for name in names if name in start) > 0.01


def test_parts_draw_what_they_would_draw_without_looking_ahead(
    tiny: Tiny, dataset: TokenTargetsDataset
) -> None:
    """A gated model is seen twice where a batch has parts. Its dropout is the same both times."""
    masks: list[int] = []

    class Watched(CrossEntropyCriterion):
        def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> Any:
            masks.append(hash(torch.get_rng_state().numpy().tobytes()))
            return super().forward(model, sample, reduce=reduce)

    def criterion(loaded: bridge.Loaded) -> Any:
        found = Watched(loaded.task, CrossEntropyConfig(sentence_avg=False, label_smoothing=0.1))
        found.unit_gates = GATED.gates
        return found

    one, _ = trainer(tiny, criterion, GATED, dropout=0.3)
    parts = EqualBatches(dataset, lengths(tiny.sources, tiny.targets), 50).collater(range(16))
    Stepper(one).step([parts])
    assert len(parts) > 2 and len(set(masks)) == len(parts)
    assert masks == masks[: len(parts)] * 2


# Memory that is too small


class Played(gpu_memory.Gpu):
    """A GPU of 1000 bytes, of which a model holds 200 and each token 5: 160 tokens are its most."""

    most = 0

    def total(self) -> int:
        return 1000

    def room(self) -> int:
        return 1000

    def clear(self) -> None:
        self.most = 0

    def peak(self) -> int:
        return self.most

    def hold(self, tokens: int) -> None:
        self.most = max(self.most, 200 + 5 * tokens)
        if self.most > 1000:
            raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize("gated", [False, True], ids=["plain units", "gated units"])
@pytest.mark.parametrize("shared", [False, True], ids=["alone", "shared"])
def test_update_that_is_too_large_for_a_gpu_says_what_would_fit(
    tiny: Tiny, dataset: TokenTargetsDataset, monkeypatch: pytest.MonkeyPatch, gated: bool, shared: bool
) -> None:
    """By parts of the larger batch, which are computed forwards and backwards. No other process is asked."""
    gpu, tried = Played(), list[int]()
    monkeypatch.setattr(gpu_memory, "Gpu", lambda: gpu)

    class Watched(CrossEntropyCriterion):
        def forward(self, model: Any, sample: dict[str, Any], reduce: bool = True) -> Any:
            tried.append(gpu_memory.tokens(sample))
            gpu.hold(tried[-1])
            return super().forward(model, sample, reduce=reduce)

    def criterion(loaded: bridge.Loaded) -> Any:
        found = Watched(loaded.task, CrossEntropyConfig(sentence_avg=False, label_smoothing=0.1))
        found.unit_gates = GATED.gates if gated else None
        return found

    one, _ = trainer(tiny, criterion, GATED if gated else TWO_LAYERS, max_tokens=1000)
    batches = EqualBatches(dataset, lengths(tiny.sources, tiny.targets), 1000)
    one.task.datasets["train"] = batches
    if shared:
        monkeypatch.setattr(processes, "count", lambda: 2)
        for name in ("gather", "first_does", "add_up", "as_first"):
            monkeypatch.setattr(processes, name, lambda *_: pytest.fail("another process is asked"))
    group = [batches.collater(range(8)), batches.collater(range(8, 10)), batches.collater(range(40))]
    stepper = Stepper(one, "teacher.training")
    weights = sum(parameter.nbytes for parameter in one.optimizer.params)
    assert stepper.trial(group).later == 2 * weights
    monkeypatch.setattr(step, "MOMENTS", 0)
    with pytest.raises(machine.MachineError) as caught:
        stepper.update(group)
    assert one.get_criterion()._seen is None  # what a part saw would be held until the end
    whole, half, quarter, eighth = 400, 200, 100, 50
    assert tried[-4:] == [whole, half, quarter, eighth] and whole not in tried[:-4]
    # 95% of 1000 bytes are 200 and 150 tokens.
    assert str(caught.value) == (
        "teacher.training.max_tokens: 1,000 is too much for this GPU's 1000 bytes, of which 1000 bytes are "
        "free for it: about 150 would fit (the first 100 tokens of a batch took 700 bytes); lower it, and "
        "raise teacher.training.accumulate by as much: an update stays the same"
    )


def test_update_that_fits_is_a_step(tiny: Tiny) -> None:
    one, batches = trainer(tiny, chunked)
    other, _ = trainer(tiny, chunked)
    assert Stepper(one).update([batches[:1]]).read() == Stepper(other).step([batches[:1]]).read()
    assert one.get_num_updates() == 1


def test_batches_of_an_update_have_random_numbers_of_their_own(tiny: Tiny) -> None:
    """And an update others than the one before: else batches would drop the same units."""
    quick, batches = trainer(tiny, chunked)
    seeds, forward = list[int](), quick.criterion.forward

    def noted(*given: Any, **how: Any) -> Any:
        seeds.append(torch.initial_seed())
        return forward(*given, **how)

    quick.criterion.forward = noted
    stepper = Stepper(quick)
    for _ in range(2):
        stepper.step([[one] for one in batches[:3]])
    assert len(set(seeds)) == len(seeds) == 6


# Precision


@pytest.mark.parametrize("gated", [False, True], ids=["plain units", "gated units"])
@pytest.mark.parametrize("name", CRITERIONS)
@pytest.mark.parametrize(("half", "far"), [(BFLOAT16, 0.01), (FLOAT16, 0.00125)])
def test_step_in_a_half_type_is_float32s_within_rounding(
    tiny: Tiny, dataset: TokenTargetsDataset, half: str, far: float, name: str, gated: bool
) -> None:
    """Three updates of each loss. `far` is five roundings, of 8 bits and of 11; weights stay in float32."""
    losses, norms = [], []
    for precision in (FLOAT32, half):

        def criterion(loaded: bridge.Loaded) -> Any:
            found = CRITERIONS[name](loaded, tiny)
            found.unit_gates = GATED.gates if gated else None
            return found

        one, _ = trainer(tiny, criterion, GATED if gated else TWO_LAYERS)
        batches = EqualBatches(dataset, lengths(tiny.sources, tiny.targets), 1000)
        stepper = Stepper(one, precision=precision)
        logs = [stepper.step([batches.collater(range(start, start + 16))]).read() for start in (0, 16, 24)]
        norms.append([log.pop("gradient_norm") for log in logs])
        losses.append([value for log in logs for value in seen(log)])
        moments = [moment for state in one.optimizer.optimizer.state.values() for moment in state.values()]
        assert {one.dtype for one in [*one.get_model().parameters(), *moments]} == {torch.float32}
    assert losses[0] != losses[1] and losses[1] == pytest.approx(losses[0], rel=far)
    assert norms[1] == pytest.approx(norms[0], rel=5 * far)  # a norm sums roundings of products of products


@pytest.mark.parametrize("gated", [False, True], ids=["plain units", "gated units"])
def test_update_whose_gradient_float16_cannot_hold_is_computed_again(
    tiny: Tiny, capsys: pytest.CaptureFixture[str], gated: bool
) -> None:
    """To the bytes of an update that began at the scale that fits. Its pairs are not skipped."""
    weights, logs, fitting = [], [], 2.0**30
    for _ in range(2):
        one, batches = trainer(tiny, chunked, GATED if gated else TWO_LAYERS, dropout=0.2)
        stepper = Stepper(one, "teacher.training", FLOAT16)
        stepper.scale.value = fitting
        logs.append([stepper.step([[sample]]).read() for sample in batches])
        weights.append([weight.detach().clone() for weight in one.get_model().parameters()])
        fitting = stepper.scale.value
        assert one.get_num_updates() == len(batches)
    assert all(map(torch.equal, *weights)) and logs[0] == logs[1] and 1.0 < fitting < 2.0**17
    told = capsys.readouterr().out.splitlines()
    assert told[0].startswith("[teacher.training] update 1: its gradient is no number in float16;")
    assert len(told) == 30 - torch.tensor(fitting).log2() and told[-1].endswith(
        f" the loss times {fitting:g}"
    )


def test_loss_scale_is_no_part_of_an_update(tiny: Tiny, dataset: TokenTargetsDataset) -> None:
    """Weights, losses and norms are the same at any scale at which float16 loses nothing."""
    found = []
    for scale in (1.0, 16.0):
        one, batches = trainer(tiny, chunked)
        stepper = Stepper(one, precision=FLOAT16)
        stepper.scale.value = scale
        found.append([stepper.step([[sample]]).read() for sample in batches])
    assert [log["loss"] for log in found[0]] == pytest.approx([log["loss"] for log in found[1]], rel=0.001)
    norms = [[log["gradient_norm"] for log in logs] for logs in found]
    assert norms[0] == pytest.approx(norms[1], rel=0.005)
