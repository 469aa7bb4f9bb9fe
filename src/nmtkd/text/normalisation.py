"""What may be done to the text that models see, kind by kind. References stay as the corpus has them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

from nmtkd.text.languages import base

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
# Spaces of no width. They part words, so a space takes their place.
_WIDTHLESS = re.compile("[\u200b\u2060\ufeff]")
_JOINERS = "\u200c\u200d"  # they stand inside words and belong to their spelling
_APOSTROPHE = re.compile("([a-zA-Z])’([a-zA-Z])")


def _visible(text: str, _: str) -> str:
    if text.isprintable():
        return text
    text = _WIDTHLESS.sub(" ", text)
    return "".join(char for char in text if char in _JOINERS or unicodedata.category(char) != "Cf")


def _printing(text: str, _: str) -> str:
    """As Moses' remove-non-printing-char.perl: each character of category C is a space."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(char)[0] == "C" else char for char in text)


@lru_cache
def _punctuation_normaliser(language: str) -> Any:
    from sacremoses import MosesPunctNormalizer

    return MosesPunctNormalizer(language)


def _punctuation(text: str, language: str) -> str:
    """As Moses' normalize-punctuation.perl, spaces at the ends apart.

    sacremoses takes each ’ for an apostrophe; Moses does so between letters of ASCII and takes others for
    quotation marks. Moses' rules see the line's end, which sacremoses leaves to its caller.
    """
    text = _APOSTROPHE.sub(r"\1'\2", text).replace("’", '"')
    normalised: str = _punctuation_normaliser(language).normalize(f"{text}\n")
    return normalised


# Functions of the text and its language.
KINDS: dict[str, Callable[[str, str], str]] = {
    "nfc": lambda text, _: unicodedata.normalize("NFC", text),
    "nfkc": lambda text, _: unicodedata.normalize("NFKC", text),
    "controls": lambda text, _: _CONTROLS.sub(" ", text),  # a space: what they part stays apart
    "invisible": _visible,  # format characters go
    "white_space": lambda text, _: " ".join(text.split()),  # each run is one space; ends are trimmed
    "punctuation": _punctuation,
    "non_printing": _printing,
    "apostrophes": lambda text, _: text.replace("’", "'"),
}


def normalise(text: str, kinds: Sequence[str], changed: Counter[str], language: str) -> str:
    """`text` of a language after each of `kinds`, in their order. `changed` counts those that changed it."""
    for kind in kinds:
        before, text = text, KINDS[kind](text, base(language))
        if text != before:
            changed[kind] += 1
    return text
