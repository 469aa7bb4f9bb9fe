"""Paired bootstrap, seeds and Student's t."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest, Result

from nmtkd.evidence import statistics
from nmtkd.evidence.statistics import (
    Comparison,
    Evidence,
    Spread,
    over_seeds,
    paired_bootstrap,
    paired_seeds,
    t_quantile,
)
from tests.unit.evidence.test_metrics import LANGUAGES


def _told(found: Comparison) -> Evidence:
    assert found.evidence is not None
    return found.evidence


def _systems(segments: int = 150) -> tuple[list[str], list[str], list[str]]:
    """A system, a slightly worse baseline and references, of invented words."""
    draw = random.Random(5)
    words = [f"w{number}" for number in range(200)]
    references = [[draw.choice(words) for _ in range(draw.randint(3, 14))] for _ in range(segments)]

    def noisy(share: float) -> list[str]:
        return [
            " ".join(draw.choice(words) if draw.random() < share else word for word in line)
            for line in references
        ]

    return noisy(0.27), noisy(0.31), [" ".join(line) for line in references]


def test_sufficient_statistics_add_up_to_the_corpus_score() -> None:
    system, _, references = _systems()
    counted = statistics.sentence_statistics(system, references, "13a")
    assert counted.shape == (150, 10)
    assert float(statistics.bleu(counted.sum(0))) == pytest.approx(
        BLEU().corpus_score(system, [references]).score, abs=1e-9
    )


@pytest.mark.parametrize("tokeniser", ["13a", "intl", "zh", "ja-mecab", "ko-mecab", "char"])
def test_sufficient_statistics_add_up_whatever_the_tokeniser(tokeniser: str) -> None:
    """Empty hypotheses and words of other scripts among them."""
    hypotheses = [*(pair[0] for pair in LANGUAGES.values()), "", "Hello, world!"]
    references = [*(pair[1] for pair in LANGUAGES.values()), "nichts", "Hello, big world!"]
    counted = statistics.sentence_statistics(hypotheses, references, tokeniser)
    wanted = BLEU(tokenize=tokeniser).corpus_score(hypotheses, [references]).score
    assert float(statistics.bleu(counted.sum(0))) == pytest.approx(wanted, abs=1e-9)
    found = paired_bootstrap(
        hypotheses, references, references, tokeniser=tokeniser, samples=50, seed=1, confidence=0.9
    )
    assert found.difference == pytest.approx(wanted - 100.0, abs=1e-9)


def test_a_verdict_is_the_side_of_the_interval() -> None:
    intervals = [(0.1, 2.0), (-2.0, -0.1), (-1.0, 1.0), (0.0, 0.0)]
    found = [Comparison(0.5, Evidence(low, high, 0.5)).verdict for low, high in intervals]
    assert found == [1, -1, 0, 0]
    assert Comparison(0.5, None).verdict is None


@given(st.lists(st.integers(0, 12), min_size=4, max_size=4), st.integers(0, 3), st.integers(1, 40))
def test_bleu_smooths_as_sacrebleu_does(surplus: list[int], orders: int, reference: int) -> None:
    """Any matches up to their totals, orders without n-grams and without matches among them."""
    totals = [12, 9, 6, 3][: 4 - orders] + [0] * orders
    matches = [min(one, total) for one, total in zip(surplus, totals, strict=True)]
    wanted = BLEU.compute_bleu(list(matches), list(totals), totals[0], reference, smooth_method="exp").score
    assert float(statistics.bleu(np.array([totals[0], reference, *matches, *totals]))) == pytest.approx(
        wanted, abs=1e-9
    )


def test_resamples_are_those_of_sacrebleu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Same seed, same resamples: sacreBLEU finds exactly the same p-value, and the same mean.

    The mean to 1e-6: sacreBLEU counts in single precision.
    """
    monkeypatch.setenv("SACREBLEU_SEED", "12345")
    system, baseline, references = _systems()
    named: list[tuple[str, Sequence[str]]] = [("baseline", baseline), ("system", system)]
    _, told = PairedTest(named, {"BLEU": BLEU()}, [references], test_type="bs", n_samples=500)()
    against_itself, theirs = told["BLEU"]
    assert isinstance(theirs, Result)
    assert isinstance(against_itself, Result)

    ours = statistics.sentence_statistics(system, references, "13a")
    against = statistics.sentence_statistics(baseline, references, "13a")
    differences = statistics.bootstrap_differences(ours, against, 500, 12345)
    sizes = np.abs(differences)
    observed = abs(float(statistics.bleu(ours.sum(0)) - statistics.bleu(against.sum(0))))
    p_value = (int((sizes - sizes.mean() > observed).sum()) + 1) / 501
    mean = float(statistics.bleu(statistics.resamples(150, 500, 12345) @ ours).mean())

    assert theirs.mean == pytest.approx(mean, abs=1e-6)
    assert theirs.p_value == p_value
    found = paired_bootstrap(
        system, baseline, references, tokeniser="13a", samples=500, seed=12345, confidence=0.95
    )
    assert found.difference == pytest.approx(theirs.score - against_itself.score, abs=1e-9)
    assert theirs.p_value <= _told(found).p_value <= 4 * theirs.p_value  # one tail against two


