"""A model on the held-out sets: translations, scores, size, and how fast this machine translates."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nmtkd import files, machine
from nmtkd.decoding import lengths
from nmtkd.decoding.search import Search
from nmtkd.decoding.translate import gpus, load, translate
from nmtkd.evidence.metrics import TOKENS, score
from nmtkd.evidence.results import BEAM, BEAM_AT_1, GREEDY, LONG, STUDENT, TEACHER, VALID
from nmtkd.network.fairseq_bridge import members
from nmtkd.network.stamps import card_of, checked_hash
from nmtkd.plan import layout
from nmtkd.plan.schema import Params
from nmtkd.text import provenance, words
from nmtkd.text.parallel import read_lines, write_lines
from nmtkd.text.tokenisers import tokeniser
from nmtkd.text.yardstick import primary

# Of a model's card: what gated, hybrid and ensemble models have, and how much data it learnt from.
COPIED = ("gates", "gate", "tried", "seeds", "data")


def evaluate(key: str, trained: Path, axes: Mapping[str, str | int], settings: Params, out: Path) -> None:
    """Translates the held-out sets with the model in `trained` and scores them.

    Writes the translations and the result into `out`, and the rates of this machine.
    `axes` are the model's place in the grid: method, capacity, noise, decoding, seed.
    """
    splits = [VALID, *settings.corpus.tests]
    model, test = layout.model_dir(files.existing(trained)), splits[1]
    checked = checked_hash(model)
    _check_text(splits)
    files.read_csv(trained / layout.CURVE)  # that it is whole
    load(model, settings.evaluate.engine, settings.evaluate.compute)
    held_out = HeldOut(key, model, settings)
    tried = _tried(held_out, settings)
    searches = _searches(lengths.choose(tried), settings)
    scores = _scores(held_out, searches, settings, out)
    shutil.copy(trained / layout.CURVE, out / layout.CURVE)  # so that the report depends on no model
    result = _result(key, trained, axes, settings, scores) | {
        "model": checked,
        "sha256": files.hashes(sorted(out.iterdir())),
        "references": {split: files.file_hash(_reference(split)) for split in splits},
        "length_penalty": searches[BEAM].length_penalty,
        "length_penalties": {str(penalty): quality.rounded()["bleu"] for penalty, quality in tried.items()},
    }
    files.write_json(out / layout.scores_file(key).name, result)
    rates = {name: round(held_out.rate(searches[name]), 1) for name in (BEAM, GREEDY)}
    used = gpus(model, settings.evaluate.engine)
    measured = machine.measurement(layout.DECODING, key, result["model"], used, sentences_per_second=rates)
    files.write_script(layout.machine_file(layout.DECODING, key), layout.MEASURED, measured)
    bleu = {
        s["search"]: s["value"]
        for s in scores
        if (s["split"], s["metric"]) == (test, settings.evaluate.primary)
    }
    label = primary(settings, settings.corpus.target).label
    chosen = lengths.named(searches[BEAM].length_penalty, list(tried))
    print(
        f"[evaluate {key}] {label} on {test}: {bleu[BEAM]:.2f} by beam ({chosen}), "
        f"{bleu[BEAM_AT_1]:.2f} at {lengths.NEUTRAL}, {bleu[GREEDY]:.2f} greedy; "
        f"{rates[BEAM]:.0f} sentences/s by beam"
    )


def _check_text(splits: Sequence[str]) -> None:
    """Raises an error unless what is translated is the BPE of what is scored, and both are whole."""
    provenance.check_written(layout.BPE, provenance.sides(splits))
    ends = (*provenance.SIDES, "ref", "names")
    provenance.check_written(layout.PREPARED, [f"{split}.{end}" for split in splits for end in ends])
    provenance.check_encoded(layout.BPE, layout.PREPARED, splits)


def _reference(split: str) -> Path:
    return layout.PREPARED / f"{split}.ref"


class HeldOut:
    """A model's translations of the held-out sets. Each set is translated once by a search, and timed."""

    def __init__(self, key: str, model: Path, settings: Params) -> None:
        self._stage, self._model, self._engine = f"evaluate {key}", model, settings.evaluate.engine
        self._tokens: dict[tuple[Search, str], list[str]] = {}
        self._seconds: dict[tuple[Search, str], float] = {}

    def tokens(self, search: Search, split: str) -> list[str]:
        """The translations of a set, as tokens joined by spaces."""
        place = search, split
        if place not in self._tokens:
            sources = read_lines(layout.BPE / f"{split}.src")
            start = time.monotonic()
            found = translate(self._model, sources, search, self._engine)
            self._seconds[place] = time.monotonic() - start
            self._tokens[place] = [words.join(best.text) for best, *_ in found]
            how = f"beam {search.beam}, length penalty {search.length_penalty}"
            machine.progress(self._stage, len(sources), len(sources), f"lines of {split} translated, {how}")
        return self._tokens[place]

    def rate(self, search: Search) -> float:
        """Sentences a second of a search, over all sets that it translated."""
        places = [place for place in self._tokens if place[0] == search]
        lines = sum(len(self._tokens[place]) for place in places)
        return lines / sum(self._seconds[place] for place in places)


