"""nmtkd.text.ceiling: what a perfect translation would score, against the corpus's own text."""

from pathlib import Path
from typing import Any

import pytest

from nmtkd.text.ceiling import KINDS, OTHER, back, is_low, kind_of_change, measure, worst
from nmtkd.text.preparation import prepare
from nmtkd.text.splitting import Pair
from nmtkd.text.tokenisers import tokeniser
from tests.unit.text.toys import corpus, given, settings


def prepared(folder: Path, test: list[Pair], target: str, **changes: Any) -> dict[str, Any]:
    """The card."""
    raw = given(folder / "raw", train=[("x", "y")], test=test)
    return prepare(raw, folder / "out", corpus(target=target), settings(**changes))


# Kinds of change


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        ("roce 2004.", "roce2004.", "spaces"),
        ("10\u00a0km", "10 km", "spaces"),
        ("a\u200bb", "ab", "invisible"),
        ("می\u200cخواهم", "میخواهم", "invisible"),
        ("a\x00b c", "ab  c", "invisible"),
        ("u\u0308ber", "über", "unicode form"),
        ("50％", "50 %", "unicode form"),
        ("Ẹ̀kọ́", "Eko", "marks"),
        ("น้ำ", "นำ", "marks"),
        ("{name}", "｟1｠", "other"),
        ("&amp;", "&", "other"),
    ],
)
def test_the_mildest_kind_that_explains_a_change(before: str, after: str, kind: str) -> None:
    assert kind_of_change(before, after) == kind_of_change(after, before) == kind


# Measuring


def row(bleu: float, lines: int, letter: int, **kinds: int) -> dict[str, Any]:
    names = {kind.replace(" ", "_"): kind for kind in (*KINDS, OTHER)}
    counts = {kind: kinds.get(name, 0) for name, kind in names.items()}
    return {"BLEU": bleu, "lines": lines, "to the letter": letter, **counts}


def test_what_comes_back_has_the_highest_score() -> None:
    for lines in (["one two three four five"], ["a b c d", "short"], []):
        assert measure(lines, lines, "13a") == row(100.0, len(lines), len(lines))
    assert measure(["我们明天"], ["我们明天"], "zh") == row(100.0, 1, 1)


def test_references_of_fewer_than_four_words_have_no_score() -> None:
    """BLEU has no n-grams to count: so it will be for every model."""
    for lines in (["one two three"], ["ab", "好"]):
        assert measure(lines, lines, "13a") == row(0.0, len(lines), len(lines))


def test_changes_are_counted_by_kind() -> None:
    references = ["one two three four", "a b\u00a0c d e", "{a} is here now", "same as ever before"]
    texts = ["one two three four", "a b c d e", "｟1｠ is here now", "same as ever before"]
    measured = measure(references, texts, "13a")
    assert measured == row(measured["BLEU"], 4, 2, spaces=1, other=1)
    assert 50 < measured["BLEU"] < 99


def test_the_ceiling_is_scored_by_the_tokeniser_of_the_language() -> None:
    """Spaces that were lost inside Chinese are none of BLEU's business there."""
    references, texts = ["我们 今天 去 北京"], ["我们今天去北京"]
    assert measure(references, texts, "zh")["BLEU"] == 100.0
    assert measure(references, texts, "13a")["BLEU"] == 0.0
    assert measure(references, texts, "zh")["to the letter"] == 0


@pytest.mark.parametrize(
    ("bleu", "letter", "low"),
    [(100.0, 100, False), (99.0, 90, False), (98.9, 99, True), (100.0, 89, True)],
)
def test_a_ceiling_is_low_by_its_score_or_by_its_lines(bleu: float, letter: int, low: bool) -> None:
    assert is_low(row(bleu, 100, letter)) == low


def test_an_empty_set_has_no_low_ceiling() -> None:
    assert not is_low(measure([], [], "13a"))


def test_the_worst_lines_come_first_and_are_five() -> None:
    references = [f"line number {number} of a text" for number in range(9)]
    texts = [*references[:2], "LINE", references[3].replace(" of", "of"), *["line number"] * 5]
    shown = worst(references, texts)
    assert len(shown) == 5
    assert shown[0] == {"line": 3, "reference": "line number 2 of a text", "comes back as": "LINE"}
    assert 4 not in [line["line"] for line in shown]  # the mildest of seven
    assert worst(references, references) == []


# Through tokeniser, BPE and back


@pytest.mark.parametrize("language", ["en", "zh", "th", "fa"])
def test_a_perfect_translation_comes_back(language: str) -> None:
    reversible = tokeniser("reversible", language)
    assert back("｟0｠ 我有 ￭3￭ 本书 ￭。 ￭｟ua0｠￭ น้ำ", ["{a}"], reversible) == "{a} 我有3本书。\u00a0น้ำ"


