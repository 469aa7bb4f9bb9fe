"""nmtkd.text.normalisation: each kind changes what it names; references stay; the card counts lines."""

import unicodedata
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from nmtkd.text.cleaning import PairTokeniser
from nmtkd.text.normalisation import KINDS, normalise
from nmtkd.text.preparation import prepare
from tests.unit.text.toys import corpus, given, lines, read, settings

EN_DE = ('Er sagte "￭ ja ￭. ￭"', 'Er sagte "￭ ja ￭" ￭.')  # what the languages make of one text


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("nfc", "u\u0308ber ﬁ", "über ﬁ"),
        ("nfkc", "u\u0308ber ﬁ ５％", "über fi 5%"),
        ("controls", "a\x00b\x1bc\td\x7fe\x85f", "a b c d e f"),
        ("controls", "a\u00a0b\u200bc  d", "a\u00a0b\u200bc  d"),
        ("invisible", "a\u200bb\ufeffc\u2060d", "a b c d"),
        ("invisible", "so\u00adft\u200e \u202adir\u202c", "soft dir"),  # inside words: nothing is parted
        ("invisible", "می\u200cخواهم ශ්\u200dරී", "می\u200cخواهم ශ්\u200dරී"),
        ("invisible", "a\u00a0b\x00c", "a\u00a0b\x00c"),
        ("white_space", "  a \u00a0 b\u3000c\td ", "a b c d"),
        ("white_space", "a\u200bb", "a\u200bb"),
        ("non_printing", "a\u200bb\u00adc\x07d\ue000e f", "a b c d e f"),
        ("apostrophes", "it’s ‘so’", "it's ‘so'"),
        ("punctuation", "“Yes”, he said – ( now ) …", '"Yes," he said - (now) ...'),
        ("punctuation", "l’eau d’œuvre", "l'eau d\"œuvre"),  # as Moses, which knows letters of ASCII alone
    ],
)
def test_a_kind_changes_what_it_names(kind: str, before: str, after: str) -> None:
    changed = Counter[str]()
    assert normalise(before, [kind], changed, "en") == after
    assert changed == Counter({kind: 1} if before != after else {})


@pytest.mark.parametrize("kind", ["controls", "invisible"])
@drawn(st.lists(st.text("abß漢", min_size=1, max_size=3), min_size=2, max_size=5), st.data())
def test_no_word_is_glued_to_the_next(kind: str, words: list[str], data: st.DataObject) -> None:
    marks = {"controls": "\x00\x07\x1b\t\x9f", "invisible": "\u200b\u2060\ufeff"}[kind]
    between = [data.draw(st.text(marks, min_size=1, max_size=3)) for _ in words[1:]]
    text = words[0] + "".join(mark + word for mark, word in zip(between, words[1:], strict=True))
    assert normalise(text, [kind], Counter(), "en").split() == words


@pytest.mark.parametrize("kind", KINDS)
@drawn(st.text(st.sampled_from("ab \t\x00\x85\u00a0\u00ad\u200b\u200c\u200d\ufeffu\u0308ﬁ㍿"), max_size=8))
def test_a_second_time_changes_nothing(kind: str, text: str) -> None:
    changed = Counter[str]()
    once = normalise(text, [kind], Counter(), "en")
    assert normalise(once, [kind], changed, "en") == once
    assert not changed


@drawn(st.text(max_size=8))
def test_no_kind_is_no_change(text: str) -> None:
    assert normalise(text, [], Counter(), "en") == text


def test_kinds_are_done_in_their_order() -> None:
    text = "a\u200b \u200bb"
    assert normalise(text, ["invisible", "white_space"], Counter(), "en") == "a b"
    assert normalise(text, ["white_space", "invisible"], Counter(), "en") == "a   b"


def test_joiners_inside_words_survive_every_kind() -> None:
    text = "می\u200cخواهم ක්\u200dරමය"
    assert unicodedata.normalize("NFC", text) == text
    kinds = [kind for kind in KINDS if kind != "non_printing"]  # Moses' rule: it takes them for waste
    assert normalise(text, kinds, Counter(), "en") == text


