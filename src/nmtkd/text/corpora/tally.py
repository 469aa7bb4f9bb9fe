"""What readers have in common: the counts that they return, and the error that they raise."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from nmtkd.text.parallel import ParallelTextError

# A variable that a program fills in, as in "{count} devices" or "[%key:common::state::on%]".
PLACEHOLDER = re.compile(r"\{[^{}]*\}|\[%[^%]*%\]")


class CorpusError(ValueError):
    """A corpus that does not hold what the params ask of it."""


@dataclass
class Tally:
    """Pairs written by file, pairs dropped by reason, sides changed by reason; and facts for the card."""

    pairs: dict[str, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)


def refuse_nul(blocks: Iterable[bytes], where: str) -> None:
    """Raises ParallelTextError that names the first line with NUL. `blocks` are the content of one file.

    UTF-16 of English is valid UTF-8 with a NUL beside each letter.
    """
    lines = 0
    for block in blocks:
        if (place := block.find(b"\0")) >= 0:
            number = lines + block.count(b"\n", 0, place) + 1
            raise ParallelTextError(
                f"{where}: line {number}: holds a NUL character; if the file is UTF-16, convert it to UTF-8, "
                "else remove the character"
            )
        lines += block.count(b"\n")
