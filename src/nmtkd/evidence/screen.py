"""The last screen of a run: the table, what it means, the path of the page, and the next command to try.

It is read from files alone, so that it can be shown again at any time.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from nmtkd import files
from nmtkd.evidence import machine_facts
from nmtkd.evidence.notes import MARKS, SHORTLY
from nmtkd.evidence.results import ResultsError, teacher_axes
from nmtkd.evidence.tables import INTERVAL, WORDS, Table, as_text, axes, from_markdown
from nmtkd.plan import layout
from nmtkd.plan.runs import runs
from nmtkd.plan.schema import Grid
from nmtkd.text.yardstick import COLUMNS

TABLE = layout.REPORTS / "table.md"
PAGE = layout.REPORTS / "index.html"
PAGE_LINE = "Page   "  # how the line begins that names the page: what stands above it is the result
WIDTH = 110  # columns
# Columns that are left out in this order where the table is wider. What carries the verdict stays.
EXPENDABLE = ("lp", "climb", "chrF2", "MB", "p", "passes", WORDS, "greedy", "params")
NEXT = {  # whether the grid has several seeds: the command, and why
    False: ("dvc exp run -S study=capacity", "three seeds, with your other -S choices: do methods differ?"),
    True: ("dvc exp run -S study=noise", "which gains remain under noise"),
}

LARGER = ("a larger test set", "seeds do not make up for so few segments")


def text(grid: Grid, root: Path = Path()) -> str:
    """The screen. `root` holds `reports/`, which is of `grid`. Raises ResultsError if there is no table."""
    path = root / TABLE
    try:
        table, lead = from_markdown(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ResultsError(f"{path}: missing; run `dvc repro`") from None
    except ValueError as error:
        raise ResultsError(f"{path}: no table of this report ({error}); run `dvc repro`") from None
    machines = machine_facts.machines(_all_models(grid, root), root)
    notes = f"{TABLE}; sent/s, train s: {machines}"
    command, reason = LARGER if _is_small(table) else NEXT[len(grid.seeds) > 1]
    return "\n".join(
        [
            as_text(_fitted(_with_machine(table, grid, root))),
            textwrap.fill(lead, WIDTH),
            "",
            *_legend(table),
            f"{PAGE_LINE}{(root / PAGE).resolve()}",
            f"Notes  {textwrap.shorten(notes, WIDTH, placeholder=' ...')}",
            f"Next   {command}   {reason}",
        ]
    )


def _is_small(table: Table) -> bool:
    """Whether differences stand in the table without their intervals."""
    columns = [i for i, name in enumerate(table.header) if name.endswith(INTERVAL)]
    return any(row[i] == machine_facts.NOTHING for row in table.rows for i in columns)


def _legend(table: Table) -> list[str]:
    """A line that says what the marks of the table are, if it has any."""
    if MARKS not in table.header:
        return []
    present = {sign for row in table.rows for sign in row[table.header.index(MARKS)]}
    told = ", ".join(f"{sign} {text}" for sign, text in SHORTLY.items() if sign in present)
    return [f"Marks  {told}"]


def _with_machine(table: Table, grid: Grid, root: Path) -> Table:
    """The table with two columns more: what this machine measured of each row's models."""
    names = axes(grid)
    models = _models(grid, root)
    columns = []
    for row in table.rows:
        cells = dict(zip(table.header, row, strict=True))
        columns.append(
            machine_facts.columns(models.get(tuple(cells.get(name, "") for name in names), {}), root)
        )
    rows = [[*row, *extra.values()] for row, extra in zip(table.rows, columns, strict=True)]
    return Table([*table.header, *machine_facts.columns({})], rows, table.notes)


def _models(grid: Grid, root: Path) -> dict[tuple[str, ...], Mapping[str, str]]:
    """For each row of the table, named as its first columns name it: the models' content hashes by key."""
    keys: dict[tuple[str, ...], list[str]] = {}
    teachers = [(layout.teacher_key(noise), teacher_axes(noise)) for noise in grid.noises]
    for key, values in (*teachers, *((run.key, run.axes()) for run in runs(grid))):
        keys.setdefault(tuple(str(values[name]) for name in axes(grid)), []).append(key)
    return {row: _hashes(members, root) for row, members in keys.items()}


def _all_models(grid: Grid, root: Path) -> dict[str, str]:
    """The content hashes of all models by key."""
    return {key: model for row in _models(grid, root).values() for key, model in row.items()}


def _hashes(keys: list[str], root: Path) -> dict[str, str]:
    """The models' content hashes as the results name them."""
    paths = {key: root / layout.result_file(key) for key in keys}
    return {key: str(files.read_json(path).get("model")) for key, path in paths.items() if path.is_file()}


def _fitted(table: Table, width: int = WIDTH) -> Table:
    """The table without as many expendable columns as it takes to fit the screen."""
    left_out: list[str] = []
    beside = [name for name in table.header if name in COLUMNS.values()][1:]  # the first is the primary one
    for name in ("", *beside, *EXPENDABLE):
        left_out.append(name)
        chosen = [i for i, column in enumerate(table.header) if not _is_named(column, left_out)]
        fitted = Table(
            [table.header[i] for i in chosen], [[row[i] for i in chosen] for row in table.rows], []
        )
        if max(map(len, as_text(fitted).splitlines())) <= width:
            break
    return fitted


def _is_named(column: str, names: Sequence[str]) -> bool:
    return column in names or (WORDS in names and column.endswith(WORDS))
