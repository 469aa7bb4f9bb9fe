"""Noise on training words, before BPE.

Each line draws from a generator of its own, seeded by the condition's seed and the line's text: the order of lines and the number of
workers change nothing. The draws do not depend on the rate, so that a higher rate hits the words that a lower one hits, and more.
Held-out sets stay clean.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from nmtkd import machine
from nmtkd.params import Noise
from nmtkd.text.parallel import read_pair, write_lines
from nmtkd.text.subwords import CODES, Subwords


class Vocabulary:
    """The words of one side, to draw substitutes from by their frequency."""

    def __init__(self, lines: Sequence[str]) -> None:
        counts = Counter(word for line in lines for word in line.split() if not _untouchable(word))
        self._words = sorted(counts)
        self._cumulative = list(accumulate(counts[word] for word in self._words))

    def draw(self, generator: random.Random, instead_of: str) -> str:
        """A word other than `instead_of`, where there is another one."""
        for _ in self._words:
            word = generator.choices(self._words, cum_weights=self._cumulative)[0]
            if word != instead_of:
                return word
        return instead_of


def _untouchable(word: str) -> bool:
    """Placeholders are not words: a corpus whose variables are shuffled is broken, not noisy."""
    return word.startswith("{") and word.endswith("}")


def corrupt(line: str, noise: Noise, salt: str, vocabulary: Vocabulary) -> tuple[str, int]:
    """The line under `noise`, and how many words were hit. `salt` tells sides apart. Never empty.

    deletion: each word goes with probability `rate`; one stays where all would go.
    substitution: each word becomes another one of its side with probability `rate`, drawn by frequency.
    swap: from left to right, a word changes places with the next one with probability `rate`; a swapped pair is not swapped again,
    and counts as one hit.
    """
    if noise.kind == "none":
        return line, 0
    seed = hashlib.sha256(f"{noise.seed}\0{noise.kind}\0{salt}\0{line}".encode()).digest()
    generator = random.Random(seed)
    tokens = line.split()
    if noise.kind == "deletion":
        kept = [token for token in tokens if generator.random() >= noise.rate or _untouchable(token)]
        kept = kept or [tokens[generator.randrange(len(tokens))]]
        return " ".join(kept), len(tokens) - len(kept)
    if noise.kind == "substitution":
        # The substitute is drawn whether or not it is needed: so the next word's draw does not depend on the rate.
        hit = [(generator.random() < noise.rate, vocabulary.draw(generator, token)) for token in tokens]
        changed = [new if struck and not _untouchable(old) else old for old, (struck, new) in zip(tokens, hit, strict=True)]
        return " ".join(changed), sum(new != old for old, new in zip(tokens, changed, strict=True))
    return _swap(tokens, noise.rate, generator)


def _swap(tokens: list[str], rate: float, generator: random.Random) -> tuple[str, int]:
    draws = [generator.random() for _ in tokens]
    index = hits = 0
    while index + 1 < len(tokens):
        if draws[index] < rate and not _untouchable(tokens[index]) and not _untouchable(tokens[index + 1]):
            tokens[index], tokens[index + 1] = tokens[index + 1], tokens[index]
            hits += 1
            index += 1
        index += 1
    return " ".join(tokens), hits


def apply(prepared: Path, bpe: Path, out: Path, noise: Noise) -> dict[str, Any]:
    """The `noise` stage: train.src and train.tgt under `noise`, as BPE. Returns the card: words and hits a side."""
    subwords = Subwords(bpe / CODES)
    card: dict[str, Any] = {"kind": noise.kind, "rate": noise.rate, "side": noise.side}
    for side, name, lines in zip(
        ("src", "tgt"), ("source", "target"), read_pair(prepared / "train.src", prepared / "train.tgt"), strict=True
    ):
        struck = noise.side in (name, "both")
        vocabulary = Vocabulary(lines)
        noisy, hits = [], 0
        for done, line in enumerate(lines, start=1):
            words, count = corrupt(line, noise, name, vocabulary) if struck else (line, 0)
            noisy.append(subwords.split(words))
            hits += count
            machine.progress("noise", done, len(lines), f"lines of {name}")
        write_lines(out / f"train.{side}", noisy)
        card[name] = {"words": sum(len(line.split()) for line in lines), "hit": hits}
    return card
