"""Sentences about the numbers."""

from dataclasses import replace
from typing import Any

from nmtkd.evidence.findings import Findings
from nmtkd.evidence.statistics import Comparison, Evidence, Spread
from nmtkd.evidence.summaries import Summary
from tests.unit.evidence import report_tree

SIZES = {"teacher": 2_000_000, "tiny": 100_000, "small": 200_000}


def _gain(difference: float, low: float, high: float, verdict: int | None) -> dict[str, Comparison]:
    """By the chosen penalty, of which all sentences are; other searches tell the opposite."""
    gain = Comparison(difference, Evidence(low, high, 0.002, 0.004), verdict)
    other = Comparison(-difference, Evidence(-high, -low, 0.002, 0.004), verdict and -verdict)
    return {"beam": gain, "beam_at_1": other, "greedy": other}


def _summary(
    method: str, test: float, valid: float, gains: dict[str, Comparison] | None = None, **changes: Any
) -> Summary:
    scores = {"test": Spread(test, None, None, None, 1), "valid": Spread(valid, None, None, None, 1)}
    facts: dict[str, Any] = {
        "method": method,
        "capacity": "tiny",
        "noise": "clean",
        "decoding": "none",
        "megabytes": 1.0,
        "spreads": {(split, "beam", "bleu"): score for split, score in scores.items()},
        "gains": gains or {},
        "rivals": {},
        "models": {},
        "penalties": [1.0],
        "passes": 4.0,
        "climb": 0.5,
        "climbs": False,
        "is_uneven": False,
    }
    facts |= changes
    return Summary(precision="float32", compute="float32", parameters=SIZES[facts["capacity"]], **facts)


TEACHER = _summary("teacher", 40.0, 42.0, capacity="teacher")
PLAIN = _summary("plain", 30.0, 31.0)
SEQ = _summary("seq", 32.5, 34.0, _gain(2.5, 1.2, 3.9, 1))
WORD = _summary("word", 30.4, 31.5, _gain(0.4, -0.5, 1.3, 0))
BOTH = _summary("both", 28.0, 29.0, _gain(-2.0, -3.0, -1.0, -1))


def _findings(*summaries: Summary) -> Findings:
    return Findings(summaries, "95%", report_tree.HEADLINE)


def test_findings_call_only_clear_differences() -> None:
    """One gain, one loss, one that is not shown."""
    findings = _findings(TEACHER, PLAIN, SEQ, WORD, BOTH)
    assert findings.lead() == (
        "The teacher (2M parameters) scores 40.0 BLEU on `test`. "
        "Of 3 distilled students, 1 scores higher than the plain student of the same size "
        "(`seq` at `tiny`, +2.5, 95% interval +1.2 to +3.9), "
        "1 scores lower (`both` at `tiny`, -2.0, 95% interval -3.0 to -1.0) "
        "and for 1 no difference is shown."
    )
    assert findings.settings() == [
        (
            "`tiny`",
            "(100k parameters, `plain` 30.0 BLEU): `seq` gains +2.5 BLEU (95% interval +1.2 to +3.9); "
            "`word`: no clear difference (+0.4, 95% interval -0.5 to +1.3); "
            "`both` loses 2.0 BLEU (95% interval -3.0 to -1.0).",
        )
    ]


def test_an_interval_beside_0_is_no_gain_by_itself() -> None:
    """The verdict is of all comparisons together."""
    uncertain = replace(SEQ, gains=_gain(2.5, 1.2, 3.9, 0))
    findings = _findings(TEACHER, PLAIN, uncertain)
    assert "none scores higher" in findings.lead() and "for 1 no difference is shown" in findings.lead()
    assert "`seq`: no clear difference (+2.5" in findings.settings()[0][1]
    assert len(findings.numbers()) == 2


