"""nmtkd.training.graphs: trainings on a GPU. Skipped where there is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from nmtkd import machine
from nmtkd.decoding.scoring import distributions
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.models import Architecture
from nmtkd.plan.values import BFLOAT16
from nmtkd.training import loop
from nmtkd.training.options import distil
from nmtkd.training.step import Started, Stepper
from tests.conftest import Tiny
from tests.unit.distil.helpers import method
from tests.unit.network.building import GATED, recipe
from tests.unit.training.helpers import METHODS, Row, data, on_disk

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
SHAPE = Architecture(encoder_layers=2, decoder_layers=2, width=64, ffn=128, heads=4)
UPDATES, EVERY, KILLED = 24, 6, 15


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMTKD_DEVICE", "cuda")


@pytest.fixture
def train(tiny: Tiny, teacher_rows: list[Row], tmp_path: Path) -> Callable[..., dict[str, Tensor]]:
    """A training of a method: its weights."""
    kept = [(ids[:, :5], probs[:, :5]) for ids, probs in teacher_rows]
    targets = on_disk(kept, tmp_path / "targets", 5)

    def trained(
        name: str, family: str = "plain", shape: Architecture = SHAPE, asked: Any = None, **changes: Any
    ) -> dict[str, Tensor]:
        asked = asked or method(**({} if family == "word" else {"teacher_weight": 0.0}))
        adapt = distil(
            family,
            asked,
            shape,
            targets=targets if FAMILIES[family].targets else None,
            teachers=[tiny.folder / layout.MODEL],
            temperature=2.0,
        )
        folder = tmp_path / name
        for each in ("scratch", "out"):
            (folder / each).mkdir(parents=True, exist_ok=True)
        lines = tiny.sources, tiny.targets
        text = data(tiny, lines, (lines[0][:9], lines[1][:9]), hypotheses=lines[1][::-1])
        values = {"updates": UPDATES, "checkpoint_every": EVERY, "lr": 0.01, "dropout": 0.3} | changes
        how = recipe(**({"precision": BFLOAT16} | values))
        loop.train(text, shape, how, 1, folder / "scratch", folder / "out", stage="t", adapt=adapt)
        model = layout.model_dir(folder / "out") / layout.MODEL
        found: dict[str, Tensor] = torch.load(model, weights_only=True)["model"]
        return found

    return trained


def apart(one: dict[str, Tensor], other: dict[str, Tensor]) -> float:
    return max(float((one[name] - other[name]).abs().max()) for name in one)


@pytest.mark.parametrize("family", ["plain", "word"])
def test_a_rerun_and_a_resumed_training_end_in_the_same_bytes(
    train: Callable[..., dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    whole, again = train("whole", family), train("again", family)
    assert apart(whole, again) == 0.0
    step = Stepper.step

    def dying(stepper: Stepper, group: Any) -> Started:
        if stepper._trainer.get_num_updates() == KILLED:
            raise KeyboardInterrupt
        return step(stepper, group)

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            train("killed", family)
    assert apart(whole, train("killed", family)) == 0.0


@pytest.mark.parametrize("family", ["plain", "word"])
def test_graphs_compute_what_a_cpu_does(
    train: Callable[..., dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """A tenth of a weight's way: products are rounded to eight bits, in another order."""
    recorded: list[int] = []
    step = Stepper.step

    def counted(stepper: Stepper, group: Any) -> Started:
        found = step(stepper, group)
        recorded.append(len(stepper._graphs or ()))
        return found

    with monkeypatch.context() as patch:
        patch.setattr(Stepper, "step", counted)
        gpu = train("gpu", family, dropout=0.0)
    assert recorded[0] == 1 and recorded[-1] < UPDATES
    monkeypatch.setenv("NMTKD_DEVICE", "cpu")
    cpu = train("cpu", family, dropout=0.0, precision="float32")
    start = train("start", family, dropout=0.0, updates=1, checkpoint_every=1, lr=1e-7, precision="float32")
    way = sum(float((cpu[name] - start[name]).abs().sum()) for name in cpu if "k_proj.bias" not in name)
    off = sum(float((cpu[name] - gpu[name]).abs().sum()) for name in cpu if "k_proj.bias" not in name)
    assert off < 0.1 * way


def test_a_gradient_that_is_no_number_is_told_of_its_own_update(
    train: Callable[..., dict[str, Tensor]], monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Stepper.step

    def spoilt(stepper: Stepper, group: Any) -> Started:
        if stepper._trainer.get_num_updates() == 7:
            with torch.no_grad():
                stepper._trainer.get_model().decoder.layers[0].fc1.weight[0, 0] = torch.nan
        return step(stepper, group)

    monkeypatch.setattr(Stepper, "step", spoilt)
    with pytest.raises(bridge.ModelError, match="update 8: "):
        train("spoilt")


def test_memory_that_is_too_small_is_told(train: Callable[..., dict[str, Tensor]]) -> None:
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.0001)  # of some 80 GB: less than the model's
    try:
        with pytest.raises(machine.MachineError, match=r"training\.max_tokens: .* is too large for this GPU"):
            train("large")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


@pytest.mark.parametrize("precision", ["float32", BFLOAT16])
@pytest.mark.parametrize("gated", [False, True], ids=["plain units", "gated units"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_on_a_gpu_to_the_same_bytes(
    train: Callable[..., dict[str, Tensor]], family: str, gated: bool, precision: str
) -> None:
    """Also what no graph computes: torch would name an operation that differs from run to run."""
    how: dict[str, Any] = {"updates": 8, "checkpoint_every": 4, "precision": precision}
    options = family, GATED if gated else SHAPE, METHODS[family]
    assert apart(train("one", *options, **how), train("two", *options, **how)) == 0.0


def test_distributions_are_those_of_a_cpu(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for device in ("cuda", "cpu"):
        monkeypatch.setenv("NMTKD_DEVICE", device)
        found.append(
            {
                line: (ids, probs)
                for line, ids, probs in distributions(tiny.folder, tiny.sources, tiny.targets, 5, 1.0, 100)
            }
        )
    for line, (ids, probs) in found[0].items():
        assert torch.equal(ids, found[1][line][0]) and torch.allclose(probs, found[1][line][1], atol=1e-4)
