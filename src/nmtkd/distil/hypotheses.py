"""Files of the teacher's translations of the training source: one record a line, in order.

Each record holds the id and the hash of its source line. Reading compares both, since a count of lines cannot
detect a wrong order.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from nmtkd.files import line_hash, read_json, write_json, writing
from nmtkd.plan.layout import CARD
from nmtkd.text import words
from nmtkd.text.bleu import DECIMALS, brevity_penalty
from nmtkd.text.lines import Lines

RECORDS = "hypotheses.jsonl"
COUNTS = ("tokens", "empty", "truncated", "copied", "equal_to_gold")  # in the card, of the best entries
NBest = Sequence[tuple[str, float]]  # (BPE text, score), best first


class HypothesesError(ValueError):
    """Hypotheses that were not made from this text."""


def closest(nbest: NBest, gold: str) -> int:
    """Index of the entry with the highest sentence BLEU against gold (BPE), the first of equals.

    From Kim & Rush (2016, section 3.3). BLEU is sacreBLEU's sentence score over words, or over characters
    of a script without spaces: exponential smoothing, effective order.
    """
    if len(nbest) == 1:
        return 0
    reference = [_units(gold)]
    scores = [_BLEU.sentence_score(_units(text), reference).score for text, _ in nbest]
    return scores.index(max(scores))


def _units(pieces: str) -> str:
    return " ".join(words.units(words.join(pieces)))


_BLEU = BLEU(tokenize="none", effective_order=True)


class Writer:
    """Fills a folder line by line, in any order: a search begins with the longest lines.

    `gold` (BPE) is what the best entries are compared with, for the card alone.
    """

    def __init__(self, folder: Path, sources: Sequence[str], gold: Sequence[str]) -> None:
        self._folder, self._sources, self._gold = folder, sources, gold
        # Records in the order in which they come.
        self._spool = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  close() closes it
        self._places = np.full((len(sources), 2), -1, dtype=np.int64)  # start and size of each line's record
        self._counts = dict.fromkeys(COUNTS, 0)
        self._gold_tokens = 0

    def put(self, index: int, nbest: NBest, *, truncated: bool = False) -> None:
        """The n-best list of one line. `truncated` says whether its best entry met the limit."""
        source, gold, best = self._sources[index], self._gold[index], nbest[0][0]
        record = {
            "id": index,
            "source": line_hash(source),
            "hypotheses": [{"text": text, "score": score} for text, score in nbest],
        }
        data = (json.dumps(record, ensure_ascii=False) + "\n").encode("utf-8")
        self._places[index] = self._spool.tell(), len(data)
        self._spool.write(data)
        self._counts["tokens"] += len(best.split())
        self._counts["empty"] += not best
        self._counts["truncated"] += truncated
        self._counts["copied"] += best == source
        self._counts["equal_to_gold"] += best == gold
        self._gold_tokens += len(gold.split())

    def close(self, facts: dict[str, Any]) -> dict[str, Any]:
        """Writes records in the order of their lines, and the card, which it returns.

        The card counts lines, COUNTS, and how long the whole text is beside gold, in BPE tokens: their ratio,
        and the factor that BLEU would take for it. `facts` (teacher and dictionary hashes, settings) go into
        the card unchanged.
        """
        assert (self._places[:, 0] >= 0).all(), "a hypothesis for each source line"
        with self._spool as spool, writing(self._folder / RECORDS) as file:
            for start, size in self._places.tolist():
                spool.seek(start)
                file.write(spool.read(size))
        tokens, gold_tokens = self._counts["tokens"], self._gold_tokens
        card = {
            **facts,
            "lines": len(self._sources),
            **self._counts,
            "length_ratio": round(tokens / max(1, gold_tokens), DECIMALS),
            "brevity_penalty": round(brevity_penalty(tokens, gold_tokens), DECIMALS),
        }
        write_json(self._folder / CARD, card)
        return card


def read_card(folder: Path) -> dict[str, Any]:
    """The card that `Writer.close` wrote."""
    card: dict[str, Any] = read_json(folder / CARD)
    return card


class Records(Sequence[NBest]):
    """The n-best list of each line, read when it is asked for."""

    def __init__(self, path: Path) -> None:
        self._lines = Lines(path)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: Any) -> Any:
        assert isinstance(index, int), "one line at a time"
        return [(entry["text"], entry["score"]) for entry in json.loads(self._lines[index])["hypotheses"]]


class Chosen(Sequence[str]):
    """One text of each line: its best, or the entry that `entries` names [lines]."""

    def __init__(self, records: Sequence[NBest], entries: Sequence[int] | None = None) -> None:
        self._records = records
        self._entries = np.zeros(len(records), np.int32) if entries is None else np.asarray(entries, np.int32)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        assert isinstance(index, int), "one line at a time"
        return self._records[index][self._entries[index]][0]


def read(folder: Path, sources: Sequence[str]) -> Records:
    """The n-best list of each source line.

    Raises HypothesesError if a record is missing, out of order or of another source line.
    """
    path = folder / RECORDS
    lines = Lines(path)
    for index, (line, source) in enumerate(zip(lines, sources, strict=False)):
        record = json.loads(line)
        where = f"{path}, line {index + 1}"
        if record["id"] != index:
            raise HypothesesError(
                f"{where}: id {record['id']} where {index} should stand: "
                "records are out of order or lost; decode again"
            )
        if record["source"] != line_hash(source):
            raise HypothesesError(
                f"{where}: made from another source line than line {index + 1} of the training text; "
                "decode again"
            )
    if len(lines) != len(sources):
        raise HypothesesError(
            f"{path}: {len(lines)} records for {len(sources)} lines of training text; decode again"
        )
    return Records(path)
