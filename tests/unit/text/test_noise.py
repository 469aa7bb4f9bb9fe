"""nmtkd.text.noise: what each kind does, how often, and that order, workers and rate change nothing else."""

import random
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.plan.data import Bpe, Noise, Rates
from nmtkd.plan.layout import CODES, KEPT, LENGTHS, TEACHER_TEXT
from nmtkd.text.noise import Vocabulary, apply, corrupt, rates_by_kind
from nmtkd.text.parallel import ParallelTextError, write_lines
from nmtkd.text.subwords import learn
from nmtkd.text.words import join
from tests.unit.text.counts import counted

Kind = Literal["none", "deletion", "substitution", "swap", "mixed"]
MIXED: list[Kind] = ["deletion", "substitution", "swap"]  # the kinds of which a mixture is made
KINDS: list[Kind] = [*MIXED]
IN_PLACE: list[Kind] = ["substitution", "swap"]  # kinds that leave every other word where it is
WORDS = [f"w{number}" for number in range(30)]
VOCABULARY = Vocabulary([" ".join(WORDS)])
BOUNDS = {"teacher.training.max_tokens": 100, "training.max_tokens": 100}


def noise(kind: Kind, rate: float, side: str = "both", seed: int = 1) -> Noise:
    """Takes rate 0.0, which params refuse for a kind of noise. `mixed` has each kind at this rate."""
    if kind == "mixed":
        return mixed(rate, rate, rate, side=side, seed=seed)
    return Noise.model_construct(kind=kind, rate=rate, side=side, seed=seed)


def mixed(
    deletion: float = 0.0, substitution: float = 0.0, swap: float = 0.0, side: str = "both", seed: int = 1
) -> Noise:
    rates = Rates(deletion=deletion, substitution=substitution, swap=swap)
    return Noise.model_validate({"kind": "mixed", "rates": rates, "side": side, "seed": seed})


def corrupted(line: str, settings: Noise, salt: str = "source") -> tuple[str, int]:
    """The noisy line, and the number of its corruptions of any kind."""
    noisy, counts = corrupt(line, settings, salt, VOCABULARY)
    return noisy, sum(counts.values())


kinds = st.sampled_from(KINDS)
every_kind = st.sampled_from([*KINDS, "mixed"])
rates = st.floats(0.0, 1.0)
words = st.sampled_from([*WORDS, "｟0｠", "｟12｠"])
lines = st.lists(words, min_size=1, max_size=12).map(" ".join)


def text(count: int, length: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=length)) for _ in range(count)]


@given(every_kind, lines)
def test_rate_zero_is_the_identity(kind: Kind, line: str) -> None:
    assert corrupt(line, noise(kind, 0.0), "source", VOCABULARY) == (line, {})


@given(lines)
def test_no_noise_is_the_identity(line: str) -> None:
    assert corrupt(line, noise("none", 0.0), "source", VOCABULARY) == (line, {})


@given(every_kind, rates, lines, st.integers(0, 9))
def test_corrupt_empties_no_line_and_counts_what_changed(
    kind: Kind, rate: float, line: str, seed: int
) -> None:
    noisy, by_kind = corrupt(line, noise(kind, rate, seed=seed), "source", VOCABULARY)
    before, after, count = line.split(), noisy.split(), by_kind.get(kind, 0)
    assert noisy == " ".join(after) != ""
    assert set(by_kind) == (set() if rate == 0.0 else set(MIXED) if kind == "mixed" else {kind})
    if kind == "mixed":
        assert len(after) == len(before) - by_kind.get("deletion", 0)
    elif kind == "deletion":
        assert count == len(before) - len(after)
        rest = iter(before)
        assert all(word in rest for word in after)  # what stays keeps its order
    elif kind == "substitution":
        assert len(before) == len(after)
        assert count == sum(old != new for old, new in zip(before, after, strict=True))
    elif kind == "swap":
        assert Counter(before) == Counter(after)
        assert (count == 0) <= (before == after)
    else:
        raise AssertionError(f"{kind}: say what it does to a line")


