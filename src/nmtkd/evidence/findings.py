"""What the numbers say, in sentences. A difference is called a gain or a loss only where its interval leaves 0 out."""

from __future__ import annotations

from collections.abc import Sequence

from nmtkd.evidence.metrics import HEADLINE
from nmtkd.evidence.numbers import count, signed, sizes
from nmtkd.evidence.results import SEARCHES, TEACHER
from nmtkd.evidence.statistics import Comparison
from nmtkd.evidence.tables import Summary
from nmtkd.grid import GOLD, NONE

BEAM = SEARCHES[0]


class Findings:
    """Sentences about summaries, names in backticks; `level` is the confidence as text ("95%"), `headline` the test set."""

    def __init__(self, summaries: Sequence[Summary], level: str, headline: str) -> None:
        self.level, self.headline = level, headline
        self.teacher = next(one for one in summaries if one.method == TEACHER)
        self.students = [one for one in summaries if one.method != TEACHER]
        self.compared = [one for one in self.students if BEAM in one.gains]
        self.several_noises = len({one.noise for one in self.students}) > 1
        decodings = {(one.method, one.decoding) for one in self.students}
        self.several_decodings = len(decodings) > len({method for method, _ in decodings})

    def lead(self) -> str:
        """The paragraph for a reader with one minute."""
        under = f" under `{self.teacher.noise}`" if self.several_noises else ""
        size, score = count(self.teacher.parameters), self._bleu(self.teacher)
        told = [f"The teacher ({size} parameters) scores {score:.1f} BLEU on `{self.headline}`{under}."]
        if self.compared:
            higher = sorted((one for one in self.compared if one.gains[BEAM].low > 0), key=lambda one: -one.gains[BEAM].difference)
            lower = sorted((one for one in self.compared if one.gains[BEAM].high < 0), key=lambda one: one.gains[BEAM].difference)
            untold = len(self.compared) - len(higher) - len(lower)
            rest = (
                f", {len(lower) or 'none'} lower, and for {untold} no difference can be told."
                if untold
                else f" and {len(lower) or 'none'} lower."
            )
            told.append(
                f"Beside the plain student of the same size, {len(higher) or 'none'} of {len(self.compared)} distilled students "
                f"score higher{rest}"
            )
            for found, side in ((higher, "over"), (lower, "to")):
                if found:
                    told.append(f"Most of all, {self._verdict(found[0])} {side} `plain` at {self._place(found[0])}.")
        return " ".join(told)

    def numbers(self) -> list[tuple[str, str, str]]:
        """(name, value, explanation): the teacher, the best student beside it, and how much of the way to it distillation went."""
        teacher, top = self.teacher, self._bleu(self.teacher)
        rate = f", {teacher.rates[BEAM]:.0f} sentences/s" if BEAM in teacher.rates else ""
        found = [("Teacher", f"{top:.1f}", f"BLEU, with {count(teacher.parameters)} parameters{rate}")]
        beside = [one for one in self.students if one.noise == teacher.noise]
        best = max(beside, key=self._bleu)
        told = f"BLEU, {self._method(best)} at {self._place(best)}: "
        told += f"{100 * best.parameters / teacher.parameters:.0f}% of the teacher's parameters"
        if BEAM in teacher.rates and BEAM in best.rates:
            told += f", {best.rates[BEAM] / teacher.rates[BEAM]:.1f} times its speed"
        found.append(("Best student", f"{self._bleu(best):.1f}", told))
        ways = []
        for one in beside:
            if BEAM in one.gains and one.gains[BEAM].low > 0:
                plain = self._bleu(one) - one.gains[BEAM].difference
                if plain < self._bleu(one) < top:
                    ways.append((one.gains[BEAM].difference / (top - plain), plain, one))
        if ways:
            share, plain, one = max(ways, key=lambda way: way[0])
            told = f"of the way from `plain` ({plain:.1f}) to the teacher ({top:.1f}), {self._method(one)} at {self._place(one)}"
            found.append(("Gap closed", f"{100 * share:.0f}%", told))
        return found

    def places(self) -> list[tuple[str, str]]:
        """(place, sentence): each size under each noise condition, all methods beside plain."""
        groups: dict[str, list[Summary]] = {}
        for one in self.compared:
            groups.setdefault(self._place(one), []).append(one)
        found = []
        for place, members in groups.items():
            first = members[0]
            plain = self._bleu(first) - first.gains[BEAM].difference
            told = "; ".join(self._verdict(one) for one in sorted(members, key=lambda one: -one.gains[BEAM].difference))
            found.append((place, f"({sizes(one.parameters for one in members)} parameters, `plain` {plain:.1f} BLEU): {told}."))
        return found

    def _verdict(self, one: Summary) -> str:
        gain = one.gains[BEAM]
        if not gain.told:
            return f"{self._method(one)}: no difference can be told ({signed(gain.difference)}, {self._interval(gain)})"
        size = f"gains {signed(gain.difference)}" if gain.low > 0 else f"loses {-gain.difference:.1f}"
        return f"{self._method(one)} {size} BLEU ({self._interval(gain)})"

    def _interval(self, gain: Comparison) -> str:
        return f"{self.level} interval {signed(gain.low)} to {signed(gain.high)}"

    def _method(self, one: Summary) -> str:
        plain_words = one.decoding in (GOLD, NONE) or not self.several_decodings
        return f"`{one.method}`" if plain_words else f"`{one.method}` from `{one.decoding}`"

    def _place(self, one: Summary) -> str:
        return f"`{one.capacity}` under `{one.noise}`" if self.several_noises else f"`{one.capacity}`"

    def _bleu(self, one: Summary) -> float:
        return one.spreads[self.headline, BEAM, HEADLINE].mean