def test_interval_and_p_value_agree() -> None:
    system, baseline, references = _systems()
    found = paired_bootstrap(
        system, baseline, references, tokeniser="13a", samples=400, seed=1, confidence=0.95
    )
    assert _told(found).low < found.difference < _told(found).high
    assert bool(found.verdict) == (_told(found).p_value < 0.05)
    wide = paired_bootstrap(
        system, baseline, references, tokeniser="13a", samples=400, seed=1, confidence=0.999
    )
    assert _told(wide).low < _told(found).low < _told(found).high < _told(wide).high


def test_swapping_the_systems_mirrors_the_result() -> None:
    system, baseline, references = _systems()
    one = paired_bootstrap(
        system, baseline, references, tokeniser="13a", samples=300, seed=1, confidence=0.95
    )
    other = paired_bootstrap(
        baseline, system, references, tokeniser="13a", samples=300, seed=1, confidence=0.95
    )
    mirrored = (-other.difference, -_told(other).high, -_told(other).low)
    assert (one.difference, _told(one).low, _told(one).high) == pytest.approx(mirrored)
    assert _told(one).p_value == _told(other).p_value


def test_a_system_does_not_differ_from_itself() -> None:
    system, _, references = _systems()
    assert paired_bootstrap(
        system, system, references, tokeniser="13a", samples=100, seed=1, confidence=0.95
    ) == Comparison(0.0, Evidence(0.0, 0.0, 1.0))


def test_a_clear_difference_has_the_least_p_value() -> None:
    """No resample of 199 shows the other sign: 2 * (1 + 0) / 200."""
    _, _, references = _systems()
    found = paired_bootstrap(
        references, ["nothing"] * 150, references, tokeniser="13a", samples=199, seed=1, confidence=0.95
    )
    assert _told(found).p_value == 0.01


def test_bootstrap_refuses_other_test_sets() -> None:
    with pytest.raises(ValueError, match="got 1 and 2 hypotheses for 2 references"):
        paired_bootstrap(["a"], ["a", "b"], ["a", "b"], tokeniser="13a", samples=10, seed=1, confidence=0.95)
    with pytest.raises(ValueError, match="empty test set"):
        paired_bootstrap([], [], [], tokeniser="13a", samples=10, seed=1, confidence=0.95)


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
    with pytest.raises(ValueError, match="one seed has no spread"):
        paired_seeds([1.0], [0.5], 0.95)


def test_seeds_are_paired() -> None:
    """Differences 0.5, 1.0 and 1.5: t = 1 / (0.5 / sqrt(3)) = 3.4641.

    For 2 degrees of freedom the table says p = 0.0742.
    """
    found = paired_seeds([30.5, 41.0, 21.5], [30.0, 40.0, 20.0], 0.95)
    assert found.difference == 1.0
    assert _told(found).low == pytest.approx(-0.2421, abs=1e-4)
    assert _told(found).high == pytest.approx(2.2421, abs=1e-4)
    assert _told(found).p_value == pytest.approx(0.0742, abs=1e-4)
    assert found.verdict == 0


def test_equal_differences_have_no_error() -> None:
    assert paired_seeds([2.0, 3.0], [1.0, 2.0], 0.95) == Comparison(1.0, Evidence(1.0, 1.0, 0.0))
    assert math.isclose(_told(paired_seeds([1.0, 2.0], [1.0, 2.0], 0.95)).p_value, 1.0)
