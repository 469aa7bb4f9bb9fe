"""Words: placeholders, Moses tokens, and the way back to text.

A placeholder such as {forecast_day} is a variable of the program that shows the string. Its name must survive translation,
so each one becomes a numbered token, {0}, {1} ... in the order of the source, which neither the tokeniser nor BPE splits.
A model then learns one thing about all of them, and names that training never showed come out right.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

PLACEHOLDER = re.compile(r"\{[^{}]*\}")
NUMBERED = r"\{\d+\}"  # what a placeholder becomes; the tokeniser and BPE keep it whole


def normalise(text: str) -> str:
    """NFC; every run of white space, line breaks included, as one space; no control or format characters; trimmed."""
    if not text.isprintable():  # control and format characters are not; most lines hold none
        text = "".join(char for char in text if char.isspace() or unicodedata.category(char) not in ("Cc", "Cf"))
    return " ".join(unicodedata.normalize("NFC", text).split())


def placeholders(source: str, target: str = "") -> list[str]:
    """The distinct placeholders of a pair, those of the source first, each in order of appearance."""
    return list(dict.fromkeys(PLACEHOLDER.findall(source) + PLACEHOLDER.findall(target)))


def mask(text: str, names: Sequence[str]) -> str:
    """Each placeholder as {i}, i being its place in `names`."""
    return PLACEHOLDER.sub(lambda match: f"{{{names.index(match.group())}}}", text)


def unmask(text: str, names: Sequence[str]) -> str:
    """Each {i} as names[i]; a number that a model made up stays as it is."""

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
    tokens: str = _moses(language)[0].tokenize(text, escape=False, protected_patterns=protected, return_str=True)
    return tokens


def detokenise(tokens: str, language: str) -> str:
    """Text from Moses tokens joined by spaces."""
    text: str = _moses(language)[1].detokenize(tokens.split(), unescape=False)
    return text