@given(every_kind, rates, lines)
def test_placeholders_are_untouched(kind: Kind, rate: float, line: str) -> None:
    noisy, _ = corrupt(line, noise(kind, rate), "source", VOCABULARY)
    held = [word for word in line.split() if word.startswith("｟")]
    assert [word for word in noisy.split() if word.startswith("｟")] == held
    if kind in IN_PLACE:
        places = [(index, word) for index, word in enumerate(line.split()) if word.startswith("｟")]
        assert [(index, word) for index, word in enumerate(noisy.split()) if word.startswith("｟")] == places


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
@pytest.mark.parametrize("glued", ["｟0｠-App", "`｟0｠`", "lifx.｟1｠", "｟0｠｟1｠", "(｟0｠"])
def test_a_word_that_holds_a_placeholder_is_untouched(kind: Kind, glued: str) -> None:
    for seed in range(20):
        noisy, _ = corrupt(f"a {glued} b c", noise(kind, 1.0, seed=seed), "source", VOCABULARY)
        assert glued in noisy.split()
        if kind in IN_PLACE:
            assert noisy.split()[1] == glued


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_corruptions_lie_within_a_binomial_interval(kind: Kind, rate: float) -> None:
    assert_within_interval(noise(kind, rate), {kind: rate})


def test_corruptions_of_each_kind_in_a_mixture_lie_within_a_binomial_interval() -> None:
    assert_within_interval(
        mixed(deletion=0.05, substitution=0.2, swap=0.1), {"deletion": 0.05, "substitution": 0.2, "swap": 0.1}
    )


def assert_within_interval(settings: Noise, expected_rates: dict[str, float]) -> None:
    """4 standard deviations of the binomial either way: 99.99% of it.

    Wider than needed for swaps, which keep a distance.
    """
    count, length = 500, 20
    counts = Counter[str]()
    for line in text(count, length):
        counts.update(corrupt(line, settings, "source", VOCABULARY)[1])
    assert set(counts) == set(expected_rates)
    for kind, rate in expected_rates.items():
        expected = count * (swaps(length, rate) if kind == "swap" else length * rate)
        assert abs(counts[kind] - expected) < 4 * (expected * (1 - rate)) ** 0.5, kind


def swaps(length: int, rate: float) -> float:
    """Expected swaps in a line: a swapped pair takes the turn of its second word."""
    expected = [0.0, 0.0]
    for _ in range(2, length + 1):
        expected.append(rate * (1 + expected[-2]) + (1 - rate) * expected[-1])
    return expected[length]


@given(st.sampled_from(["deletion", "substitution"]), lines, rates, rates, st.integers(0, 9))
def test_a_higher_rate_corrupts_the_same_words_and_more(
    kind: Kind, line: str, rate: float, other_rate: float, seed: int
) -> None:
    low, high = sorted([rate, other_rate])
    # Each word gets its index as a tail, so that equal words are distinct.
    line = " ".join(
        word if word.startswith("｟") else f"{word}_{index}" for index, word in enumerate(line.split())
    )
    vocabulary = Vocabulary([line, " ".join(WORDS)])
    noisy = [
        corrupt(line, noise(kind, level, seed=seed), "source", vocabulary)[0].split() for level in (low, high)
    ]
    if kind == "deletion":
        assert set(noisy[1]) <= set(noisy[0])
        return
    for old, few, many in zip(line.split(), *noisy, strict=True):
        assert few in (old, many)  # a word that the low rate corrupts becomes the same word at the high rate


@pytest.mark.parametrize("line", ["a b", "a b c", "a b c d"])
def test_the_word_that_stays_where_all_would_go_stays_at_lower_rates(line: str) -> None:
    for seed in range(30):
        remaining = [
            set(corrupt(line, noise("deletion", rate, seed=seed), "source", VOCABULARY)[0].split())
            for rate in (1.0, 0.9, 0.6, 0.3)
        ]
        assert remaining[0] <= remaining[1] <= remaining[2] <= remaining[3]


