"""What may be done to the text that models see, kind by kind. References stay as the corpus has them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f]")
# Spaces of no width. They part words, so a space takes their place.
_WIDTHLESS = re.compile("[\u200b\u2060\ufeff]")
_JOINERS = "\u200c\u200d"  # they stand inside words and belong to their spelling


def _visible(text: str) -> str:
    if text.isprintable():
        return text
    text = _WIDTHLESS.sub(" ", text)
    return "".join(char for char in text if char in _JOINERS or unicodedata.category(char) != "Cf")


KINDS: dict[str, Callable[[str], str]] = {
    "nfc": lambda text: unicodedata.normalize("NFC", text),
    "nfkc": lambda text: unicodedata.normalize("NFKC", text),
    "controls": lambda text: _CONTROLS.sub(" ", text),  # a space: what they part stays apart
    "invisible": _visible,  # format characters go
    "white_space": lambda text: " ".join(text.split()),  # each run is one space; ends are trimmed
}


def normalise(text: str, kinds: Sequence[str], changed: Counter[str]) -> str:
    """`text` after each of `kinds`, in their order. `changed` counts the kinds that changed it."""
    for kind in kinds:
        before, text = text, KINDS[kind](text)
        if text != before:
            changed[kind] += 1
    return text
