"""Whether two systems differ in BLEU: a paired bootstrap over groups of segments, with the luck of seeds.

Segments of one text resemble each other, and tell less than as many of different texts. Whole groups are
resampled therefore, the same ones for both systems (Koehn 2004; of clusters: Davison & Hinkley 1997, 3.8).
Without seeds it asks whether two *models* differ on other groups of the kind. It does not know how far a
second training with another seed would land. Only several seeds show whether two *methods* differ.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from scipy.special import stdtrit

from nmtkd.evidence.statistics import Comparison, Evidence, Luck

Array = NDArray[Any]

ORDER = 4  # BLEU's longest n-gram (Papineni et al. 2002); sacreBLEU's default


def sentence_statistics(
    hypotheses: Sequence[str], references: Sequence[str], tokeniser: str, *, lowercase: bool = False
) -> Array:
    """BLEU's sufficient statistics [segments, 2 + 2 * ORDER], counted by one of sacreBLEU's tokenisers.

    Columns: hypothesis length, reference length, matches by order, n-grams by order.
    sacreBLEU counts them, cased if not `lowercase`, so that sums over segments give its corpus score.
    """
    # sentence_score asks for effective_order; it changes the score, not the counts
    metric = BLEU(tokenize=tokeniser, lowercase=lowercase, effective_order=True)
    pairs = zip(hypotheses, references, strict=True)
    scores = (metric.sentence_score(hypothesis, [reference]) for hypothesis, reference in pairs)
    rows = [[score.sys_len, score.ref_len, *score.counts, *score.totals] for score in scores]
    return np.array(rows, dtype=np.int64).reshape(len(rows), 2 + 2 * ORDER)


def by_group(statistics: Array, groups: Sequence[str]) -> Array:
    """Sums [groups, columns] of statistics [segments, columns], in the order in which groups first appear."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(groups))}
    sums = np.zeros((len(numbers), statistics.shape[1]), dtype=statistics.dtype)
    np.add.at(sums, [numbers[name] for name in groups], statistics)
    return sums


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
def resamples(groups: int, samples: int, seed: int) -> Array:
    """How often each resample holds each group [samples, groups], drawn as sacreBLEU draws segments."""
    drawn = np.random.default_rng(seed).choice(groups, size=(samples, groups), replace=True)
    drawn += np.arange(samples)[:, None] * groups
    return np.bincount(drawn.ravel(), minlength=samples * groups).reshape(samples, groups).astype(np.float64)


def bootstrap_differences(ours: Array, theirs: Array, samples: int, seed: int) -> Array:
    """BLEU of `ours` minus BLEU of `theirs` [..., samples], given statistics [..., groups, columns].

    A resample holds the same groups of all systems.
    """
    counts = resamples(ours.shape[-2], samples, seed)
    difference: Array = bleu(counts @ ours) - bleu(counts @ theirs)
    return difference


def fortune(differences: Array, luck: Luck, samples: int, seed: int) -> Array:
    """How far the mean of `differences` [seeds], at least two, may lie from that of all seeds [samples].

    It is Student's t times the standard error: one value at the middle of each of `samples` equal shares of
    the distribution, in a drawn order. The error is that of the pooled luck of both sides, or of the
    differences themselves where they are farther apart than that. To resample the seeds would promise too
    much: an interval cannot leave their range, which holds the true mean in three of four cases if there are
    three.
    """
    seeds = len(differences)
    error = max(luck.sd * math.sqrt(2), differences.std(ddof=1)) / math.sqrt(seeds)
    shares = (np.random.default_rng([seed, seeds]).permutation(samples) + 1 / 2) / samples
    drawn: Array = error * stdtrit(luck.freedom, shares)
    return drawn


def bootstrap(
    ours: Array, theirs: Array, luck: Luck | None, *, samples: int, seed: int, confidence: float
) -> Comparison:
    """Difference in BLEU of two systems by paired bootstrap, given statistics [seeds, groups, columns].

    With several seeds it is the mean of the differences paired by seed. A resampled difference d* is that
    mean on resampled groups, plus the fortune of the seeds, which `luck` tells. With one seed there is no
    luck, and nothing is said of other seeds.
    The interval is the percentile interval of d*.
    Koehn (2004, section 4) calls the better system significantly better at level q if it wins in a share q of
    the resamples. The matching two-sided p-value is
        p = 2 * (1 + min(#{d* <= 0}, #{d* >= 0})) / (1 + samples), at most 1.
    The 1 is added so that p is never 0, as in sacreBLEU.
    p agrees with the interval: if p is below 1 - confidence, the interval excludes 0.
    sacreBLEU's own p counts |d*| - mean(|d*|) > |d|. For a clear difference that is one tail: half of this p.
    The verdict comes from judged (nmtkd.evidence.statistics), which knows the other comparisons.
    """
    measured = bleu(ours.sum(-2)) - bleu(theirs.sum(-2))
    drawn = bootstrap_differences(ours, theirs, samples, seed).mean(0)
    if luck is not None:
        drawn = drawn + fortune(measured, luck, samples, seed)
    low, high = np.quantile(drawn, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0])
    tail = min(int((drawn <= 0.0).sum()), int((drawn >= 0.0).sum()))
    p_value = min(1.0, 2.0 * (1 + tail) / (1 + samples))
    return Comparison(float(measured.mean()), Evidence(float(low), float(high), p_value, p_value))
