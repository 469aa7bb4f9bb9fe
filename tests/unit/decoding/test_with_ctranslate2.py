"""nmtkd.decoding.with_ctranslate2: a model is converted once, anew where it is another, and in its type."""

import os
import shutil
from pathlib import Path
from typing import Any

import ctranslate2
import pytest

from nmtkd import machine
from nmtkd.decoding import with_ctranslate2
from nmtkd.decoding.translate import greedy, load, translate
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.layout import MODEL
from tests.conftest import Tiny
from tests.unit.decoding.helpers import search, texts
from tests.unit.network.building import changed

PENALTIES = (0.0, 0.6, 1.0, 1.4, 2.2)


@pytest.fixture
def copied(tiny: Tiny, tmp_path: Path) -> Path:
    """The tiny model in a folder of its own."""
    return Path(shutil.copytree(tiny.folder, tmp_path / "copied"))


@pytest.fixture
def earlier(tiny: Tiny, tmp_path: Path) -> Path:
    """A model whose file has as many bytes as the other one's."""

    def change(weights: dict[str, Any], _: Any) -> None:
        for name, value in weights.items():
            if "attn" in name and name.endswith("weight"):
                value.mul_(-1.0)

    (tmp_path / "earlier").mkdir()
    return changed(tiny, tmp_path / "earlier", change)


def test_model_is_converted_once_for_several_penalties(tiny: Tiny, made: list[str]) -> None:
    """And says what it says when it is converted each time."""
    searches = [search(beam=4, length_penalty=penalty) for penalty in PENALTIES]
    kept = [translate(tiny.folder, tiny.sources, how, "ctranslate2") for how in searches]
    assert made == ["float32"]
    anew = []
    for how in searches:
        with_ctranslate2.forget()
        anew.append(translate(tiny.folder, tiny.sources, how, "ctranslate2"))
    assert made == ["float32"] * 6
    assert kept == anew
    assert len({str(found) for found in kept}) == 5


def test_model_that_is_loaded_is_converted(tiny: Tiny, made: list[str]) -> None:
    load(tiny.folder, "fairseq", "float32")
    assert made == []
    load(tiny.folder, "ctranslate2", "int8")
    translate(tiny.folder, tiny.sources[:2], search(compute="int8"), "ctranslate2")
    assert made == ["int8"]


@pytest.mark.parametrize("replace", [True, False], ids=["new file", "same file"])
def test_model_that_was_trained_again_is_translated_with_as_it_is(
    tiny: Tiny, other: Path, earlier: Path, made: list[str], replace: bool
) -> None:
    """Of the same name and size, whether it takes the place of the first or is written into it."""
    first = texts(translate(earlier, tiny.sources, search(), "ctranslate2"))
    assert (other / MODEL).stat().st_size == (earlier / MODEL).stat().st_size
    if replace:
        shutil.copy2(other / MODEL, earlier / "new")
        os.utime(earlier / "new", ns=(0, (earlier / MODEL).stat().st_mtime_ns))
        (earlier / "new").replace(earlier / MODEL)
    else:
        (earlier / MODEL).write_bytes((other / MODEL).read_bytes())
    again = texts(translate(earlier, tiny.sources, search(), "ctranslate2"))
    assert made == ["float32"] * 2
    assert again == texts(translate(other, tiny.sources, search(), "ctranslate2"))
    assert again != first


def test_model_of_another_folder_is_another(tiny: Tiny, other: Path, made: list[str]) -> None:
    found = [
        texts(translate(folder, tiny.sources, search(), "ctranslate2"))
        for folder in (tiny.folder, other, tiny.folder)
    ]
    assert made == ["float32"] * 3
    assert found[0] == found[2] != found[1]


def test_model_in_memory_is_converted_each_time(tiny: Tiny, made: list[str]) -> None:
    """It learns between two points of its curve."""
    loaded = bridge.load_model(tiny.folder, "cpu")
    first = greedy(loaded, tiny.sources)
    for name, weight in loaded.model.state_dict().items():
        if "attn" in name and name.endswith("weight"):
            weight.mul_(-1.5)
    assert greedy(loaded, tiny.sources) != first
    assert made == ["float32"] * 2


# int8


def test_int8_reaches_the_products(tiny: Tiny, made: list[str]) -> None:
    """Scores are other ones, and not by far."""
    exact, rounded = (
        translate(tiny.folder, tiny.sources, search(beam=4, compute=compute), "ctranslate2")
        for compute in ("float32", "int8")
    )
    assert made == ["float32", "int8"]
    pairs = [(one, other) for (one,), (other,) in zip(exact, rounded, strict=True) if one.text == other.text]
    assert len(pairs) > 10
    assert sum(one.score != other.score for one, other in pairs) > len(pairs) / 2
    assert all(one.score == pytest.approx(other.score, abs=0.2) for one, other in pairs)


def test_device_without_int8_is_told(tiny: Tiny, made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """CTranslate2 would take another type and say nothing."""
    asked = []

    def supported(device: str) -> set[str]:
        asked.append(device)
        return {"float32", "float16"}

    monkeypatch.setattr(ctranslate2, "get_supported_compute_types", supported)
    with pytest.raises(
        machine.MachineError,
        match=r"^compute: CTranslate2 has no int8 on this cpu; set compute to float32$",
    ):
        translate(tiny.folder, tiny.sources[:2], search(compute="int8"), "ctranslate2")
    assert (asked, made) == (["cpu"], [])
    translate(tiny.folder, tiny.sources[:2], search(), "ctranslate2")
    assert made == ["float32"]


@pytest.mark.parametrize(("engine", "members"), [("fairseq", 1), ("ctranslate2", 2)])
def test_fairseq_never_passes_float32_for_int8(copied: Path, engine: str, members: int) -> None:
    """fairseq translates with ensembles, whatever the engine."""
    if members > 1:
        shutil.copy(copied / MODEL, copied / bridge.member_name(2))
    with pytest.raises(
        bridge.ModelError,
        match=rf"^{copied}: fairseq translates with this model, in float32 alone; int8 was asked for; set ",
    ):
        translate(copied, ["w1"], search(compute="int8"), engine)
