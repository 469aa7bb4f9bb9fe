"""Files of the teacher's translations of the training source: one record a line, in order.

Each record holds the id and the hash of its source line. Reading compares both, since a count of lines cannot
detect a wrong order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sacrebleu.metrics.bleu import BLEU

from nmtkd.files import line_hash, read_json, write_json
from nmtkd.plan.layout import CARD

RECORDS = "hypotheses.jsonl"
NBest = Sequence[tuple[str, float]]  # (BPE text, score), best first


class HypothesesError(ValueError):
    """Hypotheses that were not made from this text."""


def closest(nbest: NBest, gold: str, words: Callable[[str], str]) -> int:
    """Index of the entry with the highest sentence BLEU against gold, the first of equals.

    From Kim & Rush (2016, section 3.3). `words` joins BPE into words. BLEU is sacreBLEU's sentence score:
    exponential smoothing, effective order.
    """
    if len(nbest) == 1:
        return 0
    reference = [words(gold)]
    scores = [_BLEU.sentence_score(words(text), reference).score for text, _ in nbest]
    return scores.index(max(scores))


_BLEU = BLEU(tokenize="none", effective_order=True)


def write(
    folder: Path, sources: Sequence[str], nbest: Sequence[NBest], truncated: int, facts: dict[str, Any]
) -> dict[str, Any]:
    """Writes records and card, and returns the card.

    The card counts lines, tokens and empty, truncated and copied outputs. `facts` (teacher and dictionary
    hashes, settings) go into the card unchanged.
    """
    assert len(sources) == len(nbest), "a hypothesis for each source line"
    with open(folder / RECORDS, "w", encoding="utf-8") as file:
        for index, (source, entries) in enumerate(zip(sources, nbest, strict=True)):
            record = {
                "id": index,
                "source": line_hash(source),
                "hypotheses": [{"text": text, "score": score} for text, score in entries],
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    best = [entries[0][0] for entries in nbest]
    card = {
        **facts,
        "lines": len(best),
        "tokens": sum(len(text.split()) for text in best),
        "empty": sum(not text for text in best),
        "truncated": truncated,
        "copied": sum(text == source for text, source in zip(best, sources, strict=True)),
    }
    write_json(folder / CARD, card)
    return card


def read_card(folder: Path) -> dict[str, Any]:
    """The card that `write` wrote."""
    card: dict[str, Any] = read_json(folder / CARD)
    return card


def read(folder: Path, sources: Sequence[str]) -> list[list[tuple[str, float]]]:
    """The n-best list of each source line.

    Raises HypothesesError if a record is missing, out of order or of another source line.
    """
    path = folder / RECORDS
    nbest: list[list[tuple[str, float]]] = []
    records = 0
    with open(path, encoding="utf-8") as file:
        for index, line in enumerate(file):
            records = index + 1
            record = json.loads(line)
            where = f"{path}, line {records}"
            if record["id"] != index:
                raise HypothesesError(
                    f"{where}: id {record['id']} where {index} should stand: "
                    "records are out of order or lost; decode again"
                )
            if index >= len(sources):
                break
            if record["source"] != line_hash(sources[index]):
                raise HypothesesError(
                    f"{where}: made from another source line than line {index + 1} of the training text; "
                    "decode again"
                )
            nbest.append([(entry["text"], entry["score"]) for entry in record["hypotheses"]])
    if records != len(sources):
        raise HypothesesError(
            f"{path}: {records} records for {len(sources)} lines of training text; decode again"
        )
    return nbest