def test_deletion_of_all_keeps_one_word_at_random() -> None:
    remaining = {corrupted("a b c", noise("deletion", 1.0, seed=seed)) for seed in range(40)}
    assert remaining == {("a", 2), ("b", 2), ("c", 2)}


def test_deletion_of_all_leaves_placeholders_alone() -> None:
    assert {corrupted("a ｟0｠ b", noise("deletion", 1.0, seed=seed)) for seed in range(20)} == {("｟0｠", 2)}


def test_substitution_at_rate_one_changes_every_word() -> None:
    line = " ".join(WORDS)
    noisy, count = corrupted(line, noise("substitution", 1.0))
    assert count == len(WORDS)
    assert all(old != new for old, new in zip(line.split(), noisy.split(), strict=True))
    assert set(noisy.split()) <= set(WORDS)
    assert len(set(noisy.split())) > len(WORDS) / 3


def test_swap_at_rate_one_goes_from_left_to_right() -> None:
    assert corrupted("a b c d e", noise("swap", 1.0)) == ("b a d c e", 2)
    assert corrupted("a ｟0｠ b c", noise("swap", 1.0)) == ("a ｟0｠ c b", 1)
    assert corrupted("a", noise("swap", 1.0)) == ("a", 0)


# A mixture


@given(st.sampled_from(MIXED), rates, lines, st.integers(0, 9))
def test_a_mixture_of_one_kind_is_that_kind(kind: Kind, rate: float, line: str, seed: int) -> None:
    alone = mixed(**{kind: rate}, seed=seed)  # type: ignore[arg-type]
    assert corrupt(line, alone, "source", VOCABULARY) == corrupt(
        line, noise(kind, rate, seed=seed), "source", VOCABULARY
    )


@given(rates, rates, rates, lines, st.integers(0, 9))
def test_each_kind_of_a_mixture_has_its_own_rate_and_draws(
    deletion: float, substitution: float, swap: float, line: str, seed: int
) -> None:
    """No kind corrupts more or less because of the others."""
    _, together = corrupt(line, mixed(deletion, substitution, swap, seed=seed), "source", VOCABULARY)
    apart: dict[str, int] = {}
    for kind, rate in (("deletion", deletion), ("substitution", substitution), ("swap", swap)):
        apart |= corrupt(line, noise(kind, rate, seed=seed), "source", VOCABULARY)[1]  # type: ignore[arg-type]
    assert together == apart


@pytest.mark.parametrize("seed", range(10))
def test_a_mixture_substitutes_then_swaps_then_deletes(seed: int) -> None:
    line = " ".join(WORDS)
    substituted = corrupted(line, noise("substitution", 0.5, seed=seed))[0].split()
    swapped, stays = (
        corrupted(line, noise(kind, 0.5, seed=seed))[0].split() for kind in ("swap", "deletion")
    )
    expected = [substituted[WORDS.index(word)] for word in swapped]
    expected = [word for word, original in zip(expected, WORDS, strict=True) if original in stays]
    assert corrupted(line, mixed(0.5, 0.5, 0.5, seed=seed))[0].split() == expected != stays


def test_a_mixture_of_everything_keeps_one_word() -> None:
    for seed in range(20):
        noisy, counts = corrupt("a b c d", mixed(1.0, 1.0, 1.0, seed=seed), "source", VOCABULARY)
        assert counts == {"substitution": 4, "swap": 2, "deletion": 3}
        assert noisy in WORDS


# Draws


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
def test_draws_differ_by_seed_side_and_line_alone(kind: Kind) -> None:
    line = " ".join(WORDS)
    base = corrupt(line, noise(kind, 0.5), "source", VOCABULARY)
    assert corrupt(line, noise(kind, 0.5), "source", VOCABULARY) == base
    assert corrupt(line, noise(kind, 0.5, seed=2), "source", VOCABULARY) != base
    assert corrupt(line, noise(kind, 0.5), "target", VOCABULARY) != base


