"""What `prepare` tells its user: what was dropped and why, what comes back as it was, what to look at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nmtkd.text.ceiling import KINDS, OTHER, is_low
from nmtkd.text.selection import PART

WARN_ABOVE = 0.05  # share of the raw pairs dropped for one reason: more is hardly a matter of a few odd lines
# Of duplicates one stays; a part was asked for: nothing is lost, however many there are.
NO_LOSS = ("exact duplicates", PART)
# What to look at, by a word of the reason.
REMEDIES = {
    "max_words": "prepare.max_words",
    "uneven": "prepare.max_ratio and prepare.ratio_slack",
    "held-out": "prepare.overlap",
}


def account(card: Mapping[str, Any]) -> Iterator[str]:
    """The data card in lines, warnings last."""
    for name, counts in card["splits"].items():
        yield f"{name}: {counts['pairs']:,} pairs"
    raw = card["raw_pairs"]
    dropped = {reason: number for reason, number in card["dropped"].items() if number}
    if dropped:
        yield f"dropped of {raw:,} raw pairs: " + ", ".join(f"{dropped[name]:,} {name}" for name in dropped)
    for split, kinds in card["normalised"].items():
        if changed := ", ".join(f"{number:,} by {kind}" for kind, number in kinds.items() if number):
            yield f"{split}: lines changed: {changed}"
    for split, row in card["ceiling"].items():
        yield (
            f"{split}: ceiling {row['BLEU']:.1f} BLEU; "
            f"{row['to the letter']:,} of {row['lines']:,} references come back to the letter"
        )
    for reason, number in dropped.items():
        if number > WARN_ABOVE * raw and reason not in NO_LOSS:
            remedy = next((f"; see {param}" for word, param in REMEDIES.items() if word in reason), "")
            yield f"warning: {100 * number / raw:.0f}% of the raw pairs were dropped: {reason}{remedy}"
    yield from _below_the_ceiling(card)


def _below_the_ceiling(card: Mapping[str, Any]) -> Iterator[str]:
    for split, row in card["ceiling"].items():
        if not is_low(row):
            continue
        if row["to the letter"] == row["lines"]:
            yield (
                f"warning: {split}: no reference has four words as BLEU counts them, so that BLEU is "
                f"{row['BLEU']:.1f} however good a model is; look at chrF2"
            )
            continue
        kinds = ", ".join(f"{row[kind]:,} {kind}" for kind in (*KINDS, OTHER) if row[kind])
        yield (
            f"warning: {split}: no model can score above {row['BLEU']:.1f} BLEU, or give the text back: the "
            f"tokeniser {card['tokeniser']} loses some ({kinds}); see prepare.tokeniser and prepare.normalise"
        )
        for line in card.get("ceiling_worst", []):
            if line["split"] == split:
                yield f"  line {line['line']}: {line['reference']!r} comes back as {line['comes back as']!r}"
