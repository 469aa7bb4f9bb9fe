"""Scores and their signatures."""

import pytest

from nmtkd.evidence.metrics import definitions, score

# By sacreBLEU's tokeniser: a hypothesis and its reference.
LANGUAGES = {
    "zh": ("他在厨房里看书。", "他在厨房里写字。"),
    "ja-mecab": ("私は本を読む。", "私は本を買う。"),
    "ko-mecab": ("나는 책을 읽는다.", "나는 책을 산다."),
    "char": ("ฉันรักแมว", "ฉันรักหมา"),
    "13a": ("Das Licht ist an.", "Das Licht ist aus."),
}


def _scores(hypotheses: list[str], references: list[str], tokeniser: str = "13a") -> dict[str, float]:
    found = score(
        hypotheses,
        references,
        tokeniser=tokeniser,
        tokenised_hypotheses=hypotheses,
        tokenised_references=references,
    )
    return {str(one["metric"]): float(one["value"]) for one in found}


def test_bleu_is_what_a_hand_counts() -> None:
    """Precisions 5/6, 3/5, 2/4 and 1/3, no brevity penalty: (1/12) ** (1/4)."""
    assert _scores(["the cat sat on the mat"], ["the cat sat on a mat"])["bleu"] == 53.7285


def test_only_the_tokenised_score_ignores_case() -> None:
    found = _scores(["the cat sat on the mat"], ["The cat sat on the MAT"])
    assert found["bleu"] < 100.0
    assert found["bleu_tok_lc"] == 100.0


def test_text_and_tokens_are_scored_apart() -> None:
    """bleu sees the text, bleu_tok_lc the tokens."""
    found = score(
        ["a b c d e"],
        ["a b c d e"],
        tokeniser="13a",
        tokenised_hypotheses=["v w x y z"],
        tokenised_references=["a b c d e"],
    )
    assert [(one["metric"], one["value"]) for one in found] == [
        ("bleu", 100.0),
        ("bleu_tok_lc", 0.0),
        ("chrf2", 100.0),
        ("brevity_penalty", 1.0),
        ("length_ratio", 1.0),
    ]


def test_length_is_told_beside_bleu() -> None:
    """4 of 6 words, all right: BLEU is the brevity penalty alone, exp(1 - 6/4). Tokens have no part in it."""
    found = score(
        ["the cat sat on"],
        ["the cat sat on a mat"],
        tokeniser="13a",
        tokenised_hypotheses=["the cat sat on a mat"],
        tokenised_references=["the cat sat on a mat"],
    )
    values = {str(one["metric"]): one["value"] for one in found}
    assert (values["bleu"], values["brevity_penalty"], values["length_ratio"]) == (60.6531, 0.6065, 0.6667)
    assert values["bleu_tok_lc"] == 100.0
    longer = _scores(["the cat sat on a mat"], ["the cat sat on"])
    assert (longer["brevity_penalty"], longer["length_ratio"]) == (1.0, 1.5)


def test_length_is_counted_in_the_words_of_bleu() -> None:
    found = _scores(["他在看书。"], ["他在厨房里看书。"], "zh")
    assert (found["length_ratio"], found["brevity_penalty"]) == (0.625, 0.5488)


@pytest.mark.parametrize(
    ("tokeniser", "wanted"),
    [
        # Chinese characters: 6/8, 4/7, 3/6 and 2/5 n-grams match.
        ("zh", 54.1082),
        # 私 は 本 を 読む 。: 5/6, 3/5, 2/4 and 1/3.
        ("ja-mecab", 53.7285),
        # 나 는 책 을 읽 는다 . of seven beside 나 는 책 을 산다 .: 5/7, 3/6, 2/5 and 1/4.
        ("ko-mecab", 43.4721),
        # Thai characters and their marks: 7/9, 5/8, 4/7 and 3/6.
        ("char", 61.0474),
        # Das Licht ist an .: 4/5, 2/4, 1/3, and half a match of 2.
        ("13a", 42.7287),
    ],
)
def test_each_language_is_counted_in_its_own_words(tokeniser: str, wanted: float) -> None:
    hypothesis, reference = LANGUAGES[tokeniser]
    assert _scores([hypothesis], [reference], tokeniser)["bleu"] == wanted
    assert _scores([reference], [reference], tokeniser)["bleu"] == 100.0


