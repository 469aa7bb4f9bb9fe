"""Joint byte-pair encoding with subword-nmt, and the one dictionary that every model of a corpus shares."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from nmtkd import machine
from nmtkd.params import Bpe
from nmtkd.text.parallel import read_lines, write_lines
from nmtkd.text.words import NUMBERED

SEPARATOR = "@@"  # subword-nmt's own mark at the end of a piece that is continued
CODES = "codes.bpe"
DICTIONARY = "dict.txt"  # fairseq's format: a token and its count a line, most frequent first


class Subwords:
    """Applies learnt codes. Placeholders stay whole."""

    def __init__(self, codes: Path) -> None:
        from subword_nmt.apply_bpe import BPE

        with open(codes, encoding="utf-8") as file:
            self._bpe: Any = BPE(file, separator=SEPARATOR, glossaries=[NUMBERED])

    def split(self, line: str) -> str:
        """Moses tokens as BPE pieces, both joined by spaces."""
        pieces: str = self._bpe.process_line(line)
        return pieces


def join(pieces: str) -> str:
    """BPE pieces as Moses tokens again; a piece that waits for more at the end of the line loses its mark."""
    return (pieces + " ").replace(f"{SEPARATOR} ", "").strip()


def learn(sides: Sequence[Iterable[str]], settings: Bpe, codes: Path) -> int:
    """Learns one set of merges on all sides together, writes them to `codes` and returns how many there are."""
    from subword_nmt.learn_bpe import learn_bpe

    counts = Counter(word for lines in sides for line in lines for word in line.split() if not word.startswith("{"))
    words = "".join(f"{word} {count}\n" for word, count in sorted(counts.items()))
    found = io.StringIO()
    learn_bpe(io.StringIO(words), found, settings.merges, min_frequency=settings.min_frequency, is_dict=True)
    lines = found.getvalue().splitlines()
    write_lines(codes, lines)
    return len(lines) - 1  # the first line is the format's version


def write_dictionary(path: Path, sides: Sequence[Iterable[str]]) -> int:
    """Writes the joint dictionary of BPE text; returns its size. Ties go by the token, so that the order is always the same."""
    counts = Counter(piece for lines in sides for line in lines for piece in line.split())
    write_lines(path, [f"{piece} {count}" for piece, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))])
    return len(counts)


def encode(prepared: Path, out: Path, held_out: Sequence[str], settings: Bpe) -> dict[str, Any]:
    """The `bpe` stage: codes and dictionary from the clean training text, applied to the held-out sets. Returns the card.

    Unknown pieces of a held-out set are counted: they are characters that training never showed.
    """
    train = {side: read_lines(prepared / f"train.{side}") for side in ("src", "tgt")}
    merges = learn(list(train.values()), settings, out / CODES)
    subwords = Subwords(out / CODES)
    pieces = {side: [subwords.split(line) for line in lines] for side, lines in train.items()}
    size = write_dictionary(out / DICTIONARY, list(pieces.values()))
    known = {line.split()[0] for line in read_lines(out / DICTIONARY)}
    unknown = {}
    for done, name in enumerate(held_out, start=1):
        for side in ("src", "tgt"):
            lines = [subwords.split(line) for line in read_lines(prepared / f"{name}.{side}")]
            write_lines(out / f"{name}.{side}", lines)
            unknown[f"{name}.{side}"] = sum(piece not in known for line in lines for piece in line.split())
        machine.progress("bpe", done, len(held_out), "held-out sets encoded")
    return {
        "merges": merges,
        "dictionary": size,
        "train_pieces": {side: sum(len(line.split()) for line in lines) for side, lines in pieces.items()},
        "unknown_pieces": unknown,
    }
