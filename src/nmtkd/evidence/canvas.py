"""What figures share: the numbers that they read, colours and markers, labels, and how they are saved.

The same numbers give the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from nmtkd.evidence.headline import Headline
from nmtkd.evidence.results import BEAM, TEACHER, CellKey
from nmtkd.evidence.statistics import Spread
from nmtkd.evidence.summaries import Summary
from nmtkd.plan.schema import Grid

# Okabe & Ito's colours for colour-blind readers, darkened until labels have contrast 4.5 on white.
COLOURS = ("#555555", "#0068A8", "#B84A00", "#007A5A", "#9C3A78", "#8A6100", "#3B3B98")  # the first: plain
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#1B1B1B"
DASHES = (0, (5, 3))
# Thin, so that the teacher's line does not outweigh the students' lines.
TEACHER_LINE: dict[str, Any] = {"color": INK, "linestyle": DASHES, "linewidth": 1.3}
CURVE_LINE: dict[str, Any] = {"markersize": 4, "linewidth": 1.4}
LABEL_POINTS = 12.5  # between the baselines of two labels, one above the other
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

Drawn = tuple[Figure, str] | None  # a figure and its caption; None if the grid has no data for it
MethodStyles = Mapping[str, tuple[str, str]]  # colour and marker by method


@dataclass(frozen=True)
class Point:
    """A point of a learning curve. None means that it was not measured."""

    update: int
    valid_loss: float | None
    valid_bleu: float | None
    gate: float | None = None  # mean over sentences, of a hybrid student
    openness: float | None = None  # mean over feed-forward units, of a gated student


@dataclass(frozen=True)
class FigureData:
    """What all figures read. `curves` are means over seeds, `level` is the confidence as text."""

    summaries: Sequence[Summary]
    curves: Mapping[CellKey, list[Point]]
    grid: Grid
    level: str
    headline: Headline
    styles: MethodStyles

    def base(self) -> list[Summary]:
        """Summaries of the first noise condition and the first decoding: one a method and capacity."""
        noise, others = self.grid.noises[0], self.grid.decodings[1:]
        return [s for s in self.summaries if s.noise == noise and s.decoding not in others]

    def teacher(self, noise: str) -> Summary:
        """The teacher of a noise condition."""
        return next(s for s in self.summaries if s.method == TEACHER and s.noise == noise)

    def bleu(self, summary: Summary, search: str = BEAM) -> Spread:
        """The headline score."""
        return summary.spreads[self.headline.name, search, self.headline.metric]

    def scope(self, noise: bool = True, decoding: bool = True, bars: bool = True) -> str:
        """The end of a caption: which part of the grid a figure shows, and what its marks are."""
        parts = [f"noise condition {self.grid.noises[0]}"] * (noise and len(self.grid.noises) > 1)
        parts += [f"decoding {self.grid.decodings[0]}"] * (decoding and len(self.grid.decodings) > 1)
        shown = f" Shown: {' and '.join(parts)}." if parts else ""
        seeds = len(self.grid.seeds)
        if seeds == 1:
            return f"{shown} One seed."
        has_bars = bars and not self.headline.is_small
        intervals = f"; bars are {self.level} t-intervals over seeds alone" * has_bars
        return f"{shown} Means over {seeds} seeds{intervals}."


def method_styles(methods: Sequence[str]) -> MethodStyles:
    """A colour and a marker for each method. Used-up colours come again, with other markers."""
    return {
        method: (COLOURS[i % len(COLOURS)], MARKERS[(i + i // len(COLOURS)) % len(MARKERS)])
        for i, method in enumerate(methods)
    }


def sheet(width: float, height: float) -> Figure:
    """An empty figure, in inches."""
    return Figure(figsize=(width, height), layout="constrained")


def panels_sheet(rows: int, columns: int) -> Figure:
    """An empty figure for small panels, never narrower than other figures: text on the page has one size."""
    return sheet(max(6.8, 0.8 + 2.2 * columns), 0.9 + 1.9 * rows)


def save(figure: Figure, path: Path) -> None:
    """SVG or PNG, by the suffix of `path`, without a date or a program's name in it."""
    is_svg = path.suffix == ".svg"
    metadata: dict[str, Any] = {"Date": None, "Creator": None} if is_svg else {"Software": None}
    figure.savefig(path, dpi=160, metadata=metadata, bbox_inches="tight", pad_inches=0.06)


def spaced(values: Sequence[float], gap: float) -> list[float]:
    """`values` moved as little as needed to be `gap` apart, in their own order.

    Of two equal values the earlier one becomes the lower one.
    """
    order = sorted(range(len(values)), key=lambda i: values[i])
    up, down = [values[i] for i in order], [values[i] for i in order]
    for i in range(1, len(order)):
        up[i] = max(up[i], up[i - 1] + gap)
        down[-i - 1] = min(down[-i - 1], down[-i] - gap)
    moved = [0.0] * len(values)
    for rank, i in enumerate(order):
        moved[i] = (up[rank] + down[rank]) / 2.0
    return moved


def end_labels(axes: Axes, ends: Sequence[tuple[float, float, str, str]]) -> None:
    """Labels (x, y, text, colour) to the right of the points where lines end, without overlap.

    Call it when the limits of the axes are final.
    """
    low, high = axes.get_ylim()
    figure = axes.get_figure(root=True)
    assert figure is not None
    height = 72.0 * figure.get_figheight() * axes.get_position().height
    heights = spaced([y for _, y, _, _ in ends], LABEL_POINTS * (high - low) / height)
    for (x, _, text, colour), y in zip(ends, heights, strict=True):
        axes.annotate(
            text, (x, y), (9, 0), textcoords="offset points", va="center", color=colour, annotation_clip=False
        )


def legend(figure: Figure, styles: MethodStyles, teacher: str = "") -> None:
    """One line of method names above the panels. `teacher` is the line style or the marker of the teacher."""
    handles = [
        Line2D([], [], color=colour, marker=marker, label=method)
        for method, (colour, marker) in styles.items()
    ]
    if teacher == "--":
        handles.append(Line2D([], [], label=TEACHER, **TEACHER_LINE))
    elif teacher:
        mark: dict[str, Any] = {"marker": teacher, "markersize": 10, "markeredgewidth": 1.8}
        handles.append(Line2D([], [], color=INK, linestyle="none", label=TEACHER, **mark))
    figure.legend(
        handles=handles,
        loc="outside upper left",
        ncols=len(handles),
        frameon=False,
        handlelength=1.6,
        columnspacing=1.4,
    )
