"""`python -m tests.unit.distil.writings MODEL OUT`: token targets of each case, in OUT/CASE.

By as many processes as torchrun gives it. Each leaves what was wrong in OUT/CASE.NUMBER.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nmtkd import processes
from nmtkd.decoding import scoring
from nmtkd.distil.targets import Header, TargetsError, Writer
from nmtkd.files import lines_hash
from nmtkd.network.fairseq_bridge import token_counts

WORDS = [f"w{number}" for number in range(20)]
SOURCES = [" ".join(WORDS[(line + place) % 20] for place in range(line % 9 + 1)) for line in range(30)]
GOLD = [" ".join(WORDS[(3 * line + place) % 20] for place in range(line % 7)) for line in range(30)]
OTHER = [*GOLD[:-1], "w1"]
TOP_K, TEMPERATURE, MAX_TOKENS = 5, 2.0, 25
CASES: dict[str, Sequence[str]] = {"gold": GOLD, "other": OTHER, "twice": GOLD, "never": GOLD, "mixed": GOLD}
FIRST_OF_FIRST = 0  # the shortest line is in the first batch, which is the first process's


def rows(case: str, folder: Path, prefix: Sequence[str]) -> Iterator[tuple[int, Any, Any]]:
    """What a process has to put. In bad cases the second one has another process's line, or lacks one."""
    made = list(scoring.distributions(folder, SOURCES, prefix, TOP_K, TEMPERATURE, MAX_TOKENS))
    if case == "never" and not processes.first():
        made = made[1:]
    yield from made
    if case == "twice" and not processes.first():
        (ids, probs), length = made[0][1:], len(prefix[FIRST_OF_FIRST].split()) + 1
        yield FIRST_OF_FIRST, ids[:length], probs[:length]


def write(case: str, folder: Path, out: Path) -> None:
    """Token targets in `out`, the first process's; the others name folders that nobody may write to."""
    prefix = OTHER if case == "mixed" and not processes.first() else CASES[case]
    header = Header(
        top_k=TOP_K,
        temperature=TEMPERATURE,
        vocabulary=scoring.vocabulary(folder),
        dictionary_hash="d" * 64,
        teacher_hash="t" * 64,
        prefix="gold",
        prefix_hash=lines_hash(prefix),
    )
    writer = Writer(out if processes.first() else Path("/nowhere"), token_counts(prefix), header)
    for line, ids, probs in rows(case, folder, prefix):
        writer.put(line, ids, probs)
    writer.close()


def main(folder: str, out: str) -> None:
    with processes.group():
        for case in CASES:
            place = Path(out) / case
            if processes.first():
                place.mkdir(parents=True)
            wrong = ""
            try:
                write(case, Path(folder), place)
            except TargetsError as error:
                wrong = str(error)
            place.with_name(f"{case}.{processes.number()}").write_text(wrong, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
