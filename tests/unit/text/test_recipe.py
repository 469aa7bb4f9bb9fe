"""nmtkd.text.preparation by a community's recipe: cleaned by tokens, lower-cased, valid made of train."""

import re
from pathlib import Path
from typing import Any

import pytest

from nmtkd.text.account import account
from nmtkd.text.parallel import ParallelTextError, write_lines
from nmtkd.text.preparation import prepare
from nmtkd.text.splitting import Pair
from tests.unit.text.toys import WHOLE, corpus, lines, names, read, settings, unsplit

TEST = [("Das ist’s.", "That’s it."), ("Danke.", "Thanks.")]


def raw(folder: Path, train: list[Pair], test: list[Pair] = TEST, **more: list[Pair]) -> Path:
    """A corpus without a validation set."""
    for name, pairs in ({"train": train, "test": test} | more).items():
        write_lines(folder / f"{name}.src", [pair[0] for pair in pairs])
        write_lines(folder / f"{name}.tgt", [pair[1] for pair in pairs])
    return folder


def recipe(**changes: Any) -> Any:
    """That of IWSLT14, with bounds that fit a small corpus."""
    values = {
        "tokeniser": "moses_escaped",
        "normalise_tests": ["apostrophes"],
        "lowercase": True,
        "placeholders": False,
        "duplicates": "keep",
        "words": 175,
        "ratio_of": "tokens",
        "max_ratio": 1.5,
        "ratio_slack": 0,
        "overlap": "keep",
        "valid_every": 23,
    }
    return settings(**values | changes)


DE_EN = corpus(source="de", target="en")


# The whole of it

# Pairs of a length each, so that what stays can be told by hand; number n has its number in its text.
SHORT = [(f"Satz {number} ist da.", f"Sentence {number} is here.") for number in range(180)]
ODD = {
    20: ("\x07", "bell"),  # Moses deletes it: nothing is left
    40: ("Ja.", "Yes, of course."),  # 2 tokens and 5: 2.5 to 1
    60: ("Eins zwei drei vier", "One two three four five six"),  # 4 and 6: 1.5 to 1 stays
    80: ("Eins zwei drei vier", "One two three four five six seven"),  # 4 and 7
    100: ("Wort " * 175 + "Ende", "Word " * 175 + "End"),  # 176 tokens each
    120: ("Wort " * 174 + "Ende", "Word " * 174 + "End"),  # 175
    140: ("ä" * 1001, "long"),
    160: ("ö" * 1000, "long"),
    170: ("Er sagt: „Ja“ & ’s 'GUT' {x}", "He Says: “Yes” & ’s 'GOOD' {y}"),
}


def test_the_whole_recipe(tmp_path: Path) -> None:
    train = [ODD.get(number, pair) for number, pair in enumerate(SHORT)] + [SHORT[3]] * 20
    out = tmp_path / "out"
    expected = {"clean": 195, "train": 187, "valid": 8}
    card = prepare(raw(tmp_path / "raw", train), out, DE_EN, recipe(expected=expected))
    assert {reason: number for reason, number in card["dropped"].items() if number} == {
        "empty after tokenising": 1,
        "longer than max_words": 1,
        "sides too uneven": 2,
        "a word of over 1000 characters": 1,
    }
    assert card["raw_pairs"] == 200
    assert card["steps"] == expected
    # Of clean train, pairs 23, 46, 69 and so on: of raw train 5 are missing by the end.
    assert lines(out / "valid.raw") == [
        "Satz 23 ist da.",  # the 23rd of 0 to 23 without 20
        "Satz 47 ist da.",  # the 46th: without 20 and 40
        "Satz 70 ist da.",
        "Satz 94 ist da.",  # without 80, too
        "Satz 118 ist da.",  # and 100
        "Satz 142 ist da.",  # and 140
        "Satz 165 ist da.",
        "Satz 3 ist da.",  # the 184th: a repeated one
    ]
    tokens = read(out, "train")
    assert len(tokens) == 187
    assert tokens[:2] == [
        ("satz 0 ist da .", "sentence 0 is here ."),
        ("satz 1 ist da .", "sentence 1 is here ."),
    ]
    assert ("eins zwei drei vier", "one two three four five six") in tokens
    assert ("ö" * 1000, "long") in tokens
    assert (
        "er sagt : „ ja “ &amp; ’ s &apos; gut &apos; { x }",
        "he says : “ yes ” &amp; ’ s &apos; good &apos; { y }",
    ) in tokens
    assert sum(len(source.split()) == 175 for source, _ in tokens) == 1
    assert tokens.count(("satz 3 ist da .", "sentence 3 is here .")) == 20  # one of 21 is valid
    assert read(out, "valid")[0] == ("satz 23 ist da .", "sentence 23 is here .")
    assert lines(out / "valid.groups") == [str(number) for number in range(8)]
    assert lines(out / "valid.ref")[7] == "Sentence 3 is here."
    assert names(out, "valid") == [[]] * 8
    # Of test sets alone the apostrophe is made plain; references keep it.
    assert read(out, "test")[0] == ("das ist &apos; s .", "that &apos;s it .")
    assert lines(out / "test.ref")[0] == "That’s it."
    assert card["normalised"] == {"test": {"apostrophes": 2}}
    assert card["splits"]["train"]["pairs"] == 187
    assert card["splits"]["valid"] == {"pairs": 8, "source_tokens": 40, "target_tokens": 40, "groups": 8}
    assert list(card["splits"]) == ["valid", "test", "train"]
    # A pair with a side in valid: the repeated one. None is in test.
    assert card["train_pairs_with_a_side_in_a_held_out_set"] == 20


