"""Scores and their signatures."""

import pytest

from nmtkd.evidence.metrics import score


def _scores(hypotheses: list[str], references: list[str]) -> dict[str, float]:
    found = score(hypotheses, references, tokenised_hypotheses=hypotheses, tokenised_references=references)
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
        ["a b c d e"], ["a b c d e"], tokenised_hypotheses=["v w x y z"], tokenised_references=["a b c d e"]
    )
    assert [(one["metric"], one["value"]) for one in found] == [
        ("bleu", 100.0),
        ("bleu_tok_lc", 0.0),
        ("chrf2", 100.0),
    ]


def test_signatures_tell_the_metrics_apart() -> None:
    found = score(["a b"], ["a b"], tokenised_hypotheses=["a b"], tokenised_references=["a b"])
    signatures = [str(one["signature"]) for one in found]
    assert signatures[0].startswith("nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:")
    assert signatures[1].startswith("nrefs:1|case:lc|eff:no|tok:none|smooth:exp|version:")
    assert signatures[2].startswith("nrefs:1|case:mixed|eff:yes|nc:6|nw:0|space:no|version:")


def test_unequal_numbers_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match="got 2 hypotheses, 1 references, 1 tokenised hypotheses, "
        "1 tokenised references; translate again",
    ):
        score(["a", "b"], ["a"], tokenised_hypotheses=["a"], tokenised_references=["a"])


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(ValueError, match="empty test set"):
        score([], [], tokenised_hypotheses=[], tokenised_references=[])
