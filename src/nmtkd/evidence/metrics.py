"""Scores of a test set. Each has a signature that tells how it was computed (Post 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from nmtkd.text.bleu import DECIMALS
from nmtkd.text.yardstick import HEADLINE, SPACED, TOKENISED

CHARACTERS = "chrf2"
BREVITY = "brevity_penalty"
LENGTH_RATIO = "length_ratio"

TOKENS = ".tokens"  # ends the name of a file of translations as tokens, beside that of text


def definitions(tokeniser: str, *, lowercase: bool = False) -> dict[str, str]:
    """Each metric's definition, for the notes under the table. `tokeniser` is BLEU's, by sacreBLEU's name."""
    tokens = "the corpus's own tokens (prepare.tokeniser)"
    if tokeniser not in SPACED:
        tokens = f"detokenised text, {tokeniser} tokeniser"
    return {
        HEADLINE: f"sacreBLEU on detokenised text, {'lower-cased' if lowercase else 'cased'}, "
        f"{tokeniser} tokeniser",
        TOKENISED: f"lower-cased BLEU on {tokens}: comparable with literature that counts it so, "
        "not with the column BLEU",
        CHARACTERS: f"chrF2, F-score of character n-grams on detokenised text{', lower-cased' * lowercase}",
        BREVITY: "the factor of BLEU that hypotheses shorter than their references cost: 1 costs nothing",
        LENGTH_RATIO: "words of the hypotheses over words of the references, as BLEU counts words",
    }


def score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokeniser: str,
    tokenised_hypotheses: Sequence[str],
    tokenised_references: Sequence[str],
    primary: str = HEADLINE,
    lowercase: bool = False,
) -> list[dict[str, str | float]]:
    """Corpus scores as {"metric", "value", "signature"}.

    `bleu` and `chrf2` are computed on text, `bleu` with sacreBLEU's `tokeniser`. `bleu_tok_lc` is computed on
    tokens joined by spaces, but on text where the target language has a tokeniser of its own.
    `brevity_penalty` (0 to 1) and `length_ratio` (a fraction) are those of the metric `primary`, under its
    signature. With `lowercase`, `bleu` and `chrf2` ignore case too: for models that write lower-cased text.
    All other values are percentages (0 to 100). Each argument holds one segment an item, all in the same
    order.
    Raises ValueError if the arguments differ in length or are empty.
    """
    sizes = {
        "hypotheses": len(hypotheses),
        "references": len(references),
        "tokenised hypotheses": len(tokenised_hypotheses),
        "tokenised references": len(tokenised_references),
    }
    if len(set(sizes.values())) > 1:
        lengths = ", ".join(f"{number} {name}" for name, number in sizes.items())
        raise ValueError(
            "score: every segment needs one hypothesis and one reference, as text and as tokens; "
            f"got {lengths}; translate again"
        )
    if not hypotheses:
        raise ValueError("score: an empty test set has no score; leave it out, or give it segments")
    text, tokens, own = (hypotheses, references), (tokenised_hypotheses, tokenised_references), "none"
    if tokeniser not in SPACED:
        tokens, own = text, tokeniser
    bleu = BLEU(tokenize=tokeniser, lowercase=lowercase)
    # force: sacreBLEU would warn about tokenised text, which is on purpose here.
    tokenised = BLEU(tokenize=own, lowercase=True, force=True)
    characters = CHRF(lowercase=lowercase)
    counted = {
        HEADLINE: (bleu, bleu.corpus_score(text[0], [text[1]])),
        TOKENISED: (tokenised, tokenised.corpus_score(tokens[0], [tokens[1]])),
    }
    first, found = counted[primary]
    values = (
        *((name, metric, one.score) for name, (metric, one) in counted.items()),
        (CHARACTERS, characters, characters.corpus_score(text[0], [text[1]]).score),
        (BREVITY, first, found.bp),
        (LENGTH_RATIO, first, found.ratio),
    )
    return [
        {"metric": name, "value": round(float(value), DECIMALS), "signature": str(metric.get_signature())}
        for name, metric, value in values
    ]
