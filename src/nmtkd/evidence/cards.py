"""Sections of the page that are tables of facts: the data, and what students chose for themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nmtkd.evidence.numbers import count
from nmtkd.evidence.results import Gates, Result

DATA_NOTE = (
    "Dropped pairs never reach training. Near-duplicates are test segments that resemble a training source "
    "so much that a model may have learnt them by heart. They stay in the test sets; the more there are, "
    "the less a score says about other text."
)
TRIED_NOTE = (
    "Weights of the token level that were tried. The best one by validation BLEU (greedy) became the run."
)
GATED_NOTE = (
    "Feed-forward units that stayed open. "
    "The others were closed during training and are cut out of the model."
)
TRIED_COLUMNS = ("student", "taken", "validation BLEU at each gate")
GATED_COLUMNS = (
    "student",
    "units",
    "kept",
    "effective capacity",
    "parameters before",
    "after",
    "validation BLEU before",
    "closed",
    "at the end",
)


def wide(head: str, rows: str) -> str:
    """A table that scrolls by itself on a narrow screen."""
    return (
        f'<div class="wide" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{rows}</tbody>\n</table></div>\n"
    )


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _head(names: Sequence[str]) -> str:
    return "".join(f'<th scope="col">{name}</th>' for name in names)


def _row(name: str, values: Sequence[str]) -> str:
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{value}</td>" for value in values)}</tr>\n'


def adapted(results: Sequence[Result]) -> str:
    """Two tables, a run a row: gates that were chosen on validation, and units that stayed open."""
    tables = ""
    rows = "".join(_tried(result) for result in results if result.tried)
    if rows:
        tables += f"<p>{TRIED_NOTE}</p>{wide(_head(TRIED_COLUMNS), rows)}"
    rows = "".join(_gated(result, result.gates) for result in results if result.gates)
    if rows:
        tables += f"<p>{GATED_NOTE}</p>{wide(_head(GATED_COLUMNS), rows)}"
    return tables


def _tried(result: Result) -> str:
    scores = ", ".join(f"{gate}: {bleu:.1f}" for gate, bleu in result.tried.items())
    return _row(result.key, [str(result.gate), scores])


def _gated(result: Result, gates: Gates) -> str:
    units = [str(gates.units), str(gates.kept), f"{100 * gates.effective_capacity:.0f}%"]
    parameters = [count(gates.parameters_before), count(result.parameters)]
    bleu = (gates.valid_bleu_before, gates.valid_bleu_closed, gates.valid_bleu_end)
    return _row(result.key, [*units, *parameters, *(f"{score:.1f}" for score in bleu)])


def data(card: Mapping[str, Any]) -> str:
    """Every fact of the data card: single facts as a line, groups as tables.

    Near-duplicates are also shown as a share of their test set.
    """
    single = [
        f"<div><dt>{_words(name)}</dt><dd>{_number(value)}</dd></div>"
        for name, value in card.items()
        if not isinstance(value, dict)
    ]
    pairs = {name: split.get("pairs", 0) for name, split in card.get("splits", {}).items()}
    tables = []
    for name, group in card.items():
        if not isinstance(group, dict) or not group:
            continue
        first = next(iter(group.values()))
        columns = list(first) if isinstance(first, dict) else [""]
        rows = ""
        for row, cell in group.items():
            values = [_number(cell[column] if isinstance(cell, dict) else cell) for column in columns]
            if name == "near_duplicates" and pairs.get(row):
                values = [f"{values[0]} ({100 * cell / pairs[row]:.1f}%)"]
            rows += _row(_words(row), values)
        tables.append(wide(_head([_words(name), *map(_words, columns)]), rows))
    facts = f'<dl class="facts">{"".join(single)}</dl>'
    return f'{facts}<div class="cards">{"".join(tables)}</div><p>{DATA_NOTE}</p>'
