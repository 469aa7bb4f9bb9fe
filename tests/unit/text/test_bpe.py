"""The stage `bpe`: what data decide is told here, before a teacher is trained."""

import copy
from typing import Any

import pytest

from stages import bpe

from nmtkd.plan import params

SIZES = {"joint": 70, "src": 50, "tgt": 40}
CARD = {
    "dictionary": SIZES,
    "longest_line": {"valid.src": 9, "valid.tgt": 8, "test.src": 2, "test.tgt": 2},
}


def test_held_out_sets_have_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, int]] = []
    monkeypatch.setattr(params, "check_dictionary", asked.append)
    bpe.check(CARD)
    card: dict[str, Any] = copy.deepcopy(CARD)
    card["longest_line"] |= {"valid.src": 1, "valid.tgt": 1}
    message = (
        r"^data/bpe: nothing stands in valid\.src, valid\.tgt, so that no model can be chosen or scored; "
        r"raise prepare\.valid_pairs and prepare\.test_pairs, or fill the corpus's own files$"
    )
    with pytest.raises(ValueError, match=message):
        bpe.check(card)
    assert asked == [SIZES, SIZES]
