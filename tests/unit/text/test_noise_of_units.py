"""nmtkd.text.noise on tokens with joiners, and on scripts without spaces: single characters are the words."""

import random
from collections import Counter
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.plan.data import Bpe, Noise
from nmtkd.plan.layout import CODES, KEPT, LENGTHS
from nmtkd.text.frequencies import WordCounter
from nmtkd.text.noise import Vocabulary, apply, corrupt
from nmtkd.text.parallel import write_lines
from nmtkd.text.subwords import learn
from nmtkd.text.tokenisers import tokeniser
from nmtkd.text.words import count_units, is_protected, join, mask, placeholders, split_token, units
from tests.unit.text.counts import counted

Kind = Literal["deletion", "substitution", "swap"]
KINDS: list[Kind] = ["deletion", "substitution", "swap"]
reversible = tokeniser("reversible", "en")

# Characters, with their marks, of which lines are made: none stands beside a space.
ALPHABETS = {
    "chinese": list("我们明天去北京看书写字"),
    "japanese": ["静", "か", "な", "夜", "に", "ス", "ー", "ガ", "飲", "む"],
    "thai": ["น้ำ", "ใ", "ส", "ที่", "นี่", "ต้", "ก", "ม"],
}


def noise(kind: Kind, rate: float, seed: int = 1) -> Noise:
    return Noise.model_construct(kind=kind, rate=rate, side="both", seed=seed)


def corpus(language: str, count: int, length: int) -> list[str]:
    """Tokens of lines of so many units."""
    draw = random.Random(3)
    lines = ["".join(draw.choices(ALPHABETS[language], k=length)) for _ in range(count)]
    return [reversible.tokenise(line) for line in lines]


@pytest.mark.parametrize("language", ALPHABETS)
@pytest.mark.parametrize("kind", ["deletion", "substitution"])
def test_a_script_without_spaces_is_hit_at_the_rate(language: str, kind: Kind) -> None:
    """4 standard deviations of the binomial either way: 99.99% of it."""
    lines, rate = corpus(language, 300, 12), 0.2
    vocabulary = Vocabulary(lines)
    hits = sum(corrupt(line, noise(kind, rate), "source", vocabulary)[1][kind] for line in lines)
    expected = 300 * 12 * rate
    assert abs(hits - expected) < 4 * (expected * (1 - rate)) ** 0.5


@pytest.mark.parametrize("language", ALPHABETS)
def test_swaps_reach_inside_a_token(language: str) -> None:
    for line in corpus(language, 20, 12):
        noisy, counts = corrupt(line, noise("swap", 1.0), "source", Vocabulary([]))
        before, after = list(units(line)), list(units(noisy))
        assert counts == {"swap": 6}
        assert after == [before[index ^ 1] for index in range(12)]


@pytest.mark.parametrize("language", ALPHABETS)
def test_deletion_takes_single_characters(language: str) -> None:
    for line in corpus(language, 20, 12):
        noisy, counts = corrupt(line, noise("deletion", 0.3), "source", Vocabulary([]))
        assert count_units(noisy) == 12 - counts["deletion"]
        rest = iter(units(line))
        assert all(unit in rest for unit in units(noisy))


@pytest.mark.parametrize("language", ALPHABETS)
def test_substitution_replaces_single_characters(language: str) -> None:
    lines = corpus(language, 20, 12)
    vocabulary = Vocabulary(lines)
    for line in lines:
        noisy, counts = corrupt(line, noise("substitution", 0.4), "source", vocabulary)
        changed = [new for old, new in zip(units(line), units(noisy), strict=True) if old != new]
        assert counts == {"substitution": len(changed)}
        assert set(changed) <= set(ALPHABETS[language])


# Joiners and places


def test_swapped_units_change_places_and_joiners_stay() -> None:
    line = "我有 ￭3￭ 本书 ￭。"
    assert corrupt(line, noise("swap", 1.0), "source", Vocabulary([])) == ("有我 ￭本￭ 3。 ￭书", {"swap": 3})
    assert reversible.detokenise("有我 ￭本￭ 3。 ￭书") == "有我本3。书"


def test_substitutes_have_the_joiners_of_their_places() -> None:
    line = "it ￭'￭ s on ￭."
    noisy, counts = corrupt(line, noise("substitution", 1.0), "source", Vocabulary(["x", "￭x￭"]))
    assert (noisy, counts) == ("x ￭x￭ x x ￭x", {"substitution": 5})


def test_a_deleted_token_takes_its_joiners_along() -> None:
    """Among them the one that said that its neighbours touch it."""
    line = "wi ￭-￭ fi ￭."
    left = {corrupt(line, noise("deletion", 0.4, seed), "source", Vocabulary([]))[0] for seed in range(60)}
    assert {"wi fi ￭.", "wi ￭-￭ fi", "￭-￭ fi ￭.", "fi"} <= left
    tokens = {"wi", "￭-￭", "fi", "￭."}
    assert all(set(noisy.split()) <= tokens for noisy in left)


def test_what_is_left_of_a_token_keeps_its_joiners() -> None:
    line = "我有￭ ｟0｠"
    left = {corrupt(line, noise("deletion", 0.5, seed), "source", Vocabulary([]))[0] for seed in range(40)}
    assert left == {"我有￭ ｟0｠", "我￭ ｟0｠", "有￭ ｟0｠", "｟0｠"}