def test_validation_chooses_the_student_whose_test_score_is_told() -> None:
    """On the test set `lucky` has the best score and the most of the gap, in validation `seq` has."""
    share = "`seq` at `tiny`: 5% of the teacher's parameters"
    lucky = _summary("lucky", 39.0, 33.5, _gain(9.0, 8.0, 10.0, 1))
    for students in ([SEQ, lucky], [lucky, SEQ]):
        assert _findings(TEACHER, PLAIN, *students).numbers() == [
            ("Teacher", "40.0", "BLEU, with 2M parameters"),
            (
                "Best student by validation",
                "32.5",
                f"test BLEU, {share}",
            ),
            (
                "Gap closed",
                "25%",
                "of the way from `plain` (30.0) to the teacher (40.0), `seq` at `tiny`, "
                "where validation has the largest share",
            ),
        ]


def test_the_gap_is_that_of_the_same_size() -> None:
    """2.5 of 7 BLEU from plain to teacher at `small` are more than 3 of 11 at `tiny`."""
    plain = _summary("plain", 36.0, 35.0, capacity="small")
    small = _summary("word", 38.0, 37.5, _gain(2.0, 1.0, 3.0, 1), capacity="small")
    _, _, gap = _findings(TEACHER, PLAIN, SEQ, plain, small).numbers()
    assert gap[:2] == ("Gap closed", "50%") and "`word` at `small`" in gap[2]


def test_each_size_has_its_own_sentence() -> None:
    """With its own number of parameters and its own `plain`."""
    plain = _summary("plain", 36.0, 35.0, capacity="small")
    small = _summary("word", 38.0, 37.5, _gain(2.0, 1.0, 3.0, 1), capacity="small")
    tiny, other = _findings(TEACHER, PLAIN, SEQ, plain, small).settings()
    assert tiny[0] == "`tiny`" and tiny[1].startswith("(100k parameters, `plain` 30.0 BLEU): `seq` gains")
    assert other[0] == "`small`" and other[1].startswith("(200k parameters, `plain` 36.0 BLEU): `word` gains")


def test_no_gap_is_closed_without_a_gain_on_the_test_set() -> None:
    """Whatever others gain there that validation does not prefer; nor beyond a teacher that plain equals."""
    unclear = _summary("word", 30.4, 35.0, _gain(0.4, -0.5, 1.3, 0))
    assert len(_findings(TEACHER, PLAIN, unclear, SEQ).numbers()) == 2
    assert len(_findings(replace(TEACHER, spreads=PLAIN.spreads), PLAIN, SEQ).numbers()) == 2


def test_the_lead_says_how_far_gains_and_losses_reach() -> None:
    """The largest of several has no interval: it was chosen by its size."""
    better = _summary("better", 33.0, 33.0, _gain(3.0, 2.0, 4.0, 1))
    worse = _summary("worse", 26.0, 26.0, _gain(-4.0, -5.0, -3.0, -1))
    lead = _findings(TEACHER, PLAIN, SEQ, better, BOTH, worse).lead()
    assert lead.endswith(
        " Of 4 distilled students, 2 score higher than the plain student of the same size "
        "(by 2.5 to 3.0 BLEU; largest gain: `better` at `tiny`) and 2 score lower "
        "(by 2.0 to 4.0 BLEU; largest loss: `worse` at `tiny`)."
    )


def test_findings_claim_nothing_without_a_gain() -> None:
    findings = _findings(TEACHER, PLAIN, WORD)
    assert findings.lead().endswith(
        " Of 1 distilled student, none scores higher than the plain student of the same size "
        "and for 1 no difference is shown."
    )


