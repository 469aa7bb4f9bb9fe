"""nmtkd.training.checkpoints: what is kept, what is taken up, and how many parameters a model will have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import size
from nmtkd.plan.models import Architecture, UnitGates
from nmtkd.training import checkpoints
from nmtkd.training.checkpoints import CheckpointError, Checkpoints
from tests.conftest import Tiny
from tests.unit.network.building import GATED, built, recipe


def test_parameters_are_known_before_a_model_is_built(tiny: Tiny) -> None:
    uneven = GATED.model_copy(update={"encoder_layers": 1, "ffn": 31})
    for architecture in (GATED, uneven, GATED.model_copy(update={"gates": None})):
        for pre_norm in (True, False):
            model = built(tiny, architecture=architecture, pre_norm=pre_norm)[0]
            known = size.parameters(architecture, 24, pre_norm=pre_norm)
            assert model.parameters() == known


def test_parameters_of_the_tiny_model_are_known(tiny: Tiny) -> None:
    architecture = Architecture(encoder_layers=1, decoder_layers=2, width=16, ffn=24, heads=2)
    known = size.parameters(architecture, 24, pre_norm=True)
    assert bridge.load_model(tiny.folder, "cpu").parameters() == known


@pytest.mark.parametrize("layers", [(1, 1), (2, 3)])
def test_parameters_of_a_gated_model_are_known_before_it_is_built(
    tiny: Tiny, layers: tuple[int, int]
) -> None:
    gates = UnitGates(budget=0.5, weight=10.0, polarity=1.0, closing=1, opening=0.0)
    architecture = Architecture(
        encoder_layers=layers[0], decoder_layers=layers[1], width=16, ffn=24, heads=2, gates=gates
    )
    known = size.parameters(architecture, 24, pre_norm=True)
    assert built(tiny, architecture=architecture)[0].parameters() == known


# What is kept


def weights(update: int) -> dict[str, Any]:
    return {"w": torch.full((100,), float(update)), "n": torch.tensor(update)}


def saved(folder: Path, average: int = 2, until: int = 12) -> Checkpoints:
    """Checkpoints at every third of 12 updates; the weights of an update hold its number."""
    kept = Checkpoints(folder, recipe(updates=12, checkpoint_every=3, average=average), "t")
    for update in range(3, until + 1, 3):
        kept.save(update, weights(update), {"model": weights(update), "update": update, "more": "m"})
    return kept


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("average", "averaged"), [(1, [12]), (2, [9, 12]), (3, [6, 9, 12]), (4, [3, 6, 9, 12])]
)
def test_two_states_and_the_weights_to_average_are_kept(
    tmp_path: Path, average: int, averaged: list[int]
) -> None:
    kept = saved(tmp_path, average)
    assert names(tmp_path) == sorted(
        [f"weights-{update}.pt" for update in averaged]
        + [f"state-{update}.pt" for update in (9, 12)]
        + [f"checkpoint-{update}.json" for update in {9, 12, *averaged}]
    )
    assert kept.average()["w"].tolist() == [sum(averaged) / len(averaged)] * 100


def test_newest_state_is_taken_up(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path, recipe(), "t").newest() is None
    state = saved(tmp_path).newest()
    assert state is not None and state["update"] == 12 and state["more"] == "m"
    assert state["model"]["w"].tolist() == [12.0] * 100


# What is damaged


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zeroed(path: Path) -> None:
    """Still a file that torch would read: within the numbers."""
    data = path.read_bytes()
    place = data.index(weights(int(path.stem.split("-")[1]))["w"].numpy().tobytes())
    path.write_bytes(data[: place + 40] + bytes(80) + data[place + 120 :])


DAMAGES = [cut, empty, zeroed, Path.unlink]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_state_is_told_set_aside_and_the_one_before_it_taken_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    kept = saved(tmp_path)
    path = tmp_path / "state-12.pt"
    damage(path)
    state = kept.newest()
    assert state is not None and state["update"] == 9 and state["model"]["w"].tolist() == [9.0] * 100
    fault = "is not what was written: it was cut, or changed on the disk; set aside as state-12.pt.damaged"
    fault = "is missing" if damage == Path.unlink else fault
    assert capsys.readouterr().out == f"[t] {path}: {fault}\n"
    assert (tmp_path / "state-12.pt.damaged").exists() != (damage == Path.unlink)
    assert not path.exists()
    assert kept.newest() is not None  # and so again


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_made_anew(tmp_path: Path, damage: Callable[[Path], None]) -> None:
    """Those of a state's own update from the state; earlier ones by going on before them."""
    kept = saved(tmp_path)
    damage(tmp_path / "weights-12.pt")
    state = kept.newest()
    assert state is not None and state["update"] == 12
    assert kept.average()["w"].tolist() == [10.5] * 100
    damage(tmp_path / "weights-9.pt")
    state = kept.newest()
    assert state is not None and state["update"] == 9
    assert kept.average()["w"].tolist() == [10.5] * 100


