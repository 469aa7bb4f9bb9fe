"""From raw lines to tokenised splits, with a data card that accounts for every line.

Files of a split, one line a segment: NAME.src and NAME.tgt (Moses tokens, placeholders numbered); for held-out sets also
NAME.raw and NAME.ref (source and reference as text) and NAME.names (the placeholders' names, a JSON list a line).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from nmtkd import machine
from nmtkd.params import Corpus, Prepare
from nmtkd.text import splitting, words
from nmtkd.text.parallel import ParallelTextError, read_lines, read_pair, write_json, write_lines
from nmtkd.text.splitting import Pair

CHUNK = 500  # lines that a worker tokenises at a time: small enough for progress, large enough to outweigh the hand-over
SHOWN = 5  # offending lines that an error quotes


def prepare(raw: Path, out: Path, corpus: Corpus, settings: Prepare) -> dict[str, Any]:
    """Writes all splits and `card.json` into `out`; returns the card.

    Raises ParallelTextError for broken input and for overlap between train and held-out sets where `overlap` is error.
    """
    card: dict[str, Any] = {"corpus": corpus.name, "pair": f"{corpus.source}-{corpus.target}", "license": corpus.license, "dropped": {}}
    splits = _whole(raw, corpus, settings, card) if (raw / "all.src").exists() else _given(raw, corpus, card)
    train = _without_overlap(splits, settings, card)
    out.mkdir(parents=True, exist_ok=True)
    masked = {name: [_mask(pair) for pair in pairs] for name, pairs in splits.items() if name != "train"} | {
        "train": [_mask(p) for p in train]
    }
    counts = {}
    for name, pairs in masked.items():
        tokens = _tokenise([pair for pair, _ in pairs], corpus, name)
        if name == "train":
            kept = _filter(tokens, settings, card)
            tokens, train = [tokens[index] for index in kept], [train[index] for index in kept]
        else:
            _write_held_out(out, name, splits[name], [names for _, names in pairs])
        write_lines(out / f"{name}.src", [source for source, _ in tokens])
        write_lines(out / f"{name}.tgt", [target for _, target in tokens])
        counts[name] = {
            "pairs": len(tokens),
            "source_tokens": sum(len(source.split()) for source, _ in tokens),
            "target_tokens": sum(len(target.split()) for _, target in tokens),
        }
    card["splits"] = counts
    card["near_duplicates"] = {
        "threshold": settings.near_duplicate,
        **{
            name: splitting.near_duplicates([s for s, _ in train], [s for s, _ in splits[name]], settings.near_duplicate)
            for name in corpus.tests
        },
    }
    write_json(out / "card.json", card)
    return card


def _whole(raw: Path, corpus: Corpus, settings: Prepare, card: dict[str, Any]) -> dict[str, list[Pair]]:
    """A corpus without splits: exact duplicates removed, then split by group."""
    sources, targets = read_pair(raw / "all.src", raw / "all.tgt")
    groups = read_lines(raw / "all.group")
    if len(groups) != len(sources):
        raise ParallelTextError(f"{raw / 'all.group'}: {len(groups)} lines, but all.src has {len(sources)}; fetch the corpus again")
    pairs = [(words.normalise(source), words.normalise(target)) for source, target in zip(sources, targets, strict=True)]
    card["raw_pairs"] = len(pairs)
    visible = [i for i, pair in enumerate(pairs) if all(pair)]
    card["dropped"]["only invisible characters"] = len(pairs) - len(visible)
    # Held-out strings must belong to one group only, so groups are looked at before duplicates go.
    usable = [i for i in visible if _same_placeholders(*pairs[i])]
    card["dropped"]["placeholders differ"] = len(visible) - len(usable)
    usable = _short_enough(usable, pairs, settings, card)
    wanted = {"valid": settings.valid_pairs, corpus.tests[0]: settings.test_pairs}
    if len(corpus.tests) > 1:
        raise ParallelTextError(f"corpus.tests: a corpus that comes whole is split into one test set; got {corpus.tests}; name one")
    split = splitting.by_group([pairs[i] for i in usable], [groups[i] for i in usable], wanted, settings.seed)
    splits = {name: [pairs[usable[i]] for i in indices] for name, indices in split.items()}
    card["dropped"]["exact duplicates"] = len(usable) - sum(len(found) for found in splits.values())
    return splits


def _short_enough(usable: list[int], pairs: Sequence[Pair], settings: Prepare, card: dict[str, Any]) -> list[int]:
    """Of a corpus that we split ourselves, held-out sets follow the same bound on length as train."""
    kept = [i for i in usable if max(len(side.split()) for side in pairs[i]) <= settings.max_words]
    card["dropped"]["longer than max_words before the split"] = len(usable) - len(kept)
    return kept


def _given(raw: Path, corpus: Corpus, card: dict[str, Any]) -> dict[str, list[Pair]]:
    """A corpus that comes split. Held-out sets are kept whole, line by line; train loses exact duplicates and odd placeholders."""
    splits: dict[str, list[Pair]] = {}
    for name in ("train", "valid", *corpus.tests):
        sources, targets = read_pair(raw / f"{name}.src", raw / f"{name}.tgt")
        splits[name] = [(words.normalise(source), words.normalise(target)) for source, target in zip(sources, targets, strict=True)]
        if name != "train" and (empty := [str(line) for line, pair in enumerate(splits[name], start=1) if not all(pair)]):
            raise ParallelTextError(f"{name}: empty but for invisible characters: line {', '.join(empty[:SHOWN])}; remove the pair")
    card["raw_pairs"] = len(splits["train"])
    everything = [pair for pair in splits["train"] if all(pair)]
    card["dropped"]["only invisible characters"] = card["raw_pairs"] - len(everything)
    unique = list(dict.fromkeys(everything))
    splits["train"] = [(source, target) for source, target in unique if _same_placeholders(source, target)]
    card["dropped"]["exact duplicates"] = len(everything) - len(unique)
    card["dropped"]["placeholders differ"] = len(unique) - len(splits["train"])
    return splits


def _without_overlap(splits: dict[str, list[Pair]], settings: Prepare, card: dict[str, Any]) -> list[Pair]:
    """Train without the pairs whose source or target stands in a held-out set."""
    train = splits["train"]
    held_out = [pair for name, pairs in splits.items() if name != "train" for pair in pairs]
    shared = splitting.overlapping(train, held_out)
    if shared and settings.overlap == "error":
        quoted = "\n".join(f"  {train[index][0]!r} | {train[index][1]!r}" for index in shared[:SHOWN])
        raise ParallelTextError(
            f"train: {len(shared)} pairs have a source or target that also stands in valid or test, so scores would be too high; "
            f"the first:\n{quoted}\nRemove them from the corpus, or set prepare.overlap: drop to have it done"
        )
    card["dropped"]["stands in a held-out set"] = len(shared)
    unwanted = set(shared)
    return [pair for index, pair in enumerate(train) if index not in unwanted]


def _same_placeholders(source: str, target: str) -> bool:
    return sorted(words.PLACEHOLDER.findall(source)) == sorted(words.PLACEHOLDER.findall(target))


def _mask(pair: Pair) -> tuple[Pair, list[str]]:
    names = words.placeholders(*pair)
    return (words.mask(pair[0], names), words.mask(pair[1], names)), words.placeholders(pair[0])


def _filter(tokens: list[Pair], settings: Prepare, card: dict[str, Any]) -> list[int]:
    """Which train pairs are neither too long nor too uneven, in Moses tokens."""
    kept = []
    dropped = {"empty after tokenising": 0, "longer than max_words": 0, "sides too uneven": 0}
    for index, pair in enumerate(tokens):
        short, long = sorted(len(side.split()) for side in pair)
        if not short:
            dropped["empty after tokenising"] += 1
        elif long > settings.max_words:
            dropped["longer than max_words"] += 1
        elif long > settings.max_ratio * short and long - short > settings.ratio_slack:
            dropped["sides too uneven"] += 1
        else:
            kept.append(index)
    card["dropped"].update(dropped)
    if not kept:
        raise ParallelTextError("train: no pair is left after cleaning; see prepare.max_words and prepare.max_ratio")
    return kept


def _write_held_out(out: Path, name: str, pairs: Sequence[Pair], names: Sequence[list[str]]) -> None:
    write_lines(out / f"{name}.raw", [source for source, _ in pairs])
    write_lines(out / f"{name}.ref", [target for _, target in pairs])
    write_lines(out / f"{name}.names", [json.dumps(line, ensure_ascii=False) for line in names])


def _tokenise_chunk(task: tuple[list[Pair], str, str]) -> list[Pair]:
    pairs, source, target = task
    return [(words.tokenise(s, source), words.tokenise(t, target)) for s, t in pairs]


def _tokenise(pairs: list[Pair], corpus: Corpus, name: str) -> list[Pair]:
    """Tokenises on all cores; the order is that of `pairs`."""
    tasks = [(pairs[i : i + CHUNK], corpus.source, corpus.target) for i in range(0, len(pairs), CHUNK)]
    done: list[Pair] = []
    with get_context("spawn").Pool(min(machine.threads(), len(tasks) or 1)) as pool:
        for chunk in pool.imap(_tokenise_chunk, tasks):
            done += chunk
            machine.progress("prepare", len(done), len(pairs), f"pairs of {name} tokenised")
    return done
