"""What differences mean: evidence and verdicts, correction for many comparisons, spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from scipy.special import stdtrit

Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Evidence:
    """How sure a difference is: its confidence interval and two-sided p-values.

    The interval and `p_value` are of this comparison by itself. `p_holm` is corrected for those beside it.
    """

    low: float
    high: float
    p_value: float
    p_holm: float


@dataclass(frozen=True)
class Comparison:
    """A difference and its evidence, which is None where the test set is too small to give any.

    The verdict is 1 or -1 for a gain or a loss, 0 where none is shown, and None where there is none.
    """

    difference: float
    evidence: Evidence | None
    verdict: int | None = None


@dataclass(frozen=True)
class Spread:
    """A mean over seeds. One value has no spread: sd, low and high are None."""

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Luck:
    """What a seed does to a training: the standard deviation of its BLEU, pooled over the cells of a grid.

    Two or three seeds of one cell know little of it, all cells together have `freedom` degrees of freedom.
    """

    sd: float
    freedom: int


def pooled_luck(cells: Sequence[Sequence[float]]) -> Luck | None:
    """The luck of runs, given their values cell by cell, a value a seed. None of cells of one seed."""
    freedom = sum(len(values) - 1 for values in cells)
    if not freedom:
        return None
    means = [math.fsum(values) / len(values) for values in cells]
    squares = ((value - mean) ** 2 for values, mean in zip(cells, means, strict=True) for value in values)
    return Luck(math.sqrt(math.fsum(squares) / freedom), freedom)


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for their number, in their order (Holm 1979).

    The k-th smallest of n is multiplied by n - k + 1, is at least as large as the one before it, and at most
    1. Where no difference is true, any of them is below a level with at most that probability.
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = highest
    return corrected


def judged(comparisons: Mapping[Name, Comparison], confidence: float) -> dict[Name, Comparison]:
    """The same comparisons, which are all that are made, with Holm's p and verdicts.

    A gain or a loss is one whose corrected p is below 1 - confidence.
    """
    tested = {name: one.evidence for name, one in comparisons.items() if one.evidence is not None}
    corrected = dict(zip(tested, holm([evidence.p_value for evidence in tested.values()]), strict=True))
    found = dict(comparisons)
    for name, evidence in tested.items():
        difference, p_holm = comparisons[name].difference, corrected[name]
        sign = (difference > 0.0) - (difference < 0.0)
        verdict = sign if p_holm < 1.0 - confidence else 0
        found[name] = Comparison(difference, replace(evidence, p_holm=p_holm), verdict)
    return found


def least_p(samples: int, comparisons: int) -> float:
    """The smallest corrected p that as many resamples can show for the clearest of the comparisons."""
    return min(1.0, 2.0 * comparisons / (1 + samples))


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
