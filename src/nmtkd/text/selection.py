"""Which pairs of clean train are valid, and which part of the rest is train; counts that recipes state."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.plan.data import Corpus, Prepare
from nmtkd.text import workers
from nmtkd.text.cleaning import CHUNK, REASONS, SERIAL_BELOW, Judge, Train, raw_blocks
from nmtkd.text.parallel import ParallelTextError

STEPS = "steps"  # on the card: pairs that are clean; of these train, before train_pairs; and valid
SAID = {
    "clean": "pairs after cleaning",
    "train": "pairs of train, before prepare.train_pairs",
    "valid": "pairs of valid",
}
PART = "not in the part that train_pairs asks for"


def clean(train: Train, corpus: Corpus, settings: Prepare, card: dict[str, Any]) -> Train:
    """Train without the pairs that cleaning drops: which of them is the 23rd is known only then.

    They are cleaned once more where they are written. Counts go into the card.
    """
    mask, dropped = _clean(train, corpus, settings)
    card["dropped"].update({reason: dropped[reason] for reason in REASONS})
    return replace(train, mask_N=mask)


def every(train: Train, settings: Prepare) -> tuple[Train, list[int]]:
    """Clean train without each valid_every-th pair, and the indices of those; of 0 none."""
    indices = np.flatnonzero(train.mask_N)
    number = settings.valid_every
    valid = indices[number - 1 :: number] if number else indices[:0]
    return _without(train, valid), valid.tolist()


def part(train: Train, settings: Prepare, card: dict[str, Any]) -> Train:
    """train_pairs of the pairs of train, 0 for all. Raises ParallelTextError where there are fewer."""
    indices = np.flatnonzero(train.mask_N)
    if settings.train_pairs > len(indices):
        raise ParallelTextError(
            f"prepare.train_pairs: {settings.train_pairs} pairs wanted, train has {len(indices)} after "
            "cleaning; ask for fewer, or 0 for all"
        )
    if not settings.train_pairs:
        return train
    card["dropped"][PART] = len(indices) - settings.train_pairs
    # The first ones of one order: a smaller part lies in a larger. RandomState's draws never change.
    order = np.random.RandomState(settings.seed).permutation(len(indices))
    return _without(train, indices[order[settings.train_pairs :]])


def _without(train: Train, indices: NDArray[np.int64]) -> Train:
    mask = train.mask_N.copy()
    mask[indices] = False
    return replace(train, mask_N=mask)


def _clean(train: Train, corpus: Corpus, settings: Prepare) -> tuple[NDArray[np.bool_], Counter[str]]:
    """The pairs that cleaning keeps, as a mask [N], and how many it drops for which reason."""
    mask, dropped = np.zeros_like(train.mask_N), Counter[str]()
    total = int(train.mask_N.sum())
    starts = (at for at in range(0, len(mask), CHUNK) if train.mask_N[at : at + CHUNK].any())
    judged = workers.each(
        Judge, (corpus, settings, train.ratio), raw_blocks(train, CHUNK), serial=total < SERIAL_BELOW
    )
    for start, (kept, reasons) in zip(starts, judged, strict=True):
        mask[start : start + len(kept)] = kept
        dropped.update(reasons)
        done = int(train.mask_N[: start + CHUNK].sum())
        machine.progress("prepare", done, total, "pairs of train judged")
    return mask, dropped


def check(card: dict[str, Any], settings: Prepare, steps: dict[str, int]) -> None:
    """Puts the counts of `steps` on the card.

    Raises ParallelTextError that names each step whose count is not the one that a recipe is known for.
    """
    card[STEPS] = steps
    expected = settings.expected.model_dump() if settings.expected else steps
    if wrong := [
        f"prepare.expected.{name}: {number} expected, got {steps[name]} {SAID[name]}"
        for name, number in expected.items()
        if number != steps[name]
    ]:
        dropped = ", ".join(f"{number} {reason}" for reason, number in card["dropped"].items() if number)
        raise ParallelTextError(
            "\n".join(wrong) + f"\nOf {card['raw_pairs']} raw pairs were dropped: {dropped or 'none'}. This "
            "is not the text that the recipe's counts are of. If params of prepare or of the corpus were "
            "changed on purpose, add -S prepare.expected=null; if not, fetch the corpus again"
        )
