"""What figures are made of: the numbers they read, their look, and how they are saved. The same numbers give the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nmtkd.evidence.metrics import HEADLINE
from nmtkd.evidence.results import SEARCHES, TEACHER
from nmtkd.evidence.statistics import Spread
from nmtkd.evidence.tables import Summary
from nmtkd.params import Grid

# Okabe & Ito's colours for colour-blind readers, darkened until labels in them have contrast 4.5 on white; the first one is plain's.
COLOURS = ("#555555", "#0068A8", "#B84A00", "#007A5A", "#9C3A78", "#8A6100", "#3B3B98")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#1B1B1B"
DASHES = (0, (5, 3))
TEACHER_LINE: dict[str, Any] = {"color": INK, "linestyle": DASHES, "linewidth": 1.3}  # thin: it must not outweigh the students' lines
CURVE_LINE: dict[str, Any] = {"markersize": 4, "linewidth": 1.4}
LABEL_POINTS = 12.5  # between the baselines of two labels that stand above each other
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so that every machine measures text alike
    "font.size": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#8A8A8A",
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#EBEBEB",
    "xtick.color": "#4A4A4A",
    "ytick.color": "#4A4A4A",
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.8,
    "lines.markersize": 6.5,
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and takes the page's font
    "svg.hashsalt": "nmtkd",  # ids in the file follow from its content instead of chance
}

Cell = tuple[str, str, str, str]  # method, capacity, noise, decoding
Drawn = tuple[Figure, str] | None  # a figure and its caption, None where the grid has no data for it
Look = Mapping[str, tuple[str, str]]  # method: colour, marker


@dataclass(frozen=True)
class Point:
    """A point of a learning curve; None where it was not measured."""

    update: int
    valid_loss: float | None
    valid_bleu: float | None
    gate: float | None = None  # mean over sentences, of a hybrid student
    openness: float | None = None  # mean over feed-forward units, of a gated one


@dataclass(frozen=True)
class Material:
    """What all figures read. `curves` are means over seeds, `level` is the confidence as text."""

    summaries: Sequence[Summary]
    curves: Mapping[Cell, list[Point]]
    grid: Grid
    level: str
    headline: str
    look: Look

    def base(self) -> list[Summary]:
        """Cells of the first noise condition and the first decoding: one a method and capacity, and the teacher."""
        noise, first = self.grid.noises[0], self.grid.decodings[:1]
        return [one for one in self.summaries if one.noise == noise and (one.decoding in first or one.decoding not in self.grid.decodings)]

    def teacher(self, noise: str) -> Summary:
        """The teacher of a noise condition."""
        return next(one for one in self.summaries if one.method == TEACHER and one.noise == noise)

    def bleu(self, one: Summary, search: str = SEARCHES[0]) -> Spread:
        """The headline score."""
        return one.spreads[self.headline, search, HEADLINE]

    def shown(self, noise: bool = True, decoding: bool = True, bars: bool = True) -> str:
        """What a figure leaves out of the grid, and what its marks are, for a caption."""
        several = [f"noise condition {self.grid.noises[0]}"] * (noise and len(self.grid.noises) > 1)
        several += [f"decoding {self.grid.decodings[0]}"] * (decoding and len(self.grid.decodings) > 1)
        told = f" Shown: {' and '.join(several)}." if several else ""
        seeds = len(self.grid.seeds)
        if seeds == 1:
            return told + " One seed."
        return told + f" Means over {seeds} seeds" + (f"; bars are {self.level} t-intervals." if bars else ".")


def looks(methods: Sequence[str]) -> Look:
    """A colour and a marker for each method; past the colours, the same ones with another marker."""
    return {name: (COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)]) for i, name in enumerate(methods)}


def sheet(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def panels_sheet(rows: int, columns: int) -> Figure:
    """An empty figure for so many small panels; never narrower than the others, so that text on the page has one size."""
    return sheet(max(6.8, 0.8 + 2.2 * columns), 0.9 + 1.9 * rows)


def save(figure: Figure, path: Path) -> None:
    """SVG or PNG, by the suffix of `path`, without a date or a program's name in it."""
    facts: dict[str, Any] = {"Date": None, "Creator": None} if path.suffix == ".svg" else {"Software": None}
    figure.savefig(path, dpi=160, metadata=facts, bbox_inches="tight", pad_inches=0.06)


def apart(values: Sequence[float], gap: float) -> list[float]:
    """`values` moved as little as needed to stand `gap` apart, in their own order (ties: the earlier one lower)."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    up, down = [values[i] for i in order], [values[i] for i in order]
    for i in range(1, len(order)):
        up[i] = max(up[i], up[i - 1] + gap)
        down[-i - 1] = min(down[-i - 1], down[-i] - gap)
    moved = [0.0] * len(values)
    for place, i in enumerate(order):
        moved[i] = (up[place] + down[place]) / 2.0
    return moved


def end_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Labels (x, y, text, colour) to the right of the points where lines end, moved apart. Call it when the limits are final."""
    low, high = axes.get_ylim()
    figure = axes.get_figure(root=True)
    assert figure is not None
    height = 72.0 * figure.get_figheight() * axes.get_position().height
    places = apart([y for _, y, _, _ in ends], LABEL_POINTS * (high - low) / height)
    for (x, _, text, colour), y in zip(ends, places, strict=True):
        axes.annotate(text, (x, y), (9, 0), textcoords="offset points", va="center", color=colour, annotation_clip=False)


def legend(figure: Figure, look: Look, teacher: str = "") -> None:
    """One line of method names above the panels; `teacher` is the line style or marker of the teacher's."""
    handles = [Line2D([], [], color=colour, marker=marker, label=name) for name, (colour, marker) in look.items()]
    if teacher == "--":
        handles.append(Line2D([], [], label="teacher", **TEACHER_LINE))
    elif teacher:
        handles.append(Line2D([], [], color=INK, linestyle="none", marker=teacher, markersize=10, markeredgewidth=1.8, label="teacher"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, handlelength=1.6, columnspacing=1.4)
