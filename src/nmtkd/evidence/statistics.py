"""What differences mean: paired bootstrap over a test set's segments, spread and t-intervals over seeds.

They answer different questions.
The bootstrap asks whether two *models* differ on other sentences of the kind.
It does not know how far a second training with another seed would land.
Only several seeds show whether two *methods* differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from scipy.special import stdtr, stdtrit

Array = NDArray[Any]

ORDER = 4  # BLEU's longest n-gram (Papineni et al. 2002); sacreBLEU's default


@dataclass(frozen=True)
class Evidence:
    """How sure a difference is: its confidence interval and two-sided p-value."""

    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Comparison:
    """A difference and its evidence, which is None where the test set is too small to give any."""

    difference: float
    evidence: Evidence | None

    @property
    def verdict(self) -> int | None:
        """1 or -1 if the interval lies above or below 0, and 0 if it contains 0. None without evidence."""
        if self.evidence is None:
            return None
        return (self.evidence.low > 0.0) - (self.evidence.high < 0.0)


@dataclass(frozen=True)
class Spread:
    """A mean over seeds. One value has no spread: sd, low and high are None."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int


def sentence_statistics(hypotheses: Sequence[str], references: Sequence[str], tokeniser: str) -> Array:
    """BLEU's sufficient statistics [segments, 2 + 2 * ORDER], counted by one of sacreBLEU's tokenisers.

    Columns: hypothesis length, reference length, matches by order, n-grams by order.
    sacreBLEU counts them, cased, so that sums over segments give its corpus score.
    """
    # sentence_score asks for effective_order; it changes the score, not the counts
    metric = BLEU(tokenize=tokeniser, effective_order=True)
    pairs = zip(hypotheses, references, strict=True)
    scores = (metric.sentence_score(hypothesis, [reference]) for hypothesis, reference in pairs)
    rows = [[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 2 + 2 * ORDER)


def bleu(statistics: Array) -> Array:
    """Corpus BLEU [...] of summed statistics [..., 2 + 2 * ORDER], smoothed as by sacreBLEU ("exp")."""
    sums = np.asarray(statistics, dtype=np.float64)
    length, reference = sums[..., 0], sums[..., 1]
    matches, totals = sums[..., 2 : 2 + ORDER], sums[..., 2 + ORDER :]
    # The k-th order without a match counts as 1 / 2^k matches (mteval-v13a; Chen & Cherry 2014, method 3).
    halvings = np.cumsum(matches == 0, axis=-1)
    smoothed = np.where(matches == 0, 2.0**-halvings, matches)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(totals > 0, smoothed / totals, 0.0)
        brevity = np.where(length > 0, np.minimum(1.0, np.exp(1.0 - reference / length)), 0.0)
        score = 100.0 * brevity * np.exp(np.log(precision).mean(axis=-1))
    return np.where(matches.any(axis=-1), score, 0.0)


@lru_cache(maxsize=1)  # every comparison of a report uses the same resamples of the same test set
def resamples(segments: int, samples: int, seed: int) -> Array:
    """How often each resample holds each segment [samples, segments], drawn as sacreBLEU draws."""
    drawn = np.random.default_rng(seed).choice(segments, size=(samples, segments), replace=True)
    drawn += np.arange(samples)[:, None] * segments
    return (
        np.bincount(drawn.ravel(), minlength=samples * segments).reshape(samples, segments).astype(np.float64)
    )


def bootstrap_differences(system: Array, baseline: Array, samples: int, seed: int) -> Array:
    """BLEU of `system` minus BLEU of `baseline` [samples], given sentence statistics; resampled together."""
    counts = resamples(len(system), samples, seed)
    difference: Array = bleu(counts @ system) - bleu(counts @ baseline)
    return difference


def paired_bootstrap(
    system: Sequence[str],
    baseline: Sequence[str],
    references: Sequence[str],
    *,
    tokeniser: str,
    samples: int,
    seed: int,
    confidence: float,
) -> Comparison:
    """Difference in BLEU between two systems on one test set, as `bootstrap` has it.

    `tokeniser` is sacreBLEU's name of the one that BLEU is counted with.
    Raises ValueError if the three texts differ in length or are empty.
    """
    if not len(system) == len(baseline) == len(references):
        raise ValueError(
            f"paired bootstrap: both systems must translate the same test set; got {len(system)} and "
            f"{len(baseline)} hypotheses for {len(references)} references; translate again"
        )
    if not references:
        raise ValueError("paired bootstrap: an empty test set cannot be resampled; give it segments")
    ours, theirs = (sentence_statistics(side, references, tokeniser) for side in (system, baseline))
    return bootstrap(ours, theirs, samples=samples, seed=seed, confidence=confidence)


def bootstrap(ours: Array, theirs: Array, *, samples: int, seed: int, confidence: float) -> Comparison:
    """Difference in BLEU by paired bootstrap (Koehn 2004, section 4), given sentence statistics.

    The interval is the percentile interval of the resampled differences d*.
    Koehn calls the better system significantly better at level q if it wins in a share q of the resamples.
    The matching two-sided p-value is
        p = 2 * (1 + min(#{d* <= 0}, #{d* >= 0})) / (1 + samples), at most 1.
    The 1 is added so that p is never 0, as in sacreBLEU.
    p agrees with the interval: if p is below 1 - confidence, the interval excludes 0.
    sacreBLEU's own p counts |d*| - mean(|d*|) > |d|. For a clear difference that is one tail: half of this p.
    """
    differences = bootstrap_differences(ours, theirs, samples, seed)
    low, high = np.quantile(differences, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    tail = min(int((differences <= 0.0).sum()), int((differences >= 0.0).sum()))
    difference = float(bleu(ours.sum(0)) - bleu(theirs.sum(0)))
    p_value = min(1.0, 2.0 * (1 + tail) / (1 + samples))
    return Comparison(difference, Evidence(float(low), float(high), p_value))


def over_seeds(values: Sequence[float], confidence: float) -> Spread:
    """Mean, sample sd (n - 1) and Student's t-interval of the mean. Raises ValueError for no values."""
    if not values:
        raise ValueError("over seeds: nothing to average; name at least one seed in grid.seeds")
    number = len(values)
    mean = math.fsum(values) / number
    if number == 1:
        return Spread(mean, None, None, None, 1)
    sd = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (number - 1))
    half = t_quantile(confidence, number - 1) * sd / math.sqrt(number)
    return Spread(mean, sd, mean - half, mean + half, number)


def paired_seeds(system: Sequence[float], baseline: Sequence[float], confidence: float) -> Comparison:
    """Mean difference of runs paired by seed, Student's t-interval, and the paired t-test's two-sided p.

    Raises ValueError for fewer than two seeds.
    """
    differences = [ours - theirs for ours, theirs in zip(system, baseline, strict=True)]
    spread = over_seeds(differences, confidence)
    if spread.sd is None or spread.low is None or spread.high is None:
        raise ValueError(
            "paired seeds: one seed has no spread; "
            "use paired_bootstrap, or name two seeds and more in grid.seeds"
        )
    error = spread.sd / math.sqrt(spread.n)
    if error == 0.0:
        p_value = 1.0 if spread.mean == 0.0 else 0.0
    else:
        p_value = 2.0 * float(stdtr(spread.n - 1, -abs(spread.mean) / error))
    return Comparison(spread.mean, Evidence(spread.low, spread.high, p_value))


def t_quantile(confidence: float, freedom: int) -> float:
    """The t with P(|T| <= t) = confidence, for Student's T with `freedom` degrees of freedom.

    For 0.95 and 2 it is 4.303.
    Raises ValueError outside 0 <= confidence < 1 and freedom >= 1.
    """
    if not 0.0 <= confidence < 1.0:
        raise ValueError(
            f"report.confidence: must be at least 0 and below 1 for an interval over seeds; got {confidence}"
        )
    if freedom < 1:
        raise ValueError(f"t quantile: needs one degree of freedom and more; got {freedom}")
    return float(stdtrit(freedom, (1.0 + confidence) / 2.0))