def test_every_file_of_train_is_what_is_left(tmp_path: Path) -> None:
    train = [(f"Nr {number}", f"No {number}") for number in range(9)]
    out = tmp_path / "out"
    prepare(raw(tmp_path / "raw", train), out, DE_EN, recipe(valid_every=4))
    left = [0, 1, 2, 4, 5, 6, 8]
    assert read(out, "train") == [(f"nr {n}", f"no {n}") for n in left]
    assert lines(out / "train.raw") == [f"Nr {n}" for n in left]
    assert lines(out / "train.ref") == [f"No {n}" for n in left]
    assert names(out, "train") == [[]] * 7
    assert lines(out / "valid.raw") == ["Nr 3", "Nr 7"]


def test_near_duplicates_are_those_of_the_train_that_is_left(tmp_path: Path) -> None:
    alike = "Der kleine Hund läuft durch den Park"
    train = [("Nr 0", "No 0"), (alike, "The small dog runs through the park")]
    card = prepare(
        raw(tmp_path / "raw", train, [(alike + ".", "x y")]), tmp_path / "out", DE_EN, recipe(valid_every=2)
    )
    assert card["near_duplicates"]["test"] == 0
    card = prepare(
        raw(tmp_path / "raw", train, [(alike + ".", "x y")]), tmp_path / "b", DE_EN, recipe(valid_every=3)
    )
    assert card["near_duplicates"]["test"] == 1


# Counts


def test_wrong_counts_are_told_step_by_step(tmp_path: Path) -> None:
    train = [SHORT[0], ("Ja.", "Yes, of course."), SHORT[1]]
    wrong = {"clean": 3, "train": 1, "valid": 2}
    message = (
        "prepare.expected.clean: 3 expected, got 2 pairs after cleaning\n"
        "prepare.expected.valid: 2 expected, got 1 pairs of valid\n"
        "Of 3 raw pairs were dropped: 1 sides too uneven. This is not the text that the recipe's counts are "
        "of. If params of prepare or of the corpus were changed on purpose, add -S prepare.expected=null; if "
        "not, fetch the corpus again"
    )
    with pytest.raises(ParallelTextError, match=f"^{re.escape(message)}$"):
        prepare(raw(tmp_path / "raw", train), tmp_path / "out", DE_EN, recipe(valid_every=2, expected=wrong))


def test_counts_are_those_before_a_part_is_taken(tmp_path: Path) -> None:
    expected = {"clean": 180, "train": 173, "valid": 7}
    chosen = recipe(train_pairs=10, expected=expected)
    card = prepare(raw(tmp_path / "raw", SHORT), tmp_path / "out", DE_EN, chosen)
    assert card["steps"] == expected
    assert card["splits"]["train"]["pairs"] == 10


# A part of train


def part(folder: Path, size: int, seed: int = 1, **changes: Any) -> tuple[list[str], dict[str, Any]]:
    chosen = recipe(train_pairs=size, seed=seed, **changes)
    card = prepare(raw(folder / "raw", SHORT), folder / f"{size}-{seed}", DE_EN, chosen)
    return lines(folder / f"{size}-{seed}" / "train.raw"), card


def test_a_smaller_part_lies_in_a_larger_one_in_the_order_of_the_corpus(tmp_path: Path) -> None:
    few, card = part(tmp_path, 30)
    many, _ = part(tmp_path, 90)
    every, _ = part(tmp_path, 173)
    place = {source: number for number, (source, _) in enumerate(SHORT)}
    assert [len(few), len(many), len(every)] == [30, 90, 173]
    assert set(few) < set(many) < set(every)
    for chosen in (few, many, every):
        assert chosen == sorted(chosen, key=place.__getitem__)
    assert few != many[:30] != every[:30]  # not merely the first ones
    assert card["dropped"]["not in the part that train_pairs asks for"] == 143
    assert card["raw_pairs"] == 180 == 7 + 30 + sum(card["dropped"].values())
    assert card["splits"]["train"] == {"pairs": 30, "source_tokens": 150, "target_tokens": 150, "groups": 0}
    assert not [line for line in account(card) if line.startswith("warning") and "part" in line]