def test_methods_are_ranked_by_tests_alone() -> None:
    """The first by validation beside each other method, by the verdict; no word of the others' order."""
    found = {1: WORD, -1: BOTH, 0: _summary("hybrid", 32.0, 33.0, _gain(2.0, 1.0, 3.0, 1))}
    rivals = {
        one.cell: Comparison(SEQ.bleu("test") - one.bleu("test"), Evidence(0.0, 0.0, 0.01, 0.03), verdict)
        for verdict, one in found.items()
    }
    (setting,) = _findings(TEACHER, PLAIN, replace(SEQ, rivals=rivals), *found.values()).settings()
    assert setting[1].endswith(
        ". `seq`, the first of these by validation BLEU, scores higher than `word` (+2.1, p Holm 0.030), "
        "scores lower than `both` (+4.5, p Holm 0.030) and is not shown to differ from `hybrid` "
        "(+0.5, p Holm 0.030) on `test`."
    )
    text = " ".join([setting[1], _findings(TEACHER, PLAIN, SEQ, WORD).lead()])
    assert "best" not in text and "most" not in text


def test_a_student_is_named_by_its_decoding_where_there_are_several() -> None:
    """One that learns from no output has none."""
    beam, word = replace(SEQ, decoding="beam"), replace(WORD, decoding="gold")
    greedy = _summary("seq", 31.0, 32.0, _gain(1.0, 0.2, 1.9, 1), decoding="greedy")
    one, several = _findings(TEACHER, PLAIN, beam, word), _findings(TEACHER, PLAIN, beam, greedy, word)
    told = one.settings()[0][1]
    assert ": `seq` gains +2.5" in told and "; `word`: no" in told and "from `" not in told
    told = several.settings()[0][1]
    assert ": `seq` from `beam` gains +2.5" in told and "; `seq` from `greedy` gains +1.0" in told
    assert "; `word`: no" in told
    assert "`seq` from `beam` at `tiny`" in several.numbers()[1][2]
    assert "largest gain: `seq` from `beam` at `tiny`" in several.lead()


def test_students_that_still_climb_are_told_in_the_lead() -> None:
    """Those of the comparisons: the teacher is none, and without a comparison there is nothing to caution."""
    steep = [replace(one, climbs=True) for one in (TEACHER, PLAIN, SEQ)]
    caution = (
        "students compared still climb at the end of training (↑): differences are of speed of learning too."
    )
    assert _findings(*steep, WORD).lead().endswith(f" Caution: 2 of the 3 {caution}")
    assert _findings(*steep).lead().endswith(f" Caution: all 2 {caution}")
    assert "Caution" not in _findings(steep[0], PLAIN, SEQ).lead()
    assert "Caution" not in _findings(steep[0], replace(steep[2], gains={})).lead()


def _unproven(summary: Summary) -> Summary:
    bare = {search: Comparison(gain.difference, None) for search, gain in summary.gains.items()}
    return replace(summary, gains=bare)


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


def test_sentences_on_the_best_and_on_the_gap_are_of_the_teachers_noise() -> None:
    """Students of another condition are neither the best one, nor the plain one beside it, nor in the range.

    Beside the noisy `plain` the clean `seq` would have come farthest.
    """
    noisy = [
        _summary("teacher", 20.0, 21.0, capacity="teacher", noise="del10"),
        _summary("plain", 5.0, 6.0, noise="del10"),
        _summary("seq", 39.0, 41.0, _gain(34.0, 30.0, 38.0, 1), noise="del10"),
    ]
    plain = _summary("plain", 36.0, 32.5, capacity="small")
    small = _summary("word", 38.0, 37.0, _gain(2.0, 1.0, 3.0, 1), capacity="small")
    clean = [TEACHER, PLAIN, SEQ, plain, small]
    findings = _findings(*clean, *noisy)
    assert [(name, value) for name, value, _ in findings.numbers()] == [
        ("Teacher", "40.0"),
        ("Best student by validation", "38.0"),
        ("Gap closed", "50%"),
    ]
    told = [text for _, _, text in findings.numbers()[1:]]
    assert all("`word` at `small` under `clean`" in text for text in told)
    assert "from `plain` (36.0) to the teacher (40.0)" in told[1]
    small_set = Findings([*clean, *noisy], "95%", report_tree.SMALL)
    assert "scores 40.0 BLEU on `test` under `clean`, the 4 students 30.0 to 38.0." in small_set.lead()