def test_substitutes_are_drawn_by_frequency() -> None:
    vocabulary = Vocabulary(
        ["often often often often often often seldom seldom ｟0｠ ｟0｠ ｟0｠", "rare rare x"]
    )
    # Placeholders are no words, and the word to be replaced is none of its substitutes.
    shares = [(number + 0.5) / 10 for number in range(10)]
    assert [vocabulary.draw(share, "x") for share in shares] == ["often"] * 6 + ["rare"] * 2 + ["seldom"] * 2
    shares = [(number + 0.5) / 9 for number in range(9)]
    assert [vocabulary.draw(share, "rare") for share in shares] == ["often"] * 6 + ["seldom"] * 2 + ["x"]
    shares = [(number + 0.5) / 5 for number in range(5)]
    assert [vocabulary.draw(share, "often") for share in shares] == ["rare"] * 2 + ["seldom"] * 2 + ["x"]
    assert [vocabulary.draw(share, "｟0｠") for share in (0.0, 1.0)] == ["often", "x"]


@given(st.floats(0.0, 1.0), st.lists(st.sampled_from("abc"), min_size=1, max_size=6), st.sampled_from("abcd"))
def test_a_substitute_is_another_word_wherever_there_is_one(
    share: float, words: list[str], instead_of: str
) -> None:
    others = set(words) - {instead_of}
    assert Vocabulary([" ".join(words)]).draw(share, instead_of) in (others or {instead_of})


def test_a_substitute_is_found_beside_a_very_frequent_word() -> None:
    vocabulary = Vocabulary(["a " * 999 + "b"])
    assert {vocabulary.draw(share / 10, "a") for share in range(10)} == {"b"}
    assert Vocabulary(["｟0｠"]).draw(0.5, "a") == "a"


def test_rates_by_kind_are_those_above_zero() -> None:
    assert rates_by_kind(noise("swap", 0.3)) == {"swap": 0.3}
    assert rates_by_kind(mixed(deletion=0.1, swap=0.2)) == {"deletion": 0.1, "swap": 0.2}
    assert rates_by_kind(Noise.model_validate({"kind": "none", "side": "both", "seed": 1})) == {}


# The stage


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """Training text and codes that split nothing."""
    write_lines(tmp_path / "train.src", text(40, 8, seed=1))
    write_lines(tmp_path / "train.tgt", text(40, 8, seed=2))
    learn(counted([" ".join(WORDS)] * 2), Bpe(merges=200, min_frequency=2), tmp_path / CODES)
    np.save(tmp_path / LENGTHS, np.array([[9, 7], [2, 9]]))
    np.save(tmp_path / KEPT, np.ones(len((tmp_path / "train.src").read_text().splitlines()), bool))
    return tmp_path


def read(path: Path) -> list[str]:
    return [join(line) for line in path.read_text(encoding="utf-8").splitlines()]


def applied(prepared: Path, name: str, settings: Noise) -> tuple[list[str], list[str], dict[str, Any]]:
    (prepared / name).mkdir()
    card = apply(prepared, prepared, prepared / name, settings, BOUNDS)
    return read(prepared / name / "train.src"), read(prepared / name / "train.tgt"), card


@pytest.mark.parametrize(
    ("side", "hit"), [("source", (True, False)), ("target", (False, True)), ("both", (True, True))]
)
def test_noise_corrupts_its_side_alone(prepared: Path, side: str, hit: tuple[bool, bool]) -> None:
    source, target, card = applied(prepared, "out", noise("substitution", 0.3, side))
    clean = read(prepared / "train.src"), read(prepared / "train.tgt")
    assert (source != clean[0], target != clean[1]) == hit
    for name, before, after in (("source", clean[0], source), ("target", clean[1], target)):
        changes = sum(
            a != b
            for x, y in zip(before, after, strict=True)
            for a, b in zip(x.split(), y.split(), strict=True)
        )
        assert card[name] == {
            "words": 320,
            "hit": changes,
            "hit_by_kind": {"substitution": changes} if changes else {},
            "longest_line": 9,
        }
    facts = {"kind": "substitution", "rates": {"substitution": 0.3}, "side": side, "teacher_sees": "same"}
    assert {name: card[name] for name in facts} == facts


