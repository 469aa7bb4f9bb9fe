"""A new student and its batches with what the teacher says."""

from typing import Any

import pytest
from fairseq.data import Dictionary

from nmtkd.decoding.scoring import distributions
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.training.dataset import HypothesesDataset, TokenTargetsDataset
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
