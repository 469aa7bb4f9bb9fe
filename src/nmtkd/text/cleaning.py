"""Cleans train: tokenises raw pairs and drops those whose lengths show that they are no translations."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmtkd.plan.data import Corpus, Prepare
from nmtkd.text import words
from nmtkd.text.normalisation import normalise
from nmtkd.text.parallel import block_of, blocks, lines_of
from nmtkd.text.splitting import NearDuplicates, Pair
from nmtkd.text.tokenisers import tokeniser

# Why a pair is dropped here.
EMPTY, LONG, UNEVEN, ENDLESS = REASONS = (
    "empty after tokenising",
    "longer than max_words",
    "sides too uneven",
    "a word of over 1000 characters",
)
LONGEST_WORD = 1000  # characters: the default of Moses' clean-corpus-n.perl, for corpora cleaned by tokens

# Lines of both sides as they lie in the files, and a mask that says which of them are train.
RawBlock = tuple[bytes, bytes, NDArray[np.bool_]]

CHUNK = 500  # lines of a worker's task: few enough for progress, enough to outweigh the hand-over
# Pairs below which one process finishes before others would have started: about 150 microseconds each.
SERIAL_BELOW = 5_000
FILES = ("src", "tgt", "raw", "ref", "names")  # of a split, as Tokenised has them


@dataclass(frozen=True)
class Train:
    """Two files of raw pairs, and a mask [N] of the pairs that are train.

    `ratio` is the mean length of a target, in characters, over that of a source.
    """

    source: Path
    target: Path
    mask_N: NDArray[np.bool_]
    ratio: float

    @property
    def pairs(self) -> int:
        """How many are train."""
        return int(self.mask_N.sum())


def raw_blocks(train: Train, size: int) -> Iterator[RawBlock]:
    """The pairs for a Cleaner, from `size` lines at a time. Blocks without a pair of train are left out."""
    for number, sides in enumerate(zip(blocks(train.source, size), blocks(train.target, size), strict=True)):
        mask = train.mask_N[number * size : (number + 1) * size]
        if mask.any():
            yield *sides, mask


@dataclass(frozen=True)
class Tokenised:
    """A pair as a split keeps it: tokens, the text as it came, the names of the source's placeholders."""

    src: str
    tgt: str
    raw: str
    ref: str
    names: list[str]

    @property
    def lengths(self) -> tuple[int, int]:
        """Units of each side."""
        return words.count_units(self.src), words.count_units(self.tgt)

    def lower(self) -> Tokenised:
        """The same with tokens in lower case."""
        return replace(self, src=lower(self.src), tgt=lower(self.tgt))


def lower(text: str) -> str:
    """Lower case as Perl's lc, and so Moses, has it: a sigma at a word's end is like any other."""
    return text.replace("Σ", "σ").lower()


class PairTokeniser:
    """Makes tokens of raw pairs: normalises, numbers placeholders, tokenises. Counts what it normalised.

    Pairs of `tests` are normalised by prepare.normalise_tests first. Case stays: pairs are cleaned with it.
    """

    def __init__(self, corpus: Corpus, settings: Prepare, *, tests: bool = False) -> None:
        self._kinds = [*(settings.normalise_tests if tests else []), *settings.normalise]
        self._placeholders = settings.placeholders
        self._languages = corpus.source, corpus.target
        self._sides = [tokeniser(settings.tokeniser, language) for language in self._languages]
        self.changed = Counter[str]()  # lines of either side by kind of normalisation

    def __call__(self, raw: Pair) -> Tokenised:
        """The pair as a split keeps it."""
        source, target = raw
        if self._kinds:
            source, target = (
                normalise(side, self._kinds, self.changed, language)
                for side, language in zip(raw, self._languages, strict=True)
            )
        has_names = self._placeholders and ("{" in source or "{" in target)
        names = words.placeholders(source, target) if has_names else []
        src, tgt = (
            side.tokenise(words.mask(text, names))
            for side, text in zip(self._sides, (source, target), strict=True)
        )
        return Tokenised(src, tgt, *raw, words.placeholders(source) if names else [])


def files_of(pairs: Sequence[Tokenised]) -> dict[str, bytes]:
    """The pairs as blocks of the files of a split."""
    blocks = {name: block_of([getattr(pair, name) for pair in pairs]) for name in FILES[:-1]}
    return blocks | {"names": block_of([json.dumps(pair.names, ensure_ascii=False) for pair in pairs])}


def sizes(pairs: Sequence[Tokenised]) -> dict[str, int]:
    """Counts of pairs and units under the names that the card uses."""
    sides = [sum(side) for side in zip(*(pair.lengths for pair in pairs), strict=True)] or [0, 0]
    return {"pairs": len(pairs), "source_tokens": sides[0], "target_tokens": sides[1]}


