"""Learning curves: read, averaged over seeds, written as tidy rows and drawn."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nmtkd import files
from nmtkd.evidence import canvas
from nmtkd.evidence.canvas import INK, Drawn, FigureData, Point
from nmtkd.evidence.results import TEACHER, CellKey, Result, ResultsError

SHORTEST = 2  # points of a line
VALUES = ("valid_loss", "valid_bleu", "gate", "openness")
LABELS = {
    "valid_bleu": "BLEU, greedy",
    "valid_loss": "loss, bits a token",
    "gate": "mean gate",
    "openness": "mean openness",
}
CURVES_HEADER = f"key,method,capacity,update,{','.join(VALUES)}"


def read_curve(path: Path) -> list[Point]:
    """A model's learning curve. Raises ResultsError if it lacks a column, DamagedError if it was cut."""
    rows = files.read_csv(path)
    try:
        return [
            Point(int(row["update"]), *(float(row[name]) if row[name] else None for name in VALUES))
            for row in rows
        ]
    except (KeyError, ValueError) as error:
        raise ResultsError(
            f"{path}: no learning curve with update, {', '.join(VALUES)} ({error!r}); "
            "evaluate this cell again"
        ) from None


def curve_rows(results: Iterable[Result], curves: Mapping[str, list[Point]]) -> list[list[str]]:
    """curves.csv without its header. A value that was not measured is an empty cell."""
    rows = []
    for result in results:
        for point in curves[result.key]:
            values = [getattr(point, name) for name in VALUES]
            texts = ["" if value is None else f"{value:.4f}" for value in values]
            rows.append([result.key, result.method, result.capacity, str(point.update), *texts])
    return rows


def mean_curves(results: Sequence[Result], curves: Mapping[str, list[Point]]) -> dict[CellKey, list[Point]]:
    """Learning curves by cell, from curves by key: means over the seeds, None if a seed has no value."""
    groups: dict[CellKey, list[list[Point]]] = {}
    for result in results:
        groups.setdefault(result.cell, []).append(curves[result.key])
    return {
        cell: [_mean_point(points) for points in zip(*members, strict=False)]
        for cell, members in groups.items()
    }


def _mean_point(points: Sequence[Point]) -> Point:
    def mean(values: Sequence[float | None]) -> float | None:
        measured = [value for value in values if value is not None]
        return sum(measured) / len(measured) if len(measured) == len(values) else None

    return Point(points[0].update, *(mean([getattr(point, name) for point in points]) for name in VALUES))


def climb(curve: Sequence[Point]) -> float | None:
    """BLEU that the validation curve gains over the last quarter of the updates, by a fitted line.

    The line has the least squared error over the checkpoints of that quarter, both ends included, and over
    the last two if there are fewer. None if BLEU was measured less than twice.
    """
    measured = [(point.update, point.valid_bleu) for point in curve if point.valid_bleu is not None]
    if len(measured) < SHORTEST:
        return None
    quarter = measured[-1][0] / 4
    since = measured[-1][0] - quarter
    last = [point for point in measured if point[0] >= since]
    last = last if len(last) >= SHORTEST else measured[-SHORTEST:]
    slope = statistics.linear_regression(*zip(*last, strict=True)).slope
    return slope * quarter


def learning_curves(data: FigureData) -> Drawn:
    """Validation by update: a row for each value, a panel for each capacity, the teacher in every panel."""
    capacities = data.grid.capacities
    cells = {
        (s.method, s.capacity): data.curves[s.method, s.capacity, s.noise, s.decoding] for s in data.base()
    }
    points = [point for curve in cells.values() for point in curve]
    names = [name for name in LABELS if any(getattr(point, name) is not None for point in points)]
    if not names:
        return None
    figure = canvas.panels_sheet(len(names), len(capacities))
    panels = figure.subplots(len(names), len(capacities), sharex=True, sharey="row", squeeze=False)
    for row, name in zip(panels, names, strict=True):
        for axes, capacity in zip(row, capacities, strict=True):
            for method, size in ((TEACHER, TEACHER), *((method, capacity) for method in data.styles)):
                colour, marker = data.styles.get(method, (INK, ""))
                curve = [(point.update, getattr(point, name)) for point in cells[method, size]]
                curve = [(x, y) for x, y in curve if y is not None]
                line = canvas.CURVE_LINE | {"color": colour, "marker": marker}
                style = canvas.TEACHER_LINE if method == TEACHER else line
                axes.plot([x for x, _ in curve], [y for _, y in curve], **style)
        row[0].set_ylabel(LABELS[name])
    for axes, capacity in zip(panels[0], capacities, strict=True):
        axes.set_title(capacity)
    for axes in panels[-1]:
        axes.set_xlabel("updates")
    canvas.legend(figure, data.styles, "--")
    caption = (
        "Validation by update, a panel a student size; the dashed line is the teacher. "
        "The loss holds no teacher term in any method."
    )
    return figure, caption + data.scope(bars=False)
