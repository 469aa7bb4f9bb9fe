"""What the numbers say, in sentences.

A difference is a gain or a loss only if its interval excludes 0. Without intervals there are scores alone.
"""

from __future__ import annotations

from collections.abc import Sequence

from nmtkd.evidence.headline import Headline
from nmtkd.evidence.metrics import HEADLINE
from nmtkd.evidence.numbers import count, signed, sizes
from nmtkd.evidence.results import BEAM, TEACHER
from nmtkd.evidence.statistics import Comparison
from nmtkd.evidence.summaries import Summary
from nmtkd.plan.layout import GOLD, NONE


class Findings:
    """Sentences about summaries, with names in backticks.

    `level` is the confidence as text ("95%").
    """

    def __init__(self, summaries: Sequence[Summary], level: str, headline: Headline) -> None:
        self.level, self.headline = level, headline
        self.teacher = next(summary for summary in summaries if summary.method == TEACHER)
        self.students = [summary for summary in summaries if summary.method != TEACHER]
        self.beside = [summary for summary in self.students if summary.noise == self.teacher.noise]
        self.compared = [summary for summary in self.students if BEAM in summary.gains]
        self.has_verdicts = bool(self.compared) and not headline.is_small
        self.several_noises = len({summary.noise for summary in self.students}) > 1
        decodings = {(summary.method, summary.decoding) for summary in self.students}
        self.several_decodings = len(decodings) > len({method for method, _ in decodings})

    def lead(self) -> str:
        """Two sentences for a reader with one minute: one on the teacher, one on its students.

        One more follows if no model can reach 100 BLEU.
        """
        under = f" under `{self.teacher.noise}`" if self.several_noises else ""
        size, score = count(self.teacher.parameters), self._bleu(self.teacher)
        teacher = f"The teacher ({size} parameters) scores {score:.1f} BLEU on `{self.headline.name}`{under}"
        sentences = [f"{teacher}."]
        if self.headline.is_small:
            sentences = [f"{teacher}, {self._range()}.", f"{self.headline.smallness}."]
        elif self.compared:
            sentences.append(self._verdicts())
        return " ".join([*sentences, *[self.headline.limit] * bool(self.headline.limit)])

    def _range(self) -> str:
        """From where to where the students under the teacher's noise condition score."""
        scores = sorted(map(self._bleu, self.beside))
        if len(scores) == 1:
            return f"the student {scores[0]:.1f}"
        return f"the {len(scores)} students {scores[0]:.1f} to {scores[-1]:.1f}"

    def _verdicts(self) -> str:
        """How many distilled students differ from the plain ones, and which one most."""
        by_gain = sorted(self.compared, key=lambda s: -s.gains[BEAM].difference)
        higher = [summary for summary in by_gain if summary.gains[BEAM].verdict == 1]
        lower = [summary for summary in reversed(by_gain) if summary.gains[BEAM].verdict == -1]
        unclear = len(self.compared) - len(higher) - len(lower)
        parts = [f"{len(higher) or 'none'} {_verb(higher)} higher than the plain student of the same size"]
        parts[0] += self._extreme(higher)
        if lower:
            parts.append(f"{len(lower)} {_verb(lower)} lower{self._extreme(lower)}")
        if unclear:
            parts.append(f"for {unclear} the interval contains 0")
        students = f"{len(self.compared)} distilled student{'s' * (len(self.compared) > 1)}"
        return f"Of {students}, {_joined(parts)}."

    def numbers(self) -> list[tuple[str, str, str]]:
        """(name, value, explanation): the teacher, the best student, the share of the gap that was closed.

        The teacher alone, if the test set is too small to call a student the best.
        """
        teacher, top = self.teacher, self._bleu(self.teacher)
        numbers = [("Teacher", f"{top:.1f}", f"BLEU, with {count(teacher.parameters)} parameters")]
        if self.headline.is_small:
            return numbers
        best = max(self.beside, key=self._bleu)
        share = f"{100 * best.parameters / teacher.parameters:.0f}% of the teacher's parameters"
        explanation = f"BLEU, {self._method(best)} at {self._setting(best)}: {share}"
        numbers.append(("Best student", f"{self._bleu(best):.1f}", explanation))
        gaps = []
        for summary in self.beside:
            if BEAM in summary.gains and summary.gains[BEAM].verdict == 1:
                plain = self._bleu(summary) - summary.gains[BEAM].difference
                if plain < self._bleu(summary) < top:
                    gaps.append((summary.gains[BEAM].difference / (top - plain), plain, summary))
        if gaps:
            closed, plain, summary = max(gaps, key=lambda gap: gap[0])
            explanation = (
                f"of the way from `plain` ({plain:.1f}) to the teacher ({top:.1f}), "
                f"{self._method(summary)} at {self._setting(summary)}"
            )
            numbers.append(("Gap closed", f"{100 * closed:.0f}%", explanation))
        return numbers

    def settings(self) -> list[tuple[str, str]]:
        """(setting, sentence): for each size under each noise condition, all methods beside plain."""
        groups: dict[str, list[Summary]] = {}
        for summary in self.compared:
            groups.setdefault(self._setting(summary), []).append(summary)
        sentences = []
        for setting, members in groups.items():
            plain = self._bleu(members[0]) - members[0].gains[BEAM].difference
            by_gain = sorted(members, key=lambda s: -s.gains[BEAM].difference)
            verdicts = "; ".join(self._verdict(summary) for summary in by_gain)
            parameters = sizes(summary.parameters for summary in members)
            sentences.append((setting, f"({parameters} parameters, `plain` {plain:.1f} BLEU): {verdicts}."))
        return sentences

    def _extreme(self, summaries: Sequence[Summary]) -> str:
        """The first of `summaries` in brackets, as the one that differs most."""
        if not summaries:
            return ""
        first, gain = summaries[0], summaries[0].gains[BEAM]
        most = "most: " if len(summaries) > 1 else ""
        where = f"{self._method(first)} at {self._setting(first)}"
        return f" ({most}{where}, {signed(gain.difference)}, {self._interval(gain)})"

    def _verdict(self, summary: Summary) -> str:
        name, gain = self._method(summary), summary.gains[BEAM]
        if gain.verdict is None:
            return f"{name} {self._bleu(summary):.1f} ({signed(gain.difference)}, no verdict)"
        if gain.verdict == 0:
            return f"{name}: no clear difference ({signed(gain.difference)}, {self._interval(gain)})"
        size = f"gains {signed(gain.difference)}" if gain.verdict == 1 else f"loses {-gain.difference:.1f}"
        return f"{name} {size} BLEU ({self._interval(gain)})"

    def _interval(self, gain: Comparison) -> str:
        assert gain.evidence is not None, "asked only where there is a verdict"
        return f"{self.level} interval {signed(gain.evidence.low)} to {signed(gain.evidence.high)}"

    def _method(self, summary: Summary) -> str:
        is_unique = summary.decoding in (GOLD, NONE) or not self.several_decodings
        return f"`{summary.method}`" if is_unique else f"`{summary.method}` from `{summary.decoding}`"

    def _setting(self, summary: Summary) -> str:
        noise = f" under `{summary.noise}`" if self.several_noises else ""
        return f"`{summary.capacity}`{noise}"

    def _bleu(self, summary: Summary) -> float:
        return summary.spreads[self.headline.name, BEAM, HEADLINE].mean


def _verb(summaries: Sequence[Summary]) -> str:
    return "score" if len(summaries) > 1 else "scores"


def _joined(parts: Sequence[str]) -> str:
    """An English list: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
