"""The ceiling of a score: references through tokeniser, BPE and back, scored against themselves.

No model can score more, whatever it learnt. BPE is single characters here: no codes split finer.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nmtkd.text import words
from nmtkd.text.tokenisers import Tokeniser

WARN_BELOW = 99.0  # BLEU: less than a point is hardly seen beside the spread of seeds
# Share of lines that come back to the letter. BLEU may not see what changed: that of Thai ignores spaces.
FEW = 0.9
SHOWN = 5  # lines that a card quotes
DECIMALS = 2

# Kinds of change, the mildest first, and what a line is reduced to before it is compared. A line counts under
# the first kind that explains its change.
KINDS: dict[str, Callable[[str], str]] = {
    "spaces": lambda text: "".join(text.split()),
    "invisible": lambda text: "".join(c for c in text if unicodedata.category(c)[0] not in "CZ"),
    "unicode form": lambda text: unicodedata.normalize("NFKC", KINDS["invisible"](text)),
    "marks": lambda text: "".join(
        c for c in unicodedata.normalize("NFKD", text) if unicodedata.category(c)[0] not in "CZM"
    ),
}
OTHER = "other"


def kind_of_change(before: str, after: str) -> str:
    """The mildest kind that explains how a line changed."""
    same = (kind for kind, reduced in KINDS.items() if reduced(before) == reduced(after))
    return next(same, OTHER)


def back(tokens: str, names: Sequence[str], tokeniser: Tokeniser) -> str:
    """The text of tokens after BPE: what `evaluate` would make of a perfect translation."""
    return words.unmask(tokeniser.detokenise(words.join(words.characters(tokens))), names)


def measure(references: Sequence[str], texts: Sequence[str], bleu_tokeniser: str) -> dict[str, Any]:
    """The ceiling's row on the card: BLEU (0 to 100), lines that came back to the letter, changes by kind."""
    from sacrebleu.metrics.bleu import BLEU

    changes = Counter(
        kind_of_change(reference, text)
        for reference, text in zip(references, texts, strict=True)
        if text != reference
    )
    metric = BLEU(tokenize=bleu_tokeniser, force=True)
    score = metric.corpus_score(texts, [references]).score if references else 100.0
    return {
        "BLEU": round(float(score), DECIMALS),
        "lines": len(references),
        "to the letter": len(references) - changes.total(),
        **{kind: changes[kind] for kind in (*KINDS, OTHER)},
    }


def is_low(row: Mapping[str, Any]) -> bool:
    """Whether a ceiling deserves a warning: a model is judged by text that it cannot write."""
    return row["BLEU"] < WARN_BELOW or row["to the letter"] < FEW * row["lines"]


def worst(references: Sequence[str], texts: Sequence[str]) -> list[dict[str, Any]]:
    """The lines that changed most, by sentence chrF: line number, reference, and what comes back."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(whitespace=True)  # else lines that lost spaces would all be equal
    changed = [
        (metric.sentence_score(text, [reference]).score, number, reference, text)
        for number, (reference, text) in enumerate(zip(references, texts, strict=True), start=1)
        if text != reference
    ]
    return [
        {"line": number, "reference": reference, "comes back as": text}
        for _, number, reference, text in sorted(changed)[:SHOWN]
    ]
