"""nmtkd.text.tokenisers: every text comes back to the letter through tokens, BPE and back; Moses' tokens."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.plan.data import Bpe
from nmtkd.plan.layout import CODES
from nmtkd.text.subwords import Subwords, learn
from nmtkd.text.tokenisers import tokeniser
from nmtkd.text.words import PLACEHOLDER, characters, join, mask, placeholders, unmask
from tests.unit.text.counts import counted

TEXTS = {
    "chinese": "我们明天去北京，好吗？带上3本书。",
    "japanese": "静かな夜に、コーヒーを飲む。ｶﾞｰﾄﾞ！",
    "thai": "พี่น้ำอยู่ที่นี่ ใต้ต้นไม้ใหญ่",
    "lao": "ນ້ຳໃສຢູ່ທີ່ນີ້ ແລ້ວ",
    "khmer": "ខ្ញុំស្រឡាញ់ទឹកថ្លា ។",
    "burmese": "ရေကြည်သည်။ နေကောင်းလား",
    "persian": "می\u200cخواهم کتاب\u200cهای تازه را بخوانم، نه؟",
    "arabic": "هٰذَا كِتَابٌ جَدِيدٌ.",
    "hindi": "यह किताब अच्छी है। क्षत्रिय १२",
    "armenian": "Այս գիրքը լա՞վ է։",
    "yoruba": "Ẹ̀kọ́ dára; ọ̀nà n\u0301lá o\u0323\u0301",
    "sinhala": "ශ්\u200dරී ලංකාව ක්\u200dරමය",
    "korean": "물이 맑다. 안녕하세요?",
    "hebrew": "צה\u05f4ל בְּרֵאשִׁית",
    "german": "Er sagt: „Tür zu!“ – 3,5 % mehr.",
    "french": "«\u00a0Oui\u202f!\u00a0» l’eau, aujourd'hui",
    "czech": "v roce 2004.",
    "emoji": "👨\u200d👩\u200d👧\u200d👦 ok 👍🏽 ❤\ufe0f 1\ufe0f\u20e3 🇩🇪",
    "url": "https://example.org/a_b?c=d&e=1#f und/oder ~/x",
    "mail": "a.b-c@example.org, @home #1",
    "quotes": "\"a\" 'b' `c` ‹d› don't ''e''",
    "entities": "&amp; &lt;b&gt; &#39; &quot;",
    "markup": "<b>x</b> [y](z) **w** | {} { }",
    "marks of tokenisers": "：％＃＿｜＝ ▁a ￭b c￭ ￨ ｟ ｠ ￭",
    "controls": "a\tb\x00c\x1bd\x07 \x7f\x85",
    "odd spaces": "a\ufeffb\u00a0c\u202fd\u3000e\u2028f\u2029g\u2009h\u180ei\u205fj\u1680k",
    "widthless": "a\u200bb\u2060c\u00add \u200e\u200f",
    "double spaces": "a  b   c",
    "spaces at the ends": "  a b ",
    "only a space": " ",
    "lone marks": "\u0301 \u0301a \u0e49\u0e49 x \u0301",
    "lone joiners": "\u200d \u200c a\u200d \u200cb",
    "carriers": "a\u1abeb\u1abf \u1abe",
    "subword-nmt's mark": "a@@ b @@ @@c </w> d</w>",
    "fairseq's words": "<unk> </s> <s> <pad> <<unk>>",
    "like a placeholder": "｟0｠ ｟12｠x ｟｟0｠｠",
    "like a coded character": "｟ua0｠ ｟uffff｠ u｟a0｠",
    "rare characters": "\ue000 \U000f0000 \uffff \U0010ffff \ufffd",
    "case and digits": "iPhone12Pro ABCdef x2y ²½Ⅷ٣",
    "placeholders": "{name}: {count} of {a b}{c}, {{d}} {｟e｠}.",
    "empty": "",
}

reversible = tokeniser("reversible", "en")  # one for all languages


def through(text: str, split: Callable[[str], str]) -> str:
    """A text as it comes back: placeholders numbered, tokenised, split into pieces, and all of it undone."""
    names = placeholders(text)
    tokens = reversible.tokenise(mask(text, names))
    return unmask(reversible.detokenise(join(split(tokens))), names)


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("codes") / CODES
    tokens = [reversible.tokenise(mask(text, placeholders(text))) for text in TEXTS.values()]
    assert learn(counted(tokens * 2), Bpe(merges=150, min_frequency=2), path) == 150
    return path


@pytest.fixture(scope="module")
def learnt(codes: Path) -> Subwords:
    return Subwords(codes)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_every_kind_of_text_comes_back_to_the_letter(text: str, learnt: Subwords) -> None:
    assert through(text, str) == text
    assert through(text, characters) == text
    assert through(text, learnt.split) == text


# What a line of a file may hold: no LF, no CR, and no half of a surrogate pair, which UTF-8 lacks.
anything = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n\r"), max_size=20)
awkward = st.text(
    st.sampled_from(
        "ab1 .@￭｟｠u0{}▁-'&漢かーน้ำ👍🏽\t\x00\x1f\x85\u00a0\u2028\u3000\ufeff"
        "\u200b\u200c\u200d\u0301\u1abe\u1abf"
    ),
    max_size=12,
)


@given(anything | awkward)
def test_arbitrary_text_comes_back_to_the_letter(learnt: Subwords, text: str) -> None:
    assert through(text, str) == text
    assert through(text, characters) == text
    assert through(text, learnt.split) == text


@given(anything | awkward)
def test_white_space_stands_between_tokens_alone(text: str) -> None:
    tokens = reversible.tokenise(mask(text, placeholders(text)))
    assert tokens.split() == tokens.split(" ") or tokens == ""


@given(awkward)
def test_a_placeholder_is_a_token_of_its_own(text: str) -> None:
    names = placeholders(text)
    tokens = reversible.tokenise(mask(text, names)).split(" ")
    numbers = [token.strip("￭") for token in tokens if "｟" in token and "｟u" not in token]
    assert numbers == [f"｟{names.index(name)}｠" for name in PLACEHOLDER.findall(text)]


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Turn ｟0｠ on.", "Turn ｟0｠ on ￭."),
        ("(｟0｠, ｟12｠)!", "(￭ ｟0｠ ￭, ｟12｠ ￭) ￭!"),
        ("｟0｠｟1｠-App", "｟0｠￭ ｟1｠ ￭-￭ App"),
        ("it's 3.5% <b>", "it ￭'￭ s 3 ￭.￭ 5 ￭% <￭ b ￭>"),
        ("v roce 2004.", "v roce 2004 ￭."),
        ("wi-fi iPhone12", "wi ￭-￭ fi iPhone ￭12"),
        ("und/oder &amp;", "und ￭/￭ oder &￭ amp ￭;"),
        ("10\u00a0km  a", "10 ￭｟ua0｠￭ km ｟u20｠￭ a"),
        (" a\t", "｟u20｠￭ a ￭｟u9｠"),
        ("我有3本书。", "我有 ￭3￭ 本书 ￭。"),
        ("夜に飲む", "夜￭ に￭ 飲￭ む"),
        ("น้ำใส 2", "น้ำใส 2"),
        ("물이 맑다.", "물이 맑다 ￭."),
        ("Да, yes", "Да ￭, yes"),
        ("Ẹ̀kọ́ n\u0301lá", "Ẹ̀kọ́ n\u0301lá"),
        ("यह है।", "यह है ￭।"),
        ("50％ ＃1", "50 ￭％ ＃￭ 1"),  # full-width marks stay full-width
        ("a￭b", "a ￭｟uffed｠￭ b"),
        ("x \u0301y", "x \u0301￭ y"),
        ("a@@ b", "a ￭@ ￭@ b"),
    ],
)
def test_reversible_tokens(text: str, tokens: str) -> None:
    assert reversible.tokenise(text) == tokens
    assert unmask(reversible.detokenise(tokens), []) == text


@pytest.mark.parametrize(
    "word", ["می\u200cخواهم", "کتاب\u200cهای", "ශ්\u200dරී", "क्\u200dष", "a\u200cb\u200dc"]
)
def test_a_joiner_of_no_width_stays_inside_its_word(word: str) -> None:
    assert reversible.tokenise(f"x {word} y") == f"x {word} y"


def test_a_family_of_emoji_is_kept_together_by_its_joiners() -> None:
    assert reversible.tokenise("👨\u200d👩\u200d👧 ok") == "👨\u200d ￭👩\u200d ￭👧 ok"


def test_a_joiner_that_a_model_leaves_at_an_end_is_no_text() -> None:
    assert reversible.detokenise("￭. a ￭") == ". a"


# Moses


@pytest.mark.parametrize(
    ("text", "language", "tokens"),
    [
        ("Turn ｟0｠ on.", "en", "Turn ｟0｠ on ."),
        ("(｟0｠, ｟12｠)!", "en", "( ｟0｠ , ｟12｠ ) !"),
        ("10｟ua0｠km", "en", "10｟ua0｠km"),
        ('it\'s <b> & "so" | [x]', "en", 'it \'s < b > & " so " | [ x ]'),  # no escaping
        ("l'eau", "fr", "l' eau"),
        ("l'eau", "en", "l 'eau"),
        ("l'eau", "fr_ca", "l' eau"),
        ("Das ｟0｠-Gerät", "de", "Das ｟0｠-Gerät"),
        (
            "｟1｠ ｟0｠ ｟2｠ ｟3｠ ｟4｠ ｟5｠ ｟6｠ ｟7｠ ｟8｠ ｟9｠ ｟10｠ ｟11｠",
            "en",
            "｟1｠ ｟0｠ ｟2｠ ｟3｠ ｟4｠ ｟5｠ ｟6｠ ｟7｠ ｟8｠ ｟9｠ ｟10｠ ｟11｠",
        ),
    ],
)
def test_moses_tokens_by_the_rules_of_the_language(text: str, language: str, tokens: str) -> None:
    assert tokeniser("moses", language).tokenise(text) == tokens


@pytest.mark.parametrize(
    "text", ["Turn ｟0｠ on.", "(｟0｠, ｟12｠)!", "Is it on?", 'He says "yes" & goes.', "<b>"]
)
def test_plain_text_comes_back_from_moses(text: str) -> None:
    moses = tokeniser("moses", "en")
    assert moses.detokenise(moses.tokenise(text)).replace("< b >", "<b>") == text


def test_entities_are_text_like_any_other() -> None:
    assert tokeniser("moses", "en").detokenise("&amp; b") == "&amp; b"


@given(
    st.lists(
        st.sampled_from(["a", "the", "｟0｠", "｟1｠", "｟12｠", ".", ",", "(", ")", "don't", "5"]),
        min_size=1,
        max_size=8,
    )
)
def test_placeholders_stay_whole_as_moses_tokens(parts: list[str]) -> None:
    tokens = tokeniser("moses", "en").tokenise(" ".join(parts)).split()
    assert [token for token in tokens if "｟" in token] == [part for part in parts if "｟" in part]


@pytest.mark.parametrize(
    ("kind", "text", "tokens"),
    [
        # Moses parts the last period of a line, abbreviation or not; one inside the line stays.
        ("moses", "He went to the U.S.", "He went to the U.S ."),
        ("moses", "The U.S. is there.", "The U.S. is there ."),
        ("moses", "And so on ...", "And so on ..."),
        ("moses", ".", "."),
        ("moses", "it's [a] | b & c-d", "it 's [ a ] | b & c-d"),
        ("moses_escaped", "it's [a] | b & c-d", "it &apos;s &#91; a &#93; &#124; b &amp; c-d"),
        ("moses_escaped", 'a "b" <c>', "a &quot; b &quot; &lt; c &gt;"),
        ("moses_escaped", "&amp;", "&amp; amp ;"),
        ("moses", "Das ist 三本书 《書》かな。", "Das ist 三本书 《 書 》 かな 。"),  # letters, and marks
        ("moses_aggressive", "漢-字", "漢 @-@ 字"),
        ("moses_aggressive", "a well-known it's", "a well @-@ known it &apos;s"),
    ],
)
def test_kinds_of_moses(kind: str, text: str, tokens: str) -> None:
    assert tokeniser(kind, "en").tokenise(text) == tokens


@pytest.mark.parametrize("kind", ["moses", "moses_escaped", "moses_aggressive"])
def test_moses_gives_back_plain_sentences(kind: str) -> None:
    for text in ("It's a well-known fact, isn't it?", 'He said: "Yes & no".', "He went to the U.S."):
        of_kind = tokeniser(kind, "en")
        assert of_kind.detokenise(of_kind.tokenise(text)) == text