def test_another_seed_draws_another_part_and_the_same_valid(tmp_path: Path) -> None:
    assert part(tmp_path, 30)[0] != part(tmp_path, 30, seed=2)[0]
    assert lines(tmp_path / "30-1/valid.raw") == lines(tmp_path / "30-2/valid.raw")


def test_a_part_larger_than_train_is_an_error(tmp_path: Path) -> None:
    message = (
        "prepare.train_pairs: 174 pairs wanted, train has 173 after cleaning; ask for fewer, or 0 for all"
    )
    with pytest.raises(ParallelTextError, match=f"^{re.escape(message)}$"):
        part(tmp_path, 174)


def test_a_corpus_with_a_valid_of_its_own_gives_a_part_too(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", SHORT, valid=[("Ein Tal", "A valley")])
    card = prepare(folder, tmp_path / "out", DE_EN, recipe(valid_every=0, train_pairs=5))
    assert (card["splits"]["train"]["pairs"], card["splits"]["valid"]["pairs"]) == (5, 1)
    assert card["steps"] == {"clean": 180, "train": 180, "valid": 1}


# One set to validate on


def test_valid_is_made_of_train_or_comes_with_the_corpus(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", SHORT)
    with pytest.raises(
        ParallelTextError, match=r"no validation set; set prepare\.valid_every to take a part of train"
    ):
        prepare(folder, tmp_path / "out", DE_EN, recipe(valid_every=0))
    raw(folder, SHORT, valid=[("a", "b")])
    with pytest.raises(
        ParallelTextError,
        match=r"has a validation set, and prepare\.valid_every \(23\) asks for a part of train; set it to 0",
    ):
        prepare(folder, tmp_path / "out", DE_EN, recipe())
    whole = unsplit(tmp_path / "whole", [("a", "b", "g"), ("c", "d", "h"), ("e", "f", "i")])
    with pytest.raises(
        ParallelTextError, match=r"prepare\.valid_every: a corpus that comes whole is split by group"
    ):
        prepare(whole, tmp_path / "out", corpus(reader=WHOLE), recipe())


# Overlap with a valid that is made of train

SHARED = [("Eins", "One"), ("Zwei", "Two"), ("Drei", "Two"), ("Danke.", "Thank you."), ("Fünf", "Five")]


def test_overlap_with_a_valid_of_train_is_kept_dropped_or_an_error(tmp_path: Path) -> None:
    """The second is valid; the third shares its target, the fourth its source with test."""
    folder = raw(tmp_path / "raw", SHARED)
    kept = prepare(folder, tmp_path / "keep", DE_EN, recipe(valid_every=2, max_ratio=9.0))
    assert lines(tmp_path / "keep/train.raw") == ["Eins", "Drei", "Fünf"]
    assert lines(tmp_path / "keep/valid.raw") == ["Zwei", "Danke."]
    assert kept["train_pairs_with_a_side_in_a_held_out_set"] == 1
    dropped = prepare(folder, tmp_path / "drop", DE_EN, recipe(valid_every=2, max_ratio=9.0, overlap="drop"))
    # Without the pair of test the pairs are numbered anew: the fourth of those is valid.
    assert lines(tmp_path / "drop/train.raw") == ["Eins"]
    assert lines(tmp_path / "drop/valid.raw") == ["Zwei", "Fünf"]
    assert dropped["train_pairs_with_a_side_in_a_held_out_set"] == 2
    assert dropped["dropped"]["stands in a held-out set"] == 2
    with pytest.raises(ParallelTextError, match="train: 1 pairs have a source or target"):
        chosen = recipe(valid_every=2, max_ratio=9.0, overlap="error")
        prepare(raw(tmp_path / "other", SHARED[:3]), tmp_path / "error", DE_EN, chosen)


# Each option by itself


def test_placeholders_may_be_text_like_any_other(tmp_path: Path) -> None:
    train = [("{a} b", "{b} c"), ("{a} d", "{a} e"), ("{c} d", "{c} f")]
    folder = raw(tmp_path / "raw", train, [("{x} d", "{x} y")], valid=[("v {n}", "w {n}")])
    chosen = settings(placeholders=False)
    card = prepare(folder, tmp_path / "out", corpus(), chosen)
    assert read(tmp_path / "out", "train") == [
        ("{￭ a ￭} b", "{￭ b ￭} c"),
        ("{￭ a ￭} d", "{￭ a ￭} e"),
        ("{￭ c ￭} d", "{￭ c ￭} f"),  # of another name it is another text: no overlap with test
    ]
    assert card["dropped"]["placeholders differ"] == 0
    assert card["train_pairs_with_a_side_in_a_held_out_set"] == 0
    assert names(tmp_path / "out", "test") == [[]]


def test_duplicates_may_stay(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", [("a", "b"), ("a", "b"), ("c", "d")], valid=[("v", "w")])
    card = prepare(folder, tmp_path / "out", corpus(), settings(duplicates="keep"))
    assert [source for source, _ in read(tmp_path / "out", "train")] == ["a", "a", "c"]
    assert card["dropped"]["exact duplicates"] == 0


def test_duplicates_in_a_whole_corpus_may_stay_but_not_those_of_held_out_pairs(tmp_path: Path) -> None:
    rows = [
        ("a", "b", "g"),
        ("a", "b", "g"),
        ("c", "d", "h"),
        ("c", "d", "h"),
        ("e", "f", "i"),
        ("e", "f", "i"),
    ]
    out = tmp_path / "out"
    card = prepare(unsplit(tmp_path / "raw", rows), out, corpus(reader=WHOLE), settings(duplicates="keep"))
    train, valid, test = (read(out, name) for name in ("train", "valid", "test"))
    assert (len(train), len(valid), len(test)) == (2, 1, 1)
    assert train[0] == train[1] not in valid + test
    assert card["dropped"]["exact duplicates"] == 2


@pytest.mark.parametrize(
    ("source", "target", "stays"),
    [
        ("a b", "a b c", True),  # 1.5
        ("a b c", "a b", True),
        ("a b", "a b c d", False),
        ("a", "b c", False),  # no slack for short ones
        ("a " * 10, "b " * 10, True),
        ("a " * 11, "b " * 11, False),
        ("北京", "a", True),  # one token as it is, whatever the script
    ],
)
def test_by_tokens_the_plain_ratio_counts(tmp_path: Path, source: str, target: str, stays: bool) -> None:
    pairs = [("x y", "x y"), (source.strip(), target.strip())]
    folder = raw(tmp_path / "raw", pairs, valid=[("v", "w")])
    chosen = settings(ratio_of="tokens", max_ratio=1.5, ratio_slack=99, tokeniser="moses", words=10)
    prepare(folder, tmp_path / "out", corpus(), chosen)
    assert len(read(tmp_path / "out", "train")) == 1 + stays


def test_by_tokens_an_invisible_token_is_one(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw", [("a", "\u200b"), ("b", "c")], valid=[("v", "w")])
    chosen = settings(ratio_of="tokens", tokeniser="moses")
    card = prepare(folder, tmp_path / "out", corpus(), chosen)
    assert card["splits"]["train"]["pairs"] == 2


def test_a_bound_by_tokens_holds_before_the_split_too(tmp_path: Path) -> None:
    rows = [("北京 " * 4, "x", "a"), ("c", "d", "b"), ("e", "f", "c"), ("g", "h", "d")]
    rows = [(source.strip(), target, group) for source, target, group in rows]
    chosen = settings(words=4, ratio_of="tokens", max_ratio=9.0, tokeniser="moses")
    card = prepare(unsplit(tmp_path / "raw", rows), tmp_path / "out", corpus(reader=WHOLE), chosen)
    assert card["dropped"]["longer than max_words before the split"] == 0  # 8 characters, 4 tokens


def test_normalisation_that_lengthens_is_measured_before_the_split(tmp_path: Path) -> None:
    rows = [("a—b", "x y", "a"), ("c", "d", "b"), ("e", "f", "c"), ("g", "h", "d")]
    chosen = settings(words=2, normalise=["punctuation"], tokeniser="moses")
    card = prepare(unsplit(tmp_path / "raw", rows), tmp_path / "out", corpus(reader=WHOLE), chosen)
    assert card["dropped"]["longer than max_words before the split"] == 1


def test_lower_case_comes_after_cleaning_and_costs_nothing_of_the_ceiling(tmp_path: Path) -> None:
    folder = raw(
        tmp_path / "raw", [("ΟΔΟΣ A.", "İstanbul Σ")], [("Abc D", "Das Haus STEHT Dort")], valid=[("V", "W")]
    )
    out = tmp_path / "out"
    card = prepare(folder, out, corpus(), settings(lowercase=True))
    assert read(out, "train") == [("οδοσ a ￭.", "i\u0307stanbul σ")]
    assert read(out, "test") == [("abc d", "das haus steht dort")]
    assert lines(out / "test.ref") == ["Das Haus STEHT Dort"]
    assert lines(out / "train.raw") == ["ΟΔΟΣ A."]
    assert (card["ceiling"]["test"]["BLEU"], card["ceiling"]["test"]["to the letter"]) == (100.0, 1)
