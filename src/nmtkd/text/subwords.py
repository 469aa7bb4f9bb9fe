"""Joint byte-pair encoding with subword-nmt, and the one dictionary that every model of a corpus shares."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nmtkd import machine
from nmtkd.params import Bpe
from nmtkd.text import workers
from nmtkd.text.frequencies import by_white_space, frequencies
from nmtkd.text.merges import merges
from nmtkd.text.parallel import count_lines, read_lines, write_lines
from nmtkd.text.words import NUMBERED

SEPARATOR = "@@"  # subword-nmt's own mark at the end of a piece that is continued
VERSION = "#version: 0.2"  # of the format of codes, the first line
CODES = "codes.bpe"
DICTIONARY = "dict.txt"  # fairseq's format: a token and its count a line, most frequent first
CACHED = 50_000  # words whose pieces are kept: all but a few of a hundred that a text goes on with, in some 10 MB
CHUNK = 10_000  # distinct words that a worker splits at a time
ALONE = 100_000  # distinct words up to which one process splits them sooner than others start: about 20 microseconds each


class Subwords:
    """Applies learnt codes. Placeholders stay whole."""

    def __init__(self, codes: Path) -> None:
        from subword_nmt.apply_bpe import BPE

        with open(codes, encoding="utf-8") as file:
            self._bpe: Any = BPE(file, separator=SEPARATOR, glossaries=[NUMBERED])
        self._cache: dict[str, str] = {}

    def split(self, line: str) -> str:
        """Moses tokens as BPE pieces, both joined by spaces."""
        if line.strip("\r\n ") != line:
            pieces: str = self._bpe.process_line(line)  # it keeps what lies around the words
            return pieces
        return " ".join([self._cache.get(word) or self._pieces(word) for word in line.split(" ") if word])

    def _pieces(self, word: str) -> str:
        if len(self._cache) >= CACHED:
            self._cache.clear()
            self._bpe.cache.clear()
        return self._cache.setdefault(word, " ".join(self._bpe.segment_tokens([word])))


def join(pieces: str) -> str:
    """BPE pieces as Moses tokens again; a piece that waits for more at the end of the line loses its mark."""
    return (pieces + " ").replace(f"{SEPARATOR} ", "").strip()


def learn(sides: Sequence[Iterable[str]], settings: Bpe, codes: Path) -> int:
    """Learns one set of merges on all sides together, writes them to `codes` and returns how many there are."""
    return _learn(_to_learn_from(Counter(word for lines in sides for line in lines for word in line.split())), settings, codes)


def _to_learn_from(counts: Counter[str]) -> list[tuple[str, int]]:
    """Words and counts without placeholders, which are no words; sorted, so that ties never go by the order of the text."""
    return sorted(item for item in by_white_space(counts).items() if not item[0].startswith("{"))


def _learn(words: list[tuple[str, int]], settings: Bpe, codes: Path) -> int:
    found = list(merges(words, settings.merges, settings.min_frequency))
    write_lines(codes, [VERSION, *found])
    return len(found)


def write_dictionary(path: Path, sides: Sequence[Iterable[str]]) -> int:
    """Writes the joint dictionary of BPE text; returns its size. Ties go by the token, so that the order is always the same."""
    return _write_counts(path, Counter(piece for lines in sides for line in lines for piece in line.split()))


def _write_counts(path: Path, counts: Counter[str]) -> int:
    write_lines(path, [f"{piece} {count}" for piece, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))])
    return len(counts)


class _PieceCounter:
    """Counts the pieces of words that have counts."""

    def __init__(self, codes: Path) -> None:
        self._subwords = Subwords(codes)

    def __call__(self, words: list[tuple[str, int]]) -> Counter[str]:
        found = Counter[str]()
        for word, count in words:
            for piece in self._subwords.split(word).split():
                found[piece] += count
        return found


def _pieces(counts: Counter[str], codes: Path) -> Counter[str]:
    """How often each piece stands in a text of these words: each word is split the same way wherever it stands."""
    found = Counter[str]()
    words = iter(counts.items())
    tasks = iter(lambda: list(itertools.islice(words, CHUNK)), [])
    for some in workers.each(_PieceCounter, (codes,), tasks, alone=len(counts) < ALONE):
        found.update(some)
    return found


def encode(prepared: Path, out: Path, held_out: Sequence[str], settings: Bpe) -> dict[str, Any]:
    """The `bpe` stage: codes and dictionary from the clean training text, applied to the held-out sets. Returns the card.

    Unknown pieces of a held-out set are counted: they are characters that training never showed. Of the training text only its distinct
    words are in memory.
    """
    files = {side: prepared / f"train.{side}" for side in ("src", "tgt")}
    lines = {side: count_lines(path) for side, path in files.items()}
    counts = {side: frequencies("bpe", path, lines[side]) for side, path in files.items()}
    learnt = _learn(_to_learn_from(counts["src"] + counts["tgt"]), settings, out / CODES)
    pieces = {side: _pieces(words, out / CODES) for side, words in counts.items()}
    known = pieces["src"] + pieces["tgt"]
    size = _write_counts(out / DICTIONARY, known)
    subwords = Subwords(out / CODES)
    unknown = {}
    for done, name in enumerate(held_out, start=1):
        for side in ("src", "tgt"):
            split = [subwords.split(line) for line in read_lines(prepared / f"{name}.{side}")]
            write_lines(out / f"{name}.{side}", split)
            unknown[f"{name}.{side}"] = sum(piece not in known for line in split for piece in line.split())
        machine.progress("bpe", done, len(held_out), "held-out sets encoded")
    return {
        "merges": learnt,
        "dictionary": size,
        "train_pieces": {side: found.total() for side, found in pieces.items()},
        "unknown_pieces": unknown,
    }
