"""From raw lines to tokenised splits, with a data card that accounts for every line.

Files of a split, one line a segment: NAME.src and NAME.tgt (Moses tokens, placeholders numbered). Held-out
sets also have NAME.raw and NAME.ref (source and reference as text) and NAME.names (the names of the
placeholders, a JSON list a line).

Held-out sets are in memory, train is not: a first pass chooses its pairs, a second one cleans them block by
block.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.files import write_json, writing
from nmtkd.plan.data import Corpus, Prepare
from nmtkd.plan.layout import CARD
from nmtkd.text import splitting, words, workers
from nmtkd.text.cleaning import REASONS, Cleaner, Train, mask_placeholders, raw_blocks, sizes
from nmtkd.text.parallel import (
    ParallelTextError,
    blocks,
    count_lines,
    count_pairs,
    lines_of,
    read_pair,
    write_lines,
)
from nmtkd.text.splitting import Pair
from nmtkd.text.survey import SAME_PLACEHOLDERS, SHORT, VISIBLE, digests, normalised, pick, survey

CHUNK = 500  # lines of a worker's task: few enough for progress, enough to outweigh the hand-over
# Pairs below which one process finishes before others would have started: about 150 microseconds each.
SERIAL_BELOW = 5_000
SHOWN = 5  # offending lines that an error quotes

HeldOut = dict[str, list[Pair]]
Card = dict[str, Any]


def prepare(raw: Path, out: Path, corpus: Corpus, settings: Prepare) -> Card:
    """Writes all splits and their card into `out`. Returns the card.

    Raises ParallelTextError for broken input, and for overlap between train and held-out sets where `overlap`
    is error.
    """
    pair = f"{corpus.source}-{corpus.target}"
    card: Card = {"corpus": corpus.name, "pair": pair, "license": corpus.license, "dropped": {}}
    choose = _unsplit if (raw / "all.src").exists() else _given
    train, held_out = choose(raw, corpus, settings, card)
    out.mkdir(parents=True, exist_ok=True)
    counts = {name: _write_held_out(out, name, pairs, corpus) for name, pairs in held_out.items()}
    tests = [(name, source) for name in corpus.tests for source, _ in held_out[name]]
    counts["train"], near = _write_train(out, train, [source for _, source in tests], corpus, settings, card)
    card["splits"] = counts
    near_counts = Counter(tests[index][0] for index in near)
    card["near_duplicates"] = {
        "threshold": settings.near_duplicate,
        **{name: near_counts[name] for name in corpus.tests},
    }
    write_json(out / CARD, card)
    return card


def _unsplit(raw: Path, corpus: Corpus, settings: Prepare, card: Card) -> tuple[Train, HeldOut]:
    """A corpus without splits: exact duplicates are removed, the rest is split by group."""
    files = raw / "all.src", raw / "all.tgt"
    count = count_pairs(*files)
    if (lines := count_lines(raw / "all.group")) != count:
        raise ParallelTextError(
            f"{raw / 'all.group'}: {lines} lines, but all.src has {count}; fetch the corpus again"
        )
    surveyed = survey(*files, count, settings.max_words)
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
    held_out_sizes = {"valid": settings.valid_pairs, corpus.tests[0]: settings.test_pairs}
    indices = np.flatnonzero(short)
    # Interned: each name is in memory once.
    groups = [sys.intern(line) for block in blocks(raw / "all.group") for line in lines_of(block)]
    split = splitting.by_group(
        surveyed.digests[indices], [groups[index] for index in indices], held_out_sizes, settings.seed
    )
    card["dropped"]["exact duplicates"] = len(indices) - sum(len(part) for part in split.values())
    mask = np.zeros(count, bool)
    mask[indices[split.pop("train")]] = True
    held_out = {name: pick(*files, indices[part].tolist()) for name, part in split.items()}
    return _without_overlap(Train(*files, mask), surveyed.digests, held_out, settings, card), held_out


def _given(raw: Path, corpus: Corpus, settings: Prepare, card: Card) -> tuple[Train, HeldOut]:
    """A corpus that comes split.

    Held-out sets stay whole, line by line. Train loses exact duplicates and pairs whose placeholders differ.
    """
    files = raw / "train.src", raw / "train.tgt"
    count = count_pairs(*files)
    held_out: HeldOut = {}
    for name in ("valid", *corpus.tests):
        held_out[name] = list(normalised(*read_pair(raw / f"{name}.src", raw / f"{name}.tgt")))
        if empty := [str(line) for line, pair in enumerate(held_out[name], start=1) if not all(pair)]:
            raise ParallelTextError(
                f"{name}: empty but for invisible characters: line {', '.join(empty[:SHOWN])}; "
                "remove the pair"
            )
    surveyed = survey(*files, count, settings.max_words)
    card["raw_pairs"] = count
    visible = surveyed.which(VISIBLE)
    unique = surveyed.unique(visible)
    usable = unique & surveyed.which(SAME_PLACEHOLDERS)
    card["dropped"]["only invisible characters"] = int(count - visible.sum())
    card["dropped"]["exact duplicates"] = int(visible.sum() - unique.sum())
    card["dropped"]["placeholders differ"] = int(unique.sum() - usable.sum())
    return _without_overlap(Train(*files, usable), surveyed.digests, held_out, settings, card), held_out


def _without_overlap(
    train: Train, digests_N2: NDArray[np.void], held_out: HeldOut, settings: Prepare, card: Card
) -> Train:
    """Train without the pairs whose source or target stands in a held-out set."""
    indices = np.flatnonzero(train.mask_N)
    held_digests = digests(pair for pairs in held_out.values() for pair in pairs)
    shared = indices[splitting.overlapping(digests_N2[indices], held_digests)]
    if len(shared) and settings.overlap == "error":
        examples = pick(train.source, train.target, shared[:SHOWN].tolist())
        quoted = "\n".join(f"  {source!r} | {target!r}" for source, target in examples)
        raise ParallelTextError(
            f"train: {len(shared)} pairs have a source or target that also stands in valid or test, "
            f"so scores would be too high; the first:\n{quoted}\n"
            "Remove them from the corpus, or set prepare.overlap: drop to have it done"
        )
    card["dropped"]["stands in a held-out set"] = len(shared)
    mask = train.mask_N.copy()
    mask[shared] = False
    return Train(train.source, train.target, mask)


def _write_held_out(out: Path, name: str, pairs: Sequence[Pair], corpus: Corpus) -> dict[str, int]:
    masked = [mask_placeholders(pair) for pair in pairs]
    write_lines(out / f"{name}.raw", [source for source, _ in pairs])
    write_lines(out / f"{name}.ref", [target for _, target in pairs])
    write_lines(out / f"{name}.names", [json.dumps(names, ensure_ascii=False) for _, names in masked])
    tokens = _tokenise([pair for pair, _ in masked], corpus, name)
    write_lines(out / f"{name}.src", [source for source, _ in tokens])
    write_lines(out / f"{name}.tgt", [target for _, target in tokens])
    return sizes(tokens)


def _tokenise(pairs: list[Pair], corpus: Corpus, name: str) -> list[Pair]:
    """Tokenises the pairs of split `name` on all cores, in their order."""
    chunks = (pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK))
    args = (corpus.source, corpus.target)
    tokens: list[Pair] = []
    for chunk in workers.each(_PairTokeniser, args, chunks, serial=len(pairs) < SERIAL_BELOW):
        tokens += chunk
        machine.progress("prepare", len(tokens), len(pairs), f"pairs of {name} tokenised")
    return tokens


class _PairTokeniser:
    def __init__(self, source: str, target: str) -> None:
        self._source, self._target = source, target

    def __call__(self, pairs: list[Pair]) -> list[Pair]:
        return [(words.tokenise(s, self._source), words.tokenise(t, self._target)) for s, t in pairs]


def _write_train(
    out: Path, train: Train, tests: Sequence[str], corpus: Corpus, settings: Prepare, card: Card
) -> tuple[dict[str, int], set[int]]:
    """Writes train. Returns its counts, and the indices of the `tests` (sources) that its pairs resemble."""
    total, done = int(train.mask_N.sum()), 0
    counts, dropped, near = Counter[str](), Counter[str](), set[int]()
    args = (corpus, settings, tests)
    with writing(out / "train.src") as source, writing(out / "train.tgt") as target:
        for block in workers.each(Cleaner, args, raw_blocks(train, CHUNK), serial=total < SERIAL_BELOW):
            source.write(block.source)
            target.write(block.target)
            counts.update(block.sizes)
            dropped.update(block.dropped)
            near |= block.near
            done += block.sizes["pairs"] + block.dropped.total()
            machine.progress("prepare", done, total, "pairs of train tokenised")
        card["dropped"].update({reason: dropped[reason] for reason in REASONS})
        if not counts["pairs"]:
            raise ParallelTextError(
                "train: no pair is left after cleaning; see prepare.max_words and prepare.max_ratio"
            )
    return dict(counts), near
