"""Three lines of four words, and token targets along them."""

from pathlib import Path

import torch
from fairseq.data import Dictionary, LanguagePairDataset
from torch import Tensor

from nmtkd.distil.targets import Header, TokenTargets, Writer

WORDS = ["a", "b", "c", "d"]
SOURCES = ["a b c", "a", "b c"]  # a batch is sorted by the length of its sources: lines 0, 2, 1
TARGETS = ["b", "c d a b", "d"]
LENGTHS = [2, 5, 2]
TOP_K = 2


def encode(dictionary: Dictionary, lines: list[str]) -> tuple[list[Tensor], list[int]]:
    items = [dictionary.encode_line(line, add_if_not_exist=False).long() for line in lines]
    return items, [len(item) for item in items]


def pairs(dictionary: Dictionary) -> LanguagePairDataset:
    return LanguagePairDataset(
        *encode(dictionary, SOURCES), dictionary, *encode(dictionary, TARGETS), dictionary, shuffle=False
    )


def write_targets(folder: Path, lengths: list[int] = LENGTHS) -> TokenTargets:
    """Line i, position t, rank r: token 4 + (i + t + r) % 4 with probability (1 + i + t) / 16 / (1 + r)."""
    folder.mkdir(exist_ok=True)
    names = dict.fromkeys(("dictionary_hash", "teacher_hash", "prefix", "prefix_hash"), "x")
    writer = Writer(folder, lengths, Header(top_k=TOP_K, temperature=1.0, vocabulary=8, **names))
    for line, length in enumerate(lengths):
        writer.put(line, *rows(line, length))
    writer.close()
    return TokenTargets(folder)


def rows(line: int, length: int) -> tuple[Tensor, Tensor]:
    place, rank = torch.meshgrid(torch.arange(length), torch.arange(TOP_K), indexing="ij")
    return 4 + (line + place + rank) % 4, (1 + line + place) / 16 / (1 + rank)
