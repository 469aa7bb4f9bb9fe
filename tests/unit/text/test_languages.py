"""nmtkd.text.languages: scripts without spaces, and the tokeniser that BLEU counts with."""

import pytest

from nmtkd.text.languages import UNIT, base, bleu_tokeniser, unspaced_share


@pytest.mark.parametrize(
    ("code", "tokeniser"),
    [
        *(
            (code, "zh")
            for code in ["zh", "zho", "chi", "cmn", "yue", "wuu", "nan", "lzh", "zh_hans", "zh_hant"]
        ),
        *((code, "ja-mecab") for code in ("ja", "jpn")),
        *((code, "ko-mecab") for code in ("ko", "kor")),
        *((code, "char") for code in ["th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bur"]),
        ("de", "13a"),
        ("pt_br", "13a"),
        ("hi", "13a"),
        ("vi", "13a"),
        ("thx", "13a"),  # not Thai: a code is compared as a whole
    ],
)
def test_bleus_tokeniser_follows_the_target_language(code: str, tokeniser: str) -> None:
    assert bleu_tokeniser(code) == tokeniser


def test_bleus_tokeniser_may_be_chosen() -> None:
    assert bleu_tokeniser("ja", "char") == bleu_tokeniser("de", "char") == "char"


def test_every_tokeniser_of_bleu_is_one_of_sacrebleus() -> None:
    from sacrebleu.metrics.bleu import BLEU

    for code in ("zh", "ja", "ko", "th", "de"):
        text = ["一 본 ไทย text"]
        assert (
            BLEU(tokenize=bleu_tokeniser(code), effective_order=True).sentence_score(text[0], text).score > 99
        )


def test_a_code_may_have_a_script_and_a_country() -> None:
    assert [base(code) for code in ("de", "zh_hans", "zh_hant_hk", "pt_br")] == ["de", "zh", "zh", "pt"]


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("他在家", 1.0),
        ("ไทย", 1.0),
        ("他在家 home", 3 / 7),
        ("1 2 3 。", 0.0),  # no letter
        ("한국어 हिन्दी", 0.0),
        ("", 0.0),
    ],
)
def test_share_of_letters_of_scripts_without_spaces(text: str, share: float) -> None:
    assert unspaced_share(text) == share


@pytest.mark.parametrize(
    ("text", "units"),
    [
        ("漢字かなカナ", ["漢", "字", "か", "な", "カ", "ナ"]),
        ("ｶﾞｰ", ["ｶﾞ", "ｰ"]),  # half-width: the sound mark goes with its letter
        ("น้ำ", ["น้ำ"]),
        ("ນ້ຳ", ["ນ້ຳ"]),
        ("ក្រុម", ["ក្រុ", "ម"]),
        ("မြန်", ["မြ", "န်"]),
        ("abc漢def", ["abc", "漢", "def"]),
        ("क्षत्रिय", ["क्षत्रिय"]),  # Hindi has spaces
    ],
)
def test_the_smallest_unit_is_a_character_with_its_marks(text: str, units: list[str]) -> None:
    assert UNIT.findall(text) == units
