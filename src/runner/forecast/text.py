"""Sizes of an experiment's text: as found by stages that are done, or as known before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from nmtkd.plan import layout
from nmtkd.plan.schema import Params
from runner.forecast.assumptions import Assumptions, Sizes
from runner.forecast.sizes import SPECIAL

SEPARATE_SHARE = 0.8  # of the joint dictionary's pieces that one side has, where languages share a script

Counted = tuple[Sizes, int]  # and pieces of the dictionary


def found(file: Callable[[str], Path | None], params: Params) -> Counted | None:
    """Sizes of the text and of a dictionary; None if stage `bpe` is not done.

    `file` says where a file is that a stage wrote.
    """
    lengths = file(str(layout.BPE / layout.LENGTHS))
    name = layout.DICTIONARIES[params.architecture.embeddings][1]
    dictionary = file(str(name))
    if lengths is None or dictionary is None:
        return None
    tokens = np.load(lengths, mmap_mode="r")
    source, target = (float(mean) - 1 for mean in tokens.mean(0))  # EOS is not of a line
    held_out = [file(str(layout.BPE / f"{split}.src")) for split in ("valid", *params.corpus.tests)]
    valid, *tests = [_lines(path) for path in held_out if path]
    sizes = Sizes(train=len(tokens), valid=valid, tests=sum(tests), source=source, target=target)
    return sizes, _lines(dictionary) + SPECIAL


def _lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def expected(params: Params, assumed: Assumptions) -> tuple[Sizes, int, Sequence[str]]:
    """Sizes that are known before, and a remark where they are guessed."""
    name, remarks = params.corpus.name, []
    sizes = assumed.corpora.get(name, assumed.unknown)
    if name not in assumed.corpora:
        remarks.append(
            f"the size of {name} is not known before stage bpe has run: {sizes.train:,} pairs are assumed"
        )
    part = params.prepare.train_pairs
    if part:
        sizes = sizes.model_copy(update={"train": min(part, sizes.train)})
    pieces = params.bpe.merges
    if params.architecture.embeddings == "separate":
        pieces = int(pieces * SEPARATE_SHARE)
    return sizes, pieces + SPECIAL, remarks
