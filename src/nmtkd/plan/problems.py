"""How problems of params.yaml are told: a line each, with place, rule, what was got and what to do."""

from __future__ import annotations

import reprlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# Values are whole where a person wrote them, and cut where they would fill the screen.
LONGEST = 100  # characters of a value
MOST = 20  # entries of a list
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = LONGEST
_SHORT.maxlist = _SHORT.maxdict = MOST


class ParamsError(ValueError):
    """All problems of params.yaml, one a line."""


def problems(path: Path, lines: list[str]) -> ParamsError:
    """The error that lists `lines`."""
    count = f"{len(lines)} problem" + ("s" if len(lines) > 1 else "")
    return ParamsError(f"{path}: {count}\n" + "\n".join(f"  {line}" for line in lines))


def shown(value: Any) -> str:
    """A value as in Python, on one line that is not too long."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python writes no number of more than some thousand digits
        return "a number of thousands of digits"


def place(parts: Iterable[Any]) -> str:
    """A dotted yaml path, on one line whatever its keys are."""
    texts = map(str, parts)
    return ".".join(part if part.isprintable() and len(part) <= LONGEST else shown(part) for part in texts)