def test_the_card_of_a_mixture_counts_each_kind(prepared: Path) -> None:
    source, _, card = applied(prepared, "out", mixed(deletion=0.1, substitution=0.3, swap=0.2))
    assert card["rates"] == {"deletion": 0.1, "substitution": 0.3, "swap": 0.2}
    for name in ("source", "target"):
        hits = card[name]["hit_by_kind"]
        assert set(hits) == set(MIXED) and all(hits.values())
        assert sum(hits.values()) == card[name]["hit"]
    assert sum(len(line.split()) for line in source) == 320 - card["source"]["hit_by_kind"]["deletion"]


def test_equal_lines_of_both_sides_are_corrupted_differently(prepared: Path) -> None:
    write_lines(prepared / "train.tgt", read(prepared / "train.src"))
    source, target, _ = applied(prepared, "out", noise("deletion", 0.3))
    assert source != target


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
def test_the_order_of_lines_changes_nothing(prepared: Path, kind: Kind) -> None:
    first = applied(prepared, "out", noise(kind, 0.3))
    for side in ("src", "tgt"):
        write_lines(prepared / f"train.{side}", read(prepared / f"train.{side}")[::-1])
    second = applied(prepared, "again", noise(kind, 0.3))
    assert (first[0][::-1], first[1][::-1], first[2]) == second


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
@pytest.mark.parametrize("rate", [0.0, 0.5, 1.0])
def test_no_line_is_lost(prepared: Path, kind: Kind, rate: float) -> None:
    source, target, _ = applied(prepared, "out", noise(kind, rate))
    assert len(source) == len(target) == 40
    assert all(source) and all(target)
    if rate == 0.0:
        assert (source, target) == (read(prepared / "train.src"), read(prepared / "train.tgt"))


def test_a_teacher_may_see_clean_text(prepared: Path) -> None:
    """The very bytes of a condition without noise, beside the very bytes of the students' noisy text."""
    settings = noise("deletion", 0.3)
    clean, same = applied(prepared, "clean", noise("none", 0.0)), applied(prepared, "same", settings)
    apart = applied(prepared, "apart", settings.model_copy(update={"teacher_sees": "clean"}))
    assert apart[2].pop("teacher_sees") == "clean" != same[2].pop("teacher_sees")
    for name in ("source", "target"):  # the longest line of either text
        assert (apart[2][name].pop("longest_line"), same[2][name].pop("longest_line")) == (9, 8)
    assert apart == same != clean
    for side in ("src", "tgt"):
        name = f"train.{side}"
        assert (prepared / "apart" / name).read_bytes() == (prepared / "same" / name).read_bytes()
        assert (prepared / "apart" / TEACHER_TEXT / name).read_bytes() == (
            prepared / "clean" / name
        ).read_bytes()
    assert not (prepared / "same" / TEACHER_TEXT).exists()


