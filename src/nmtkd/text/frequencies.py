"""Counts the words of a file on all cores, in the memory of its distinct words."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.text import workers
from nmtkd.text.parallel import kept_blocks, lines_of

# Lines counted at a time: enough that most words repeat, so that a worker hands over few distinct ones.
CHUNK = 50_000
# Lines below which one process finishes before others would have started: about 3 microseconds each.
SERIAL_BELOW = 200_000


def frequencies(stage: str, path: Path, kept_N: NDArray[np.bool_]) -> Counter[str]:
    """Counts of the words between single spaces in the lines of a file that a mask keeps.

    `stage` names progress lines.
    """
    total = Counter[str]()
    done, lines = 0, int(kept_N.sum())
    tasks = kept_blocks(path, kept_N, CHUNK)
    for counts, size in workers.each(WordCounter, (), tasks, serial=lines < SERIAL_BELOW):
        total.update(counts)
        done += size
        machine.progress(stage, done, lines, f"lines of {path.name} counted")
    return total


class WordCounter:
    """Counts the words between single spaces in a block of a file, and its lines."""

    def __call__(self, block: bytes) -> tuple[Counter[str], int]:
        """The counts of the words, and the number of lines."""
        lines = lines_of(block)
        counts = Counter(word for line in lines for word in line.split(" "))
        counts.pop("", None)
        return counts, len(lines)
