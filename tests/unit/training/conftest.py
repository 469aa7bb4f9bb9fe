"""A new student and its batches with what the teacher says."""

import inspect
from pathlib import Path
from typing import Any

import pytest
from fairseq.data import Dictionary

from nmtkd.decoding.scoring import distributions
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.outputs import Output
from nmtkd.plan import layout
from nmtkd.training import loop
from nmtkd.training.dataset import HypothesesDataset, TokenTargetsDataset
from nmtkd.training.trained import Seen, Trained
from tests.conftest import Tiny
from tests.unit.network.building import PLAIN, built
from tests.unit.training.four_words import WORDS
from tests.unit.training.helpers import LINES, Memory, Row, V


@pytest.fixture(scope="session")
def teacher_rows(tiny: Tiny) -> list[Row]:
    """The tiny model's whole distributions along gold, by line."""
    found = {line: row for line, *row in distributions(tiny.folder, tiny.sources, tiny.targets, V, 2.0, 1000)}
    return [(found[line][0], found[line][1]) for line in range(40)]


@pytest.fixture
def student(tiny: Tiny) -> bridge.Loaded:
    """A new model without dropout, in train mode."""
    loaded, _ = built(tiny, architecture=PLAIN)
    loaded.model.train()
    return loaded


@pytest.fixture
def dataset(tiny: Tiny, student: bridge.Loaded, teacher_rows: list[Row]) -> TokenTargetsDataset:
    """Gold, and as hypotheses the gold texts of other lines."""
    gold, said = (bridge.pairs(student, tiny.sources, side) for side in (tiny.targets, tiny.targets[::-1]))
    return TokenTargetsDataset(HypothesesDataset(gold, said), Memory(teacher_rows))


@pytest.fixture
def sample(dataset: TokenTargetsDataset) -> dict[str, Any]:
    return dataset.collater([dataset[line] for line in LINES])


@pytest.fixture
def dictionary() -> Dictionary:
    found = Dictionary()
    for word in WORDS:
        found.add_symbol(word)
    return found


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each training was given, by the names of loop.train. None is done; each has a model of its own."""
    found: list[dict[str, Any]] = []
    names = inspect.signature(loop.train)

    def train(*given: Any, **how: Any) -> Trained:
        asked = names.bind(*given, **how)
        asked.apply_defaults()
        found.append(dict(asked.arguments))
        folder = layout.model_dir(found[-1]["out"])
        folder.mkdir(exist_ok=True)
        (folder / layout.HASH).write_text(f"{len(found) % 16:x}" * 64, encoding="utf-8")
        seen = Seen(pairs=2, updates=4, sentences=8, source_tokens=20, target_tokens=30)
        return Trained(card={"parameters": 7, "data": seen.facts()}, seconds=1.5, seen=seen)

    monkeypatch.setattr(loop, "train", train)
    # Whoever shared scratch space by mistake would wait for itself.
    monkeypatch.setattr(Output, "scratch", lambda _, kind, key: Path(f"{kind}-{key}"))
    return found