def test_training_begins_anew_where_nothing_is_whole(tmp_path: Path) -> None:
    for name in ("state-9.pt", "state-12.pt"):
        kept = saved(tmp_path)
        zeroed(tmp_path / name)
    assert kept.newest() is not None
    zeroed(tmp_path / "state-9.pt")
    assert kept.newest() is None
    kept = saved(tmp_path, average=4)
    zeroed(tmp_path / "weights-3.pt")
    assert kept.newest() is None


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"state-12.pt": 3}', "\0\0"])
def test_damaged_record_is_told_and_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    kept = saved(tmp_path)
    record = tmp_path / "checkpoint-12.json"
    record.write_text(text, encoding="utf-8")
    state = kept.newest()
    assert state is not None and state["update"] == 9
    assert (
        str(record if text != '{"state-12.pt": 3}' else tmp_path / "state-12.pt") in capsys.readouterr().out
    )


def test_checkpoint_without_its_record_is_none(tmp_path: Path) -> None:
    """As a kill leaves it: the record is written last."""
    kept = saved(tmp_path)
    (tmp_path / "checkpoint-12.json").unlink()
    state = kept.newest()
    assert state is not None and state["update"] == 9


def test_average_refuses_what_was_damaged_since(tmp_path: Path) -> None:
    kept = saved(tmp_path)
    zeroed(tmp_path / "weights-9.pt")
    with pytest.raises(CheckpointError, match="a checkpoint is damaged; run it again"):
        kept.average()


# Disk space


@pytest.mark.parametrize("average", [1, 2, 4])
@pytest.mark.parametrize("architecture", [GATED, GATED.model_copy(update={"gates": None, "width": 64})])
def test_need_is_what_checkpoints_take_at_their_most(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, architecture: Architecture, average: int
) -> None:
    """And little more: the state of Adam has two numbers for each weight."""
    model = built(tiny, architecture=architecture)[0].model
    moments = {
        number: {name: torch.zeros_like(weight) for name in ("exp_avg", "exp_avg_sq")}
        for number, weight in enumerate(model.parameters())
    }
    state = {"model": model.state_dict(), "optimizer": {"state": moments}}
    how = recipe(updates=12, checkpoint_every=2, average=average)
    kept, most = Checkpoints(tmp_path, how, "t"), 0
    write = checkpoints.write

    def watched(path: Path, content: Any) -> str:
        nonlocal most
        found = write(path, content)
        most = max(most, kept.size())
        return found

    monkeypatch.setattr(checkpoints, "write", watched)
    for update in range(2, 13, 2):
        kept.save(update, model.state_dict(), state)
    need = checkpoints.need_bytes(architecture, how, (tiny.folder / "dict.tgt.txt",) * 2)
    assert most <= need <= 1.6 * most