def _tried(held_out: HeldOut, settings: Params) -> lengths.Tried:
    """What each length penalty makes of the validation set."""
    asked, yardstick = settings.evaluate, primary(settings, settings.corpus.target)

    def translated(penalty: float) -> list[str]:
        tokens = held_out.tokens(Search.of(asked, penalty), VALID)
        return words.spaced(tokens) if yardstick.on_tokens else as_text(VALID, tokens, settings)

    references = read_lines(_reference(VALID))
    if yardstick.on_tokens:
        references = words.spaced(read_lines(layout.PREPARED / f"{VALID}.tgt"))
    return lengths.try_all(asked.length_penalties, translated, references, yardstick)


def _searches(length_penalty: float, settings: Params) -> dict[str, Search]:
    """The searches by which a model is scored, by name."""
    neutral = Search.of(settings.evaluate, lengths.NEUTRAL)
    return {
        BEAM: replace(neutral, length_penalty=length_penalty),
        BEAM_AT_1: neutral,
        GREEDY: replace(neutral, beam=1),  # a penalty weighs hypotheses, and there is one
    }


def _scores(
    held_out: HeldOut, searches: Mapping[str, Search], settings: Params, out: Path
) -> list[dict[str, Any]]:
    """Scores on all held-out sets by each search."""
    return [
        entry
        for name, search in searches.items()
        for split in (VALID, *settings.corpus.tests)
        for entry in judge(split, name, held_out.tokens(search, split), settings, out)
    ]


def _result(
    key: str, trained: Path, axes: Mapping[str, str | int], settings: Params, scores: list[dict[str, Any]]
) -> dict[str, Any]:
    """What evidence.results.Result reads of a model and its scores."""
    corpus, model = settings.corpus, layout.model_dir(trained)
    card = card_of(trained, "parameters", "updates", "precision")
    return {
        **axes,
        "key": key,
        "role": TEACHER if axes["method"] == TEACHER else STUDENT,
        "corpus": corpus.name,
        "pair": f"{corpus.source}-{corpus.target}",
        "model_bytes": sum(path.stat().st_size for path in members(model)),
        "parameters": card["parameters"],
        "updates": card["updates"],
        "precision": card["precision"],
        "compute": settings.evaluate.compute,
        "scores": scores,
        **{name: card[name] for name in COPIED if name in card},
    }


def as_text(split: str, tokens: Sequence[str], settings: Params) -> list[str]:
    """Translations of a set as text, placeholders by their names."""
    detokenise = tokeniser(settings.prepare.tokeniser, settings.corpus.target).detokenise
    path = layout.PREPARED / f"{split}.names"
    lines = read_lines(path)
    with files.reading(path, "list of names"):
        names = [list[str](json.loads(line)) for line in lines]
    if len(names) != len(tokens):
        raise files.damaged(path, f"{len(names)} lines of names for {len(tokens)} translations")
    return [
        words.unmask(detokenise(line), placeholders) for line, placeholders in zip(tokens, names, strict=True)
    ]


def judge(
    split: str, search: str, tokens: Sequence[str], settings: Params, out: Path
) -> list[dict[str, Any]]:
    """Scores of one set, and of its long segments by themselves. Writes the translations as text into `out`.

    `tokens` are the translations as tokens joined by spaces.
    """
    corpus, asked = settings.corpus, settings.evaluate
    text = as_text(split, tokens, settings)
    write_lines(out / f"{split}.{search}", text)
    references, gold = (read_lines(layout.PREPARED / f"{split}.{side}") for side in ("ref", "tgt"))
    units = [words.spaced(side) for side in (tokens, gold)]
    yardstick = primary(settings, corpus.target)
    if yardstick.on_tokens:  # what the report counts again
        write_lines(out / f"{split}.{search}{TOKENS}", units[0])
    subsets = {split: list(range(len(text)))}
    if asked.long_words and split != VALID:
        sources = read_lines(layout.PREPARED / f"{split}.src")
        sizes = map(words.count_units, sources)
        subsets[f"{split}{LONG}"] = [i for i, size in enumerate(sizes) if size >= asked.long_words]
    scores = []
    for subset, chosen in subsets.items():
        if not chosen:
            continue  # no segment is long: there is nothing to score apart
        sides = [[side[i] for i in chosen] for side in (text, references, *units)]
        entries = score(
            *sides[:2],
            tokeniser=yardstick.of_text,
            tokenised_hypotheses=sides[2],
            tokenised_references=sides[3],
            primary=asked.primary,
            lowercase=settings.prepare.lowercase,
        )
        scores += [{"split": subset, "search": search, **entry} for entry in entries]
    return scores
