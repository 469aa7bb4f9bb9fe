"""What stands under the table: what its columns mean, what its marks say, and how far the intervals carry."""

from __future__ import annotations

from collections.abc import Sequence

from nmtkd.evidence.headline import Headline
from nmtkd.evidence.metrics import BREVITY, CHARACTERS, definitions
from nmtkd.evidence.numbers import show_p
from nmtkd.evidence.results import BEAM
from nmtkd.evidence.statistics import least_p
from nmtkd.evidence.summaries import Summary
from nmtkd.plan.schema import Report
from nmtkd.plan.values import FLOAT32
from nmtkd.text.yardstick import COLUMNS

GAIN_COLUMN, AT_1_COLUMN, P_HOLM_COLUMN = "vs plain", "at lp 1", "p Holm"
MARKS = "mark"  # the column; it stands there if a row has one
CLIMBS, HANGS, UNEVEN = "↑", "≠", "*"
SHORTLY = {CLIMBS: "still climbs", HANGS: "another verdict at lp 1", UNEVEN: "other data than plain"}
COUNTED = " (tokens, or single characters where a script has no spaces)"


def marks(summary: Summary) -> str:
    """The signs of a row."""
    asked = {CLIMBS: summary.climbs, HANGS: summary.hangs_on_length, UNEVEN: summary.is_uneven}
    return "".join(sign for sign, is_set in asked.items() if is_set)


def notes(summaries: Sequence[Summary], settings: Report, headline: Headline, long_words: int) -> list[str]:
    """A note a line. `long_words` is 0 if no column is about long segments."""
    seeds = max(spread.n for summary in summaries for spread in summary.spreads.values())
    comparisons = sum(BEAM in summary.gains for summary in summaries)
    lines = [
        *_scores(headline, long_words),
        *[f"±: standard deviation over {seeds} seeds; scores are means."] * (seeds > 1),
        "passes: over the training set, in all trainings of a model; runs.csv counts sentences and tokens.",
        "climb: BLEU that the learning curve gains over the last quarter of the updates, by a fitted line.",
        *(_gains(seeds, comparisons, settings, headline) if comparisons else []),
        *_signs(summaries, settings),
        "MB: the model's file.",
        *_precisions(summaries),
        *_computes(summaries),
    ]
    if seeds == 1:
        lines.append(
            "Caution, one seed a cell: nothing here tells where a second training would land, "
            "nor which sign a difference would have then."
        )
    return lines + [headline.limit] * bool(headline.limit)


def _precisions(summaries: Sequence[Summary]) -> list[str]:
    """Which models were trained in which precision, where it is not one for all."""
    trained: dict[str, dict[str, None]] = {}
    for summary in summaries:
        trained.setdefault(summary.precision, {})[summary.method] = None
    if len(trained) == 1:
        return []
    parts = "; ".join(f"{precision}: {', '.join(methods)}" for precision, methods in trained.items())
    return [f"Caution, products in training were not of one type. {parts}."]


def _computes(summaries: Sequence[Summary]) -> list[str]:
    """In which type the models translated, where it is not float32. Results of two types make no report."""
    rounded = sorted({summary.compute for summary in summaries} - {FLOAT32})
    return [f"All models translated the test sets in {compute} (evaluate.compute)." for compute in rounded]


def _scores(headline: Headline, long_words: int) -> list[str]:
    """The columns of scores."""
    defined = definitions(headline.tokeniser, lowercase=headline.lowercase)
    long = f"the segments of {long_words} source words and more{COUNTED}"
    words = f"{long_words}+ words: {headline.label} of {long}."
    return [
        f"{headline.column}: {defined[headline.metric]}; test set `{headline.name}`, beam search. "
        "greedy: the same by greedy search.",
        f"BP: {defined[BREVITY]}.",
        f"lp: the length penalty of the beam search, each model's best by validation {headline.label}; "
        "greedy has none.",
        *[words] * bool(long_words),
        f"{COLUMNS[headline.beside]}: {defined[headline.beside]}.",
        f"chrF2: {defined[CHARACTERS].removeprefix('chrF2, ')}.",
    ]


def _gains(seeds: int, comparisons: int, settings: Report, headline: Headline) -> list[str]:
    """The columns of differences: how intervals and p are found, or why there are none."""
    mean = f", mean of {seeds} differences paired by seed" if seeds > 1 else ""
    plain = f"that of the plain student of the same capacity, noise and seed{mean}"
    what = f"{GAIN_COLUMN}: {headline.label} minus {plain}"
    at_1 = f"{AT_1_COLUMN}: the same with length penalty 1 for both."
    if headline.is_small:
        return [f"{what}; no interval and no p: {headline.smallness}.", at_1]
    others = " and Student's t over seeds, whose luck is pooled over all students" if seeds > 1 else ""
    lines = [
        f"{what}; interval and two-sided p by paired bootstrap over {headline.resampled}{others}, "
        f"{settings.bootstrap_samples} samples.",
        at_1,
        f"{P_HOLM_COLUMN}: p corrected for there being {comparisons} comparison{'s' * (comparisons > 1)} "
        f"(Holm 1979). A gain or a loss is one where it is below {1.0 - settings.confidence:g}.",
    ]
    least = least_p(settings.bootstrap_samples, comparisons)
    if least >= 1.0 - settings.confidence:
        lines.append(
            f"No difference can be shown: with {settings.bootstrap_samples} samples and {comparisons} "
            f"comparisons the least {P_HOLM_COLUMN} is {show_p(least)}; raise report.bootstrap_samples."
        )
    return lines


def _signs(summaries: Sequence[Summary], settings: Report) -> list[str]:
    """What the marks say that some row has."""
    told = {
        CLIMBS: f"its validation BLEU still rises by more than {settings.max_climb:g} over the last quarter "
        "(report.max_climb; by how much: climb): comparisons with it are of speed of learning.",
        HANGS: f"the verdict at length penalty 1 ({AT_1_COLUMN}) is another one: the choice of the penalty "
        "decides about this difference.",
        UNEVEN: "it saw another number of sentences than its plain student, or was trained more than once "
        "(runs.csv).",
    }
    present = set("".join(map(marks, summaries)))
    return [f"{sign}: {text}" for sign, text in told.items() if sign in present]
