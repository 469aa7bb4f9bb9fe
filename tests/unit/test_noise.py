"""nmtkd.text.noise: what each kind does, how much of it, and that order, workers and rate change nothing else."""

import random
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.params import Bpe, Noise
from nmtkd.text.noise import Vocabulary, apply, corrupt
from nmtkd.text.parallel import write_lines
from nmtkd.text.subwords import CODES, join, learn

Kind = Literal["none", "deletion", "substitution", "swap"]
KINDS: list[Kind] = ["deletion", "substitution", "swap"]
WORDS = [f"w{number}" for number in range(30)]
VOCABULARY = Vocabulary([" ".join(WORDS)])


def noise(kind: Kind, rate: float, side: str = "both", seed: int = 1) -> Noise:
    """Also with rate 0.0, which params do not take for a kind of noise."""
    return Noise.model_construct(kind=kind, rate=rate, side=side, seed=seed)


kinds = st.sampled_from(KINDS)
rates = st.floats(0.0, 1.0)
words = st.sampled_from([*WORDS, "{0}", "{12}"])
lines = st.lists(words, min_size=1, max_size=12).map(" ".join)


def text(count: int, length: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=length)) for _ in range(count)]


@given(kinds, lines)
def test_rate_zero_is_the_identity(kind: Kind, line: str) -> None:
    assert corrupt(line, noise(kind, 0.0), "source", VOCABULARY) == (line, 0)


@given(lines)
def test_no_noise_is_the_identity(line: str) -> None:
    assert corrupt(line, noise("none", 0.0), "source", VOCABULARY) == (line, 0)


@given(kinds, rates, lines, st.integers(0, 9))
def test_no_line_becomes_empty_and_hits_are_what_changed(kind: Kind, rate: float, line: str, seed: int) -> None:
    found, hits = corrupt(line, noise(kind, rate, seed=seed), "source", VOCABULARY)
    before, after = line.split(), found.split()
    assert found == " ".join(after) != ""
    if kind == "deletion":
        assert hits == len(before) - len(after)
        rest = iter(before)
        assert all(word in rest for word in after)  # what stays keeps its order
    elif kind == "substitution":
        assert len(before) == len(after)
        assert hits == sum(old != new for old, new in zip(before, after, strict=True))
    else:
        assert Counter(before) == Counter(after)
        assert (hits == 0) <= (before == after)


@given(kinds, rates, lines)
def test_placeholders_are_untouched(kind: Kind, rate: float, line: str) -> None:
    found, _ = corrupt(line, noise(kind, rate), "source", VOCABULARY)
    held = [word for word in line.split() if word.startswith("{")]
    assert [word for word in found.split() if word.startswith("{")] == held
    if kind != "deletion":
        places = [(index, word) for index, word in enumerate(line.split()) if word.startswith("{")]
        assert [(index, word) for index, word in enumerate(found.split()) if word.startswith("{")] == places


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("glued", ["{0}-App", "`{0}`", "lifx.{1}", "{0}{1}", "({0}"])
def test_a_word_that_holds_a_placeholder_is_untouched(kind: Kind, glued: str) -> None:
    for seed in range(20):
        found, _ = corrupt(f"a {glued} b c", noise(kind, 1.0, seed=seed), "source", VOCABULARY)
        assert glued in found.split()
        if kind != "deletion":
            assert found.split()[1] == glued


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_hits_lie_within_a_binomial_interval(kind: Kind, rate: float) -> None:
    count, length = 500, 20
    hits = sum(corrupt(line, noise(kind, rate), "source", VOCABULARY)[1] for line in text(count, length))
    expected = count * (swaps(length, rate) if kind == "swap" else length * rate)
    assert abs(hits - expected) < 4 * (expected * (1 - rate)) ** 0.5


def swaps(length: int, rate: float) -> float:
    """Expected swaps in a line: a swapped pair takes the turn of its second word."""
    found = [0.0, 0.0]
    for _ in range(2, length + 1):
        found.append(rate * (1 + found[-2]) + (1 - rate) * found[-1])
    return found[length]