def test_normalisation_changes_what_models_see_alone(tmp_path: Path) -> None:
    train = [("fi\u00a0ve", "fün\u00adf"), ("six", "sechs"), ("a\u00a0b", "a\u200bb")]
    test = [("one\u00a0two", "eins\u00a0zwei")]
    out = tmp_path / "out"
    chosen = settings(normalise=["invisible", "white_space"])
    card = prepare(given(tmp_path / "raw", train=train, test=test), out, corpus(), chosen)
    assert read(out, "train") == [("fi ve", "fünf"), ("six", "sechs"), ("a b", "a b")]
    assert read(out, "test") == [("one two", "eins zwei")]
    assert lines(out / "train.raw") == ["fi\u00a0ve", "six", "a\u00a0b"]
    assert lines(out / "train.ref") == ["fün\u00adf", "sechs", "a\u200bb"]
    assert lines(out / "test.ref") == ["eins\u00a0zwei"]
    # Lines of either side.
    assert card["normalised"] == {
        "train": {"invisible": 2, "white_space": 2},
        "valid": {"invisible": 0, "white_space": 0},
        "test": {"invisible": 0, "white_space": 2},
    }


def test_the_name_of_a_placeholder_is_normalised_like_its_text(tmp_path: Path) -> None:
    out = tmp_path / "out"
    raw = given(tmp_path / "raw", train=[("x", "y")], test=[("{a\u00a0b}", "{a b}")])
    prepare(raw, out, corpus(), settings(normalise=["white_space"]))
    assert read(out, "test") == [("｟0｠", "｟0｠")]


def test_punctuation_is_the_languages() -> None:
    assert normalise("Er sagte „ja.“", ["punctuation"], Counter(), "de") == 'Er sagte "ja".'
    assert normalise("Er sagte „ja.“", ["punctuation"], Counter(), "en") == 'Er sagte "ja."'
    assert normalise("1\u00a0000", ["punctuation"], Counter(), "de") == "1,000"
    assert normalise("1\u00a0000", ["punctuation"], Counter(), "en") == "1.000"


def test_test_sets_alone_are_normalised_as_asked(tmp_path: Path) -> None:
    pair = ("it’s one", "es’ eins")
    raw = given(
        tmp_path / "raw", train=[pair], valid=[("it’s two", "es’ zwei")], test=[("it’s three", "es’ drei")]
    )
    card = prepare(raw, tmp_path / "out", corpus(), settings(normalise_tests=["apostrophes"]))
    assert card["normalised"] == {"test": {"apostrophes": 2}}
    assert lines(tmp_path / "out/test.src") == ["it ￭'￭ s three"]
    assert lines(tmp_path / "out/train.src") == ["it ￭’￭ s one"]
    assert lines(tmp_path / "out/valid.src") == ["it ￭’￭ s two"]
    assert lines(tmp_path / "out/test.ref") == ["es’ drei"]  # as the corpus has it


def test_each_side_is_normalised_by_its_own_language() -> None:
    """German puts the full stop after the mark, English before it."""
    text = "Er sagte „ja.“"
    for source, target, tokens in (("en", "de", EN_DE), ("de", "en", EN_DE[::-1])):
        tokenise = PairTokeniser(corpus(source=source, target=target), settings(normalise=["punctuation"]))
        pair = tokenise((text, text))
        assert (pair.src, pair.tgt) == tokens


@pytest.mark.parametrize(
    ("tests", "changed"), [(True, {"invisible": 2, "white_space": 2}), (False, {"white_space": 1})]
)
def test_kinds_for_tests_come_before_those_for_all(tests: bool, changed: dict[str, int]) -> None:
    """Other text gets the latter alone."""
    asked = settings(normalise_tests=["invisible"], normalise=["white_space"])
    tokenise = PairTokeniser(corpus(), asked, tests=tests)
    tokenise(("a\u200b \u200bb", "c  d\u200b"))
    assert tokenise.changed == changed
