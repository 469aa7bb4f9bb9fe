"""nmtkd.training.start: which models a training can start from, and that it does."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nmtkd import files
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.training import start
from tests.conftest import Tiny
from tests.unit.network.building import GATED, PLAIN, built, changed, ensemble, recipe

DEEP = PLAIN.model_copy(update={"decoder_layers": 2})  # the tiny model's


def found(tiny: Tiny, folder: Path) -> start.Start | None:
    return start.find(recipe(init=str(folder)), (tiny.folder / "dict.src.txt",) * 2, "training")


def loaded(tiny: Tiny, folder: Path, **changes: Any) -> Any:
    model = built(tiny, **changes)[0].model
    start.load(model, folder / layout.MODEL, "training")
    return model


def test_random_weights_are_no_start(tiny: Tiny) -> None:
    assert found(tiny, Path(layout.RANDOM_WEIGHTS)) is None


@pytest.mark.parametrize("place", ["", "model"])
def test_start_is_a_runs_model_or_a_folder_of_one(tiny: Tiny, tmp_path: Path, place: str) -> None:
    """The card names the run and the model, and what the run had seen where it says so."""
    shutil.copytree(tiny.folder, tmp_path / "seq" / place)
    files.write_json(tmp_path / "seq" / layout.CARD, {"data": {"updates": 3}})
    made = found(tiny, tmp_path / "seq")
    assert made is not None
    digest = files.file_hash(tiny.folder / layout.MODEL)
    assert made.card == {"run": "seq", "model": digest, "data": {"updates": 3}}
    files.write_json(tmp_path / "seq" / layout.CARD, {"data": {"updates": 3}, "model": "1" * 64})
    with pytest.raises(files.DamagedError, match=r"card\.json: of another model than the one beside it; run"):
        found(tiny, tmp_path / "seq")
    model = loaded(tiny, made.models[0].parent, architecture=DEEP)
    wanted = bridge.load_model(tiny.folder, "cpu").model.state_dict()
    assert all(torch.equal(value, wanted[name]) for name, value in model.state_dict().items())


def test_start_that_is_no_model_or_was_changed_is_refused(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(start.StartError, match=r"^training\.init: .* holds no model\.pt; name the folder"):
        found(tiny, tmp_path)
    shutil.copytree(tiny.folder, tmp_path / "a")
    (tmp_path / "a" / layout.HASH).write_text("0" * 64)
    with pytest.raises(bridge.ModelError, match=r"its model files are not those that model\.sha256 names"):
        found(tiny, tmp_path / "a")


def test_start_of_other_pieces_is_refused_and_of_other_counts_taken(tiny: Tiny, tmp_path: Path) -> None:
    """Bidirectional text has each count twice, and the same pieces."""
    shutil.copytree(tiny.folder, tmp_path / "a")
    path = tmp_path / "a/dict.tgt.txt"
    lines = path.read_text().splitlines()
    path.write_text("".join(f"{line.split()[0]} {2 * int(line.split()[1])}\n" for line in lines))
    assert found(tiny, tmp_path / "a") is not None
    path.write_text("".join(f"{line}\n" for line in [lines[1], lines[0], *lines[2:]]))
    with pytest.raises(start.StartError, match=r"training\.init: dict\.tgt\.txt of .* has other pieces than"):
        found(tiny, tmp_path / "a")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"architecture": PLAIN}, r"decoder\.1 heads: none here, 2 there; "),
        ({"architecture": DEEP.model_copy(update={"heads": 4})}, r"encoder\.0 heads: 4 here, 2 there; "),
        ({"architecture": DEEP, "pre_norm": False}, r"encoder\.0 pre_norm: False here, True there; "),
        (
            {"architecture": DEEP.model_copy(update={"ffn": 25})},
            r"encoder\.layers\.0\.fc1\.weight: \[25, 16\] here, \[24, 16\] there; ",
        ),
        ({"architecture": GATED}, "gate"),
    ],
)
def test_start_of_another_shape_is_refused(tiny: Tiny, changes: dict[str, Any], told: str) -> None:
    """Heads and the place of norms are no weight's size: the weights alone would load."""
    with pytest.raises(start.StartError, match=rf"has another shape than the model to train: .*{told}"):
        loaded(tiny, tiny.folder, **changes)


def test_ensemble_starts_as_many_members(tiny: Tiny, tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    other = changed(tiny, tmp_path / "b", lambda weights, _: weights.update())
    both = found(tiny, ensemble(tmp_path / "both", tiny.folder, other))
    one = found(tiny, tiny.folder)
    assert both is not None and one is not None
    assert [both.of_member(number, 2, "x").name for number in (1, 2)] == ["model.pt", "model2.pt"]
    assert [one.of_member(number, 2, "x") for number in (1, 2)] == one.models * 2
    with pytest.raises(start.StartError, match="an ensemble of 2 models, which cannot start 1"):
        both.of_member(1, 1, "training")
