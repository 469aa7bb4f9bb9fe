"""Joint byte-pair encoding with subword-nmt, and the dictionary that all models of a corpus share."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.plan.data import Bpe
from nmtkd.plan.layout import CODES, DICTIONARY, LENGTHS
from nmtkd.text import provenance, workers
from nmtkd.text.frequencies import frequencies
from nmtkd.text.merges import merges
from nmtkd.text.parallel import blocks, count_lines, lines_of, read_lines, write_lines
from nmtkd.text.words import SEPARATOR, WHOLE, is_protected

VERSION = "#version: 0.2"  # first line of a codes file: the version of its format
NO_MERGE = f"{SEPARATOR} {SEPARATOR}"  # of two symbols that no text has: symbols start as single characters
CACHED = 50_000  # words whose pieces are kept: nearly all of the words to come, in some 10 MB
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
    """Writes the joint dictionary: pieces and counts, equal counts by piece. Returns its size."""
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


def encode(prepared: Path, out: Path, held_out: Sequence[str], settings: Bpe) -> dict[str, Any]:
    """The `bpe` stage: learns codes and dictionary on the clean training text and encodes the held-out sets.

    Returns the card. It counts the unknown pieces of each held-out set (characters that training never
    showed) and those of its longest line, and has the hashes of what was read and written. Of the training
    text only the distinct words are in memory.
    """
    files = {side: prepared / f"train.{side}" for side in ("src", "tgt")}
    lines = {side: count_lines(path) for side, path in files.items()}
    counts = {side: frequencies("bpe", path, lines[side]) for side, path in files.items()}
    learnt = learn(counts["src"] + counts["tgt"], settings, out / CODES)
    pieces, longs = {}, []
    for side, words in counts.items():
        pieces[side], sizes = count_pieces(words, out / CODES)
        longs.append(lengths(files[side], lines[side], sizes))
    np.save(out / LENGTHS, np.stack(longs, axis=1))
    known = pieces["src"] + pieces["tgt"]
    size = write_dictionary(out / DICTIONARY, known)
    subwords = Subwords(out / CODES)
    unknown, longest = {}, {}
    for done, name in enumerate(held_out, start=1):
        for side in ("src", "tgt"):
            encoded = [subwords.split(line) for line in read_lines(prepared / f"{name}.{side}")]
            write_lines(out / f"{name}.{side}", encoded)
            pieces_of_lines = [line.split() for line in encoded]
            unknown[f"{name}.{side}"] = sum(piece not in known for line in pieces_of_lines for piece in line)
            longest[f"{name}.{side}"] = 1 + max(map(len, pieces_of_lines), default=0)  # with EOS
        machine.progress("bpe", done, len(held_out), "held-out sets encoded")
    return {
        "merges": learnt,
        "dictionary": size,
        "train_pieces": {side: counts.total() for side, counts in pieces.items()},
        "unknown_pieces": unknown,
        "longest_line": longest,
        **provenance.encoded(prepared, ["train", *held_out]),
        **provenance.written(out, [CODES, LENGTHS, DICTIONARY, *provenance.sides(held_out)]),
    }
