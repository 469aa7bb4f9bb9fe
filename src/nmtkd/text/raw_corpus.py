"""Raw pairs by split, of a corpus that comes split or of one that is split here; and overlap with train."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtkd.plan.data import Corpus, Prepare
from nmtkd.plan.layout import GROUPS, TRAIN, VALID
from nmtkd.text import splitting
from nmtkd.text.cleaning import Train, by_tokens, plain
from nmtkd.text.parallel import (
    ParallelTextError,
    blocks,
    count_lines,
    count_pairs,
    lines_of,
    read_lines,
    read_pair,
)
from nmtkd.text.splitting import Pair
from nmtkd.text.survey import SAME_PLACEHOLDERS, SHORT, VISIBLE, digests, pick, survey

SHOWN = 5  # offending lines that an error quotes
SHARED = "train_pairs_with_a_side_in_a_held_out_set"  # on the card
OVERLAPS = "stands in a held-out set"  # why a pair is dropped

Card = dict[str, Any]


@dataclass(frozen=True)
class HeldOut:
    """A held-out set as it came: its pairs, and the group of each: parts of one text share it."""

    pairs: Sequence[Pair]
    groups: Sequence[str]


Chosen = tuple[Train, NDArray[np.void], dict[str, HeldOut]]


def choose(raw: Path, corpus: Corpus, settings: Prepare, card: Card) -> Chosen:
    """Train, the digests [N, 2] of all its file's pairs, and the held-out sets. Counts go into the card."""
    return (_unsplit if (raw / "all.src").exists() else _given)(raw, corpus, settings, card)


def _unsplit(raw: Path, corpus: Corpus, settings: Prepare, card: Card) -> Chosen:
    """A corpus without splits, split by group. No duplicate of a held-out pair stays anywhere."""
    if settings.valid_every:
        raise ParallelTextError(
            f"prepare.valid_every: a corpus that comes whole is split by group; got {settings.valid_every}; "
            "set it to 0, and prepare.valid_pairs to the size of valid"
        )
    files = raw / "all.src", raw / "all.tgt"
    count = count_pairs(*files)
    if (lines := count_lines(raw / "all.group")) != count:
        raise ParallelTextError(
            f"{raw / 'all.group'}: {lines} lines, but all.src has {count}; fetch the corpus again"
        )
    surveyed = survey(*files, count, settings, corpus)
    card["raw_pairs"] = count
    visible = surveyed.which(VISIBLE)
    card["dropped"]["only invisible characters"] = int(count - visible.sum())
    # A held-out string must belong to one group only, so groups are compared before duplicates are removed.
    usable = visible & surveyed.which(SAME_PLACEHOLDERS)
    card["dropped"]["placeholders differ"] = int(visible.sum() - usable.sum())
    # Of a corpus that is split here, held-out sets have the same bound on length as train.
    short = usable & surveyed.which(SHORT)
    card["dropped"]["longer than max_words before the split"] = int(usable.sum() - short.sum())
    if len(corpus.tests) > 1:
        raise ParallelTextError(
            "corpus.tests: a corpus that comes whole is split into one test set; "
            f"got {corpus.tests}; name one"
        )
    held_out_sizes = {VALID: settings.valid_pairs, corpus.tests[0]: settings.test_pairs}
    indices = np.flatnonzero(short)
    # Interned: each name is in memory once.
    groups = [sys.intern(line) for block in blocks(raw / "all.group") for line in lines_of(block)]
    split = splitting.by_group(
        surveyed.digests[indices], [groups[index] for index in indices], held_out_sizes, settings.seed
    )
    mask = np.zeros(count, bool)
    mask[indices[split.pop(TRAIN)]] = True
    if settings.duplicates == "keep":
        mask |= surveyed.equal_to(mask) & short
    taken = int(mask.sum()) + sum(len(part) for part in split.values())
    card["dropped"]["exact duplicates"] = len(indices) - taken
    held_out = {
        name: HeldOut(pick(*files, chosen := indices[part].tolist()), [groups[index] for index in chosen])
        for name, part in split.items()
    }
    train = Train(*files, mask, surveyed.ratio)
    return without_overlap(train, surveyed.digests, held_out, settings, card), surveyed.digests, held_out