@given(st.sampled_from(["deletion", "substitution"]), lines, rates, rates, st.integers(0, 9))
def test_a_higher_rate_hits_the_same_words_and_more(kind: Kind, line: str, one: float, other: float, seed: int) -> None:
    low, high = sorted([one, other])
    # Each word gets a tail that names its place, so that equal words are told apart.
    line = " ".join(word if word.startswith("{") else f"{word}_{place}" for place, word in enumerate(line.split()))
    vocabulary = Vocabulary([line, " ".join(WORDS)])
    found = [corrupt(line, noise(kind, rate, seed=seed), "source", vocabulary)[0].split() for rate in (low, high)]
    if kind == "deletion":
        assert set(found[1]) <= set(found[0])
        return
    for old, few, many in zip(line.split(), *found, strict=True):
        assert few in (old, many)  # a word that the low rate hits becomes the same word at the high one


@pytest.mark.parametrize("line", ["a b", "a b c", "a b c d"])
def test_the_word_that_stays_where_all_would_go_stays_at_lower_rates(line: str) -> None:
    for seed in range(30):
        kept = [set(corrupt(line, noise("deletion", rate, seed=seed), "source", VOCABULARY)[0].split()) for rate in (1.0, 0.9, 0.6, 0.3)]
        assert kept[0] <= kept[1] <= kept[2] <= kept[3]


def test_deletion_of_all_keeps_one_word_at_random() -> None:
    kept = {corrupt("a b c", noise("deletion", 1.0, seed=seed), "source", VOCABULARY) for seed in range(40)}
    assert kept == {("a", 2), ("b", 2), ("c", 2)}


def test_deletion_of_all_leaves_placeholders_alone() -> None:
    assert {corrupt("a {0} b", noise("deletion", 1.0, seed=seed), "source", VOCABULARY) for seed in range(20)} == {("{0}", 2)}


def test_substitution_at_rate_one_changes_every_word() -> None:
    line = " ".join(WORDS)
    found, hits = corrupt(line, noise("substitution", 1.0), "source", VOCABULARY)
    assert hits == len(WORDS)
    assert all(old != new for old, new in zip(line.split(), found.split(), strict=True))
    assert set(found.split()) <= set(WORDS)
    assert len(set(found.split())) > len(WORDS) / 3


