"""Joint byte-pair encoding with subword-nmt, and the dictionary that all models of a corpus share."""

from __future__ import annotations

import io
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.plan.data import Bpe
from nmtkd.plan.layout import CODES, DICTIONARY, DICTIONARY_FILES, KEPT, LENGTHS, SIDE_DICTIONARIES
from nmtkd.text import provenance, workers
from nmtkd.text.frequencies import frequencies
from nmtkd.text.merges import merges
from nmtkd.text.parallel import (
    ParallelTextError,
    blocks,
    count_pairs,
    lines_of,
    read_lines,
    write_lines,
)
from nmtkd.text.words import SEPARATOR, WHOLE, is_protected

VERSION = "#version: 0.2"  # first line of a codes file: the version of its format
NO_MERGE = f"{SEPARATOR} {SEPARATOR}"  # of two symbols that no text has: symbols start as single characters
CACHED = 50_000  # words whose pieces are kept: nearly all of the words to come, in some 10 MB
# Why a pair is dropped here.
LONG, UNEVEN = "more pieces than max_pieces", "pieces of the sides too uneven"
CHUNK = 10_000  # distinct words that a worker splits at a time
# Distinct words below which one process finishes before others would have started: some 20 microseconds each.
SERIAL_BELOW = 100_000


class Subwords:
    """Applies learnt codes. What words.PROTECTED names stays whole."""

    def __init__(self, codes: Path) -> None:
        from subword_nmt.apply_bpe import BPE

        lines = read_lines(codes)
        # subword-nmt reads one merge and more.
        text = "\n".join([*lines, NO_MERGE] if len(lines) == 1 else lines)
        self._bpe: Any = BPE(io.StringIO(text), separator=SEPARATOR, glossaries=[WHOLE])
        self._cache: dict[str, str] = {}

    @property
    def cached_words(self) -> int:
        """How many words it holds the pieces of: CACHED at most."""
        return len(self._cache)

    def split(self, line: str) -> str:
        """Tokens as BPE pieces, both joined by spaces."""
        if line.strip("\r\n ") != line:
            pieces: str = self._bpe.process_line(line)  # keeps the white space around the words
            return pieces
        return " ".join([self._cache.get(word) or self._pieces(word) for word in line.split(" ") if word])

    def _pieces(self, word: str) -> str:
        if len(self._cache) >= CACHED:
            self._cache.clear()
            self._bpe.cache.clear()
        return self._cache.setdefault(word, " ".join(self._bpe.segment_tokens([word])))


def learn(counts: Counter[str], settings: Bpe, codes: Path) -> int:
    """Learns merges from words and their counts and writes them to `codes`. Returns their number."""
    # Sorted, so that ties do not depend on the order of the text.
    vocabulary = sorted(item for item in counts.items() if not is_protected(item[0]))
    learnt = list(merges(vocabulary, settings.merges, settings.min_frequency))
    write_lines(codes, [VERSION, *learnt])
    return len(learnt)


def write_dictionary(path: Path, counts: Counter[str]) -> int:
    """Writes a dictionary: pieces and counts, equal counts by piece. Returns its size."""
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    write_lines(path, [f"{piece} {count}" for piece, count in rows])
    return len(counts)


class _PieceCounter:
    """Counts the pieces of words, each as often as its word; and how many each word has."""

    def __init__(self, codes: Path) -> None:
        self._subwords = Subwords(codes)

    def __call__(self, words: list[tuple[str, int]]) -> tuple[Counter[str], list[tuple[str, int]]]:
        pieces, sizes = Counter[str](), []
        for word, count in words:
            parts = self._subwords.split(word).split()
            sizes.append((word, len(parts)))
            for piece in parts:
                pieces[piece] += count
        return pieces, sizes


def count_pieces(counts: Counter[str], codes: Path) -> tuple[Counter[str], dict[str, int]]:
    """Counts of the pieces in a text whose words have these counts, and how many pieces each word has.

    A word is always split the same way.
    """
    total, sizes = Counter[str](), dict[str, int]()
    words = iter(counts.items())
    tasks = iter(lambda: list(itertools.islice(words, CHUNK)), [])
    for pieces, parts in workers.each(_PieceCounter, (codes,), tasks, serial=len(counts) < SERIAL_BELOW):
        total.update(pieces)
        sizes.update(parts)
    return total, sizes


