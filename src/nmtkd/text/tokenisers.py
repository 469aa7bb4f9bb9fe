"""Tokenisers: text to tokens joined by spaces, and back.

`reversible` gives back every text to the letter: a joiner stands where the text has no space, and characters
that OpenNMT's Tokenizer would lose travel by their code points. The kinds of Moses are what part of the
literature counts BLEU on; they lose what they lose.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, Protocol

from nmtkd.text.languages import base
from nmtkd.text.words import JOINER, OPEN, PROTECTED, coded

# What OpenNMT's Tokenizer deletes or turns into a plain space, and marks of its own: control characters,
# spaces other than the plain one, U+FEFF, the joiner; a plain space at an end or after another one.
_LOST = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000\ufeff" + JOINER + "]"
    "|^ | $|(?<= ) "
)
# U+200C and U+200D stand inside words (Persian half-spaces, Sinhala conjuncts, families of emoji), where the
# Tokenizer would cut. These two combining marks, which no text is known to use, carry them past it.
_CARRIERS = {"\u200c": "\u1abe", "\u200d": "\u1abf"}
_CARRIED = re.compile("[" + "".join(_CARRIERS.values()) + "]")
_OUT = str.maketrans(_CARRIERS)
_BACK = str.maketrans({carrier: char for char, carrier in _CARRIERS.items()})


class Tokeniser(Protocol):
    """One kind of tokens. What stands in the brackets of words.PROTECTED is one token or part of one."""

    def tokenise(self, text: str) -> str:
        """Tokens joined by spaces."""

    def detokenise(self, tokens: str) -> str:
        """The text of tokens joined by spaces, brackets as they are: words.unmask replaces them."""


class Reversible:
    """OpenNMT's Tokenizer, aggressive mode: letters, digits and each other character apart; joiners."""

    def __init__(self, language: str) -> None:
        from pyonmttok import Tokenizer

        self._tokenizer: Any = Tokenizer(
            "aggressive",
            joiner_annotate=True,
            segment_alphabet_change=True,
            no_substitution=True,  # else it rewrites full-width marks
            allow_isolated_marks=True,  # else a mark after a space makes a token that holds the space
        )

    def tokenise(self, text: str) -> str:
        """Tokens joined by spaces."""
        if _CARRIED.search(text):
            text = _CARRIED.sub(lambda match: coded(match[0]), text)
        if _LOST.search(text):
            text = _LOST.sub(lambda match: coded(match[0]), text)
        return " ".join(self._tokenizer(text.translate(_OUT))).translate(_BACK)

    def detokenise(self, tokens: str) -> str:
        """The text, brackets as they are."""
        text: str = self._tokenizer.detokenize(tokens.split(" "))
        return text


# sacremoses takes a line's last word for an abbreviation where it may be one ("U.S."). Moses never does: a
# sentence hardly ends so, and its period is a token.
_LAST_PERIOD = re.compile(r"(?<=\S)(?<!\.)\.$")


@lru_cache
def _with_cjk_letters() -> list[tuple[re.Pattern[str], str]]:
    """Rules of sacremoses by which Chinese, Japanese and Korean characters are letters in any text.

    So they are to Moses. sacremoses counts them as letters where the language is theirs alone, and then with
    the punctuation of their scripts.
    """
    from sacremoses import MosesTokenizer

    letters = MosesTokenizer(lang="cjk")
    added = {*letters.IsAlnum} - {*MosesTokenizer.IsAlnum}
    others = {char for char in added if unicodedata.category(char)[0] not in "LNM"}
    return [
        (re.compile("".join(char for char in pattern.pattern if char not in others)), substitution)
        for pattern, substitution in (letters.PAD_NOT_ISALNUM, letters.AGGRESSIVE_HYPHEN_SPLIT)
    ]


class Moses:
    """Moses tokens, by sacremoses.

    `escape`: characters that Moses has another use for as entities (`&apos;`), as its tokenizer.perl does
    unless told otherwise. `aggressive`: a hyphen between letters or digits is a token, `@-@`, as by its `-a`.
    """

    def __init__(self, language: str, *, escape: bool = False, aggressive: bool = False) -> None:
        from sacremoses import MosesDetokenizer, MosesTokenizer

        self._forward, self._back = MosesTokenizer(lang=base(language)), MosesDetokenizer(lang=base(language))
        self._forward.PAD_NOT_ISALNUM, self._forward.AGGRESSIVE_HYPHEN_SPLIT = _with_cjk_letters()
        self._escape, self._aggressive = escape, aggressive

    def tokenise(self, text: str) -> str:
        """Tokens joined by spaces."""
        protected = [PROTECTED] if OPEN in text else None
        tokens: str = self._forward.tokenize(
            text,
            aggressive_dash_splits=self._aggressive,
            escape=self._escape,
            protected_patterns=protected,
            return_str=True,
        )
        return _LAST_PERIOD.sub(" .", tokens)

    def detokenise(self, tokens: str) -> str:
        """The text, brackets as they are."""
        text: str = self._back.detokenize(tokens.split(), unescape=self._escape)
        return text


KINDS: dict[str, Callable[[str], Tokeniser]] = {
    "reversible": Reversible,
    "moses": Moses,
    "moses_escaped": partial(Moses, escape=True),
    "moses_aggressive": partial(Moses, escape=True, aggressive=True),
}


@lru_cache
def tokeniser(kind: str, language: str) -> Tokeniser:
    """The tokeniser of a kind for a language, by the corpus's code."""
    return KINDS[kind](language)
