"""How often each word stands in a file: counted by all cores, in the memory of its distinct words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from nmtkd import machine
from nmtkd.text import workers
from nmtkd.text.parallel import blocks, lines_of

# Lines that are counted at a time: so many that most of their words come again, and few distinct ones are handed over.
CHUNK = 50_000
ALONE = 200_000  # lines up to which one process counts them sooner than others start: about 3 microseconds each


def frequencies(stage: str, path: Path, lines: int) -> Counter[str]:
    """The words of a file of so many lines, as they stand between single spaces, and their counts."""
    found = Counter[str]()
    done = 0
    for some, seen in workers.each(_Count, (), blocks(path, CHUNK), alone=lines < ALONE):
        found.update(some)
        done += seen
        machine.progress(stage, done, lines, f"lines of {path.name} counted")
    return found


class _Count:
    def __call__(self, block: bytes) -> tuple[Counter[str], int]:
        lines = lines_of(block)
        found = Counter(word for line in lines for word in line.split(" "))
        found.pop("", None)
        return found, len(lines)


def by_white_space(counts: Counter[str]) -> Counter[str]:
    """The same counts of words between white space of any kind: no-break spaces and others part them, too."""
    found = Counter[str]()
    for word, count in counts.items():
        for part in word.split():
            found[part] += count
    return found