def _given(raw: Path, corpus: Corpus, settings: Prepare, card: Card) -> Chosen:
    """A corpus that comes split.

    Held-out sets stay whole, line by line. Train loses exact duplicates and pairs whose placeholders differ,
    unless params keep them. Where pairs are cleaned by tokens, one of invisible characters is a token.
    """
    files = raw / "train.src", raw / "train.tgt"
    count = count_pairs(*files)
    held_out: dict[str, HeldOut] = {}
    _check_valid(raw, settings)
    for name in (*([] if settings.valid_every else [VALID]), *corpus.tests):
        pairs = list(zip(*read_pair(raw / f"{name}.src", raw / f"{name}.tgt"), strict=True))
        groups = raw / f"{name}.{GROUPS}"
        names = read_lines(groups) if groups.exists() else [str(number) for number in range(len(pairs))]
        if len(names) != len(pairs):
            raise ParallelTextError(
                f"{groups}: {len(names)} lines for {len(pairs)} pairs; name a group for each"
            )
        held_out[name] = HeldOut(pairs, names)
        compared = [plain(pair, settings) for pair in held_out[name].pairs]
        if empty := [str(line) for line, pair in enumerate(compared, start=1) if not all(pair)]:
            raise ParallelTextError(
                f"{name}: empty but for invisible characters: line {', '.join(empty[:SHOWN])}; "
                "remove the pair"
            )
    surveyed = survey(*files, count, settings)
    card["raw_pairs"] = count
    visible = surveyed.which(VISIBLE) | by_tokens(settings)
    unique = surveyed.unique(visible) if settings.duplicates == "drop" else visible
    usable = unique & surveyed.which(SAME_PLACEHOLDERS)
    card["dropped"]["only invisible characters"] = int(count - visible.sum())
    card["dropped"]["exact duplicates"] = int(visible.sum() - unique.sum())
    card["dropped"]["placeholders differ"] = int(unique.sum() - usable.sum())
    train = Train(*files, usable, surveyed.ratio)
    return without_overlap(train, surveyed.digests, held_out, settings, card), surveyed.digests, held_out


def _check_valid(raw: Path, settings: Prepare) -> None:
    """Raises ParallelTextError unless there is one set to validate on: the corpus's, or a part of train."""
    has = (raw / "valid.src").exists()
    if settings.valid_every and has:
        raise ParallelTextError(
            f"{raw}: the corpus has a validation set, and prepare.valid_every ({settings.valid_every}) asks "
            "for a part of train; set it to 0"
        )
    if not settings.valid_every and not has:
        raise ParallelTextError(
            f"{raw}: the corpus has no validation set; set prepare.valid_every to take a part of train"
        )


def without_overlap(
    train: Train, digests_N2: NDArray[np.void], held_out: dict[str, HeldOut], settings: Prepare, card: Card
) -> Train:
    """Train without the pairs whose source or target stands in a held-out set, or with them, counted."""
    indices = np.flatnonzero(train.mask_N)
    held_digests = digests(plain(pair, settings) for held in held_out.values() for pair in held.pairs)
    shared = indices[splitting.overlapping(digests_N2[indices], held_digests)]
    if len(shared) and settings.overlap == "error":
        examples = pick(train.source, train.target, shared[:SHOWN].tolist())
        quoted = "\n".join(f"  {source!r} | {target!r}" for source, target in examples)
        raise ParallelTextError(
            f"train: {len(shared)} pairs have a source or target that also stands in valid or test, "
            f"so scores would be too high; the first:\n{quoted}\n"
            "Remove them from the corpus, or set prepare.overlap: drop to have it done, keep to leave them"
        )
    if settings.overlap == "keep":
        card[SHARED] = len(shared)
        return train
    card[SHARED] = card.get(SHARED, 0) + len(shared)
    card["dropped"][OVERLAPS] = card["dropped"].get(OVERLAPS, 0) + len(shared)
    mask = train.mask_N.copy()
    mask[shared] = False
    return replace(train, mask_N=mask)