@dataclass(frozen=True)
class Cleaned:
    """Clean pairs of train as blocks of files, with their counts.

    `dropped` counts pairs by reason, `changed` lines by kind of normalisation. `near` holds the indices of
    the tests that one of the pairs resembles.
    """

    files: dict[str, bytes]
    sizes: dict[str, int]
    dropped: Counter[str]
    changed: Counter[str]
    near: set[int]


class Cleaner:
    """Makes train of raw lines: tokenises them and drops pairs by their lengths.

    `tests` are the sources of test pairs, to find near-duplicates of. `ratio` is that of Train.
    """

    def __init__(self, corpus: Corpus, settings: Prepare, tests: Sequence[str], ratio: float) -> None:
        self._corpus, self._settings, self._ratio = corpus, settings, ratio
        self._tests = NearDuplicates(
            [plain((test, ""), settings)[0] for test in tests], settings.near_duplicate
        )
        self._near = set[int]()  # tests that an earlier block resembled: they need no second look

    def __call__(self, block: RawBlock) -> Cleaned:
        """The clean pairs of a block."""
        tokenise = PairTokeniser(self._corpus, self._settings)
        dropped, pairs, near = Counter[str](), list[Tokenised](), set[int]()
        for _, pair, compared, reason in judged(block, tokenise, self._settings, self._ratio):
            if reason:
                dropped[reason] += 1
                continue
            pairs.append(pair.lower() if self._settings.lowercase else pair)
            near.update(self._tests.of(compared[0], self._near))
        self._near |= near
        return Cleaned(files_of(pairs), sizes(pairs), dropped, tokenise.changed, near)


class Judge:
    """Which pairs of a block of raw lines a Cleaner with these settings would keep."""

    def __init__(self, corpus: Corpus, settings: Prepare, ratio: float) -> None:
        self._corpus, self._settings, self._ratio = corpus, settings, ratio

    def __call__(self, block: RawBlock) -> tuple[NDArray[np.bool_], Counter[str]]:
        """A mask of the block's lines, and how many were dropped for which reason."""
        tokenise, dropped = PairTokeniser(self._corpus, self._settings), Counter[str]()
        kept = block[2].copy()
        for index, *_, reason in judged(block, tokenise, self._settings, self._ratio):
            kept[index] = not reason
            dropped.update([reason] if reason else [])
        return kept, dropped


def judged(
    block: RawBlock, tokenise: PairTokeniser, settings: Prepare, ratio: float
) -> Iterator[tuple[int, Tokenised, Pair, str]]:
    """Of each pair of train in a block: its line, its tokens, `plain` of it, and why it is dropped, or ""."""
    for index, (*raw, is_train) in enumerate(zip(*map(lines_of, block[:2]), block[2], strict=True)):
        if is_train:
            pair, compared = tokenise((raw[0], raw[1])), plain((raw[0], raw[1]), settings)
            yield index, pair, compared, why_dropped(pair, compared, settings, ratio)


def plain(raw: Pair, settings: Prepare) -> Pair:
    """A raw pair as pairs are compared: placeholders are numbered, unless they are text like any other."""
    return (
        words.compared(*raw) if settings.placeholders else (words.canonical(raw[0]), words.canonical(raw[1]))
    )


def lengths(pair: Tokenised, settings: Prepare) -> tuple[int, int]:
    """What prepare.max_words counts of each side: units, or tokens as they are."""
    return (len(pair.src.split()), len(pair.tgt.split())) if by_tokens(settings) else pair.lengths


def by_tokens(settings: Prepare) -> bool:
    """Whether pairs are cleaned by their tokens, as Moses' clean-corpus-n.perl does."""
    return settings.ratio_of == "tokens"


def why_dropped(pair: Tokenised, compared: Pair, settings: Prepare, ratio: float) -> str:
    """A member of REASONS, or "" for a pair that stays. `compared` is `plain` of it."""
    sizes = lengths(pair, settings)
    if not all(sizes):
        return EMPTY
    if sizes[0] > settings.max_words.source or sizes[1] > settings.max_words.target:
        return LONG
    if by_tokens(settings):
        if max(sizes) > settings.max_ratio * min(sizes):
            return UNEVEN
        return ENDLESS if max(map(len, f"{pair.src} {pair.tgt}".split())) > LONGEST_WORD else ""
    short, long = sorted((len(compared[0]), len(compared[1]) / ratio))
    uneven = long > settings.max_ratio * short and long - short > settings.ratio_slack
    return UNEVEN if uneven else ""
