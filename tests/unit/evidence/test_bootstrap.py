"""Sufficient statistics, and the paired bootstrap over groups and seeds."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.significance import PairedTest, Result

from nmtkd.evidence import bootstrap
from nmtkd.evidence.bootstrap import Array, by_group
from nmtkd.evidence.statistics import Comparison, Evidence, Luck, judged
from tests.unit.evidence.test_metrics import LANGUAGES


def _compared(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    tokeniser: str = "13a",
    *,
    samples: int = 300,
    seed: int = 1,
    confidence: float = 0.95,
) -> tuple[Comparison, Evidence]:
    """Of one seed, each segment a group."""
    ours, theirs = (
        bootstrap.sentence_statistics(side, references, tokeniser)[None] for side in (system, baseline)
    )
    return _bootstrap(ours, theirs, samples=samples, seed=seed, confidence=confidence)


def _bootstrap(
    ours: Array,
    theirs: Array,
    luck: Luck | None = None,
    *,
    samples: int = 300,
    seed: int = 1,
    confidence: float = 0.95,
) -> tuple[Comparison, Evidence]:
    found = bootstrap.bootstrap(ours, theirs, luck, samples=samples, seed=seed, confidence=confidence)
    assert found.evidence is not None
    return found, found.evidence


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


def _counted() -> tuple[Array, Array]:
    """Statistics of the two systems [segments, columns]."""
    system, baseline, references = _systems()
    ours, theirs = (bootstrap.sentence_statistics(side, references, "13a") for side in (system, baseline))
    return ours, theirs


def test_sufficient_statistics_add_up_to_the_corpus_score() -> None:
    system, _, references = _systems()
    counted = bootstrap.sentence_statistics(system, references, "13a")
    assert counted.shape == (150, 10)
    assert float(bootstrap.bleu(counted.sum(0))) == pytest.approx(
        BLEU().corpus_score(system, [references]).score, abs=1e-9
    )


@pytest.mark.parametrize("tokeniser", ["13a", "intl", "zh", "ja-mecab", "ko-mecab", "char"])
def test_sufficient_statistics_add_up_whatever_the_tokeniser(tokeniser: str) -> None:
    """Empty hypotheses and words of other scripts among them."""
    hypotheses = [*(pair[0] for pair in LANGUAGES.values()), "", "Hello, world!"]
    references = [*(pair[1] for pair in LANGUAGES.values()), "nichts", "Hello, big world!"]
    counted = bootstrap.sentence_statistics(hypotheses, references, tokeniser)
    wanted = BLEU(tokenize=tokeniser).corpus_score(hypotheses, [references]).score
    assert float(bootstrap.bleu(counted.sum(0))) == pytest.approx(wanted, abs=1e-9)
    found, _ = _compared(hypotheses, references, references, tokeniser, samples=50)
    assert found.difference == pytest.approx(wanted - 100.0, abs=1e-9)


@given(st.lists(st.integers(0, 12), min_size=4, max_size=4), st.integers(0, 3), st.integers(1, 40))
def test_bleu_smooths_as_sacrebleu_does(surplus: list[int], orders: int, reference: int) -> None:
    """Any matches up to their totals, orders without n-grams and without matches among them."""
    totals = [12, 9, 6, 3][: 4 - orders] + [0] * orders
    matches = [min(one, total) for one, total in zip(surplus, totals, strict=True)]
    wanted = BLEU.compute_bleu(list(matches), list(totals), totals[0], reference, smooth_method="exp").score
    assert float(bootstrap.bleu(np.array([totals[0], reference, *matches, *totals]))) == pytest.approx(
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

    ours, against = _counted()
    differences = bootstrap.bootstrap_differences(ours, against, 500, 12345)
    sizes = np.abs(differences)
    observed = abs(float(bootstrap.bleu(ours.sum(0)) - bootstrap.bleu(against.sum(0))))
    p_value = (int((sizes - sizes.mean() > observed).sum()) + 1) / 501
    mean = float(bootstrap.bleu(bootstrap.resamples(150, 500, 12345) @ ours).mean())

    assert theirs.mean == pytest.approx(mean, abs=1e-6)
    assert theirs.p_value == p_value
    found, told_by_us = _compared(system, baseline, references, samples=500, seed=12345)
    assert found.difference == pytest.approx(theirs.score - against_itself.score, abs=1e-9)
    assert theirs.p_value <= told_by_us.p_value <= 4 * theirs.p_value  # one tail against two


def test_interval_and_p_value_agree() -> None:
    found, told = _compared(*_systems(), samples=400)
    assert told.low < found.difference < told.high
    assert bool(judged({0: found}, 0.95)[0].verdict) == (told.p_value < 0.05) == (told.low > 0.0)
    _, wide = _compared(*_systems(), samples=400, confidence=0.999)
    assert wide.low < told.low < told.high < wide.high


def test_swapping_the_systems_mirrors_the_result() -> None:
    system, baseline, references = _systems()
    one, told = _compared(system, baseline, references)
    other, mirror = _compared(baseline, system, references)
    assert (one.difference, told.low, told.high) == pytest.approx(
        (-other.difference, -mirror.high, -mirror.low)
    )
    assert told.p_value == mirror.p_value


def test_a_system_does_not_differ_from_itself() -> None:
    system, _, references = _systems()
    assert _compared(system, system, references, samples=100)[0] == Comparison(
        0.0, Evidence(0.0, 0.0, 1.0, 1.0)
    )


def test_a_clear_difference_has_the_least_p_value() -> None:
    """No resample of 199 shows the other sign: 2 * (1 + 0) / 200."""
    _, _, references = _systems()
    assert _compared(references, ["nothing"] * 150, references, samples=199)[1].p_value == 0.01


def test_segments_are_summed_by_group() -> None:
    counted = np.array([[1, 10], [2, 20], [4, 40], [8, 80]])
    assert by_group(counted, ["b", "a", "b", "c"]).tolist() == [[5, 50], [2, 20], [8, 80]]
    assert by_group(counted, ["a", "b", "c", "d"]).tolist() == counted.tolist()
    assert by_group(counted, ["a"] * 4).tolist() == [[15, 150]]


def test_copies_of_a_segment_in_its_group_add_no_certainty() -> None:
    """Four copies of every segment: resampled by group they give the interval of one, else half as wide."""
    ours, theirs = _counted()
    _, one = _bootstrap(ours[None], theirs[None])
    ours, theirs = np.repeat(ours, 4, axis=0), np.repeat(theirs, 4, axis=0)
    groups = [f"{number}" for number in range(150) for _ in range(4)]
    _, grouped = _bootstrap(by_group(ours, groups)[None], by_group(theirs, groups)[None])
    assert (grouped.low, grouped.high) == pytest.approx((one.low, one.high), abs=1e-9)
    _, alone = _bootstrap(ours[None], theirs[None])
    assert (alone.high - alone.low) / (one.high - one.low) == pytest.approx(0.5, abs=0.1)


def _seeds(*scores: float) -> Array:
    """Statistics of runs whose one group has about these scores: BLEU is the share of matches."""
    rows = [[100_000, 100_000, *[round(1_000 * score)] * 4, *[100_000] * 4] for score in scores]
    return np.array(rows)[:, None]


def test_where_the_text_is_certain_the_interval_is_students_t() -> None:
    """Differences 0.5, 1.0 and 1.5: their mean is 1, its error 0.5 / sqrt(3).

    For 2 degrees of freedom t is 4.303, and p is 0.0742; for 20 degrees t is 2.086.
    """
    sides = _seeds(30.5, 41.0, 21.5), _seeds(30.0, 40.0, 20.0)
    found, told = _bootstrap(*sides, Luck(0.0, 2), samples=2000)
    assert found.difference == pytest.approx(1.0)
    assert (told.low, told.high) == pytest.approx((1 - 1.2421, 1 + 1.2421), abs=0.02)
    assert told.p_value == pytest.approx(0.0742, abs=0.002)
    _, told = _bootstrap(*sides, Luck(0.0, 20), samples=2000)
    assert (told.low, told.high) == pytest.approx((1 - 0.6022, 1 + 0.6022), abs=0.01)


def test_seeds_that_happen_to_agree_have_the_luck_of_all() -> None:
    """Three equal differences of 1, and a standard deviation of 0.6 a run: error 0.6 * sqrt(2 / 3)."""
    sides = _seeds(31.0, 41.0, 21.0), _seeds(30.0, 40.0, 20.0)
    _, told = _bootstrap(*sides, Luck(0.6, 20), samples=2000)
    assert (told.low, told.high) == pytest.approx((1 - 1.0219, 1 + 1.0219), abs=0.01)
    _, told = _bootstrap(*sides, Luck(0.0, 20), samples=200)
    assert (told.low, told.high) == pytest.approx((1.0, 1.0))


def test_seeds_share_the_resampled_groups() -> None:
    """Two runs with the same translations tell nothing more than one, as far as the text goes."""
    ours, theirs = _counted()
    _, one = _bootstrap(ours[None], theirs[None])
    _, twice = _bootstrap(np.stack([ours, ours]), np.stack([theirs, theirs]), Luck(0.0, 6))
    assert (twice.low, twice.high, twice.p_value) == pytest.approx((one.low, one.high, one.p_value))
    _, lucky = _bootstrap(np.stack([ours, ours]), np.stack([theirs, theirs]), Luck(3.0, 6))
    assert lucky.high - lucky.low > 1.3 * (one.high - one.low)
