"""nmtkd.text.splitting: groups are held out whole, nothing leaks, near-duplicates as by brute force."""

import re
from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given, reject
from hypothesis import strategies as st

from nmtkd.text.splitting import NearDuplicates, Pair, by_group, overlapping

words = st.sampled_from([f"s{number}" for number in range(12)])
corpora = st.lists(st.tuples(words, words, st.sampled_from("abcdef")), min_size=1, max_size=30)


def near_duplicates(train: Iterable[str], test: Sequence[str], threshold: float) -> int:
    """How many test lines have a near-duplicate in train."""
    index, resembled = NearDuplicates(test, threshold), set[int]()
    for text in train:
        resembled.update(index.of(text, resembled))
    return len(resembled)


def parts(corpus: list[tuple[str, str, str]]) -> tuple[list[Pair], list[str]]:
    return [row[:2] for row in corpus], [row[2] for row in corpus]


def test_a_drawn_group_is_held_out_but_for_what_others_use() -> None:
    pairs = [
        ("Lamp", "Lampe"),
        ("Door", "Tür"),
        ("Lock", "Schloss"),
        ("Battery", "Batterie"),
        ("Battery", "Batterie"),
        ("Off", "Aus"),
    ]
    groups = ["lamp", "door", "door", "door", "lamp", "lamp"]
    for seed in range(20):
        splits = by_group(pairs, groups, {"valid": 2}, seed)
        assert splits["valid"] in ([0, 5], [1, 2])
        assert splits["train"] == sorted({0, 1, 2, 3, 5} - set(splits["valid"]))


def test_both_groups_get_drawn_and_a_seed_repeats_its_draw() -> None:
    pairs = [(f"s{number}", f"t{number}") for number in range(8)]
    groups = list("aabbccdd")
    draws = [by_group(pairs, groups, {"valid": 2, "test": 2}, seed) for seed in range(30)]
    assert {tuple(draw["valid"]) for draw in draws} == {(0, 1), (2, 3), (4, 5), (6, 7)}
    assert by_group(pairs, groups, {"valid": 2, "test": 2}, 7) == draws[7]


def test_the_order_of_lines_does_not_choose_the_groups() -> None:
    pairs = [(f"s{number}", f"t{number}") for number in range(8)]
    groups = list("aabbccdd")
    there = by_group(pairs, groups, {"valid": 3}, 5)
    back = by_group(pairs[::-1], groups[::-1], {"valid": 3}, 5)
    assert {pairs[i] for i in there["valid"]} == {pairs[::-1][i] for i in back["valid"]}


def test_a_set_ends_with_the_group_that_fills_it() -> None:
    pairs = [(f"s{number}", f"t{number}") for number in range(9)]
    splits = by_group(pairs, list("aaabbbccc"), {"valid": 4, "test": 0}, 1)
    assert len(splits["valid"]) == 6
    assert splits["test"] == []
    assert len(splits["train"]) == 3


def test_groups_that_run_out_name_the_param() -> None:
    message = re.escape(
        "prepare.test_pairs: 2 pairs wanted, but the groups that are left hold 1; ask for fewer"
    )
    with pytest.raises(ValueError, match=message):
        by_group([("a", "A"), ("b", "B")], ["x", "y"], {"valid": 1, "test": 2}, 1)


@given(corpora, st.integers(0, 5), st.integers(0, 5), st.integers(0, 9))
def test_splits_do_not_leak(corpus: list[tuple[str, str, str]], valid: int, test: int, seed: int) -> None:
    pairs, groups = parts(corpus)
    sizes = {"valid": valid, "test": test}
    try:
        splits = by_group(pairs, groups, sizes, seed)
    except ValueError:
        reject()  # the groups ran out
    assert len(splits["valid"]) >= valid
    assert len(splits["test"]) >= test
    every = splits["train"] + splits["valid"] + splits["test"]
    assert len(every) == len(set(every)) == len(set(pairs))  # each distinct pair is in exactly one set
    assert {pairs[i] for i in every} == set(pairs)
    assert all(pairs.index(pairs[i]) == i for i in every)
    held = {name: [pairs[i] for i in splits[name]] for name in ("valid", "test")}
    for side in (0, 1):
        assert not {pair[side] for pair in held["valid"]} & {pair[side] for pair in held["test"]}
        for name, held_pairs in held.items():
            own = {groups[i] for i in splits[name]}
            others = {pair[side] for pair, group in zip(pairs, groups, strict=True) if group not in own}
            assert not {pair[side] for pair in held_pairs} & others
    # Overlap that is left can be dropped: then neither side of a held-out pair stands in train.
    train = [pairs[i] for i in splits["train"]]
    unwanted = set(overlapping(train, held["valid"] + held["test"]))
    left = [pair for index, pair in enumerate(train) if index not in unwanted]
    for side in (0, 1):
        assert not {pair[side] for pair in left} & {pair[side] for pair in held["valid"] + held["test"]}


def test_overlap_is_of_either_side() -> None:
    train = [("a", "A"), ("b", "B"), ("c", "C"), ("d", "x"), ("A", "a"), ("a", "A")]
    assert overlapping(train, [("a", "Z"), ("y", "C"), ("x", "d")]) == [0, 2, 5]
    assert overlapping(train, []) == []


# Near-duplicates


def shingles(text: str) -> set[str]:
    """As defined: character 5-grams of the words in lower case, every digit being a 0."""
    plain = " ".join(re.findall(r"\w+", re.sub(r"[0-9]", "0", text.lower())))
    return {plain[i : i + 5] for i in range(len(plain) - 4)} or {plain}


def brute_force(train: list[str], test: list[str], threshold: float) -> int:
    count = 0
    for line in test:
        mine = shingles(line)
        count += any(
            len(mine & shingles(other)) >= threshold * len(mine | shingles(other)) for other in train
        )
    return count


def test_near_duplicates_look_past_case_digits_and_punctuation() -> None:
    train = ["Turn on the lamp in room 12!", "Lock the door"]
    test = [
        "turn on the lamp in room 97",
        "Lock: the door?",
        "Unlock the window",
        "Turn on the lamp in the kitchen",
    ]
    assert near_duplicates(train, test, 1.0) == 2
    assert near_duplicates(train, test, 0.4) == 3
    assert near_duplicates(train, [], 0.8) == near_duplicates([], test, 0.8) == 0


def test_the_threshold_itself_counts() -> None:
    # 4 and 5 shingles, 4 of them shared: 0.8
    assert near_duplicates(["abcdefghi"], ["abcdefgh"], 0.8) == 1
    assert near_duplicates(["abcdefgh"], ["abcdefghi"], 0.8) == 1
    assert near_duplicates(["abcdefghi"], ["abcdefgh"], 0.81) == 0


def test_short_lines_are_compared_whole() -> None:
    assert near_duplicates(["Off", "On"], ["off", "of", "On."], 0.8) == 2


lines = st.lists(st.text(alphabet="ab 1.", max_size=14), max_size=6)


@given(lines, lines, st.sampled_from([0.1, 0.29, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]))
def test_near_duplicates_are_those_of_brute_force(
    train: list[str], test: list[str], threshold: float
) -> None:
    assert near_duplicates(train, test, threshold) == brute_force(train, test, threshold)
