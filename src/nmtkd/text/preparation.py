"""From raw lines to tokenised splits, with a data card that accounts for every line.

Files of a split, one line a segment: NAME.src and NAME.tgt (tokens, placeholders numbered), NAME.raw and
NAME.ref (source and target as the corpus has them) and NAME.names (the names of the placeholders, a JSON list
a line). Held-out sets also have NAME.groups: which segments are parts of one text.

Held-out sets are in memory, train is not: a first pass chooses its pairs, a second one cleans them block by
block.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.files import write_json, writing
from nmtkd.plan.data import Corpus, Prepare
from nmtkd.plan.layout import CARD, GROUPS, TRAIN, VALID
from nmtkd.text import ceiling, provenance, selection, splitting, words, workers
from nmtkd.text.cleaning import (
    FILES,
    REASONS,
    Cleaner,
    PairTokeniser,
    Tokenised,
    Train,
    files_of,
    lower,
    raw_blocks,
    sizes,
)
from nmtkd.text.languages import AUTO, DEFAULT, bleu_tokeniser, unspaced_share
from nmtkd.text.parallel import (
    ParallelTextError,
    blocks,
    count_lines,
    count_pairs,
    lines_of,
    read_lines,
    read_pair,
    write_lines,
)
from nmtkd.text.splitting import Pair
from nmtkd.text.survey import SAME_PLACEHOLDERS, SHORT, VISIBLE, Survey, digests, pick, survey
from nmtkd.text.tokenisers import tokeniser

CHUNK = 500  # lines of a worker's task: few enough for progress, enough to outweigh the hand-over
# Pairs below which one process finishes before others would have started: about 150 microseconds each.
SERIAL_BELOW = 5_000
SHOWN = 5  # offending lines that an error quotes
MOSTLY = 0.5  # share of a text's letters
DECIMALS = 3  # of a ratio on the card

Card = dict[str, Any]


@dataclass(frozen=True)
class HeldOut:
    """A held-out set as it came: its pairs, and the group of each: parts of one text share it."""

    pairs: Sequence[Pair]
    groups: Sequence[str]


def prepare(raw: Path, out: Path, corpus: Corpus, settings: Prepare, tokenize: str = AUTO) -> Card:
    """Writes all splits and their card into `out`. Returns the card.

    `tokenize` is evaluate.tokenize, by which ceilings are scored. Raises ParallelTextError for broken input,
    for overlap between train and held-out sets where `overlap` is error, and for a target text without
    spaces whose language code names no tokeniser for it.
    """
    pair = f"{corpus.source}-{corpus.target}"
    card: Card = {"corpus": corpus.name, "pair": pair, "license": corpus.license, "dropped": {}}
    card["tokeniser"] = settings.tokeniser
    choose = _unsplit if (raw / "all.src").exists() else _given
    train, held_out = choose(raw, corpus, settings, card)
    card["target_characters_per_source_character"] = round(train.ratio, DECIMALS)
    if settings.valid_every or settings.train_pairs or settings.expected:
        train, valid = selection.select(train, corpus, settings, card)
        if valid is not None:
            pairs = pick(train.source, train.target, valid)
            groups = [str(number) for number in range(len(pairs))]
            held_out = {"valid": HeldOut(pairs, groups), **held_out}
        selection.check(card, settings, len(held_out["valid"].pairs))
    _check_language(corpus, tokenize, [target for _, target in held_out[corpus.tests[0]].pairs])
    out.mkdir(parents=True, exist_ok=True)
    card["splits"], card["normalised"], card["ceiling"] = {}, {}, {}
    for name, held in held_out.items():
        _write_held_out(out, name, held, corpus, settings, tokenize, card)
    tests = [(name, source) for name in corpus.tests for source, _ in held_out[name].pairs]
    near = _write_train(out, train, [source for _, source in tests], corpus, settings, card)
    near_counts = Counter(tests[index][0] for index in near)
    card["near_duplicates"] = {
        "threshold": settings.near_duplicate,
        **{name: near_counts[name] for name in corpus.tests},
    }
    card |= provenance.written(out, sorted(path.name for path in out.iterdir()))
    write_json(out / CARD, card)
    return card


def _check_language(corpus: Corpus, tokenize: str, references: Sequence[str]) -> None:
    """BLEU by a tokeniser that splits at spaces is near 0 for text without any, however good it is."""
    if bleu_tokeniser(corpus.target, tokenize) != DEFAULT or tokenize != AUTO:
        return
    share = unspaced_share("".join(references))
    if share > MOSTLY:
        raise ParallelTextError(
            f"corpus.target: {100 * share:.0f}% of the letters of {corpus.tests[0]} are of scripts without "
            f"spaces, but {corpus.target!r} is no language that BLEU is known to need another tokeniser for; "
            "correct the code (zh, ja, th, lo, km, my), or set evaluate.tokenize to one, for example char"
        )


def _unsplit(raw: Path, corpus: Corpus, settings: Prepare, card: Card) -> tuple[Train, dict[str, HeldOut]]:
    """A corpus without splits: exact duplicates are removed, the rest is split by group."""
    files = raw / "all.src", raw / "all.tgt"
    count = count_pairs(*files)
    if (lines := count_lines(raw / "all.group")) != count:
        raise ParallelTextError(
            f"{raw / 'all.group'}: {lines} lines, but all.src has {count}; fetch the corpus again"
        )
    surveyed = survey(*files, count, (corpus, settings))
    card["raw_pairs"] = count
    visible = surveyed.which(VISIBLE)
    card["dropped"]["only invisible characters"] = int(count - visible.sum())
    # A held-out string must belong to one group only, so groups are compared before duplicates are removed.
    usable = visible & _same_placeholders(surveyed, settings)
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
    held_out = {
        name: HeldOut(pick(*files, chosen := indices[part].tolist()), [groups[index] for index in chosen])
        for name, part in split.items()
    }
    train = Train(*files, mask, surveyed.ratio)
    return _without_overlap(train, surveyed.digests, held_out, settings, card), held_out


def _given(raw: Path, corpus: Corpus, settings: Prepare, card: Card) -> tuple[Train, dict[str, HeldOut]]:
    """A corpus that comes split.

    Held-out sets stay whole, line by line. Train loses exact duplicates and pairs whose placeholders differ.
    """
    files = raw / "train.src", raw / "train.tgt"
    count = count_pairs(*files)
    held_out: dict[str, HeldOut] = {}
    _check_valid(raw, settings)
    for name in (*([] if settings.valid_every else ["valid"]), *corpus.tests):
        pairs = list(zip(*read_pair(raw / f"{name}.src", raw / f"{name}.tgt"), strict=True))
        groups = raw / f"{name}.{GROUPS}"
        names = read_lines(groups) if groups.exists() else [str(number) for number in range(len(pairs))]
        if len(names) != len(pairs):
            raise ParallelTextError(
                f"{groups}: {len(names)} lines for {len(pairs)} pairs; name a group for each"
            )
        held_out[name] = HeldOut(pairs, names)
        compared = [words.compared(*pair) for pair in held_out[name].pairs]
        if empty := [str(line) for line, pair in enumerate(compared, start=1) if not all(pair)]:
            raise ParallelTextError(
                f"{name}: empty but for invisible characters: line {', '.join(empty[:SHOWN])}; "
                "remove the pair"
            )
    surveyed = survey(*files, count)
    card["raw_pairs"] = count
    visible = surveyed.which(VISIBLE)
    unique = surveyed.unique(visible) if settings.duplicates == "drop" else visible
    usable = unique & _same_placeholders(surveyed, settings)
    card["dropped"]["only invisible characters"] = int(count - visible.sum())
    card["dropped"]["exact duplicates"] = int(visible.sum() - unique.sum())
    card["dropped"]["placeholders differ"] = int(unique.sum() - usable.sum())
    train = Train(*files, usable, surveyed.ratio)
    return _without_overlap(train, surveyed.digests, held_out, settings, card), held_out


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


def _same_placeholders(surveyed: Survey, settings: Prepare) -> NDArray[np.bool_]:
    """The pairs whose placeholders do not differ; all, where these are text like any other."""
    same = surveyed.which(SAME_PLACEHOLDERS)
    return same if settings.placeholders else np.ones_like(same)


def _without_overlap(
    train: Train, digests_N2: NDArray[np.void], held_out: dict[str, HeldOut], settings: Prepare, card: Card
) -> Train:
    """Train without the pairs whose source or target stands in a held-out set, or with them, counted."""
    indices = np.flatnonzero(train.mask_N)
    held_digests = digests(words.compared(*pair) for held in held_out.values() for pair in held.pairs)
    shared = indices[splitting.overlapping(digests_N2[indices], held_digests)]
    if len(shared) and settings.overlap == "error":
        examples = pick(train.source, train.target, shared[:SHOWN].tolist())
        quoted = "\n".join(f"  {source!r} | {target!r}" for source, target in examples)
        raise ParallelTextError(
            f"train: {len(shared)} pairs have a source or target that also stands in valid or test, "
            f"so scores would be too high; the first:\n{quoted}\n"
            "Remove them from the corpus, or set prepare.overlap: drop to have it done, keep to leave them"
        )
    card["train_pairs_with_a_side_in_a_held_out_set"] = len(shared)
    if settings.overlap == "keep":
        return train
    card["dropped"]["stands in a held-out set"] = len(shared)
    mask = train.mask_N.copy()
    mask[shared] = False
    return replace(train, mask_N=mask)


def _write_held_out(
    out: Path, name: str, held: HeldOut, corpus: Corpus, settings: Prepare, tokenize: str, card: Card
) -> None:
    """Writes a held-out set. Its counts and the ceiling of its score go into the card."""
    write_lines(out / f"{name}.{GROUPS}", held.groups)
    pairs, changed = _tokenise(held.pairs, corpus, settings, name)
    if settings.lowercase:
        pairs = [pair.lower() for pair in pairs]
    for file, content in files_of(pairs).items():
        with writing(out / f"{name}.{file}") as opened:
            opened.write(content)
    card["splits"][name] = {**sizes(pairs), "groups": len(set(held.groups))}
    _count_normalised(card, settings, name, changed)
    back = tokeniser(settings.tokeniser, corpus.target)
    references = [lower(pair.ref) if settings.lowercase else pair.ref for pair in pairs]
    texts = [ceiling.back(pair.tgt, pair.names, back) for pair in pairs]
    card["ceiling"][name] = ceiling.measure(references, texts, bleu_tokeniser(corpus.target, tokenize))
    quoted = [{"split": name, **line} for line in ceiling.worst(references, texts)]
    if quoted and ceiling.is_low(card["ceiling"][name]):
        card.setdefault("ceiling_worst", []).extend(quoted)


def is_test(name: str) -> bool:
    """Whether a split is a test set."""
    return name not in (TRAIN, VALID)


def _count_normalised(card: Card, settings: Prepare, name: str, changed: Counter[str]) -> None:
    kinds = [*(settings.normalise_tests if is_test(name) else []), *settings.normalise]
    if kinds:
        card["normalised"][name] = {kind: changed[kind] for kind in kinds}


def _tokenise(
    raw: Sequence[Pair], corpus: Corpus, settings: Prepare, name: str
) -> tuple[list[Tokenised], Counter[str]]:
    """The pairs of split `name`, tokenised on all cores, in their order; and lines changed by kind."""
    chunks = (raw[start : start + CHUNK] for start in range(0, len(raw), CHUNK))
    pairs, changed = list[Tokenised](), Counter[str]()
    serial = len(raw) < SERIAL_BELOW
    for chunk, counts in workers.each(
        _ChunkTokeniser, (corpus, settings, is_test(name)), chunks, serial=serial
    ):
        pairs += chunk
        changed.update(counts)
        machine.progress("prepare", len(pairs), len(raw), f"pairs of {name} tokenised")
    return pairs, changed


class _ChunkTokeniser:
    def __init__(self, corpus: Corpus, settings: Prepare, tests: bool) -> None:
        self._args, self._tests = (corpus, settings), tests

    def __call__(self, raw: Sequence[Pair]) -> tuple[list[Tokenised], Counter[str]]:
        tokenise = PairTokeniser(*self._args, tests=self._tests)
        return [tokenise(pair) for pair in raw], tokenise.changed


def _write_train(
    out: Path, train: Train, tests: Sequence[str], corpus: Corpus, settings: Prepare, card: Card
) -> set[int]:
    """Writes train, and its counts into the card. Returns the indices of the `tests` that it resembles."""
    total, done = int(train.mask_N.sum()), 0
    counts, dropped, changed, near = Counter[str](), Counter[str](), Counter[str](), set[int]()
    args = (corpus, settings, tests, train.ratio)
    with ExitStack() as stack:
        files = {name: stack.enter_context(writing(out / f"train.{name}")) for name in FILES}
        for block in workers.each(Cleaner, args, raw_blocks(train, CHUNK), serial=total < SERIAL_BELOW):
            for name, file in files.items():
                file.write(block.files[name])
            counts.update(block.sizes)
            dropped.update(block.dropped)
            changed.update(block.changed)
            near |= block.near
            done += block.sizes["pairs"] + block.dropped.total()
            machine.progress("prepare", done, total, "pairs of train tokenised")
        card["dropped"].update(
            {reason: card["dropped"].get(reason, 0) + dropped[reason] for reason in REASONS}
        )
        if not counts["pairs"]:
            raise ParallelTextError(
                f"train: none of {card['raw_pairs']} pairs is left after cleaning; dropped: "
                + ", ".join(f"{number} {reason}" for reason, number in card["dropped"].items() if number)
                + "; see prepare.max_words and prepare.max_ratio"
            )
    card["splits"]["train"] = {**counts, "groups": 0}
    _count_normalised(card, settings, "train", changed)
    return near
