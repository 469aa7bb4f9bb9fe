"""nmtkd.training.packing: batches without padding, of few sizes."""

import functools
import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nmtkd import machine
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.values import BFLOAT16, FLOAT16, FLOAT32
from nmtkd.training import graphs, packing
from nmtkd.training.batches import EqualBatches
from nmtkd.training.dataset import TokenTargetsDataset
from nmtkd.training.packing import Size, pack
from nmtkd.training.step import PACKED, Stepper
from tests.conftest import Tiny
from tests.unit.network.building import GATED
from tests.unit.training.helpers import Memory, Row, lengths
from tests.unit.training.test_step import BIAS, CRITERIONS, TWO_LAYERS, trainer

PAD = 1
PACKING = ("plain", "word")
KEPT = 5


@pytest.fixture
def partial(dataset: TokenTargetsDataset, teacher_rows: list[Row]) -> TokenTargetsDataset:
    """The data set with a part of the teacher's distributions."""
    rows = [(ids[:, :KEPT], probs[:, :KEPT]) for ids, probs in teacher_rows]
    return TokenTargetsDataset(dataset.dataset, Memory(rows, KEPT))


def two_pairs() -> dict[str, Any]:
    """fairseq's batch of sources 5 6 7 and 8, targets 9 and 4 5; 2 ends a sentence."""
    return {
        "net_input": {
            "src_tokens": torch.tensor([[5, 6, 7, 2], [1, 1, 8, 2]]),
            "prev_output_tokens": torch.tensor([[2, 9, 1], [2, 4, 5]]),
        },
        "target": torch.tensor([[9, 2, 1], [4, 5, 2]]),
    }


def test_pack_has_a_row_a_token_and_fills_up_with_padding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "FILLING", 2)
    found = pack(two_pairs(), PAD, 64)  # multiples of 4; two sentences fill up
    assert found.size == Size(source=8, target=8, sentences=4, longest=256, kept=0)
    source, prefix = found.texts()
    assert source.tokens_N.tolist() == [5, 6, 7, 2, 8, 2, 1, 1]
    assert source.positions_N.tolist() == [2, 3, 4, 5, 2, 3, 2, 2]
    assert source.rows.starts_B.tolist() == [0, 4, 6, 7, 8]
    assert prefix.tokens_N.tolist() == [2, 9, 2, 4, 5, 1, 1, 1]
    assert prefix.positions_N.tolist() == [2, 3, 2, 3, 4, 2, 3, 2]
    assert prefix.rows.starts_B.tolist() == [0, 2, 5, 7, 8]
    assert found.sample()["target"].tolist() == [[9, 2, 4, 5, 2, 1, 1, 1]]
    assert found.real_N().tolist() == [1, 1, 1, 1, 1, 0, 0, 0]


def test_pack_takes_the_teacher_along() -> None:
    sample = two_pairs()
    sample["teacher_ids"] = torch.arange(12).view(2, 3, 2)
    sample["teacher_probs"] = torch.arange(12.0).view(2, 3, 2)
    found = pack(sample, PAD, 96)
    assert found.size == Size(source=12, target=6, sentences=4, longest=256, kept=2)
    teacher = found.sample()
    assert teacher["teacher_ids"].tolist() == [[[0, 1], [2, 3], [6, 7], [8, 9], [10, 11], [0, 0]]]
    assert teacher["teacher_probs"][0, :, 1].tolist() == [1.0, 3.0, 7.0, 9.0, 11.0, 0.0]


@pytest.mark.parametrize(("tokens", "rows"), [(3, 4), (4, 8), (7, 8), (8, 12)])
def test_sizes_are_few_and_leave_a_token_to_fill_up(tokens: int, rows: int) -> None:
    """One that fills up is always there: the kernel of attention leaves rows of no sentence undefined."""
    line = torch.arange(4, 4 + tokens)[None]
    sample = {"net_input": {"src_tokens": line, "prev_output_tokens": line}, "target": line}
    assert pack(sample, PAD, 64).size.source == rows


