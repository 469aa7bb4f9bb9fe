"""nmtkd.network.stamps: a model is what training wrote, and reads what is at hand."""

import shutil
from pathlib import Path

import pytest

from nmtkd import files
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import stamps
from nmtkd.plan import layout
from tests.conftest import Tiny
from tests.unit.network.building import stamped_pair


@pytest.fixture
def pair(tiny: Tiny, tmp_path: Path) -> Path:
    return stamped_pair(tiny, tmp_path)


def test_stamped_hash_of_a_whole_ensemble_is_its_hash(pair: Path) -> None:
    assert stamps.stamped_hash(pair) == bridge.model_hash(pair)


@pytest.mark.parametrize("missing", ["model2.pt", "model3.pt"])
def test_stamped_hash_refuses_a_missing_member(pair: Path, missing: str) -> None:
    shutil.copy(pair / "model.pt", pair / "model3.pt")
    (pair / layout.HASH).write_text(bridge.model_hash(pair) + "\n", encoding="utf-8")
    (pair / missing).unlink()
    with pytest.raises(
        bridge.ModelError,
        match=r"pair: its model files are not those that model\.sha256 names; run `dvc checkout .*pair`",
    ):
        stamps.stamped_hash(pair)


def test_stamped_hash_refuses_a_changed_or_added_member(pair: Path) -> None:
    shutil.copy(pair / "model.pt", pair / "model3.pt")
    with pytest.raises(bridge.ModelError, match="not those that"):
        stamps.stamped_hash(pair)
    (pair / "model3.pt").unlink()
    stamps.stamped_hash(pair)
    shutil.copy(pair / "model.pt", pair / "model2.pt")
    with pytest.raises(bridge.ModelError, match="not those that"):
        stamps.stamped_hash(pair)


def test_stamp_takes_no_model(pair: Path) -> None:
    wanted = bridge.model_hash(pair)
    (pair / "model.pt").unlink()
    assert stamps.stamp(pair) == wanted
    with pytest.raises(files.DamagedError, match=r"pair/model\.pt: missing; run `dvc checkout --force .*"):
        stamps.stamped_hash(pair)


@pytest.mark.parametrize(("text", "shown"), [("", "''"), ("0" * 63, "'0{12}'"), ("<html>", "'<html>'")])
def test_a_stamp_that_is_none_is_refused(pair: Path, text: str, shown: str) -> None:
    (pair / layout.HASH).write_text(text, encoding="utf-8")
    with pytest.raises(files.DamagedError, match=rf"model\.sha256: must hold a SHA-256, holds {shown}; run"):
        stamps.stamped_hash(pair)
    (pair / layout.HASH).unlink()
    with pytest.raises(files.DamagedError, match=r"model\.sha256: missing; run `dvc checkout"):
        stamps.stamp(pair)


@pytest.mark.parametrize("side", ["src", "tgt"])
def test_a_model_of_another_dictionary_is_refused(pair: Path, tmp_path: Path, side: str) -> None:
    """Equal sizes do not make it the same. The message has both files."""
    dictionary = tmp_path / "bpe/dict.txt"
    files.write_text(dictionary, (pair / "dict.src.txt").read_text(encoding="utf-8"))
    allowed = [(dictionary, dictionary)]
    assert stamps.checked_hash(pair, allowed) == bridge.model_hash(pair)
    first, second, *rest = dictionary.read_text(encoding="utf-8").splitlines(keepends=True)
    files.write_text(pair / f"dict.{side}.txt", "".join([second, first, *rest]))
    with pytest.raises(
        bridge.ModelError, match=rf"pair/dict\.{side}\.txt: not .*bpe/dict\.txt, the dictionary of the text"
    ):
        stamps.checked_hash(pair, allowed)
