"""Files of the teacher's translations of the training source: one record a line, in order.

Each record holds the id and the hash of its source line. Reading compares both, since a count of lines cannot
detect a wrong order. The card has the hashes of the records, of the teacher and of the dictionary: reading
compares these too.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sacrebleu.metrics.bleu import BLEU

from nmtkd.files import SHOWN, damaged, file_hash, line_hash, read_as, write_json, writing
from nmtkd.plan.layout import CARD
from nmtkd.text import words
from nmtkd.text.bleu import DECIMALS, brevity_penalty
from nmtkd.text.lines import Lines

RECORDS = "hypotheses.jsonl"
COUNTS = ("tokens", "empty", "truncated", "copied", "equal_to_gold")  # in the card, of the best entries
NBest = Sequence[tuple[str, float]]  # (BPE text, score), best first


class HypothesesError(ValueError):
    """Hypotheses that were not made from this text, or by another teacher."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a card says of its hypotheses: hashes of the teacher, of its dictionary, and of the records."""

    teacher_hash: str
    dictionary_hash: str
    sha256: str


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
        the card unchanged, and the hash of the records with them.
        """
        assert (self._places[:, 0] >= 0).all(), "a hypothesis for each source line"
        with self._spool as spool, writing(self._folder / RECORDS) as file:
            for start, size in self._places:
                spool.seek(start)
                file.write(spool.read(size))
        tokens, gold_tokens = self._counts["tokens"], self._gold_tokens
        card = {
            **facts,
            "sha256": file_hash(self._folder / RECORDS),
            "lines": len(self._sources),
            **self._counts,
            "length_ratio": round(tokens / max(1, gold_tokens), DECIMALS),
            "brevity_penalty": round(brevity_penalty(tokens, gold_tokens), DECIMALS),
        }
        write_json(self._folder / CARD, card)
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

    def __init__(self, records: Sequence[NBest], entries: ArrayLike | None = None) -> None:
        self._records = records
        self._entries = np.zeros(len(records), np.int32) if entries is None else np.asarray(entries, np.int32)

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        assert isinstance(index, int), "one line at a time"
        return self._records[index][self._entries[index]][0]


def read(folder: Path, sources: Sequence[str], *, teacher_hash: str, dictionary_hash: str) -> Records:
    """The n-best list of each source line.

    Raises HypothesesError for another teacher or dictionary, and if a record is missing, out of order or of
    another source line; files.DamagedError if the records are not those that were written.
    """
    path, made = folder / RECORDS, read_as(folder / CARD, Made)
    for name, got, wanted in (
        ("teacher", made.teacher_hash, teacher_hash),
        ("dictionary", made.dictionary_hash, dictionary_hash),
    ):
        if got != wanted:
            raise HypothesesError(
                f"{folder}: hypotheses of another {name} (made with {got[:SHOWN]}, "
                f"at hand is {wanted[:SHOWN]}); decode again"
            )
    if not path.is_file():
        raise damaged(path, "missing")
    lines, digest = Lines(path), hashlib.sha256()
    for index, source in zip(range(len(lines)), sources, strict=False):
        where = f"{path}, line {index + 1}"
        try:
            line = lines[index]
            record = json.loads(line)
            number, made_from = record["id"], record["source"]
        except (ValueError, KeyError, TypeError) as error:
            raise damaged(path, f"line {index + 1} is no whole record ({type(error).__name__})") from None
        digest.update(line.encode() + b"\n")
        if number != index:
            raise HypothesesError(
                f"{where}: id {number} where {index} should stand: records are out of order or lost; "
                "decode again"
            )
        if made_from != line_hash(source):
            raise HypothesesError(
                f"{where}: made from another source line than line {index + 1} of the training text; "
                "decode again"
            )
    if len(lines) != len(sources):
        raise HypothesesError(
            f"{path}: {len(lines)} records for {len(sources)} lines of training text; decode again"
        )
    if digest.hexdigest() != made.sha256:
        raise damaged(path, f"not the records that {CARD} names: their hash is another one")
    return Records(path)
