"""From raw lines to tokenised splits, with a data card that accounts for every line.

Files of a split, one line a segment: NAME.src and NAME.tgt (Moses tokens, placeholders numbered); for held-out sets also
NAME.raw and NAME.ref (source and reference as text) and NAME.names (the placeholders' names, a JSON list a line).

Held-out sets are in memory, train is not: it is looked at once to choose its pairs and read again to clean them, some lines at a time.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.params import Corpus, Prepare
from nmtkd.text import splitting, words, workers
from nmtkd.text.cleaning import REASONS, Cleaner, Train, mask, sizes, tasks
from nmtkd.text.parallel import ParallelTextError, blocks, count_lines, count_pairs, lines_of, read_pair, write_json, write_lines, writing
from nmtkd.text.splitting import Pair
from nmtkd.text.survey import SAME_PLACEHOLDERS, SHORT, VISIBLE, digests, normalised, pick, survey

CHUNK = 500  # lines that a worker tokenises at a time: small enough for progress, large enough to outweigh the hand-over
ALONE = 5_000  # pairs up to which one process tokenises them sooner than others start: about 150 microseconds each
SHOWN = 5  # offending lines that an error quotes


def prepare(raw: Path, out: Path, corpus: Corpus, settings: Prepare) -> dict[str, Any]:
    """Writes all splits and `card.json` into `out`; returns the card.

    Raises ParallelTextError for broken input and for overlap between train and held-out sets where `overlap` is error.
    """
    card: dict[str, Any] = {"corpus": corpus.name, "pair": f"{corpus.source}-{corpus.target}", "license": corpus.license, "dropped": {}}
    train, held_out = (_whole if (raw / "all.src").exists() else _given)(raw, corpus, settings, card)
    out.mkdir(parents=True, exist_ok=True)
    counts = {name: _write_held_out(out, name, pairs, corpus) for name, pairs in held_out.items()}
    tests = [(name, source) for name in corpus.tests for source, _ in held_out[name]]
    counts["train"], near = _write_train(out, train, [source for _, source in tests], corpus, settings, card)
    card["splits"] = counts
    found = Counter(tests[place][0] for place in near)
    card["near_duplicates"] = {"threshold": settings.near_duplicate, **{name: found[name] for name in corpus.tests}}
    write_json(out / "card.json", card)
    return card


def _whole(raw: Path, corpus: Corpus, settings: Prepare, card: dict[str, Any]) -> tuple[Train, dict[str, list[Pair]]]:
    """A corpus without splits: exact duplicates removed, then split by group."""
    files = raw / "all.src", raw / "all.tgt"
    count = count_pairs(*files)
    if (lines := count_lines(raw / "all.group")) != count:
        raise ParallelTextError(f"{raw / 'all.group'}: {lines} lines, but all.src has {count}; fetch the corpus again")
    found = survey(*files, count, settings.max_words)
    card["raw_pairs"] = count
    visible = found.which(VISIBLE)
    card["dropped"]["only invisible characters"] = int(count - visible.sum())
    # Held-out strings must belong to one group only, so groups are looked at before duplicates go.
    usable = visible & found.which(SAME_PLACEHOLDERS)
    card["dropped"]["placeholders differ"] = int(visible.sum() - usable.sum())
    # Of a corpus that we split ourselves, held-out sets follow the same bound on length as train.
    short = usable & found.which(SHORT)
    card["dropped"]["longer than max_words before the split"] = int(usable.sum() - short.sum())
    wanted = {"valid": settings.valid_pairs, corpus.tests[0]: settings.test_pairs}
    if len(corpus.tests) > 1:
        raise ParallelTextError(f"corpus.tests: a corpus that comes whole is split into one test set; got {corpus.tests}; name one")
    places = np.flatnonzero(short)
    groups = [sys.intern(line) for block in blocks(raw / "all.group") for line in lines_of(block)]  # each name once in memory
    split = splitting.by_group(found.digests[places], [groups[place] for place in places], wanted, settings.seed)
    card["dropped"]["exact duplicates"] = len(places) - sum(len(indices) for indices in split.values())
    kept = np.zeros(count, bool)
    kept[places[split.pop("train")]] = True
    held_out = {name: pick(*files, places[indices].tolist()) for name, indices in split.items()}
    return _without_overlap(Train(*files, kept), found.digests, held_out, settings, card), held_out


def _given(raw: Path, corpus: Corpus, settings: Prepare, card: dict[str, Any]) -> tuple[Train, dict[str, list[Pair]]]:
    """A corpus that comes split. Held-out sets are kept whole, line by line; train loses exact duplicates and odd placeholders."""
    files = raw / "train.src", raw / "train.tgt"
    count = count_pairs(*files)
    held_out: dict[str, list[Pair]] = {}
    for name in ("valid", *corpus.tests):
        held_out[name] = list(normalised(*read_pair(raw / f"{name}.src", raw / f"{name}.tgt")))
        if empty := [str(line) for line, pair in enumerate(held_out[name], start=1) if not all(pair)]:
            raise ParallelTextError(f"{name}: empty but for invisible characters: line {', '.join(empty[:SHOWN])}; remove the pair")
    found = survey(*files, count, settings.max_words)
    card["raw_pairs"] = count
    visible = found.which(VISIBLE)
    unique = found.unique(visible)
    kept = unique & found.which(SAME_PLACEHOLDERS)
    card["dropped"]["only invisible characters"] = int(count - visible.sum())
    card["dropped"]["exact duplicates"] = int(visible.sum() - unique.sum())
    card["dropped"]["placeholders differ"] = int(unique.sum() - kept.sum())
    return _without_overlap(Train(*files, kept), found.digests, held_out, settings, card), held_out


def _without_overlap(
    train: Train, digests_N2: NDArray[np.void], held_out: dict[str, list[Pair]], settings: Prepare, card: dict[str, Any]
) -> Train:
    """Train without the pairs whose source or target stands in a held-out set."""
    places = np.flatnonzero(train.kept)
    held = digests(pair for pairs in held_out.values() for pair in pairs)
    shared = places[splitting.overlapping(digests_N2[places], held)]
    if len(shared) and settings.overlap == "error":
        quoted = "\n".join(f"  {source!r} | {target!r}" for source, target in pick(train.source, train.target, shared[:SHOWN].tolist()))
        raise ParallelTextError(
            f"train: {len(shared)} pairs have a source or target that also stands in valid or test, so scores would be too high; "
            f"the first:\n{quoted}\nRemove them from the corpus, or set prepare.overlap: drop to have it done"
        )
    card["dropped"]["stands in a held-out set"] = len(shared)
    kept = train.kept.copy()
    kept[shared] = False
    return Train(train.source, train.target, kept)


def _write_held_out(out: Path, name: str, pairs: Sequence[Pair], corpus: Corpus) -> dict[str, int]:
    masked = [mask(pair) for pair in pairs]
    write_lines(out / f"{name}.raw", [source for source, _ in pairs])
    write_lines(out / f"{name}.ref", [target for _, target in pairs])
    write_lines(out / f"{name}.names", [json.dumps(names, ensure_ascii=False) for _, names in masked])
    tokens = _tokenise([pair for pair, _ in masked], corpus, name)
    write_lines(out / f"{name}.src", [source for source, _ in tokens])
    write_lines(out / f"{name}.tgt", [target for _, target in tokens])
    return sizes(tokens)


def _tokenise_chunk(task: tuple[list[Pair], str, str]) -> list[Pair]:
    pairs, source, target = task
    return [(words.tokenise(s, source), words.tokenise(t, target)) for s, t in pairs]


def _tokeniser() -> Callable[[tuple[list[Pair], str, str]], list[Pair]]:
    return _tokenise_chunk


def _tokenise(pairs: list[Pair], corpus: Corpus, name: str) -> list[Pair]:
    """Tokenises on all cores; the order is that of `pairs`."""
    tasks = [(pairs[i : i + CHUNK], corpus.source, corpus.target) for i in range(0, len(pairs), CHUNK)]
    done: list[Pair] = []
    for chunk in workers.each(_tokeniser, (), tasks, alone=len(pairs) < ALONE):
        done += chunk
        machine.progress("prepare", len(done), len(pairs), f"pairs of {name} tokenised")
    return done


def _write_train(
    out: Path, train: Train, tests: Sequence[str], corpus: Corpus, settings: Prepare, card: dict[str, Any]
) -> tuple[dict[str, int], set[int]]:
    """Writes train; returns its counts, and the places of the `tests` (sources) that one of its pairs resembles."""
    total, done = int(train.kept.sum()), 0
    counts, dropped, near = Counter[str](), Counter[str](), set[int]()
    with writing(out / "train.src") as source, writing(out / "train.tgt") as target:
        for some in workers.each(Cleaner, (corpus, settings, tests), tasks(train, CHUNK), alone=total < ALONE):
            source.write(some.source)
            target.write(some.target)
            counts.update(some.sizes)
            dropped.update(some.dropped)
            near |= some.near
            done += some.sizes["pairs"] + some.dropped.total()
            machine.progress("prepare", done, total, "pairs of train tokenised")
        card["dropped"].update({reason: dropped[reason] for reason in REASONS})
        if not counts["pairs"]:
            raise ParallelTextError("train: no pair is left after cleaning; see prepare.max_words and prepare.max_ratio")
    return dict(counts), near
