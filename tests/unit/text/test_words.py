"""nmtkd.text.words: normal form, placeholders that survive translation, Moses tokens and the way back."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.text.words import detokenise, mask, normalise, placeholders, tokenise, unmask


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
def test_normal_form(raw: str, text: str) -> None:
    assert normalise(raw) == text


@given(
    st.text(
        alphabet=st.sampled_from("ab \t\n\u00a0\u2028\x1f\x85\u00ad\u200b\u200d\u0301\u0308eu"), max_size=8
    )
)
def test_the_normal_form_is_final_and_clean(raw: str) -> None:
    text = normalise(raw)
    assert normalise(text) == text
    assert text == " ".join(text.split())
    assert unicodedata.is_normalized("NFC", text)
    assert not any(unicodedata.category(char) in ("Cc", "Cf") for char in text)


def test_placeholders_are_numbered_in_the_order_of_the_source() -> None:
    source, target = "{name} has {count} of {name}", "{count} von {rest} hat {name}"
    names = placeholders(source, target)
    assert names == ["{name}", "{count}", "{rest}"]
    assert placeholders(source) == ["{name}", "{count}"]
    assert mask(source, names) == "{0} has {1} of {0}"
    assert mask(target, names) == "{1} von {2} hat {0}"


def test_names_come_back_and_made_up_numbers_stay() -> None:
    assert unmask("{1} von {0}, {2} und {10}", ["{name}", "{count}"]) == "{count} von {name}, {2} und {10}"
    assert unmask("{} {a} 0", ["{name}"]) == "{} {a} 0"


def test_a_name_that_is_itself_a_number_is_not_unmasked_twice() -> None:
    names = placeholders("{1} {0}")
    assert names == ["{1}", "{0}"]
    assert mask("{1} {0}", names) == "{0} {1}"
    assert unmask("{0} {1}", names) == "{1} {0}"


@given(st.text(alphabet=st.sampled_from("{}01ab "), max_size=20))
def test_unmask_undoes_mask(text: str) -> None:
    names = placeholders(text)
    assert unmask(mask(text, names), names) == text


@pytest.mark.parametrize(
    ("text", "language", "tokens"),
    [
        ("Turn {0} on.", "en", "Turn {0} on ."),
        ("({0}, {12})!", "en", "( {0} , {12} ) !"),
        ('it\'s <b> & "so" | [x]', "en", 'it \'s < b > & " so " | [ x ]'),  # no escaping
        ("l'eau", "fr", "l' eau"),
        ("l'eau", "en", "l 'eau"),
        ("Das {0}-Gerät", "de", "Das {0}-Gerät"),
        (
            "{1} {0} {2} {3} {4} {5} {6} {7} {8} {9} {10} {11}",
            "en",
            "{1} {0} {2} {3} {4} {5} {6} {7} {8} {9} {10} {11}",
        ),
    ],
)
def test_tokens_by_the_rules_of_the_language(text: str, language: str, tokens: str) -> None:
    assert tokenise(text, language) == tokens


@pytest.mark.parametrize(
    "text", ["Turn {0} on.", "({0}, {12})!", "Is it on?", 'He says "yes" & goes.', "<b>"]
)
def test_text_comes_back_from_tokens(text: str) -> None:
    assert detokenise(tokenise(text, "en"), "en").replace("< b >", "<b>") == text


def test_entities_are_text_like_any_other() -> None:
    assert detokenise("&amp; b", "en") == "&amp; b"


@given(
    st.lists(
        st.sampled_from(["a", "the", "{0}", "{1}", "{12}", ".", ",", "(", ")", "don't", "5"]),
        min_size=1,
        max_size=8,
    )
)
def test_placeholders_stay_whole_as_tokens(parts: list[str]) -> None:
    text = " ".join(parts)
    assert [token for token in tokenise(text, "en").split() if "{" in token] == [
        part for part in parts if "{" in part
    ]