def test_where_words_have_no_spaces_the_tokenised_score_is_of_text() -> None:
    """It splits the text as BLEU does, and ignores case; the corpus's tokens count for nothing."""
    found = score(
        ["USB接口在后面"],
        ["usb接口在后面"],
        tokeniser="zh",
        tokenised_hypotheses=["a"],
        tokenised_references=["b"],
    )
    values = {str(one["metric"]): one["value"] for one in found}
    # USB 接 口 在 后 面: 5/6, 4/5, 3/4 and 2/3.
    assert (values["bleu"], values["bleu_tok_lc"]) == (75.9836, 100.0)
    assert str(found[1]["signature"]).startswith("nrefs:1|case:lc|eff:no|tok:zh|")


def test_every_metric_is_defined() -> None:
    assert list(definitions("13a")) == list(_scores(["a"], ["a"]))


def test_definitions_name_the_tokeniser() -> None:
    zh, german = definitions("zh"), definitions("13a")
    assert zh["bleu"] == "sacreBLEU on detokenised text, cased, zh tokeniser"
    assert german["bleu"] == "sacreBLEU on detokenised text, cased, 13a tokeniser"
    assert zh["bleu_tok_lc"].startswith("lower-cased BLEU on detokenised text, zh tokeniser: ")
    assert german["bleu_tok_lc"].startswith("lower-cased BLEU on the corpus's own tokens (prepare.tokeniser)")


def test_signatures_tell_the_metrics_apart() -> None:
    found = score(
        ["a b"], ["a b"], tokeniser="13a", tokenised_hypotheses=["a b"], tokenised_references=["a b"]
    )
    signatures = [str(one["signature"]) for one in found]
    assert signatures[0].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert signatures[1].startswith("nrefs:1|case:lc|eff:no|tok:none|smooth:exp|version:")
    assert signatures[2].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")
    assert signatures[3] == signatures[4] == signatures[0]


def test_lower_cased_models_are_scored_without_case() -> None:
    """6 of 6 words: a model that writes no capitals lacks none. The signatures say so."""
    text = ["the cat sat on the mat"], ["The cat sat on the MAT"]
    found = score(
        *text,
        tokeniser="13a",
        tokenised_hypotheses=["the cat sat on"],
        tokenised_references=["the cat sat on a mat"],
        primary="bleu_tok_lc",
        lowercase=True,
    )
    # Length is that of the primary score: 4 of 6 tokens, exp(1 - 6/4).
    assert [(one["metric"], one["value"]) for one in found] == [
        ("bleu", 100.0),
        ("bleu_tok_lc", 60.6531),
        ("chrf2", 100.0),
        ("brevity_penalty", 0.6065),
        ("length_ratio", 0.6667),
    ]
    signatures = [str(one["signature"]).partition("|smooth")[0] for one in found]
    assert signatures[0] == "nrefs:1|case:lc|eff:no|tok:13a"
    assert signatures[1] == signatures[3] == signatures[4] == "nrefs:1|case:lc|eff:no|tok:none"
    assert signatures[2].startswith("nrefs:1|case:lc|")
    assert "detokenised text, lower-cased, 13a" in definitions("13a", lowercase=True)["bleu"]


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match="got 2 hypotheses, 1 references, 1 tokenised hypotheses, "
        "1 tokenised references; translate again",
    ):
        score(["a", "b"], ["a"], tokeniser="13a", tokenised_hypotheses=["a"], tokenised_references=["a"])


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="empty test set"):
        score([], [], tokeniser="13a", tokenised_hypotheses=[], tokenised_references=[])
