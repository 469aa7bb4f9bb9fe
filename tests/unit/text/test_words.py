"""nmtkd.text.words: the compared form, placeholders that survive translation, units, joined pieces."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.text.words import (
    canonical,
    coded,
    count_units,
    is_protected,
    join,
    mask,
    placeholders,
    split_token,
    units,
    unmask,
)


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("  a \t b\n\nc ", "a b c"),
        ("a\u00a0b\u2009c\u2028d\x85e", "a b c d e"),
        ("a\u00adb\u200bc\u200ed\x07e\ufefff", "abcdef"),
        ("u\u0308ber", "über"),
        ("ﬁ ½", "ﬁ ½"),  # NFC, not NFKC: nothing is replaced by what merely looks like it
        ("a \u200b b", "a b"),
        ("\u200b", ""),
        ("e\u200d\u0301", "é"),
        ("", ""),
    ],
)
def test_compared_form(raw: str, text: str) -> None:
    assert canonical(raw) == text


@given(
    st.text(
        alphabet=st.sampled_from("ab \t\n\u00a0\u2028\x1f\x85\u00ad\u200b\u200d\u0301\u0308eu"), max_size=8
    )
)
def test_the_compared_form_is_final_and_clean(raw: str) -> None:
    text = canonical(raw)
    assert canonical(text) == text
    assert text == " ".join(text.split())
    assert unicodedata.is_normalized("NFC", text)
    assert not any(unicodedata.category(char) in ("Cc", "Cf") for char in text)


# Placeholders and coded characters


def test_placeholders_are_numbered_in_the_order_of_the_source() -> None:
    source, target = "{name} has {count} of {name}", "{count} von {rest} hat {name}"
    names = placeholders(source, target)
    assert names == ["{name}", "{count}", "{rest}"]
    assert placeholders(source) == ["{name}", "{count}"]
    assert mask(source, names) == "｟0｠ has ｟1｠ of ｟0｠"
    assert mask(target, names) == "｟1｠ von ｟2｠ hat ｟0｠"


def test_names_come_back_and_made_up_numbers_stay() -> None:
    names = ["{name}", "{count}"]
    assert unmask("｟1｠ von ｟0｠, ｟2｠ und ｟10｠", names) == "{count} von {name}, ｟2｠ und ｟10｠"
    assert unmask("{} {a} 0 ｟｠ ｟a｠", ["{name}"]) == "{} {a} 0 ｟｠ ｟a｠"


def test_a_name_that_is_itself_a_number_is_not_unmasked_twice() -> None:
    names = placeholders("{1} {0}")
    assert names == ["{1}", "{0}"]
    assert mask("{1} {0}", names) == "｟0｠ ｟1｠"
    assert unmask("｟0｠ ｟1｠", names) == "{1} {0}"


def test_a_coded_character_comes_back_once() -> None:
    assert coded("\u00a0") == "｟ua0｠"
    assert unmask("10｟ua0｠km ｟u1f600｠", []) == "10\u00a0km 😀"
    assert unmask("｟uff5f｠0｟uff60｠", ["{name}"]) == "｟0｠"  # text, not a number


def test_brackets_of_the_text_are_coded() -> None:
    assert mask("｟0｠ {a}", ["{a}"]) == "｟uff5f｠0｟uff60｠ ｟0｠"
    assert mask("｟0｠", []) == "｟uff5f｠0｟uff60｠"
    assert mask("{a｟b} x", ["{a｟b}"]) == "｟0｠ x"  # those of a name, too


@given(st.text(alphabet=st.sampled_from("{}01ab ｟｠u"), max_size=20))
def test_unmask_undoes_mask(text: str) -> None:
    names = placeholders(text)
    assert unmask(mask(text, names), names) == text


@pytest.mark.parametrize(
    ("unit", "protected"),
    [
        ("｟0｠", True),
        ("｟12｠-App", True),
        ("｟ua0｠", True),
        ("{0}", False),
        ("｟", False),
        ("｟x｠", False),
    ],
)
def test_what_stands_in_brackets_is_protected(unit: str, protected: bool) -> None:
    assert is_protected(unit) == protected


# Units


@pytest.mark.parametrize(
    ("token", "left", "inner", "right"),
    [
        ("word", "", ["word"], ""),
        ("￭-￭", "￭", ["-"], "￭"),
        ("￭.", "￭", ["."], ""),
        ("読￭", "", ["読"], "￭"),
        ("他在家", "", ["他", "在", "家"], ""),
        ("น้ำใส", "", ["น้ำ", "ใ", "ส"], ""),  # marks belong to their character
        ("ကြည်", "", ["ကြ", "ည်"], ""),
        ("ទឹកថ្លា", "", ["ទឹ", "ក", "ថ្លា"], ""),
        ("スーパー", "", ["ス", "ー", "パ", "ー"], ""),
        ("ア｟0｠ab", "", ["ア", "｟0｠ab"], ""),
        ("می\u200cخواهم", "", ["می\u200cخواهم"], ""),
        ("￭", "￭", [], ""),
    ],
)
def test_a_token_is_its_units_between_its_joiners(
    token: str, left: str, inner: list[str], right: str
) -> None:
    assert split_token(token) == (left, inner, right)


@given(st.text(alphabet="a1.￭ 他าน้ำｶﾞー｟0｠\u0301", max_size=12))
def test_units_and_joiners_are_all_of_a_token(text: str) -> None:
    for token in text.split(" "):
        left, inner, right = split_token(token)
        assert left + "".join(inner) + right == token
        assert all(inner)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("a b ￭.", ["a", "b", "."]),
        ("我有 ￭3￭ 本书 ￭。", ["我", "有", "3", "本", "书", "。"]),
        ("plain words", ["plain", "words"]),
        ("10 ￭｟ua0｠￭ km", ["10", "｟ua0｠", "km"]),
        ("", []),
    ],
)
def test_units_of_a_line(tokens: str, expected: list[str]) -> None:
    assert list(units(tokens)) == expected
    assert count_units(tokens) == len(expected)


def test_joined_pieces_are_words_again() -> None:
    assert join("lo@@ w wi@@ d@@ er") == "low wider"
    assert join("lo@@ w wi@@") == "low wi"
    assert join("") == ""
