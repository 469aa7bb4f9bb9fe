"""Sentences about the numbers."""

from nmtkd.evidence.findings import Findings
from nmtkd.evidence.statistics import Comparison, Spread
from nmtkd.evidence.summaries import Summary

SIZES = {"teacher": 2_000_000, "tiny": 100_000}


def _summary(method: str, mean: float, gain: Comparison | None = None, capacity: str = "tiny") -> Summary:
    spreads = {("test", "beam", "bleu"): Spread(mean, None, None, None, 1)}
    gains = {} if gain is None else {"beam": gain}
    return Summary(method, capacity, "clean", "none", SIZES[capacity], 1.0, spreads, gains, {})


TEACHER = _summary("teacher", 40.0, capacity="teacher")
PLAIN = _summary("plain", 30.0)
SEQ = _summary("seq", 32.5, Comparison(2.5, 1.2, 3.9, 0.002))
WORD = _summary("word", 30.4, Comparison(0.4, -0.5, 1.3, 0.4))
BOTH = _summary("both", 28.0, Comparison(-2.0, -3.0, -1.0, 0.002))


def test_findings_call_only_clear_differences() -> None:
    """One gain, one loss, one interval that contains 0."""
    findings = Findings([TEACHER, PLAIN, SEQ, WORD, BOTH], "95%", "test")
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
    better = _summary("best", 33.0, Comparison(3.0, 2.0, 4.0, 0.002))
    worse = _summary("worst", 26.0, Comparison(-4.0, -5.0, -3.0, 0.002))
    lead = Findings([TEACHER, PLAIN, SEQ, better, BOTH, worse], "95%", "test").lead()
    assert "2 score higher than the plain student of the same size (most: `best` at `tiny`, +3.0," in lead
    assert " and 2 score lower (most: `worst` at `tiny`, -4.0," in lead
    assert "contains 0" not in lead


def test_findings_claim_no_gap_closed_without_a_gain() -> None:
    findings = Findings([TEACHER, PLAIN, WORD], "95%", "test")
    assert findings.lead().endswith(
        " Of 1 distilled student, none scores higher than the plain student of the same size "
        "and for 1 the interval contains 0."
    )
    assert len(findings.numbers()) == 2


def test_without_a_comparison_the_lead_is_about_the_teacher() -> None:
    lead = Findings([TEACHER, SEQ.__class__(**{**vars(SEQ), "gains": {}})], "95%", "test").lead()
    assert lead == "The teacher (2M parameters) scores 40.0 BLEU on `test`."
