"""nmtkd.training.adaptive: what a card says of units that close."""

import pytest

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import gated
from nmtkd.text.text_form import TextForm
from nmtkd.training import validation
from nmtkd.training.adaptive import AdaptiveCapacity
from tests.conftest import Tiny
from tests.unit.network.building import GATED, built


def test_bleu_before_and_after_closing_and_at_the_end(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the validation set, whole."""
    loaded, _ = built(tiny, architecture=GATED)
    assert GATED.gates is not None
    valid, scores, asked = (["w1", "w2"], ["w3", "w4"]), iter([12.0, 3.0, 8.5]), list[object]()

    def bleu(model: bridge.Loaded, sides: validation.Sides, form: TextForm) -> float:
        asked.append(sides)
        return next(scores)

    monkeypatch.setattr(validation, "bleu", bleu)
    monkeypatch.setattr(gated, "close", lambda *_: None)
    monkeypatch.setattr(gated, "trim", lambda _: ([], {"kept": 5}))
    adaptive = AdaptiveCapacity(
        GATED.gates, loaded, valid, TextForm(target="de", tokeniser="reversible", longest=1)
    )
    told = adaptive.close([])
    adaptive.trim()
    assert told.endswith("gates close, validation BLEU 12.0 before and 3.0 after")
    assert asked == [valid] * 3
    assert adaptive.facts == {
        "parameters_before": loaded.parameters(), "valid_bleu_before": 12.0, "valid_bleu_closed": 3.0,
        "valid_bleu_end": 8.5, "kept": 5,
    }  # fmt: skip
