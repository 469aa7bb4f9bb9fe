"""nmtkd.text.yardstick: what a corpus is judged by, from its params."""

import pytest

from nmtkd.plan.data import Prepare
from nmtkd.plan.decoding import Evaluate
from nmtkd.plan.schema import Params
from nmtkd.text.bleu import measure
from nmtkd.text.yardstick import primary


@pytest.mark.parametrize(
    ("by", "tokenize", "lowercase", "target", "on_tokens", "tokeniser", "ignores_case"),
    [
        ("bleu", "auto", False, "de", False, "13a", False),
        ("bleu", "auto", True, "de", False, "13a", True),
        ("bleu", "intl", False, "de", False, "intl", False),
        ("bleu", "auto", False, "zh", False, "zh", False),
        ("bleu_tok_lc", "auto", False, "en", True, "none", True),
        ("bleu_tok_lc", "intl", True, "en", True, "none", True),
        # A language with a tokeniser of its own is counted by that: spaces say nothing there.
        ("bleu_tok_lc", "auto", False, "zh_hans", False, "zh", True),
        ("bleu_tok_lc", "char", False, "de", False, "char", True),
    ],
)
def test_score_follows_the_params(
    by: str,
    tokenize: str,
    lowercase: bool,
    target: str,
    on_tokens: bool,
    tokeniser: str,
    ignores_case: bool,
) -> None:
    evaluate = Evaluate.model_construct(primary=by, tokenize=tokenize)
    prepare = Prepare.model_construct(lowercase=lowercase)
    found = primary(Params.model_construct(evaluate=evaluate, prepare=prepare), target)
    assert (found.on_tokens, found.tokeniser, found.ignores_case) == (on_tokens, tokeniser, ignores_case)
    assert (found.label, found.column) == {
        "bleu": ("BLEU", "BLEU"),
        "bleu_tok_lc": ("tok-lc BLEU", "tok-lc"),
    }[by]
    said, gold = ["The Cat sat on a mat , there"], ["the cat sat on a Mat, there"]
    assert found.measure(said, gold) == measure(said, gold, tokeniser, lowercase=ignores_case)
