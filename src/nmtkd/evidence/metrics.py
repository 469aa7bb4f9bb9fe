"""Scores of a test set. Each has a signature that tells how it was computed (Post 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

HEADLINE = "bleu"  # the metric that models are compared by
TOKENISED = "bleu_tok_lc"
CHARACTERS = "chrf2"

# sacreBLEU's tokenisers that leave words between spaces whole. All others are a script's or language's own.
SPACED = ("13a", "intl")
DECIMALS = 4  # of stored scores: finer than any difference that means something


def definitions(tokeniser: str) -> dict[str, str]:
    """Each metric's definition, for the notes under the table. `tokeniser` is BLEU's, by sacreBLEU's name."""
    tokens = "the corpus's own tokens (prepare.tokeniser)"
    if tokeniser not in SPACED:
        tokens = f"detokenised text, {tokeniser} tokeniser"
    return {
        HEADLINE: f"sacreBLEU on detokenised text, cased, {tokeniser} tokeniser",
        TOKENISED: f"lower-cased BLEU on {tokens}: comparable with literature that counts it so, "
        "not with the column BLEU",
        CHARACTERS: "chrF2, F-score of character n-grams on detokenised text",
    }


def score(
    hypotheses: Sequence[str],
    references: Sequence[str],
    *,
    tokeniser: str,
    tokenised_hypotheses: Sequence[str],
    tokenised_references: Sequence[str],
) -> list[dict[str, str | float]]:
    """Corpus scores as {"metric", "value", "signature"}.

    `bleu` and `chrf2` are computed on text, `bleu` with sacreBLEU's `tokeniser`. `bleu_tok_lc` is computed on
    tokens joined by spaces, but on text where the target language has a tokeniser of its own.
    Each argument holds one segment an item, all in the same order. Values are percentages (0 to 100).
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
    metrics = (
        (HEADLINE, BLEU(tokenize=tokeniser), text),
        # force: sacreBLEU would warn about tokenised text, which is on purpose here.
        (TOKENISED, BLEU(tokenize=own, lowercase=True, force=True), tokens),
        (CHARACTERS, CHRF(), text),
    )
    scores: list[dict[str, str | float]] = []
    for name, metric, (system, gold) in metrics:
        value = metric.corpus_score(system, [gold]).score
        scores.append(
            {"metric": name, "value": round(float(value), DECIMALS), "signature": str(metric.get_signature())}
        )
    return scores
