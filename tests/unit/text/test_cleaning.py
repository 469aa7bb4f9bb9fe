"""nmtkd.text.cleaning: how a pair is kept, and which lengths show that it is no translation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmtkd.text.cleaning import Cleaner, PairTokeniser, Tokenised, Train, files_of, raw_blocks, sizes
from nmtkd.text.parallel import lines_of, write_lines
from nmtkd.text.preparation import prepare
from nmtkd.text.splitting import Pair
from tests.unit.text.toys import WHOLE, corpus, given, names, read, settings, unsplit

LONG, UNEVEN, EMPTY = "longer than max_words", "sides too uneven", "empty after tokenising"


def why_dropped(pair: Pair, ratio: float = 1.0, **changes: Any) -> str:
    """The reason, or "" for a pair that stays."""
    cleaner = Cleaner(corpus(), settings(**{"words": 99, "ratio_slack": 0} | changes), [], ratio)
    block = f"{pair[0]}\n".encode(), f"{pair[1]}\n".encode(), np.array([True])
    cleaned = cleaner(block)
    assert cleaned.sizes["pairs"] + cleaned.dropped.total() == 1
    return "".join(cleaned.dropped)


# What is kept of a pair


def test_a_pair_is_kept_as_tokens_beside_its_text() -> None:
    tokenise = PairTokeniser(corpus(), settings())
    assert tokenise(("Turn\u00a0{a} on", "{a} {b}!")) == Tokenised(
        src="Turn ￭｟ua0｠￭ ｟0｠ on",
        tgt="｟0｠ ｟1｠ ￭!",
        raw="Turn\u00a0{a} on",
        ref="{a} {b}!",
        names=["{a}"],  # of the source alone
    )


def test_braces_without_a_placeholder_have_no_name() -> None:
    assert PairTokeniser(corpus(), settings())(("a } b {", "{x}")).names == []


def test_the_tokeniser_is_chosen_by_params() -> None:
    pair = PairTokeniser(corpus(target="fr"), settings(tokeniser="moses"))(("it's {a}.", "l'eau {a}"))
    assert (pair.src, pair.tgt) == ("it 's ｟0｠ .", "l' eau ｟0｠")


def test_lengths_are_in_units() -> None:
    pair = PairTokeniser(corpus(), settings())(("it's on.", "我有3本书。"))
    assert pair.lengths == (5, 6)
    assert sizes([pair, pair]) == {"pairs": 2, "source_tokens": 10, "target_tokens": 12}
    assert sizes([]) == {"pairs": 0, "source_tokens": 0, "target_tokens": 0}


def test_files_hold_a_line_for_each_pair() -> None:
    pairs = [Tokenised("a", "b", "c", "d", ["{ü}", '{"}']), Tokenised("e", "f", "g\u2028h", "i", [])]
    assert files_of(pairs) == {
        "src": b"a\ne\n",
        "tgt": b"b\nf\n",
        "raw": "c\ng\u2028h\n".encode(),
        "ref": b"d\ni\n",
        "names": '["{ü}", "{\\"}"]\n[]\n'.encode(),
    }


def test_blocks_without_a_pair_of_train_are_left_out(tmp_path: Path) -> None:
    for side in "ab":
        write_lines(tmp_path / side, [f"{side}{number}" for number in range(5)])
    mask = np.array([False, False, False, True, True])
    found = list(raw_blocks(Train(tmp_path / "a", tmp_path / "b", mask, 1.0), 2))
    assert [(lines_of(block[0]), lines_of(block[1]), block[2].tolist()) for block in found] == [
        (["a2", "a3"], ["b2", "b3"], [False, True]),
        (["a4"], ["b4"], [True]),
    ]


# Lengths


@pytest.mark.parametrize(
    ("pair", "source", "target", "reason"),
    [
        (("a b c", "x y"), 3, 2, ""),
        (("a b c", "x y"), 2, 3, LONG),  # each side has its own bound
        (("a b c", "x y"), 3, 1, LONG),
        (("it's", "its"), 3, 1, ""),  # it ￭'￭ s
        (("it's", "its"), 2, 1, LONG),
        (("{long name} x", "y {long name}"), 2, 2, ""),
        (("he is at home", "他在家"), 4, 3, ""),
        (("he is at home", "他在家"), 4, 2, LONG),  # one token, but three words
        (("夜に飲む", "drink"), 4, 1, ""),
        (("夜に飲む", "drink"), 3, 1, LONG),
        (("น้ำใส", "clear"), 3, 1, ""),  # five code points, three characters with their marks
        (("น้ำใส", "clear"), 2, 1, LONG),
        (("می\u200cخواهم", "want"), 1, 1, ""),
        (("안녕하세요", "hello"), 1, 1, ""),  # Korean has spaces
    ],
)
def test_length_is_bounded_by_units_of_each_side(pair: Pair, source: int, target: int, reason: str) -> None:
    bounds = {"source": source, "target": target}
    assert why_dropped(pair, max_words=bounds, ratio_slack=99) == reason
    assert why_dropped(pair[::-1], max_words={"source": target, "target": source}, ratio_slack=99) == reason


def test_characters_are_the_words_of_moses_tokens_too() -> None:
    pair = PairTokeniser(corpus(target="zh"), settings(tokeniser="moses"))(("he is here", "他在这里"))
    assert pair.tgt == "他在这里"
    assert pair.lengths == (3, 4)


@pytest.mark.parametrize(
    ("lengths", "slack", "reason"),
    [
        ((4, 2), 0, ""),
        ((5, 2), 0, UNEVEN),  # more than twice
        ((5, 2), 3, ""),
        ((5, 2), 2, UNEVEN),
        ((2, 5), 3, ""),
        ((2, 5), 2, UNEVEN),
        ((50, 50), 0, ""),
    ],
)
def test_evenness_in_characters(lengths: tuple[int, int], slack: int, reason: str) -> None:
    assert why_dropped(("a" * lengths[0], "b" * lengths[1]), ratio_slack=slack) == reason


def test_evenness_is_of_characters_and_not_of_tokens() -> None:
    assert why_dropped(("a, b, c, d, e.", "Abendbrotzeiten")) == ""  # ten tokens to one
    assert why_dropped(("one two three", "Donaudampfschifffahrtsgesellschaft")) == UNEVEN
    for pair in (("a", "b" + "\u200b" * 9), ("a" + "\u200b" * 9, "b")):
        assert why_dropped(pair) == ""  # what cannot be seen has no length


ENGLISH = "We put the fresh bread on the table every single morning"  # 11 tokens, 56 characters
THAI = "เราวางขนมปังสดไว้บนโต๊ะทุกเช้าแล้วดื่มน้ำด้วยกัน"
CHINESE = "我们每天早上把面包放在桌上"


def test_36_tokens_of_thai_are_even_to_11_of_english() -> None:
    tokenise = PairTokeniser(corpus(), settings())
    assert tokenise((ENGLISH, THAI)).lengths == (11, 36)
    assert why_dropped((ENGLISH, THAI), max_ratio=3.0) == ""


@pytest.mark.parametrize(("ratio", "reason"), [(0.25, ""), (1.0, UNEVEN)])
def test_a_target_is_scaled_by_the_corpus_ratio(ratio: float, reason: str) -> None:
    """13 characters of Chinese say what 56 of English do."""
    assert (len(ENGLISH), len(CHINESE)) == (56, 13)
    assert why_dropped((ENGLISH, CHINESE), ratio, max_ratio=3.0) == reason


def test_slack_is_in_characters_of_the_source() -> None:
    pair = ("ab", "cdefgh" * 2)  # scaled: 6 characters
    assert why_dropped(pair, 2.0, ratio_slack=4) == ""
    assert why_dropped(pair, 2.0, ratio_slack=3) == UNEVEN


def test_the_ratio_is_measured_on_the_corpus(tmp_path: Path) -> None:
    """English to Chinese: nothing is dropped but the one pair that is uneven for this pair of languages."""
    even = [("very " * number + ENGLISH, "很" * number + CHINESE) for number in range(6)]
    odd = (ENGLISH, CHINESE * 4)  # about as many characters as the English
    raw = given(tmp_path / "raw", train=[*even, odd], test=[("x y", "一")])
    card = prepare(
        raw, tmp_path / "out", corpus(target="zh"), settings(words=99, max_ratio=2.5, ratio_slack=0)
    )
    characters = sum(len(source) for source, _ in even) + 56, sum(len(target) for _, target in even) + 52
    assert card["target_characters_per_source_character"] == round(characters[1] / characters[0], 3)
    assert card["dropped"][UNEVEN] == 1
    assert len(read(tmp_path / "out", "train")) == 6


def test_what_normalisation_empties_is_dropped() -> None:
    assert why_dropped(("\u200b", "x"), normalise=["invisible", "white_space"]) == EMPTY
    assert why_dropped(("a\u200b", "x"), normalise=["invisible", "white_space"], ratio_slack=9) == ""


SENTENCES = [("a", "好", 6), ("b", "水", 6), ("c", "山", 1), ("d", "人", 3), ("e", "天", 7), ("f", "日", 60)]


def test_the_bound_before_a_split_is_in_units_too(tmp_path: Path) -> None:
    """A corpus that is split here: held-out lines are no longer than those of train."""
    rows = [(f"sentence {name}", character * length, name) for name, character, length in SENTENCES]
    out = tmp_path / "out"
    chosen = settings(max_words={"source": 2, "target": 6}, ratio_slack=99)
    card = prepare(unsplit(tmp_path / "raw", rows), out, corpus(reader=WHOLE, target="zh"), chosen)
    assert card["dropped"]["longer than max_words before the split"] == 2
    assert card["dropped"][LONG] == 0
    assert sum(len(read(out, name)) for name in ("train", "valid", "test")) == 4
    assert names(out, "valid") == [[]]


# By tokens, as Moses' clean-corpus-n.perl


@pytest.mark.parametrize(
    ("lengths", "reason"),
    [
        ((2, 3), ""),
        ((3, 2), ""),
        ((2, 4), UNEVEN),
        ((4, 2), UNEVEN),
        ((1, 1), ""),
        ((175, 117), ""),  # 175 / 117 is 1.496
        ((175, 116), UNEVEN),
        ((176, 175), LONG),
        ((175, 176), LONG),
    ],
)
def test_token_ratio_and_length(lengths: tuple[int, int], reason: str) -> None:
    pair = " ".join("a" * lengths[0]), " ".join("b" * lengths[1])
    assert why_dropped(pair, 7.0, ratio_of="tokens", max_ratio=1.5, words=175, tokeniser="moses") == reason


def test_a_word_without_end_is_dropped_by_tokens_alone() -> None:
    asked: dict[str, Any] = {"max_ratio": 1.5, "tokeniser": "moses"}
    assert why_dropped(("a" * 1000, "b"), ratio_of="tokens", **asked) == ""
    assert why_dropped(("b", "a" * 1001), ratio_of="tokens", **asked) == "a word of over 1000 characters"
    assert why_dropped(("a" * 1001, "a" * 1001), **asked) == ""


def test_tokens_are_counted_whatever_the_script() -> None:
    pair = ("a b", "我有三本书")
    assert why_dropped(pair, ratio_of="tokens", max_ratio=2.0, tokeniser="moses") == ""
    assert why_dropped(pair, ratio_of="tokens", max_ratio=1.9, tokeniser="moses") == UNEVEN  # 2 and 1


def test_case_goes_after_cleaning() -> None:
    cleaner = Cleaner(corpus(), settings(words=99, lowercase=True), [], 1.0)
    cleaned = cleaner(("Ein Haus ΟΔΟΣ\n".encode(), b"A House\n", np.array([True])))
    assert cleaned.files["src"].decode() == "ein haus οδοσ\n"  # Perl's lc knows no final sigma
    assert cleaned.files["tgt"] == b"a house\n"
    assert cleaned.files["raw"].decode() == "Ein Haus ΟΔΟΣ\n"


def test_placeholders_may_be_text() -> None:
    pair = PairTokeniser(corpus(), settings(placeholders=False, tokeniser="moses"))(("a {b}", "c {d}"))
    assert (pair.src, pair.tgt, pair.names) == ("a { b }", "c { d }", [])
