"""Both engines read the same model and find the same translations."""

from __future__ import annotations

import pytest

from nmtkd.decoding.search import Search
from nmtkd.decoding.translate import translate
from tests.endtoend.lab import Lab

SENTENCES = 200


@pytest.mark.parametrize("beam", [1, 5])
def test_ctranslate2_and_fairseq_translate_alike(finished: tuple[Lab, str], beam: int) -> None:
    """Sums have another order, so a near-tie may fall the other way: in one sentence of a hundred at most.

    What never ends is left out. At the limit fairseq makes every hypothesis of the beam end and ranks them
    anew, CTranslate2 returns them unfinished.
    """
    folder = finished[0].folder / "models/teacher/clean/model"
    sources = finished[0].read("data/noise/clean/train.src").decode().splitlines()[:SENTENCES]
    assert len(sources) == SENTENCES
    search = Search(beam=beam, length_penalty=1.0, max_length_factor=2.0, max_length_offset=10)
    fast, reference = (translate(folder, sources, search, engine) for engine in ("ctranslate2", "fairseq"))
    both = [(a[0], b[0]) for a, b in zip(fast, reference, strict=True)]
    ended = [pair for pair in both if not any(hypothesis.truncated for hypothesis in pair)]
    assert len(ended) > SENTENCES // 2
    different = [(a.text, b.text) for a, b in ended if a.text != b.text]
    assert len(different) <= SENTENCES // 100, different
    assert len({entry[0].text for entry in fast}) > SENTENCES // 2, (
        "a model that says one thing to all proves nothing"
    )
