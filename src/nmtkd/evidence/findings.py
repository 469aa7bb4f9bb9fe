"""What the numbers say, in sentences.

A difference is a gain or a loss only if its p, corrected for the other comparisons, says so. Without p there
are scores alone. What is singled out as the best was chosen by validation BLEU, and its test score is told.
"""

from __future__ import annotations

from collections.abc import Sequence

from nmtkd.evidence.headline import Headline
from nmtkd.evidence.notes import CLIMBS, P_HOLM_COLUMN
from nmtkd.evidence.numbers import count, show_p, signed, sizes
from nmtkd.evidence.results import BEAM, TEACHER, VALID
from nmtkd.evidence.statistics import Comparison
from nmtkd.evidence.summaries import Summary
from nmtkd.plan.layout import GOLD, NONE

# by the verdict, of the leader of a setting beside the others
RANKS = {1: "scores higher than", -1: "scores lower than", 0: "is not shown to differ from"}


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

        One more follows if models still climb, and one if no model can reach 100 BLEU.
        """
        under = f" under `{self.teacher.noise}`" if self.several_noises else ""
        size, score = count(self.teacher.parameters), self._bleu(self.teacher)
        found = f"{score:.1f} {self.headline.label} on `{self.headline.name}`{under}"
        teacher = f"The teacher ({size} parameters) scores {found}"
        sentences = [f"{teacher}."]
        if self.headline.is_small:
            sentences = [f"{teacher}, {self._range()}.", f"{self.headline.smallness}."]
        elif self.compared:
            sentences.append(self._verdicts())
        if self.compared:
            sentences += self._climbing()
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
        parts[0] += self._extent(higher, "gain")
        if lower:
            parts.append(f"{len(lower)} {_verb(lower)} lower{self._extent(lower, 'loss')}")
        if unclear:
            parts.append(f"for {unclear} no difference is shown")
        students = f"{len(self.compared)} distilled student{'s' * (len(self.compared) > 1)}"
        return f"Of {students}, {_joined(parts)}."

    def _climbing(self) -> list[str]:
        """A sentence on the models of the comparisons that were still learning fast, if any."""
        settings = {(summary.capacity, summary.noise) for summary in self.compared}
        students = [s for s in self.students if (s.capacity, s.noise) in settings]
        climbing = sum(summary.climbs for summary in students)
        if not climbing:
            return []
        number = f"{climbing} of the {len(students)}" if climbing < len(students) else f"all {climbing}"
        return [
            f"Caution: {number} students compared still climb at the end of training ({CLIMBS}): "
            "differences are of speed of learning too."
        ]

    def numbers(self) -> list[tuple[str, str, str]]:
        """(name, value, explanation): the teacher, the student that validation prefers, the gap it closed.

        The teacher alone, if the test set is too small for a verdict.
        """
        teacher, top = self.teacher, self._bleu(self.teacher)
        numbers = [
            ("Teacher", f"{top:.1f}", f"{self.headline.label}, with {count(teacher.parameters)} parameters")
        ]
        if self.headline.is_small:
            return numbers
        best = max(self.beside, key=lambda summary: summary.bleu(VALID))
        share = f"{100 * best.parameters / teacher.parameters:.0f}% of the teacher's parameters"
        explanation = f"test {self.headline.label}, {self._method(best)} at {self._setting(best)}: {share}"
        numbers.append(("Best student by validation", f"{self._bleu(best):.1f}", explanation))
        return numbers + self._gap()

    def _gap(self) -> list[tuple[str, str, str]]:
        """The share of the way from plain to teacher, of the student that closed most of it in validation.

        Nothing unless the test set shows a gain of that student, and leaves something of the way.
        """
        plain = {s.capacity: s.bleu(VALID) for s in self.beside if not s.gains}
        top = self.teacher.bleu(VALID)
        shares = [
            ((summary.bleu(VALID) - plain[summary.capacity]) / (top - plain[summary.capacity]), summary)
            for summary in self.beside
            if summary.gains and plain[summary.capacity] < top
        ]
        if not shares:
            return []
        _, chosen = max(shares, key=lambda share: share[0])
        gain, score, top = chosen.gains[BEAM], self._bleu(chosen), self._bleu(self.teacher)
        start = score - gain.difference
        if gain.verdict != 1 or score >= top:
            return []
        explanation = (
            f"of the way from `plain` ({start:.1f}) to the teacher ({top:.1f}), "
            f"{self._method(chosen)} at {self._setting(chosen)}, where validation has the largest share"
        )
        return [("Gap closed", f"{100 * gain.difference / (top - start):.0f}%", explanation)]

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
            text = f"({parameters} parameters, `plain` {plain:.1f} {self.headline.label}): {verdicts}."
            sentences.append((setting, text + self._ranking(members)))
        return sentences

    def _ranking(self, members: Sequence[Summary]) -> str:
        """How the leader of a setting compares with the others there. Empty without tests."""
        leader = next((summary for summary in members if summary.rivals), None)
        if leader is None or not self.has_verdicts:
            return ""
        names = {summary.cell: self._method(summary) for summary in members}
        parts = []
        for verdict, what in RANKS.items():
            others = [
                f"{names[cell]} ({signed(found.difference)}, {P_HOLM_COLUMN} {show_p(found.evidence.p_holm)})"
                for cell, found in leader.rivals.items()
                if found.verdict == verdict and found.evidence
            ]
            parts += [f"{what} {_joined(others)}"] * bool(others)
        return (
            f" {names[leader.cell]}, the first of these by validation {self.headline.label}, "
            f"{_joined(parts)} on `{self.headline.name}`."
        )

    def _extent(self, summaries: Sequence[Summary], what: str) -> str:
        """In brackets how much `summaries` differ, the first one most. The largest of many has no interval.

        It was chosen among them by its size, so that its own interval lies too far out.
        """
        if not summaries:
            return ""
        first, last = summaries[0], summaries[-1]
        where = f"{self._method(first)} at {self._setting(first)}"
        if first is last:
            gain = first.gains[BEAM]
            return f" ({where}, {signed(gain.difference)}, {self._interval(gain)})"
        ends = sorted(abs(summary.gains[BEAM].difference) for summary in (first, last))
        return f" (by {ends[0]:.1f} to {ends[1]:.1f} {self.headline.label}; largest {what}: {where})"

    def _verdict(self, summary: Summary) -> str:
        name, gain = self._method(summary), summary.gains[BEAM]
        if gain.verdict is None:
            return f"{name} {self._bleu(summary):.1f} ({signed(gain.difference)}, no verdict)"
        if gain.verdict == 0:
            return f"{name}: no clear difference ({signed(gain.difference)}, {self._interval(gain)})"
        size = f"gains {signed(gain.difference)}" if gain.verdict == 1 else f"loses {-gain.difference:.1f}"
        return f"{name} {size} {self.headline.label} ({self._interval(gain)})"

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
        return summary.bleu(self.headline.name)


def _verb(summaries: Sequence[Summary]) -> str:
    return "score" if len(summaries) > 1 else "scores"


def _joined(parts: Sequence[str]) -> str:
    """An English list: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)
