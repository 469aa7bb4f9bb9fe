"""nmtkd.text.bleu: BLEU, and what length has in it, as a hand counts."""

import math

import pytest

from nmtkd.text.bleu import brevity_penalty, measure


def test_short_text_loses_by_its_length_alone() -> None:
    """All n-grams of 4 of 6 words match: BLEU is exp(1 - 6/4) = 0.6065."""
    found = measure(["the cat sat on"], ["the cat sat on a mat"], "13a")
    assert found.rounded() == {"bleu": 60.6531, "brevity_penalty": 0.6065, "length_ratio": 0.6667}
    assert found.bleu == pytest.approx(100.0 * math.exp(-0.5))


def test_long_text_has_no_penalty() -> None:
    """Of 6, 5, 4 and 3 n-grams 4, 3, 2 and 1 match: (1/15) ** (1/4)."""
    found = measure(["the cat sat on a mat"], ["the cat sat on"], "13a")
    assert found.rounded() == {"bleu": 50.8133, "brevity_penalty": 1.0, "length_ratio": 1.5}


def test_words_are_those_of_the_language() -> None:
    assert measure(["我们去"], ["我们去吧"], "zh").length_ratio == 0.75
    assert measure(["我们去"], ["我们去吧"], "13a").length_ratio == 1.0


@pytest.mark.parametrize(
    ("length", "reference", "penalty"),
    [(4, 6, 0.6065), (1, 2, 0.3679), (6, 6, 1.0), (7, 6, 1.0), (0, 6, 0.0), (0, 0, 1.0)],
)
def test_brevity_penalty_by_hand(length: int, reference: int, penalty: float) -> None:
    assert round(brevity_penalty(length, reference), 4) == penalty


def test_brevity_penalty_is_sacrebleus() -> None:
    found = measure(["a b c", "d"], ["a b c d e", "d e"], "13a")
    assert found.brevity_penalty == brevity_penalty(4, 7)
