"""Sections of the page that are tables of facts: data, length, and what students chose for themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from nmtkd.evidence.metrics import BREVITY, LENGTH_RATIO
from nmtkd.evidence.numbers import count
from nmtkd.evidence.results import BEAM, BEAM_AT_1, Gates, Result
from nmtkd.text.provenance import WRITTEN

DATA_NOTE = (
    "Dropped pairs never reach training. Near-duplicates are test segments that resemble a training source "
    "so much that a model may have learnt them by heart. They stay in the test sets; the more there are, "
    "the less a score says about other text."
)
CEILING_NOTE = (
    "The ceiling: references through tokeniser, BPE and back, scored against themselves. "
    "No model can score more. Lines that do not come back to the letter are counted by what changed in them."
)
LENGTH_NOTE = (
    "A beam search weighs hypotheses by their length: the larger its penalty, the longer they are. Each "
    "model has the penalty that gives it the highest validation {label}. BP is BLEU's brevity penalty; the "
    "ratio is that of words in hypotheses to words in references. Both are of the test set."
)
LENGTH_COLUMNS = ("BP", "ratio", "BP at 1", "ratio at 1")
TRIED_NOTE = (
    "Weights of the token level that were tried. The best one by validation BLEU (greedy) became the run."
)
GATED_NOTE = (
    "Feed-forward units that stayed open. "
    "The others were closed during training and are cut out of the model."
)
CEILING = "ceiling"  # how the names of its groups start
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


def _visible(value: Any) -> str:
    """Text with each space but the plain one, and each character that shows nothing, by its code point."""
    return "".join(char if char.isprintable() else f"[U+{ord(char):04X}]" for char in str(value))


def _words(name: str) -> str:
    return escape(name.replace("_", " "))


def _head(names: Sequence[str]) -> str:
    return "".join(f'<th scope="col">{name}</th>' for name in names)


def _row(name: str, values: Sequence[str]) -> str:
    return f'<tr><th scope="row">{name}</th>{"".join(f"<td>{value}</td>" for value in values)}</tr>\n'


def lengths(results: Sequence[Result], test: str, label: str) -> str:
    """A table, a run a row: validation BLEU by length penalty, the one that was chosen, and what it does.

    `label` is the name of the BLEU that chose.
    """
    penalties = sorted({penalty for result in results for penalty in result.length_penalties}, key=float)
    head = _head(["model", "chosen", *(f"validation {label} at {penalty}" for penalty in penalties)])
    rows = ""
    for result in results:
        tried = [result.length_penalties.get(penalty) for penalty in penalties]
        found = [
            result.score(test, search, metric)
            for search in (BEAM, BEAM_AT_1)
            for metric in (BREVITY, LENGTH_RATIO)
        ]
        cells = [f"{result.length_penalty:g}", *("" if bleu is None else f"{bleu:.1f}" for bleu in tried)]
        rows += _row(result.key, [*cells, *("" if value is None else f"{value:.2f}" for value in found)])
    return f"<p>{LENGTH_NOTE.format(label=label)}</p>{wide(head + _head(LENGTH_COLUMNS), rows)}"


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
    """Every fact of the data card but for hashes: single facts as a line, groups and lists as tables.

    Near-duplicates are also shown as a share of their test set. What is called ceiling comes last.
    """
    single = [
        f"<div><dt>{_words(name)}</dt><dd>{_number(value)}</dd></div>"
        for name, value in card.items()
        if not isinstance(value, dict | list)
    ]
    pairs = {name: split.get("pairs", 0) for name, split in card.get("splits", {}).items()}
    tables: dict[bool, list[str]] = {False: [], True: []}
    for name, group in card.items():
        if name != WRITTEN and group and isinstance(group, dict | list):
            table = _listed(group) if isinstance(group, list) else _group(name, group, pairs)
            tables[name.startswith(CEILING)].append(table)
    ceiling = f'<p>{CEILING_NOTE}</p><div class="cards">{"".join(tables[True])}</div>' * bool(tables[True])
    facts = f'<dl class="facts">{"".join(single)}</dl>'
    return f'{facts}<div class="cards">{"".join(tables[False])}</div><p>{DATA_NOTE}</p>{ceiling}'


def _group(name: str, group: Mapping[str, Any], pairs: Mapping[str, int]) -> str:
    """A table with a row for each entry, whose cells are the entry's own entries or its single value."""
    first = next(iter(group.values()))
    columns = list(first) if isinstance(first, dict) else [""]
    rows = ""
    for row, cell in group.items():
        values = [_number(cell[column] if isinstance(cell, dict) else cell) for column in columns]
        if name == "near_duplicates" and pairs.get(row):
            values = [f"{values[0]} ({100 * cell / pairs[row]:.1f}%)"]
        rows += _row(_words(row), values)
    return wide(_head([_words(name), *map(_words, columns)]), rows)


def _listed(entries: Sequence[Mapping[str, Any]]) -> str:
    """A table with a row for each entry, whose first value names it."""
    rows = ""
    for entry in entries:
        name, *values = (escape(_visible(value)) for value in entry.values())
        cells = "".join(f"<td class=text>{value}</td>" for value in values)
        rows += f'<tr><th scope="row">{name}</th>{cells}</tr>\n'
    return wide("".join(f'<th scope="col" class=left>{_words(name)}</th>' for name in entries[0]), rows)
