"""Learning curves: read, averaged over seeds, written as tidy rows and drawn."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nmtkd.evidence import canvas
from nmtkd.evidence.canvas import INK, Cell, Drawn, Material, Point
from nmtkd.evidence.results import TEACHER, Result, ResultsError

VALUES = ("valid_loss", "valid_bleu", "gate", "openness")
CURVES_HEADER = f"key,method,capacity,update,{','.join(VALUES)}"


def read_curve(path: Path) -> list[Point]:
    """A model's learning curve. Raises ResultsError where it is missing or lacks a column."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return [Point(int(row["update"]), *(float(row[name]) if row[name] else None for name in VALUES)) for row in rows]
    except FileNotFoundError:
        raise ResultsError(f"{path}: missing; evaluate this cell again") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ResultsError(f"{path}: no learning curve with update, {', '.join(VALUES)} ({error!r}); evaluate this cell again") from None


def curve_rows(results: Iterable[Result], curves: Mapping[str, list[Point]]) -> list[list[str]]:
    """curves.csv without its header; an empty cell was not measured."""
    return [
        [one.key, one.method, one.capacity, str(point.update)]
        + ["" if value is None else f"{value:.4f}" for value in (getattr(point, name) for name in VALUES)]
        for one in results
        for point in curves[one.key]
    ]


def mean_curves(results: Sequence[Result], curves: Mapping[str, list[Point]]) -> dict[Cell, list[Point]]:
    """Learning curves by cell: means over the seeds, None where one of them has no value. `curves` are by key."""
    groups: dict[Cell, list[list[Point]]] = {}
    for one in results:
        groups.setdefault((one.method, one.capacity, one.noise, one.decoding), []).append(curves[one.key])
    return {cell: [_mean_point(points) for points in zip(*members, strict=False)] for cell, members in groups.items()}


def _mean_point(points: Sequence[Point]) -> Point:
    def mean(values: Sequence[float | None]) -> float | None:
        there = [value for value in values if value is not None]
        return sum(there) / len(there) if len(there) == len(values) else None

    return Point(points[0].update, *(mean([getattr(point, name) for point in points]) for name in VALUES))


def learning_curves(material: Material) -> Drawn:
    """Validation BLEU and loss by update: a row each, a panel a capacity, the teacher in every panel."""
    capacities = material.grid.capacities
    cells = {(one.method, one.capacity): material.curves[one.method, one.capacity, one.noise, one.decoding] for one in material.base()}
    rows = [("valid_bleu", "BLEU, greedy"), ("valid_loss", "loss, bits a token"), ("gate", "mean gate"), ("openness", "mean openness")]
    rows = [(name, label) for name, label in rows if any(getattr(point, name) is not None for points in cells.values() for point in points)]
    if not rows:
        return None
    figure = canvas.panels_sheet(len(rows), len(capacities))
    panels = figure.subplots(len(rows), len(capacities), sharex=True, sharey="row", squeeze=False)
    for line, (name, label) in zip(panels, rows, strict=True):
        for axes, capacity in zip(line, capacities, strict=True):
            for method, size in ((TEACHER, TEACHER), *((method, capacity) for method in material.look)):
                colour, marker = material.look.get(method, (INK, ""))
                points = [(point.update, getattr(point, name)) for point in cells[method, size] if getattr(point, name) is not None]
                style = canvas.TEACHER_LINE if method == TEACHER else canvas.CURVE_LINE | {"color": colour, "marker": marker}
                axes.plot([x for x, _ in points], [y for _, y in points], **style)
        line[0].set_ylabel(label)
    for axes, capacity in zip(panels[0], capacities, strict=True):
        axes.set_title(capacity)
    for axes in panels[-1]:
        axes.set_xlabel("updates")
    canvas.legend(figure, material.look, "--")
    told = "Validation by update, a panel a student size; the dashed line is the teacher. The loss holds no teacher term in any method."
    return figure, told + material.shown(bars=False)
