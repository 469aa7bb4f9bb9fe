"""Sentences about the numbers."""

from dataclasses import replace

from nmtkd.evidence.findings import Findings
from nmtkd.evidence.statistics import Comparison, Evidence, Spread
from nmtkd.evidence.summaries import Summary
from tests.unit.evidence import report_tree

SIZES = {"teacher": 2_000_000, "tiny": 100_000}


def _summary(method: str, mean: float, gain: Comparison | None = None, capacity: str = "tiny") -> Summary:
    spreads = {("test", "beam", "bleu"): Spread(mean, None, None, None, 1)}
    gains = {} if gain is None else {"beam": gain}
    return Summary(method, capacity, "clean", "none", SIZES[capacity], 1.0, spreads, gains, {})


TEACHER = _summary("teacher", 40.0, capacity="teacher")
PLAIN = _summary("plain", 30.0)
SEQ = _summary("seq", 32.5, Comparison(2.5, Evidence(1.2, 3.9, 0.002)))
WORD = _summary("word", 30.4, Comparison(0.4, Evidence(-0.5, 1.3, 0.4)))
BOTH = _summary("both", 28.0, Comparison(-2.0, Evidence(-3.0, -1.0, 0.002)))


def test_findings_call_only_clear_differences() -> None:
    """One gain, one loss, one interval that contains 0."""
    findings = Findings([TEACHER, PLAIN, SEQ, WORD, BOTH], "95%", report_tree.HEADLINE)
    assert findings.lead() == (
        "The teacher (2M parameters) scores 40.0 BLEU on `test`. "
        "Of 3 distilled students, 1 scores higher than the plain student of the same size "
        "(`seq` at `tiny`, +2.5, 95% interval +1.2 to +3.9), "
        "1 scores lower (`both` at `tiny`, -2.0, 95% interval -3.0 to -1.0) "
        "and for 1 the interval contains 0."
    )
    assert findings.settings() == [
        (
            "`tiny`",
            "(100k parameters, `plain` 30.0 BLEU): `seq` gains +2.5 BLEU (95% interval +1.2 to +3.9); "
            "`word`: no clear difference (+0.4, 95% interval -0.5 to +1.3); "
            "`both` loses 2.0 BLEU (95% interval -3.0 to -1.0).",
        )
    ]
    assert findings.numbers()[0] == ("Teacher", "40.0", "BLEU, with 2M parameters")
    assert findings.numbers()[1] == (
        "Best student",
        "32.5",
        "BLEU, `seq` at `tiny`: 5% of the teacher's parameters",
    )
    assert findings.numbers()[2] == (
        "Gap closed",
        "25%",
        "of the way from `plain` (30.0) to the teacher (40.0), `seq` at `tiny`",
    )


def test_the_lead_names_the_largest_gain_and_the_largest_loss() -> None:
    better = _summary("best", 33.0, Comparison(3.0, Evidence(2.0, 4.0, 0.002)))
    worse = _summary("worst", 26.0, Comparison(-4.0, Evidence(-5.0, -3.0, 0.002)))
    lead = Findings([TEACHER, PLAIN, SEQ, better, BOTH, worse], "95%", report_tree.HEADLINE).lead()
    assert "2 score higher than the plain student of the same size (most: `best` at `tiny`, +3.0," in lead
    assert " and 2 score lower (most: `worst` at `tiny`, -4.0," in lead
    assert "contains 0" not in lead


def test_findings_claim_no_gap_closed_without_a_gain() -> None:
    findings = Findings([TEACHER, PLAIN, WORD], "95%", report_tree.HEADLINE)
    assert findings.lead().endswith(
        " Of 1 distilled student, none scores higher than the plain student of the same size "
        "and for 1 the interval contains 0."
    )
    assert len(findings.numbers()) == 2


def _unproven(summary: Summary) -> Summary:
    return replace(summary, gains={search: replace(g, evidence=None) for search, g in summary.gains.items()})


def test_a_small_test_set_is_not_judged() -> None:
    """The lead says the scores, and how many segments a verdict takes; no student is called the best."""
    findings = Findings([TEACHER, PLAIN, _unproven(SEQ), _unproven(BOTH)], "95%", report_tree.SMALL)
    assert findings.lead() == (
        "The teacher (2M parameters) scores 40.0 BLEU on `test`, the 3 students 28.0 to 32.5. "
        "12 segments are too few for a verdict, which takes 13 (report.min_segments)."
    )
    assert findings.numbers() == [("Teacher", "40.0", "BLEU, with 2M parameters")]
    assert findings.settings() == [
        (
            "`tiny`",
            "(100k parameters, `plain` 30.0 BLEU): `seq` 32.5 (+2.5, no verdict); "
            "`both` 28.0 (-2.0, no verdict).",
        )
    ]
    assert not findings.has_verdicts
    one = replace(report_tree.SMALL, references=["Auf"], min_segments=100)
    lead = Findings([TEACHER, PLAIN], "95%", one).lead()
    assert lead.endswith(
        "the student 30.0. 1 segment is too few for a verdict, which takes 100 (report.min_segments)."
    )


def test_the_lead_names_a_low_ceiling() -> None:
    headline = replace(report_tree.HEADLINE, ceiling=94.13)
    for summaries in ([TEACHER, PLAIN, SEQ], [TEACHER, PLAIN]):
        lead = Findings(summaries, "95%", headline).lead()
        assert lead.endswith(
            " No model can score more than 94.1 BLEU on `test`: so much its references score against "
            "themselves, through tokeniser, BPE and back."
        )


def test_without_a_comparison_the_lead_is_about_the_teacher() -> None:
    lead = Findings([TEACHER, replace(SEQ, gains={})], "95%", report_tree.HEADLINE).lead()
    assert lead == "The teacher (2M parameters) scores 40.0 BLEU on `test`."
