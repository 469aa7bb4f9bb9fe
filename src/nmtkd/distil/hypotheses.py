"""The teacher's translations of the training source: one record a line, in order, tied to its source by id and by content.

A count cannot see a wrong order. Each record therefore carries the hash of its source line, and reading compares it with the source.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sacrebleu.metrics.bleu import BLEU

RECORDS = "hypotheses.jsonl"
CARD = "card.json"
HASH_DIGITS = 16  # 64 bits: collisions among neighbours are what matters
NBest = Sequence[tuple[str, float]]  # (BPE text, score), best first


class HypothesesError(ValueError):
    """Hypotheses that do not belong to the text at hand."""


def line_hash(source: str) -> str:
    """Short content hash of a source line."""
    return hashlib.sha256(source.encode()).hexdigest()[:HASH_DIGITS]


def closest(nbest: NBest, gold: str, words: Callable[[str], str]) -> int:
    """Which entry is most like the gold text by sentence BLEU over words; the better scored one of equals (Kim & Rush 2016, section 3.3).

    `words` joins BPE. BLEU is sacreBLEU's sentence score: exponential smoothing, effective order.
    """
    if len(nbest) == 1:
        return 0
    reference = [words(gold)]
    scores = [_BLEU.sentence_score(words(text), reference).score for text, _ in nbest]
    return scores.index(max(scores))


_BLEU = BLEU(tokenize="none", effective_order=True)


def write(folder: Path, sources: Sequence[str], nbest: Sequence[NBest], truncated: int, facts: dict[str, Any]) -> dict[str, Any]:
    """Writes records and card. The card counts what a reader of results should know: empty, truncated, copied and changed outputs.

    `facts` (teacher and dictionary hashes, settings) go into the card as they are.
    """
    assert len(sources) == len(nbest), "a hypothesis for each source line"
    with open(folder / RECORDS, "w", encoding="utf-8") as file:
        for index, (source, entries) in enumerate(zip(sources, nbest, strict=True)):
            record = {"id": index, "source": line_hash(source), "hypotheses": [{"text": text, "score": score} for text, score in entries]}
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
    (folder / CARD).write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return card


def read_card(folder: Path) -> dict[str, Any]:
    """The card that `write` left."""
    card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    return card


def read(folder: Path, sources: Sequence[str]) -> list[list[tuple[str, float]]]:
    """The n-best list of each source line. Raises HypothesesError where a record is missing, out of order or of another source."""
    path = folder / RECORDS
    found: list[list[tuple[str, float]]] = []
    records = 0
    with open(path, encoding="utf-8") as file:
        for index, line in enumerate(file):
            records = index + 1
            record = json.loads(line)
            where = f"{path}, line {records}"
            if record["id"] != index:
                raise HypothesesError(
                    f"{where}: id {record['id']} where {index} should stand: records are out of order or lost; decode again"
                )
            if index >= len(sources):
                break
            if record["source"] != line_hash(sources[index]):
                raise HypothesesError(f"{where}: made from another source line than line {index + 1} of the training text; decode again")
            found.append([(entry["text"], entry["score"]) for entry in record["hypotheses"]])
    if records != len(sources):
        raise HypothesesError(f"{path}: {records} records for {len(sources)} lines of training text; decode again")
    return found
