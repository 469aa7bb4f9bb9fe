"""What a language asks of the tools: scripts without spaces, and the tokeniser that BLEU counts with."""

from __future__ import annotations

import regex

# Scripts that put no space between words. Their smallest unit is a character with its marks.
SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar")
# Beside the scripts' own letters: the sound marks of Kana, which Unicode counts to no script.
_LETTERS = "".join(rf"\p{{{script}}}" for script in SCRIPTS) + "\u30fc\uff70"
UNSPACED = regex.compile(rf"[{_LETTERS}]")
# A character of such a script with all that combines with it, or a run of other characters.
UNIT = regex.compile(rf"(?=[{_LETTERS}])\X|(?:(?![{_LETTERS}])\X)+")

AUTO = "auto"  # evaluate.tokenize: by the target language
DEFAULT = "13a"  # sacreBLEU's own default, mteval's rules: for text with spaces
# sacreBLEU's tokenisers by language: codes of ISO 639-1 and -3.
BLEU = (
    dict.fromkeys(("zh", "zho", "chi", "cmn", "yue", "wuu", "nan", "lzh"), "zh")
    | dict.fromkeys(("ja", "jpn"), "ja-mecab")
    | dict.fromkeys(("ko", "kor"), "ko-mecab")
    | dict.fromkeys(("th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bur"), "char")
)


def base(code: str) -> str:
    """The language of a corpus's code, without script and country: zh of zh_hans, pt of pt_br."""
    return code.partition("_")[0]


def bleu_tokeniser(code: str, choice: str = AUTO) -> str:
    """sacreBLEU's tokeniser for a target language, or `choice` if it is one."""
    return BLEU.get(base(code), DEFAULT) if choice == AUTO else choice


def unspaced_share(text: str) -> float:
    """The share (0 to 1) of letters that belong to a script without spaces."""
    letters = sum(map(str.isalpha, text))
    return sum(map(str.isalpha, UNSPACED.findall(text))) / letters if letters else 0.0
