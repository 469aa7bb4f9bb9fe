"""Verdicts, the correction for many comparisons, seeds and Student's t."""

import pytest

from nmtkd.evidence.statistics import (
    Comparison,
    Evidence,
    Luck,
    Spread,
    holm,
    judged,
    least_p,
    over_seeds,
    pooled_luck,
    t_quantile,
)


def _found(difference: float, p_value: float) -> Comparison:
    return Comparison(difference, Evidence(difference - 0.5, difference + 0.5, p_value, p_value))


def test_holm_by_hand() -> None:
    """Sorted 0.01, 0.013, 0.03 and 0.04: times 4, 3, 2 and 1, none smaller than the one before."""
    assert holm([0.04, 0.01, 0.03, 0.013]) == pytest.approx([0.06, 0.04, 0.06, 0.04])
    assert holm([0.6, 0.7]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []


def test_a_verdict_takes_holms_p() -> None:
    """Of p = 0.02 twice neither is clear among three comparisons, though each is by itself."""
    three = {"a": _found(1.0, 0.02), "b": _found(-1.0, 0.01), "c": _found(2.0, 0.02)}
    found = judged(three, 0.95)
    assert {name: one.verdict for name, one in found.items()} == {"a": 1, "b": -1, "c": 1}
    found = judged(three | {"d": _found(0.5, 0.5)}, 0.95)
    assert {name: one.verdict for name, one in found.items()} == {"a": 0, "b": -1, "c": 0, "d": 0}
    told = [one.evidence for one in found.values() if one.evidence is not None]
    assert [one.p_holm for one in told] == pytest.approx([0.06, 0.04, 0.06, 0.5])
    assert [(one.low, one.high, one.p_value) for one in told[:2]] == [(0.5, 1.5, 0.02), (-1.5, -0.5, 0.01)]
    assert {name: one.verdict for name, one in judged(three, 0.99).items()} == {"a": 0, "b": 0, "c": 0}


def test_without_evidence_there_is_no_verdict() -> None:
    bare = Comparison(0.5, None)
    assert bare.verdict is None
    assert judged({1: bare, 2: _found(1.0, 0.03)}, 0.95)[1] == bare
    assert judged({1: bare, 2: _found(1.0, 0.03)}, 0.95)[2].verdict == 1  # the one that was tested


def test_samples_bound_what_many_comparisons_can_show() -> None:
    assert least_p(999, 1) == 0.002
    assert least_p(999, 30) == pytest.approx(0.06)
    assert least_p(9, 30) == 1.0


def test_luck_is_pooled_over_cells() -> None:
    """Squared deviations 2 and 0.5 of the first two cells, none of the third, with 2, 1 and 1 degrees."""
    found = pooled_luck([[10.0, 11.0, 12.0], [20.0, 21.0], [5.0, 5.0]])
    assert found == Luck((2.5 / 4) ** 0.5, 4)
    assert pooled_luck([[10.0], [20.0]]) is None


@pytest.mark.parametrize(
    ("confidence", "freedom", "table"),
    [
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.95, 4, 2.776),
        (0.95, 9, 2.262),
        (0.99, 5, 4.032),
        (0.90, 30, 1.697),
        (0.99, 120, 2.617),
    ],
)
def test_t_quantile_is_the_printed_table(confidence: float, freedom: int, table: float) -> None:
    assert t_quantile(confidence, freedom) == pytest.approx(table, abs=5e-4)


def test_t_quantile_refuses_what_has_no_interval() -> None:
    with pytest.raises(ValueError, match=r"report\.confidence.*got 1\.0"):
        t_quantile(1.0, 2)
    with pytest.raises(ValueError, match="one degree of freedom"):
        t_quantile(0.95, 0)


def test_spread_of_three_seeds() -> None:
    """Mean 31, sd 1: half the interval is 4.3027 / sqrt(3)."""
    found = over_seeds([30.0, 31.0, 32.0], 0.95)
    assert (found.mean, found.sd, found.n) == (31.0, 1.0, 3)
    assert found.low == pytest.approx(28.5159, abs=1e-4)
    assert found.high == pytest.approx(33.4841, abs=1e-4)


def test_one_seed_has_no_interval() -> None:
    assert over_seeds([30.0], 0.95) == Spread(30.0, None, None, None, 1)
    with pytest.raises(ValueError, match="nothing to average"):
        over_seeds([], 0.95)
