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
from nmtkd.text.cleaning import REASONS, Judge, Train, raw_blocks
from nmtkd.text.parallel import ParallelTextError

CHUNK = 500  # lines of a worker's task, as in preparation
SERIAL_BELOW = 5_000
CLEAN = "clean_pairs"  # on the card: pairs of train after cleaning, before valid and train_pairs take theirs
PART = "not in the part that train_pairs asks for"


def select(
    train: Train, corpus: Corpus, settings: Prepare, card: dict[str, Any]
) -> tuple[Train, list[int] | None]:
    """The pairs of train that stay, and the indices of those that are valid; None if valid is no part of it.

    A pair's number among the clean ones decides, so all are cleaned here, and those of the result once more
    where they are written. Counts go into the card. Raises ParallelTextError where train_pairs asks for more
    than there are.
    """
    mask, dropped = _clean(train, corpus, settings)
    card["dropped"].update({reason: dropped[reason] for reason in REASONS})
    card[CLEAN] = int(mask.sum())
    clean = np.flatnonzero(mask)
    valid = None
    if settings.valid_every:
        numbers = np.arange(1, len(clean) + 1)
        is_valid = numbers % settings.valid_every == 0
        valid, clean = clean[is_valid].tolist(), clean[~is_valid]
    card["taken_for_valid"] = len(valid or [])
    if settings.train_pairs > len(clean):
        raise ParallelTextError(
            f"prepare.train_pairs: {settings.train_pairs} pairs wanted, train has {len(clean)} after "
            "cleaning; ask for fewer, or 0 for all"
        )
    if settings.train_pairs:
        # The first ones of one order: a smaller part lies in a larger. RandomState's draws never change.
        order = np.random.RandomState(settings.seed).permutation(len(clean))
        card["dropped"][PART] = len(clean) - settings.train_pairs
        clean = clean[order[: settings.train_pairs]]
    chosen = np.zeros_like(train.mask_N)
    chosen[clean] = True
    return replace(train, mask_N=chosen), valid


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


def check(card: dict[str, Any], settings: Prepare, valid: int) -> None:
    """Raises ParallelTextError that names each step whose count is not the one that a recipe is known for."""
    if settings.expected is None:
        return
    clean = card[CLEAN]
    found = {"clean": clean, "train": clean - card["taken_for_valid"], "valid": valid}
    steps = {
        "clean": "pairs after cleaning (prepare.max_words, max_ratio, duplicates, overlap)",
        "train": "pairs of train",
        "valid": "pairs of valid (prepare.valid_every)",
    }
    if wrong := [
        f"prepare.expected.{name}: {steps[name]}: {number} expected, got {found[name]}"
        for name, number in settings.expected.model_dump().items()
        if number != found[name]
    ]:
        raise ParallelTextError(
            "\n".join(wrong) + "\nThe recipe is not the one that these counts are known for; if its params "
            "were changed on purpose, set prepare.expected to null"
        )