def lengths(path: Path, lines: int, sizes: Mapping[str, int]) -> NDArray[np.int32]:
    """Tokens of each line of a file [lines], with the end of the sentence, from the pieces of its words."""
    found = list[int]()
    for block in blocks(path):
        found += [1 + sum(sizes[word] for word in line.split()) for line in lines_of(block)]
        machine.progress("bpe", len(found), lines, f"lines of {path.name} measured")
    return np.array(found, np.int32)


def _kept(lengths_N2: NDArray[np.int32], settings: Bpe) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """The pairs that bpe.max_pieces and bpe.max_ratio keep, as a mask [N]; and how many either drops.

    `lengths_N2` count the end of the sentence, the bounds do not. Raises ParallelTextError for none.
    """
    low, high = lengths_N2.min(1) - 1, lengths_N2.max(1) - 1
    is_long = high > (settings.max_pieces or high.max(initial=0))
    is_uneven = ~is_long & (high > (settings.max_ratio or math.inf) * low)
    kept = ~is_long & ~is_uneven
    dropped = {LONG: int(is_long.sum()), UNEVEN: int(is_uneven.sum())}
    if len(kept) and not kept.any():
        raise ParallelTextError(
            f"train: none of {len(kept)} pairs is left; dropped: "
            + ", ".join(f"{number} {reason}" for reason, number in dropped.items())
            + "; raise bpe.max_pieces or bpe.max_ratio"
        )
    return kept, dropped


def encode(prepared: Path, out: Path, held_out: Sequence[str], settings: Bpe) -> dict[str, Any]:
    """The `bpe` stage: learns codes and dictionaries on the clean training text, encodes the held-out sets.

    Codes are learnt on all pairs, then those with too many pieces or too uneven ones are dropped, by a mask:
    dictionaries and lengths are of the others. Returns the card. It counts what was dropped, the pieces of
    each held-out set that training never showed, or never on this side, and those of its longest line, and
    has the hashes of what was read and written. Of the training text only the distinct words are in memory.
    Raises ParallelTextError if no pair is left.
    """
    files = {side: prepared / f"train.{side}" for side in ("src", "tgt")}
    every = np.ones(count_pairs(*files.values()), bool)
    counts = {side: frequencies("bpe", path, every) for side, path in files.items()}
    learnt = learn(counts["src"] + counts["tgt"], settings, out / CODES)
    pieces, longs = {}, []
    for side, words in counts.items():
        pieces[side], sizes = count_pieces(words, out / CODES)
        longs.append(lengths(files[side], len(every), sizes))
    lengths_N2 = np.stack(longs, axis=1)
    kept, dropped = _kept(lengths_N2, settings)
    if not kept.all():
        counts = {side: frequencies("bpe", path, kept) for side, path in files.items()}
        pieces = {side: count_pieces(words, out / CODES)[0] for side, words in counts.items()}
    np.save(out / KEPT, kept)
    np.save(out / LENGTHS, lengths_N2[kept])
    known = pieces["src"] + pieces["tgt"]
    sizes = {"joint": write_dictionary(out / DICTIONARY, known)}
    sizes |= {side: write_dictionary(out / SIDE_DICTIONARIES[side], pieces[side]) for side in pieces}
    subwords = Subwords(out / CODES)
    unknown, new_to_side, longest = {}, {}, {}
    for done, name in enumerate(held_out, start=1):
        for side in ("src", "tgt"):
            encoded = [subwords.split(line) for line in read_lines(prepared / f"{name}.{side}")]
            write_lines(out / f"{name}.{side}", encoded)
            pieces_of_lines = [line.split() for line in encoded]
            unknown[f"{name}.{side}"] = sum(piece not in known for line in pieces_of_lines for piece in line)
            new_to_side[f"{name}.{side}"] = sum(
                piece not in pieces[side] for line in pieces_of_lines for piece in line
            )
            longest[f"{name}.{side}"] = 1 + max(map(len, pieces_of_lines), default=0)  # with EOS
        machine.progress("bpe", done, len(held_out), "held-out sets encoded")
    made = [CODES, KEPT, LENGTHS, *DICTIONARY_FILES, *provenance.sides(held_out)]
    return {
        "merges": learnt,
        "pairs": int(kept.sum()),
        "dropped": dropped,
        "dictionary": sizes,
        "train_pieces": {side: counts.total() for side, counts in pieces.items()},
        "unknown_pieces": unknown,
        "unknown_to_own_side": new_to_side,
        "longest_line": longest,
        **provenance.encoded(prepared, ["train", *held_out]),
        **provenance.written(out, made),
    }