@pytest.mark.parametrize("name", PACKING)
def test_loss_and_gradients_are_those_of_the_padded_batch(
    tiny: Tiny, partial: TokenTargetsDataset, name: str
) -> None:
    one, _ = trainer(tiny, lambda loaded: CRITERIONS[name](loaded, tiny), TWO_LAYERS)
    model, criterion = one.get_model().double().train(), one.criterion.train()
    (sample,) = EqualBatches(partial, lengths(tiny.sources, tiny.targets), 1000).collater(range(16))
    assert sample["target"].eq(PAD).any() and sample["net_input"]["src_tokens"].eq(PAD).any()
    assert criterion.packs(model, sample)

    def gradients(loss: Tensor) -> list[Tensor]:
        model.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        return [
            weight.grad.clone()
            for name, weight in model.named_parameters()
            if weight.grad is not None and not name.endswith(BIAS)
        ]

    wanted = criterion(model, sample)[0]
    found = criterion.packed(model, pack(sample, PAD, 1000))
    assert float(found) == pytest.approx(float(wanted), rel=1e-12)
    for ours, theirs in zip(gradients(found), gradients(wanted), strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_models_and_losses_that_cannot_be_packed_are_not(
    tiny: Tiny, partial: TokenTargetsDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what a step makes of its batches, where it may pack them."""
    monkeypatch.setattr(graphs, "moved", lambda x, device: x)
    for name, made in CRITERIONS.items():
        for architecture in (TWO_LAYERS, GATED):
            one, _ = trainer(tiny, functools.partial(made_by, made, tiny), architecture)
            stepper = Stepper(one)
            stepper._records = True
            batches = EqualBatches(partial, lengths(tiny.sources, tiny.targets), 1000)
            ((_, parts),) = stepper._own([batches.collater(range(16))])
            packs = [PACKED in part for part in parts]
            assert packs == [name in PACKING and architecture is TWO_LAYERS], (name, architecture)


def made_by(made: Callable[[bridge.Loaded, Tiny], Any], tiny: Tiny, loaded: bridge.Loaded) -> Any:
    return made(loaded, tiny)


class Unrecorded:
    """Graphs of a machine without a GPU: each batch is computed anew."""

    def __init__(self, compute: graphs.Compute, parameters: list[torch.nn.Parameter]) -> None:
        self._compute, self._parameters = compute, parameters
        self.sizes: set[Size] = set()

    def record(self, batch: packing.PackedBatch) -> None:
        self.sizes.add(batch.size)
        for parameter in self._parameters:
            parameter.grad = torch.full_like(parameter, 7.0)  # what recording leaves there

    def __call__(self, batch: packing.PackedBatch) -> Tensor:
        assert batch.size in self.sizes
        return self._compute(batch)


class Read(graphs.Later):
    """Numbers of a machine without a GPU."""

    def __init__(self, numbers: Tensor) -> None:
        self._numbers: list[float] = numbers.tolist()

    def read(self) -> list[float]:
        return self._numbers


@pytest.mark.parametrize("clip_norm", [0.0, 0.5])
@pytest.mark.parametrize("name", PACKING)
def test_steps_on_packed_batches_are_those_on_padded_ones(
    tiny: Tiny,
    partial: TokenTargetsDataset,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    clip_norm: float,
) -> None:
    """Three updates on two batches, one of them in parts: losses and weights."""
    monkeypatch.setattr(graphs, "Graphs", Unrecorded)
    monkeypatch.setattr(graphs, "Later", Read)
    monkeypatch.setattr(graphs, "moved", lambda x, device: x)
    found = []
    for packed in (False, True):
        one, _ = trainer(
            tiny, lambda loaded: CRITERIONS[name](loaded, tiny), TWO_LAYERS, clip_norm=clip_norm, lr=0.01
        )
        batches = EqualBatches(partial, lengths(tiny.sources, tiny.targets), 90)
        one.get_model().double()
        stepper = Stepper(one, precision=FLOAT32)
        stepper._records = packed
        groups = [[batches.collater(range(8)), batches.collater(range(8, 24))]] * 3
        logs = [stepper.step(group).read() for group in groups]
        assert all((PACKED in part) == packed for parts in groups[0] for part in parts)
        found.append(([log["loss"] for log in logs], one.get_model().state_dict(), logs[1]["source_tokens"]))
    (losses, weights, counts), (packed_losses, packed_weights, packed_counts) = found
    assert packed_losses == pytest.approx(losses, rel=1e-12) and losses[2] < losses[0]
    assert packed_counts == counts
    apart = {
        key: (weights[key] - packed_weights[key]).abs().max() for key in weights if not key.endswith(BIAS)
    }
    assert max(map(float, apart.values())) < 1e-9


def test_only_a_gpu_that_multiplies_bfloat16_has_graphs_and_in_it_alone(
    tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """FlashAttention is of such cards and of half types; on a CPU nothing waits for Python."""
    one, _ = trainer(tiny, None)
    found = set()
    for device, has, precision in itertools.product(
        ("cpu", "cuda"), (False, True), (FLOAT32, BFLOAT16, FLOAT16)
    ):
        one.device = torch.device(device)
        monkeypatch.setattr(machine, "gpu_multiplies_bfloat16", lambda has=has: has)
        if Stepper(one, precision=precision)._records:
            found.add((device, has, precision))
    assert found == {("cuda", True, BFLOAT16)}