texts = st.text(st.sampled_from("ab1. -'{}｟￭\u00a0\t漢字かー。น้ำใ\u0301"), min_size=1, max_size=14)
rates = st.floats(0.05, 1.0)
VOCABULARY = Vocabulary(["x yy 語 ￭! ใบ ｟0｠ ￭｟ua0｠￭"])


def tokens_of(text: str) -> str:
    return reversible.tokenise(mask(text, placeholders(text)))


@given(texts, st.sampled_from(KINDS), rates)
def test_noisy_tokens_are_tokens_that_become_text(text: str, kind: Kind, rate: float) -> None:
    noisy, _ = corrupt(tokens_of(text), noise(kind, rate), "source", VOCABULARY)
    assert noisy == " ".join(noisy.split()) != ""
    assert all(split_token(token)[1] for token in noisy.split(" "))
    assert "￭" not in reversible.detokenise(noisy)


@given(texts, st.sampled_from(["substitution", "swap"]), rates)
def test_substitution_and_swap_leave_every_joiner_where_it_is(text: str, kind: Kind, rate: float) -> None:
    line = tokens_of(text)
    noisy, _ = corrupt(line, noise(kind, rate), "source", VOCABULARY)
    sides = [[split_token(token)[::2] for token in tokens.split(" ")] for tokens in (line, noisy)]
    assert sides[0] == sides[1]
    assert reversible.detokenise(noisy).count(" ") == reversible.detokenise(line).count(" ")


@given(texts, st.sampled_from(KINDS), rates)
def test_placeholders_and_coded_characters_are_never_hit(text: str, kind: Kind, rate: float) -> None:
    line = tokens_of(text)
    noisy, _ = corrupt(line, noise(kind, rate), "source", VOCABULARY)
    held = [[token for token in tokens.split(" ") if is_protected(token)] for tokens in (line, noisy)]
    assert held[0] == held[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("token", ["￭｟ua0｠￭", "｟u20｠", "￭｟0｠", "｟1｠￭"])
def test_a_protected_token_stays_at_any_rate(kind: Kind, token: str) -> None:
    for seed in range(20):
        noisy, _ = corrupt(f"我 a {token} b 他", noise(kind, 1.0, seed), "source", VOCABULARY)
        assert token in noisy.split(" ")


# The vocabulary and the card


def test_the_vocabulary_is_of_units() -> None:
    vocabulary = Vocabulary(["我我我我 ￭ab￭ ｟0｠ ￭｟ua0｠￭", "他 ab"])
    shares = [(number + 0.5) / 7 for number in range(7)]
    assert [vocabulary.draw(share, "x") for share in shares] == ["ab"] * 2 + ["他"] + ["我"] * 4


@given(st.lists(texts.map(tokens_of), max_size=6))
def test_the_vocabulary_of_counted_tokens_is_that_of_the_lines(lines: list[str]) -> None:
    counts, _ = WordCounter()("".join(f"{line}\n" for line in lines).encode())
    there, here = Vocabulary.counted(counts), Vocabulary(lines)
    for share in (0.0, 0.3, 0.7, 1.0):
        for word in ("a", "漢", "never"):
            assert there.draw(share, word) == here.draw(share, word)


def test_the_card_counts_units(tmp_path: Path) -> None:
    write_lines(tmp_path / "train.src", ["It ￭'￭ s on ￭.", "｟0｠￭ %"])
    write_lines(tmp_path / "train.tgt", ["我有 ￭3￭ 本书 ￭。", "น้ำใส"])
    learn(Counter(), Bpe(merges=5, min_frequency=2), tmp_path / CODES)
    np.save(tmp_path / LENGTHS, np.array([[9, 7], [2, 9]]))
    np.save(tmp_path / KEPT, np.ones(len((tmp_path / "train.src").read_text().splitlines()), bool))
    (tmp_path / "out").mkdir()
    card = apply(tmp_path, tmp_path, tmp_path / "out", noise("swap", 1.0), {"training.max_tokens": 99})
    assert card["source"] == {"words": 7, "hit": 2, "hit_by_kind": {"swap": 2}, "longest_line": 11}
    assert card["target"] == {"words": 9, "hit": 4, "hit_by_kind": {"swap": 4}, "longest_line": 10}
    written = (tmp_path / "out" / "train.tgt").read_text(encoding="utf-8").splitlines()
    assert [join(line) for line in written] == ["有我 ￭本￭ 3。 ￭书", "ใน้ำส"]


def test_codes_of_joined_tokens_split_noisy_ones(tmp_path: Path) -> None:
    lines = corpus("chinese", 30, 8)
    for side in ("src", "tgt"):
        write_lines(tmp_path / f"train.{side}", lines)
    learn(counted(lines), Bpe(merges=30, min_frequency=2), tmp_path / CODES)
    np.save(tmp_path / LENGTHS, np.array([[9, 7], [2, 9]]))
    np.save(tmp_path / KEPT, np.ones(len((tmp_path / "train.src").read_text().splitlines()), bool))
    (tmp_path / "out").mkdir()
    card = apply(tmp_path, tmp_path, tmp_path / "out", noise("deletion", 0.3), {"training.max_tokens": 99})
    left = [join(line) for line in (tmp_path / "out" / "train.src").read_text(encoding="utf-8").splitlines()]
    assert card["source"]["words"] == 30 * 8
    assert sum(map(count_units, left)) == 30 * 8 - card["source"]["hit"] < 200