def test_swap_at_rate_one_goes_from_left_to_right() -> None:
    assert corrupt("a b c d e", noise("swap", 1.0), "source", VOCABULARY) == ("b a d c e", 2)
    assert corrupt("a {0} b c", noise("swap", 1.0), "source", VOCABULARY) == ("a {0} c b", 1)
    assert corrupt("a", noise("swap", 1.0), "source", VOCABULARY) == ("a", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_draws_differ_by_seed_side_and_line_alone(kind: Kind) -> None:
    line = " ".join(WORDS)
    base = corrupt(line, noise(kind, 0.5), "source", VOCABULARY)
    assert corrupt(line, noise(kind, 0.5), "source", VOCABULARY) == base
    assert corrupt(line, noise(kind, 0.5, seed=2), "source", VOCABULARY) != base
    assert corrupt(line, noise(kind, 0.5), "target", VOCABULARY) != base


def test_substitutes_are_drawn_by_frequency() -> None:
    vocabulary = Vocabulary(["often often often often often often seldom seldom {0} {0} {0}", "rare rare x"])
    # Placeholders are no words, and the word to be replaced is none of its substitutes.
    shares = [(number + 0.5) / 10 for number in range(10)]
    assert [vocabulary.draw(share, "x") for share in shares] == ["often"] * 6 + ["rare"] * 2 + ["seldom"] * 2
    shares = [(number + 0.5) / 9 for number in range(9)]
    assert [vocabulary.draw(share, "rare") for share in shares] == ["often"] * 6 + ["seldom"] * 2 + ["x"]
    shares = [(number + 0.5) / 5 for number in range(5)]
    assert [vocabulary.draw(share, "often") for share in shares] == ["rare"] * 2 + ["seldom"] * 2 + ["x"]
    assert [vocabulary.draw(share, "{0}") for share in (0.0, 1.0)] == ["often", "x"]


@given(st.floats(0.0, 1.0), st.lists(st.sampled_from("abc"), min_size=1, max_size=6), st.sampled_from("abcd"))
def test_a_substitute_is_another_word_wherever_there_is_one(share: float, words: list[str], instead_of: str) -> None:
    others = set(words) - {instead_of}
    assert Vocabulary([" ".join(words)]).draw(share, instead_of) in (others or {instead_of})


def test_a_substitute_is_found_beside_a_very_frequent_word() -> None:
    vocabulary = Vocabulary(["a " * 999 + "b"])
    assert {vocabulary.draw(share / 10, "a") for share in range(10)} == {"b"}
    assert Vocabulary(["{0}"]).draw(0.5, "a") == "a"


# The stage


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Training text and codes that split nothing."""
    write_lines(tmp_path / "train.src", text(40, 8, seed=1))
    write_lines(tmp_path / "train.tgt", text(40, 8, seed=2))
    learn([[" ".join(WORDS)] * 2], Bpe(merges=200, min_frequency=2), tmp_path / CODES)
    return tmp_path


def read(path: Path) -> list[str]:
    return [join(line) for line in path.read_text(encoding="utf-8").splitlines()]


def applied(prepared: Path, name: str, settings: Noise) -> tuple[list[str], list[str], dict[str, Any]]:
    card = apply(prepared, prepared, prepared / name, settings)
    return read(prepared / name / "train.src"), read(prepared / name / "train.tgt"), card


@pytest.mark.parametrize(("side", "hit"), [("source", (True, False)), ("target", (False, True)), ("both", (True, True))])
def test_noise_strikes_its_side_alone(prepared: Path, side: str, hit: tuple[bool, bool]) -> None:
    source, target, card = applied(prepared, "out", noise("substitution", 0.3, side))
    clean = read(prepared / "train.src"), read(prepared / "train.tgt")
    assert (source != clean[0], target != clean[1]) == hit
    for name, before, after in (("source", clean[0], source), ("target", clean[1], target)):
        changes = sum(a != b for x, y in zip(before, after, strict=True) for a, b in zip(x.split(), y.split(), strict=True))
        assert card[name] == {"words": 320, "hit": changes}
    assert (card["kind"], card["rate"], card["side"]) == ("substitution", 0.3, side)


def test_equal_lines_of_both_sides_are_struck_apart(prepared: Path) -> None:
    write_lines(prepared / "train.tgt", read(prepared / "train.src"))
    source, target, _ = applied(prepared, "out", noise("deletion", 0.3))
    assert source != target


def test_the_order_of_lines_changes_nothing(prepared: Path, tmp_path: Path) -> None:
    first = applied(prepared, "out", noise("substitution", 0.3))
    for side in ("src", "tgt"):
        write_lines(prepared / f"train.{side}", read(prepared / f"train.{side}")[::-1])
    second = applied(prepared, "again", noise("substitution", 0.3))
    assert (first[0][::-1], first[1][::-1], first[2]) == second


def test_output_is_split_into_pieces_after_the_noise(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.src", ["xyz {0}"])
    write_lines(tmp_path / "train.tgt", ["low {0}"])
    learn([["low low"]], Bpe(merges=10, min_frequency=2), tmp_path / CODES)
    card = apply(tmp_path, tmp_path, tmp_path / "out", noise("none", 0.0))
    assert (tmp_path / "out" / "train.src").read_text(encoding="utf-8") == "x@@ y@@ z {0}\n"
    assert (tmp_path / "out" / "train.tgt").read_text(encoding="utf-8") == "low {0}\n"
    assert card["source"] == {"words": 2, "hit": 0}