HARD = [
    ("a", "Er sagt: „Tür\u00a0zu!“ – {name}, 3,5\u202f%"),
    ("b", "https://example.org/a?b=c&amp;d  <b>x</b> @@ ￭ ｟0｠"),
    ("c", "می\u200cخواهم, ශ්\u200dරී, น้ำ, 我们。 👨\u200d👩\u200d👧"),
    ("d", "u\u0308ber\u200b \x00 \ufeff\u3000 ende "),
]


@pytest.mark.parametrize("target", ["de", "zh", "ja", "ko", "th", "cs"])
def test_reversible_gives_back_every_reference(tmp_path: Path, target: str) -> None:
    card = prepared(tmp_path, [(source + "{name}", target) for source, target in HARD], target)
    assert card["ceiling"]["test"] == row(100.0, 4, 4)
    assert "ceiling_worst" not in card


def test_moses_glues_czech_numbers(tmp_path: Path) -> None:
    test = [
        ("We met in 2004.", "Potkali jsme se v roce 2004."),
        ("Come to gate 31.", "Přijď prosím k bráně 31."),
        ("How are you today?", "Jak se dnes máš?"),
    ]
    card = prepared(tmp_path, test, "cs", tokeniser="moses")
    ceiling = card["ceiling"]["test"]
    assert ceiling == row(ceiling["BLEU"], 3, 1, spaces=2)
    assert ceiling["BLEU"] < 99
    assert card["ceiling_worst"] == [
        {
            "split": "test",
            "line": 2,
            "reference": "Přijď prosím k bráně 31.",
            "comes back as": "Přijď prosím k bráně31.",
        },
        {
            "split": "test",
            "line": 1,
            "reference": "Potkali jsme se v roce 2004.",
            "comes back as": "Potkali jsme se v roce2004.",
        },
    ]


@pytest.mark.parametrize(("tokenize", "low"), [("char", 100.0), ("13a", 0.0)])
def test_moses_tears_marks_off_thai(tmp_path: Path, tokenize: str, low: float) -> None:
    """BLEU of characters does not see the spaces, so lines are counted too."""
    raw = given(tmp_path / "raw", train=[("x", "y")], test=[("clear water", "น้ำใสมาก"), ("here", "อยู่ที่นี่")])
    card = prepare(raw, tmp_path / "out", corpus(target="th"), settings(tokeniser="moses"), tokenize)
    assert card["ceiling"]["test"] == row(low, 2, 0, spaces=2)
    assert [line["reference"] for line in card["ceiling_worst"]] == ["อยู่ที่นี่", "น้ำใสมาก"]


def test_the_ceiling_is_measured_against_the_text_as_it_came(tmp_path: Path) -> None:
    """A reference keeps what normalisation takes from the text that models see."""
    test = [
        ("ten km to the town", "zehn\u00a0km bis zur Stadt"),
        ("all is well here now", "jetzt ist hier alles gut"),
    ]
    card = prepared(tmp_path, test, "de", normalise=["white_space"])
    ceiling = card["ceiling"]["test"]
    assert ceiling == row(ceiling["BLEU"], 2, 1, spaces=1)
    assert [line["line"] for line in card["ceiling_worst"]] == [1]


def test_a_placeholder_that_the_source_lacks_does_not_come_back(tmp_path: Path) -> None:
    """At test time no one knows its name."""
    test = [("Is {a} here?", "Ist {b} hier, {a}?"), ("{a} {b}", "{b} {a}")]
    card = prepared(tmp_path, test, "de")
    ceiling = card["ceiling"]["test"]
    assert ceiling == row(ceiling["BLEU"], 2, 1, other=1)
    assert card["ceiling_worst"][0]["comes back as"] == "Ist ｟1｠ hier, {a}?"


def test_every_held_out_set_has_its_ceiling(tmp_path: Path) -> None:
    raw = given(
        tmp_path / "raw", train=[("x", "y")], valid=[("in 2004", "v roce 2004.")], more=[("gate", "brána")]
    )
    card = prepare(
        raw, tmp_path / "out", corpus(target="cs", tests=["test", "more"]), settings(tokeniser="moses")
    )
    letters = {
        name: (ceiling["to the letter"], ceiling["lines"]) for name, ceiling in card["ceiling"].items()
    }
    assert letters == {"valid": (0, 1), "test": (1, 1), "more": (1, 1)}
    assert [line["split"] for line in card["ceiling_worst"]] == ["valid"]
