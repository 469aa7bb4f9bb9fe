"""Words and their parts: placeholders, characters that a tokeniser would lose, units to count and corrupt.

A placeholder such as {forecast_day} is a variable of the program that shows the string. Its name must survive
translation, so each one becomes a numbered token: ｟0｠, ｟1｠ ... in the order of the source. Neither the
tokeniser nor BPE splits what stands between these brackets. A model then learns one thing about all
placeholders, and names that training never showed come out right. A character that a tokeniser would delete
or change travels in the same brackets: ｟ua0｠ is a no-break space.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence

from nmtkd.text.languages import UNIT, UNSPACED

PLACEHOLDER = re.compile(r"\{[^{}]*\}")
SEPARATOR = "@@"  # ends a BPE piece that another piece of the same word follows: subword-nmt's mark
JOINER = "￭"  # on the side of a token where text has no space: the mark of OpenNMT's Tokenizer
OPEN, CLOSE = "｟", "｠"  # of what is never split
PROTECTED = r"｟(?:[0-9]+|u[0-9a-f]+)｠"  # a numbered placeholder, or a character by its code point
WHOLE = rf"{JOINER}?{PROTECTED}{JOINER}?"  # such a token as BPE meets it
HEXADECIMAL = 16
_PROTECTED = re.compile(PROTECTED)
_BRACKETS = re.compile(f"[{OPEN}{CLOSE}]")


def canonical(text: str) -> str:
    """The form by which texts are compared, to find duplicates.

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


def coded(char: str) -> str:
    """A character by its code point, in brackets: ｟ua0｠."""
    return f"{OPEN}u{ord(char):x}{CLOSE}"


def mask(text: str, names: Sequence[str]) -> str:
    """`text` with each placeholder as ｟i｠, where i is its index in `names`; its own brackets coded."""
    if OPEN in text or CLOSE in text:
        text = _BRACKETS.sub(lambda match: coded(match[0]), text)
        names = [_BRACKETS.sub(lambda match: coded(match[0]), name) for name in names]
    if not names:
        return text
    return PLACEHOLDER.sub(lambda match: f"{OPEN}{names.index(match.group())}{CLOSE}", text)


def compared(source: str, target: str = "") -> tuple[str, str]:
    """A pair as pairs are compared: canonical, placeholders numbered as models read them."""
    if "{" in source or "{" in target:
        names = placeholders(source, target)
        source, target = mask(source, names), mask(target, names)
    return canonical(source), canonical(target)


def unmask(text: str, names: Sequence[str]) -> str:
    """`text` with names and characters for what stands in brackets.

    A number that a model made up stays as it is.
    """
    if OPEN not in text:
        return text

    def original(match: re.Match[str]) -> str:
        content = match[0][1:-1]
        if content[0] == "u":
            return chr(int(content[1:], HEXADECIMAL))
        return names[int(content)] if int(content) < len(names) else match[0]

    return _PROTECTED.sub(original, text)


def is_protected(unit: str) -> bool:
    """Whether a unit is a placeholder or a coded character: these are never corrupted."""
    return OPEN in unit and _PROTECTED.search(unit) is not None


def split_token(token: str) -> tuple[str, list[str], str]:
    """A token's joiner on the left, its units, and its joiner on the right.

    A unit is a whole word, but a single character, with its marks, of a script without spaces.
    """
    core = token.removeprefix(JOINER)
    left = token[: len(token) - len(core)]
    inner = core.removesuffix(JOINER)
    right = core[len(inner) :]
    if not inner:
        return left, [], right
    if not UNSPACED.search(inner):
        return left, [inner], right
    return left, UNIT.findall(inner), right


def units(tokens: str) -> Iterator[str]:
    """The units of tokens joined by spaces: what length, counts and noise are measured in."""
    if JOINER not in tokens and not UNSPACED.search(tokens):
        yield from tokens.split()
        return
    for token in tokens.split(" "):
        yield from split_token(token)[1]


def spaced(lines: Sequence[str]) -> list[str]:
    """Each line as its units joined by spaces, without joiners: the form in which BLEU counts tokens."""
    return [" ".join(units(line)) for line in lines]


def count_units(tokens: str) -> int:
    """How many units a line of tokens has."""
    return sum(1 for _ in units(tokens))


def characters(tokens: str) -> str:
    """Tokens as pieces of one character: finer than by any codes. What stands in brackets stays whole."""
    return " ".join(
        token if is_protected(token) else f"{SEPARATOR} ".join(token) for token in tokens.split(" ")
    )


def join(pieces: str) -> str:
    """Tokens from BPE pieces. A last piece that promises another one loses its mark."""
    return (pieces + " ").replace(f"{SEPARATOR} ", "").strip()
