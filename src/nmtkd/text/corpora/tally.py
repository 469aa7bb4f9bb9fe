"""What readers have in common: the counts that they return, and the error that they raise."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

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
