"""Greedy translations of the tiny model, a second model, and the translators that are made."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ctranslate2
import pytest

from nmtkd.decoding import with_ctranslate2
from nmtkd.decoding.search import Hypothesis
from nmtkd.decoding.translate import translate
from tests.conftest import Tiny
from tests.unit.decoding.helpers import ENGINES, search
from tests.unit.network.building import changed, with_positions


@pytest.fixture(scope="session")
def greedy_by_engine(tiny: Tiny) -> dict[str, list[Hypothesis]]:
    """Greedy translations by each engine."""
    return {
        engine: [nbest[0] for nbest in translate(tiny.folder, tiny.sources, search(), engine)]
        for engine in ENGINES
    }


@pytest.fixture(scope="session")
def long(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """The tiny model with positions for lines of 5000 words."""
    return with_positions(tiny, tmp_path_factory.mktemp("long") / "model", 16384)


@pytest.fixture
def other(tiny: Tiny, tmp_path: Path) -> Path:
    """A second model: the tiny one with other attention."""

    def change(weights: dict[str, Any], _: Any) -> None:
        for name, value in weights.items():
            if "attn" in name and name.endswith("weight"):
                value.mul_(-1.5)

    (tmp_path / "other").mkdir()
    return changed(tiny, tmp_path / "other", change)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The types of the translators that are made, in their order. At first none is kept."""
    types: list[str] = []
    translator = ctranslate2.Translator

    def noted(folder: str, *, compute_type: str, **how: Any) -> Any:
        types.append(compute_type)
        return translator(folder, compute_type=compute_type, **how)

    monkeypatch.setattr(ctranslate2, "Translator", noted)
    with_ctranslate2.forget()
    yield types
    with_ctranslate2.forget()
