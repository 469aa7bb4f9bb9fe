"""A model on the held-out sets: translations, scores, size, and how fast this machine translates."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nmtkd import files, machine
from nmtkd.decoding.search import Search
from nmtkd.decoding.translate import translate
from nmtkd.evidence.metrics import HEADLINE, score
from nmtkd.evidence.results import BEAM, GREEDY, LONG, STUDENT, TEACHER
from nmtkd.network.fairseq_bridge import members
from nmtkd.plan import layout
from nmtkd.plan.schema import Params
from nmtkd.text import words
from nmtkd.text.languages import bleu_tokeniser
from nmtkd.text.parallel import read_lines, write_lines
from nmtkd.text.tokenisers import tokeniser

VALID = "valid"
CHOICES = ("gates", "gate", "tried", "seeds")  # of the card: what gated, hybrid and ensemble models have


def evaluate(key: str, trained: Path, axes: Mapping[str, str | int], settings: Params) -> None:
    """Translates the held-out sets with the model in `trained` and scores them.

    Writes the translations, the result, and the rates of this machine.
    `axes` are the model's place in the grid: method, capacity, noise, decoding, seed.
    """
    corpus, model = settings.corpus, layout.model_dir(trained)
    with files.written_whole(layout.translations_dir(key)) as out:
        scores, rates = _scores(key, model, settings, out)
        shutil.copy(trained / layout.CURVE, out / layout.CURVE)  # so that the report depends on no model
        result = _result(key, trained, axes, settings, scores)
        files.write_json(out / layout.scores_file(key).name, result)
    measured = machine.measurement(layout.DECODING, key, result["model"], sentences_per_second=rates)
    files.write_script(layout.machine_file(layout.DECODING, key), layout.MEASURED, measured)
    headline = [s["value"] for s in scores if (s["split"], s["metric"]) == (corpus.tests[0], HEADLINE)]
    by_beam, by_greedy = headline
    print(
        f"[evaluate {key}] BLEU on {corpus.tests[0]}: {by_beam:.2f} by beam, {by_greedy:.2f} greedy; "
        f"{rates[BEAM]:.0f} sentences/s by beam"
    )


def _result(
    key: str, trained: Path, axes: Mapping[str, str | int], settings: Params, scores: list[dict[str, Any]]
) -> dict[str, Any]:
    """What evidence.results.Result reads."""
    corpus, model, card = settings.corpus, layout.model_dir(trained), files.read_json(trained / layout.CARD)
    return {
        **axes,
        "key": key,
        "role": TEACHER if axes["method"] == TEACHER else STUDENT,
        "corpus": corpus.name,
        "pair": f"{corpus.source}-{corpus.target}",
        "model": (model / layout.HASH).read_text(encoding="utf-8").strip(),
        "model_bytes": sum(path.stat().st_size for path in members(model)),
        "parameters": card["parameters"],
        "updates": card["updates"],
        "scores": scores,
        **{name: card[name] for name in CHOICES if name in card},
    }


def _scores(
    key: str, model: Path, settings: Params, out: Path
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Scores on all held-out sets by beam and greedy search, and sentences a second by search."""
    scores, rates = [], {}
    options = settings.evaluate.model_dump(exclude={"tokenize", "engine", "beam"})
    for name, beam in ((BEAM, settings.evaluate.beam), (GREEDY, 1)):
        search = Search(beam=beam, **options)
        seconds, lines = 0.0, 0
        for split in (VALID, *settings.corpus.tests):
            sources = read_lines(layout.BPE / f"{split}.src")
            start = time.monotonic()
            hypotheses = translate(model, sources, search, settings.evaluate.engine)
            seconds, lines = seconds + time.monotonic() - start, lines + len(sources)
            tokens = [words.join(best.text) for best, *_ in hypotheses]
            scores += judge(split, name, tokens, settings, out)
            machine.progress(f"evaluate {key}", len(scores), len(scores), f"scores, {split} by {name} done")
        rates[name] = round(lines / seconds, 1)
    return scores, rates


def judge(
    split: str, search: str, tokens: Sequence[str], settings: Params, out: Path
) -> list[dict[str, Any]]:
    """Scores of one set, and of its long segments by themselves. Writes the translations as text into `out`.

    `tokens` are the translations as tokens joined by spaces.
    """
    corpus, prepare = settings.corpus, settings.prepare
    detokenise = tokeniser(prepare.tokeniser, corpus.target).detokenise
    names = [json.loads(line) for line in read_lines(layout.PREPARED / f"{split}.names")]
    text = [
        words.unmask(detokenise(line), placeholders) for line, placeholders in zip(tokens, names, strict=True)
    ]
    write_lines(out / f"{split}.{search}", text)
    references, gold = (read_lines(layout.PREPARED / f"{split}.{side}") for side in ("ref", "tgt"))
    units = [[" ".join(words.units(line)) for line in side] for side in (tokens, gold)]
    subsets = {split: list(range(len(text)))}
    if prepare.long_words and split != VALID:
        sources = read_lines(layout.PREPARED / f"{split}.src")
        lengths = map(words.count_units, sources)
        subsets[f"{split}{LONG}"] = [i for i, length in enumerate(lengths) if length >= prepare.long_words]
    scores = []
    for subset, chosen in subsets.items():
        if not chosen:
            continue  # no segment is long: there is nothing to score apart
        sides = [[side[i] for i in chosen] for side in (text, references, *units)]
        entries = score(
            *sides[:2],
            tokeniser=bleu_tokeniser(corpus.target, settings.evaluate.tokenize),
            tokenised_hypotheses=sides[2],
            tokenised_references=sides[3],
        )
        scores += [{"split": subset, "search": search, **entry} for entry in entries]
    return scores
