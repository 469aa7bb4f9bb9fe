"""Words: placeholders, Moses tokens, and the way back to text.

A placeholder such as {forecast_day} is a variable of the program that shows the string. Its name must survive
translation, so each one becomes a numbered token: {0}, {1} ... in the order of the source. Neither the
tokeniser nor BPE splits such a token. A model then learns one thing about all placeholders, and names that
training never showed come out right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

PLACEHOLDER = re.compile(r"\{[^{}]*\}")
SEPARATOR = "@@"  # ends a BPE piece that another piece of the same word follows: subword-nmt's mark
NUMBERED = r"\{\d+\}"  # what a placeholder becomes; the tokeniser and BPE keep it whole


def normalise(text: str) -> str:
    """The normal form of a text.

    NFC; no control or format characters; every run of white space, line breaks included, is one space;
    trimmed.
    """
    if not text.isprintable():  # true for most lines: they hold no control or format character
        text = "".join(
            char for char in text if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf")
        )
    return " ".join(unicodedata.normalize("NFC", text).split())


def placeholders(source: str, target: str = "") -> list[str]:
    """The distinct placeholders of a pair, those of the source first, each in order of appearance."""
    return list(dict.fromkeys(PLACEHOLDER.findall(source) + PLACEHOLDER.findall(target)))


def mask(text: str, names: Sequence[str]) -> str:
    """`text` with each placeholder as {i}, where i is its index in `names`."""
    return PLACEHOLDER.sub(lambda match: f"{{{names.index(match.group())}}}", text)


def unmask(text: str, names: Sequence[str]) -> str:
    """`text` with each {i} as names[i]. A number that a model made up stays as it is."""

    def name(match: re.Match[str]) -> str:
        index = int(match.group()[1:-1])
        return names[index] if index < len(names) else match.group()

    return re.sub(NUMBERED, name, text)


@lru_cache
def _moses(language: str) -> tuple[Any, Any]:
    from sacremoses import MosesDetokenizer, MosesTokenizer

    return MosesTokenizer(lang=language), MosesDetokenizer(lang=language)


def tokenise(text: str, language: str) -> str:
    """Moses tokens joined by spaces (sacremoses, no escaping); numbered placeholders stay whole."""
    protected = [NUMBERED] if "{" in text else None
    tokens: str = _moses(language)[0].tokenize(
        text, escape=False, protected_patterns=protected, return_str=True
    )
    return tokens


def detokenise(tokens: str, language: str) -> str:
    """Text from Moses tokens joined by spaces."""
    text: str = _moses(language)[1].detokenize(tokens.split(), unescape=False)
    return text


def join(pieces: str) -> str:
    """Moses tokens from BPE pieces. A last piece that promises another one loses its mark."""
    return (pieces + " ").replace(f"{SEPARATOR} ", "").strip()
