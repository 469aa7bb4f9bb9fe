"""The length penalty of a beam search: one rule chooses it, for the teacher's text and every model's scores.

A score is log probability / length ** penalty: the larger the penalty, the longer the translations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from nmtkd import machine
from nmtkd.decoding.search import Search
from nmtkd.decoding.translate import translate
from nmtkd.plan import layout
from nmtkd.plan.decoding import Decoding
from nmtkd.plan.schema import Params
from nmtkd.text import text_form, words
from nmtkd.text.bleu import DECIMALS, Quality
from nmtkd.text.parallel import read_pair
from nmtkd.text.yardstick import Yardstick, primary

NEUTRAL = 1.0  # a score is the mean log probability of a token

Tried = Mapping[float, Quality]  # of the validation set's translations, by length penalty


def choose(tried: Tried) -> float:
    """The penalty with the highest score, to the digits that are stored.

    Of equals it is the one nearest to 1.0, then the smaller.
    """

    def rank(penalty: float) -> tuple[float, float, float]:
        distance = round(abs(penalty - NEUTRAL), DECIMALS)
        return -round(tried[penalty].bleu, DECIMALS), distance, penalty

    return min(tried, key=rank)


def try_all(
    penalties: Sequence[float],
    translated: Callable[[float], Sequence[str]],
    references: Sequence[str],
    yardstick: Yardstick,
) -> Tried:
    """What each penalty makes of the validation set, of which `translated` gives by a penalty what counts."""
    return {penalty: yardstick.measure(translated(penalty), references) for penalty in penalties}


def try_teacher(folder: Path, strategy: Decoding, settings: Params, stage: str) -> Tried:
    """What the penalties of a decoding make of the validation set, by the model in `folder`; prints the best.

    Nothing is translated where there is no choice. The primary score of `settings` decides, as for every
    model at test time; only placeholders stay numbered.
    """
    penalties = strategy.length_penalties
    if len(penalties) == 1:
        return {}
    form = text_form.read(layout.BPE)
    yardstick = primary(settings, form.target)
    sources, targets = read_pair(layout.BPE / "valid.src", layout.BPE / "valid.tgt")

    def counted(lines: Sequence[str]) -> list[str]:
        if yardstick.on_tokens:
            return words.spaced([words.join(line) for line in lines])
        return [form.text(line) for line in lines]

    def translated(penalty: float) -> list[str]:
        def progress(done: int, total: int) -> None:
            machine.progress(stage, done, total, f"validation lines translated, length penalty {penalty}")

        found = translate(folder, sources, Search.of(strategy, penalty), strategy.engine, progress)
        return counted([best.text for best, *_ in found])

    tried = try_all(penalties, translated, counted(targets), yardstick)
    best = choose(tried)
    scores = ", ".join(f"{quality.bleu:.1f} at {penalty}" for penalty, quality in tried.items())
    cost = f"brevity penalty {tried[best].brevity_penalty:.2f}"
    print(f"[{stage}] {named(best, penalties)}: validation {yardstick.label} {scores}; {cost}", flush=True)
    return tried


def named(penalty: float, penalties: Sequence[float]) -> str:
    """A chosen penalty for a printed line, which says where a better one may lie beyond those asked for."""
    ends = {min(penalties): "shortest", max(penalties): "longest"} if len(set(penalties)) > 1 else {}
    return f"length penalty {penalty}" + (f", the {ends[penalty]} asked for" if penalty in ends else "")
