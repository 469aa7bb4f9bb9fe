"""nmtkd.text.account: the data card in lines, and what deserves a warning."""

from pathlib import Path
from typing import Any

import pytest

from nmtkd.text.account import account
from nmtkd.text.preparation import prepare
from tests.unit.text.toys import corpus, given, settings


def ceiling(bleu: float = 100.0, lines: int = 10, **kinds: int) -> dict[str, Any]:
    every = dict.fromkeys(("spaces", "invisible", "unicode form", "marks", "other"), 0) | kinds
    return {"BLEU": bleu, "lines": lines, "to the letter": lines - sum(every.values()), **every}


def card(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "tokeniser": "reversible",
        "raw_pairs": 2000,
        "dropped": {},
        "splits": {"valid": {"pairs": 10}, "test": {"pairs": 10}, "train": {"pairs": 1900}},
        "normalised": {},
        "ceiling": {"valid": ceiling(), "test": ceiling()},
    }
    return values | changes


def warnings(**changes: Any) -> list[str]:
    lines = list(account(card(**changes)))
    first = next((number for number, line in enumerate(lines) if line.startswith("warning")), len(lines))
    return lines[first:]


def test_a_card_without_a_fault_has_no_warning() -> None:
    assert list(account(card())) == [
        "valid: 10 pairs",
        "test: 10 pairs",
        "train: 1,900 pairs",
        "valid: ceiling 100.0 BLEU; 10 of 10 references come back to the letter",
        "test: ceiling 100.0 BLEU; 10 of 10 references come back to the letter",
    ]


def test_what_was_dropped_is_told_by_reason() -> None:
    dropped = {"exact duplicates": 1200, "placeholders differ": 0, "longer than max_words": 7}
    lines = list(account(card(dropped=dropped)))
    assert lines[3] == "dropped of 2,000 raw pairs: 1,200 exact duplicates, 7 longer than max_words"


def test_what_normalisation_changed_is_told_by_split_and_kind() -> None:
    normalised = {
        "valid": {"nfc": 0, "white_space": 0},
        "train": {"nfc": 1234, "white_space": 2, "controls": 0},
    }
    lines = list(account(card(normalised=normalised)))
    assert [line for line in lines if "changed" in line] == [
        "train: lines changed: 1,234 by nfc, 2 by white_space"
    ]


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("longer than max_words", "; see prepare.max_words"),
        ("longer than max_words before the split", "; see prepare.max_words"),
        ("sides too uneven", "; see prepare.max_ratio and prepare.ratio_slack"),
        ("stands in a held-out set", "; see prepare.overlap"),
        ("placeholders differ", ""),
        ("only invisible characters", ""),
    ],
)
def test_a_reason_that_takes_more_than_a_twentieth_is_a_warning_with_its_remedy(
    reason: str, remedy: str
) -> None:
    assert warnings(dropped={reason: 100}) == []
    assert warnings(dropped={reason: 101}) == [f"warning: 5% of the raw pairs were dropped: {reason}{remedy}"]


def test_duplicates_are_no_loss() -> None:
    assert warnings(dropped={"exact duplicates": 1999}) == []


def test_each_reason_has_its_own_warning() -> None:
    dropped = {"sides too uneven": 400, "longer than max_words": 500, "exact duplicates": 900}
    assert [line.partition(": ")[2] for line in warnings(dropped=dropped)] == [
        "20% of the raw pairs were dropped: sides too uneven; see prepare.max_ratio and prepare.ratio_slack",
        "25% of the raw pairs were dropped: longer than max_words; see prepare.max_words",
    ]


WORST = [
    {"split": "test", "line": 3, "reference": "v roce 2004.", "comes back as": "v roce2004."},
    {"split": "valid", "line": 1, "reference": "x\u00a0y", "comes back as": "x y"},
]


def test_a_low_ceiling_is_a_warning_with_kinds_and_the_worst_lines() -> None:
    low = {"valid": ceiling(), "test": ceiling(62.64, spaces=4, other=1)}
    head, *shown = warnings(tokeniser="moses", ceiling=low, ceiling_worst=WORST)
    assert head.startswith("warning: test: no model can score above 62.6 BLEU")
    assert "the tokeniser moses" in head and "(4 spaces, 1 other)" in head
    assert head.endswith("; see prepare.tokeniser and prepare.normalise")
    assert shown == ["  line 3: 'v roce 2004.' comes back as 'v roce2004.'"]


@pytest.mark.parametrize(
    ("row", "warned"),
    [
        (ceiling(99.0, 100, spaces=3), False),
        (ceiling(98.99, 100, spaces=3), True),
        (ceiling(100.0, 100, spaces=10), False),
        (ceiling(100.0, 100, spaces=11), True),  # BLEU does not see it
    ],
)
def test_a_ceiling_is_warned_of_by_its_score_or_by_its_lines(row: dict[str, Any], warned: bool) -> None:
    assert bool(warnings(ceiling={"test": row})) == warned


def test_references_too_short_for_bleu_are_a_warning_of_their_own() -> None:
    assert warnings(ceiling={"valid": ceiling(), "test": ceiling(0.0)}) == [
        "warning: test: no reference has four words as BLEU counts them, so that BLEU is 0.0 however good "
        "a model is; look at chrF2"
    ]


def test_the_worst_lines_show_what_cannot_be_seen() -> None:
    low = {"valid": ceiling(90.0, spaces=1)}
    assert warnings(ceiling=low, ceiling_worst=WORST)[1] == r"  line 1: 'x\xa0y' comes back as 'x y'"


def test_the_card_of_a_corpus_is_accounted_for(tmp_path: Path) -> None:
    train = [
        ("red", "rot"),
        ("red", "rot"),
        ("one", "eins " * 9),
        *[(f"lamp {n}", f"licht {n}") for n in "abcdef"],
    ]
    chosen = settings(tokeniser="moses", normalise=["white_space"])
    raw = given(tmp_path / "raw", train=train, test=[("in", "es war im\u00a0Jahr 2004 so")])
    lines = list(account(prepare(raw, tmp_path / "out", corpus(), chosen)))
    assert lines[:5] == [
        "valid: 1 pairs",
        "test: 1 pairs",
        "train: 7 pairs",
        "dropped of 9 raw pairs: 1 exact duplicates, 1 sides too uneven",
        "test: lines changed: 1 by white_space",
    ]
    assert (
        "warning: 11% of the raw pairs were dropped: sides too uneven; "
        "see prepare.max_ratio and prepare.ratio_slack" in lines
    )
    assert lines[-1] == r"  line 1: 'es war im\xa0Jahr 2004 so' comes back as 'es war im Jahr 2004 so'"
