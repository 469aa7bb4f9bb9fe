"""Sections of the page that are tables of facts: the data, and what students chose for themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nmtkd.evidence.numbers import count
from nmtkd.evidence.results import Result

DATA_NOTE = (
    "Dropped pairs never reach training. Near-duplicates are test segments that resemble a training source so much that a model may have "
    "learnt them by heart. They stay in the test sets; the more there are, the less a score says about other text."
)


def wide(head: str, rows: str) -> str:
    """A table that scrolls by itself where the screen is narrow."""
    return f'<div class="wide" tabindex="0"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n'


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else escape(str(value))


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def adapted(results: Sequence[Result]) -> str:
    """Gates that were chosen on validation, and units that stayed open: a table each, a run a row."""
    tables = ""
    tried = [one for one in results if one.tried]
    if tried:
        head = "".join(f'<th scope="col">{name}</th>' for name in ("student", "taken", "validation BLEU at each gate"))
        rows = []
        for one in tried:
            scores = ", ".join(f"{value}: {bleu:.1f}" for value, bleu in one.tried.items())
            rows.append(f'<tr><th scope="row">{one.key}</th><td>{one.gate}</td><td>{scores}</td></tr>\n')
        told = "Weights of the token level that were tried; the best one by validation BLEU (greedy) became the run."
        tables += f"<p>{told}</p>{wide(head, ''.join(rows))}"
    gated = [(one, one.gates) for one in results if one.gates]
    if gated:
        names = (
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
        head = "".join(f'<th scope="col">{name}</th>' for name in names)
        rows = [
            f'<tr><th scope="row">{one.key}</th><td>{own.units}</td><td>{own.kept}</td><td>{100 * own.effective_capacity:.0f}%</td>'
            f"<td>{count(own.parameters_before)}</td><td>{count(one.parameters)}</td>"
            f"<td>{own.valid_bleu_before:.1f}</td><td>{own.valid_bleu_closed:.1f}</td><td>{own.valid_bleu_end:.1f}</td></tr>\n"
            for one, own in gated
        ]
        told = "Feed-forward units that stayed open; the others were closed during training and are cut out of the model."
        tables += f"<p>{told}</p>{wide(head, ''.join(rows))}"
    return tables


def data(card: Mapping[str, Any]) -> str:
    """Every fact of the data card: bare ones as a line, groups as tables; near-duplicates also as a share of their test set."""
    bare = [f"<div><dt>{_words(name)}</dt><dd>{_number(value)}</dd></div>" for name, value in card.items() if not isinstance(value, dict)]
    sizes = {name: split.get("pairs", 0) for name, split in card.get("splits", {}).items()}
    tables = []
    for name, group in card.items():
        if not isinstance(group, dict) or not group:
            continue
        inner = next(iter(group.values()))
        columns = list(inner) if isinstance(inner, dict) else [""]
        rows = ""
        for row, cell in group.items():
            shown = [_number(cell[column] if isinstance(cell, dict) else cell) for column in columns]
            if name == "near_duplicates" and sizes.get(row):
                shown = [f"{shown[0]} ({100 * cell / sizes[row]:.1f}%)"]
            rows += f'<tr><th scope="row">{_words(row)}</th>{"".join(f"<td>{text}</td>" for text in shown)}</tr>\n'
        head = "".join(f'<th scope="col">{_words(column)}</th>' for column in columns)
        tables.append(wide(f'<th scope="col">{_words(name)}</th>{head}', rows))
    return f'<dl class="facts">{"".join(bare)}</dl><div class="cards">{"".join(tables)}</div><p>{DATA_NOTE}</p>'