def test_output_is_split_into_pieces_after_the_noise(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.src", ["xyz ｟0｠"])
    write_lines(tmp_path / "train.tgt", ["low ｟0｠"])
    learn(counted(["low low"]), Bpe(merges=10, min_frequency=2), tmp_path / CODES)
    np.save(tmp_path / LENGTHS, np.array([[9, 7], [2, 9]]))
    np.save(tmp_path / KEPT, np.ones(len((tmp_path / "train.src").read_text().splitlines()), bool))
    (tmp_path / "out").mkdir()
    card = apply(tmp_path, tmp_path, tmp_path / "out", noise("none", 0.0), BOUNDS)
    assert (tmp_path / "out" / "train.src").read_text(encoding="utf-8") == "x@@ y@@ z ｟0｠\n"
    assert (tmp_path / "out" / "train.tgt").read_text(encoding="utf-8") == "low ｟0｠\n"
    assert card["source"] == {"words": 2, "hit": 0, "hit_by_kind": {}, "longest_line": 5}


# A line that fits no batch


def bounds(teacher: int, student: int) -> dict[str, int]:
    return {"teacher.training.max_tokens": teacher, "training.max_tokens": student}


@pytest.mark.parametrize(
    ("teacher", "student", "named"),
    [
        (8, 9, r"teacher\.training\.max_tokens \(8\)"),
        (9, 8, r"training\.max_tokens \(8\)"),
        (5, 6, r"teacher\.training\.max_tokens \(5\) and training\.max_tokens \(6\)"),
    ],
)
def test_a_line_longer_than_a_batch_names_the_params(
    prepared: Path, teacher: int, student: int, named: str
) -> None:
    (prepared / "out").mkdir()
    with pytest.raises(
        ParallelTextError,
        match=rf"^train: a line of 9 BPE pieces fits no batch of {named}; "
        r"raise it, or lower prepare\.max_words$",
    ):
        apply(prepared, prepared, prepared / "out", noise("none", 0.0), bounds(teacher, student))


def test_a_line_may_be_as_long_as_a_batch(prepared: Path) -> None:
    (prepared / "out").mkdir()
    card = apply(prepared, prepared, prepared / "out", noise("none", 0.0), bounds(9, 9))
    assert card["source"]["longest_line"] == card["target"]["longest_line"] == 9  # 8 words and the end


def test_a_line_must_fit_by_its_clean_text(prepared: Path) -> None:
    """Batches are cut by it, and deletion shortens the noisy text alone."""
    (prepared / "out").mkdir()
    with pytest.raises(ParallelTextError, match="a line of 9 BPE pieces"):
        apply(prepared, prepared, prepared / "out", noise("deletion", 0.9), bounds(8, 8))


def test_pairs_that_bpe_dropped_are_left_out(prepared: Path) -> None:
    kept = np.arange(40) % 3 != 0
    seen = Noise(kind="deletion", rate=0.5, side="both", seed=1, teacher_sees="clean")
    np.save(prepared / KEPT, kept)
    source, target, card = applied(prepared, "part", seen)
    assert len(source) == len(target) == kept.sum() == card["pairs"]
    assert card["dropped by bpe"] == 40 - kept.sum()
    clean = read(prepared / "part" / TEACHER_TEXT / "train.src")
    assert clean == [line for line, stays in zip(text(40, 8, seed=1), kept, strict=True) if stays]


def test_a_mask_of_another_text_is_told(prepared: Path) -> None:
    np.save(prepared / KEPT, np.ones(39, bool))
    with pytest.raises(
        ParallelTextError, match="tells of 39 pairs, prepared are 40; run the bpe stage again"
    ):
        applied(prepared, "out", noise("deletion", 0.5))


def test_words_are_substituted_by_words_of_their_side_that_are_trained_on(tmp_path: Path) -> None:
    """Source and target have no word in common, and a dropped pair has words of its own."""
    pairs = [("aa bb cc", "vv ww xx"), ("bb cc aa", "xx vv ww")] * 20 + [("only", "dropped")]
    for side, column in (("src", 0), ("tgt", 1)):
        write_lines(tmp_path / f"train.{side}", [pair[column] for pair in pairs])
    learn(
        counted([f"{source} {target}" for source, target in pairs]),
        Bpe(merges=100, min_frequency=2),
        tmp_path / CODES,
    )
    np.save(tmp_path / LENGTHS, np.ones((len(pairs) - 1, 2), np.int32))
    np.save(tmp_path / KEPT, np.array([True] * 40 + [False]))
    _, _, card = applied(tmp_path, "out", noise("substitution", 1.0))
    assert card["pairs"] == 40
    for side, there in (("src", {"aa", "bb", "cc"}), ("tgt", {"vv", "ww", "xx"})):
        noisy = {word for line in read(tmp_path / f"out/train.{side}") for word in line.split()}
        assert noisy == there
