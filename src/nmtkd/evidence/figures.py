"""The figures of a report, as SVG for its page and as PNG for a README."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from nmtkd.evidence import canvas
from nmtkd.evidence.canvas import INK, TEACHER_LINE, Drawn, FigureData
from nmtkd.evidence.curves import learning_curves
from nmtkd.evidence.numbers import count, signed, sizes
from nmtkd.evidence.results import PLOTTED, TEACHER
from nmtkd.evidence.statistics import Spread
from nmtkd.evidence.summaries import Summary

PNG_FIGURES = ("bleu_by_capacity", "learning_curves")  # shown where SVG is not
DODGE = 1.025  # on a log axis: about a mark's width


@dataclass(frozen=True)
class Drawing:
    """A drawn figure. Its file is `name`.svg."""

    name: str
    title: str
    caption: str
    svg: str


def draw(data: FigureData, out: Path) -> list[Drawing]:
    """Writes every figure that the grid gives data for into the folder `out`, in the order of the page."""
    figures: list[tuple[str, str, Callable[[FigureData], Drawn]]] = [
        ("bleu_by_capacity", "Quality by size", _bleu_by_capacity),
        ("gain_over_plain", "What distillation adds", _gain),
        ("bleu_by_noise", "Under noise", _by_noise),
        ("bleu_by_decoding", "By the teacher's decoding", _by_decoding),
        ("learning_curves", "Learning curves", learning_curves),
    ]
    drawings = []
    for name, title, function in figures:
        with matplotlib.rc_context(canvas.STYLE):
            drawn = function(data)
            if drawn is None:
                continue
            path = out / f"{name}.svg"
            canvas.save(drawn[0], path)
            if name in PNG_FIGURES:
                canvas.save(drawn[0], path.with_suffix(".png"))
        drawings.append(Drawing(name, title, drawn[1], path.read_text(encoding="utf-8")))
    return drawings


def _half(spread: Spread) -> float:
    return 0.0 if spread.high is None else spread.high - spread.mean


def _bleu_by_capacity(data: FigureData) -> Drawn:
    figure = canvas.sheet(6.8, 3.4)
    panels = figure.subplots(1, 2, sharey=True)
    students = [summary for summary in data.base() if summary.method != TEACHER]
    sizes = sorted({summary.parameters for summary in students})
    ends = []
    for axes, search in zip(panels, PLOTTED, strict=True):
        ends.append(_method_lines(axes, data, students, search))
        _teacher_line(axes, data, search)
        axes.set(title=f"{search} search", xscale="log", xlabel="parameters")
        axes.set(xlim=(sizes[0] / 1.2, sizes[-1] * 1.2))
        axes.xaxis.set(
            major_locator=FixedLocator(sizes),
            major_formatter=FuncFormatter(lambda size, _: count(round(size))),
        )
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(y=0.09)
    panels[0].set_ylabel(f"{data.headline.label} on {data.headline.name}")
    for axes, labels in zip(panels, ends, strict=True):
        canvas.end_labels(axes, labels)
    caption = (
        f"{data.headline.label} of each method at each student size; "
        "the dashed line is the teacher, whose size is written above it."
    )
    return figure, caption + data.scope()


def _teacher_line(axes: Axes, data: FigureData, search: str) -> None:
    teacher = data.teacher(data.grid.noises[0])
    height = data.bleu(teacher, search).mean
    axes.axhline(height, **TEACHER_LINE)
    label = f"teacher, {count(teacher.parameters)}"
    axes.annotate(label, (0, height), (3, 4), ("axes fraction", "data"), "offset points", color=INK)


def _method_lines(
    axes: Axes, data: FigureData, students: Sequence[Summary], search: str
) -> list[tuple[float, float, str, str]]:
    """A line a method. With several seeds the lines are moved sideways, so that no error bar hides another.

    Returns the label of each line's end: x, y, text, colour.
    """
    several, middle = len(data.grid.seeds) > 1, (len(data.styles) - 1) / 2
    ends = []
    for number, (method, (colour, marker)) in enumerate(data.styles.items()):
        shift = DODGE ** ((number - middle) * several)
        line = sorted((s for s in students if s.method == method), key=lambda s: s.parameters)
        spreads = [data.bleu(summary, search) for summary in line]
        bars = [_half(spread) for spread in spreads] if spreads[0].high is not None else None
        xs, ys = [summary.parameters * shift for summary in line], [spread.mean for spread in spreads]
        axes.errorbar(xs, ys, bars, color=colour, marker=marker, elinewidth=1)
        ends.append((line[-1].parameters * DODGE ** (middle * several), ys[-1], method, colour))
    return ends


def _gain(data: FigureData) -> Drawn:
    compared = [s for s in data.summaries if s.gains and s.noise == data.grid.noises[0]]
    if not compared:
        return None
    rows: list[tuple[str, Summary | None]] = []
    several = len(data.grid.decodings) > 1
    for capacity in data.grid.capacities:
        members = [summary for summary in compared if summary.capacity == capacity]
        rows.append((f"{capacity}, {sizes(summary.parameters for summary in members)}", None))
        for summary in members:
            suffix = f", {summary.decoding}" if several and summary.decoding in data.grid.decodings else ""
            rows.append((f"{summary.method}{suffix}", summary))
    figure = canvas.sheet(6.8, 1.0 + 0.27 * len(rows))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    names = [name for name, _ in rows]
    for axes, search in zip(panels, PLOTTED, strict=True):
        axes.axvline(0.0, color=data.styles[data.grid.methods.plain[0]][0], linewidth=1.3)
        for y, (_, member) in enumerate(rows):
            if member is not None:
                _interval(axes, data, member, search, y)
        axes.set(
            title=f"{search} search",
            xlabel=f"{data.headline.label} over plain",
            yticks=range(len(rows)),
            yticklabels=names,
        )
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.17)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    for label, (_, member) in zip(panels[0].get_yticklabels(), rows, strict=True):
        label.set(fontweight="bold" if member is None else "normal", color=INK)
    return figure, _gain_caption(data) + data.scope(decoding=False, bars=False)


def _gain_caption(data: FigureData) -> str:
    paired = " Differences are paired by seed." if len(data.grid.seeds) > 1 else ""
    what = f"Difference in {data.headline.label} to the plain student of the same size"
    if data.headline.is_small:
        return f"{what}, without intervals: {data.headline.smallness}.{paired}"
    others = " and other seeds" if paired else ""
    return (
        f"{what}, with its {data.level} interval by paired bootstrap over {data.headline.resampled}{others}. "
        f"Hollow: no difference is shown, by Holm's correction for all those of one search.{paired}"
    )


def _interval(axes: Axes, data: FigureData, summary: Summary, search: str, y: float) -> None:
    """A gain as a mark with its number, and with its interval if it has one."""
    gain, (colour, marker) = summary.gains[search], data.styles[summary.method]
    end = gain.difference
    if gain.evidence is not None:
        end = gain.evidence.high
        axes.plot([gain.evidence.low, end], [y, y], color=colour, linewidth=1.5)
    axes.plot(
        gain.difference, y, color=colour, marker=marker, markerfacecolor=colour if gain.verdict else "white"
    )
    number = signed(gain.difference).replace("-", "\u2212")
    axes.annotate(number, (end, y), (5, 0), textcoords="offset points", va="center", color=colour)


def _by_noise(data: FigureData) -> Drawn:
    noises = data.grid.noises
    if len(noises) < 2:
        return None
    others = data.grid.decodings[1:]
    cells = [summary for summary in data.summaries if summary.decoding not in others]
    figure = _dots(data, cells, noises, lambda summary: summary.noise)
    stroke: dict[str, Any] = {"marker": "|", "markersize": 13, "markeredgewidth": 1.8}
    for axes in figure.axes:
        for y, noise in enumerate(noises):
            axes.plot(data.bleu(data.teacher(noise)).mean, y, color=INK, **stroke)
    canvas.legend(figure, data.styles, "|")
    caption = (
        f"{data.headline.label} by beam search after training under each noise condition; "
        "test sets are clean. Stroke: that condition's teacher."
    )
    return figure, caption + data.scope(noise=False)


def _by_decoding(data: FigureData) -> Drawn:
    decodings = data.grid.decodings
    cells = [s for s in data.summaries if s.noise == data.grid.noises[0] and s.decoding in decodings]
    if len(decodings) < 2 or not cells:
        return None
    figure = _dots(data, cells, decodings, lambda summary: summary.decoding)
    for axes, capacity in zip(figure.axes, data.grid.capacities, strict=True):
        for summary in data.base():
            if summary.capacity == capacity and summary.decoding not in decodings:
                colour = data.styles[summary.method][0]
                axes.axvline(data.bleu(summary).mean, color=colour, linestyle=(0, (1, 1.2)), linewidth=2)
        axes.axvline(data.bleu(data.teacher(data.grid.noises[0])).mean, **TEACHER_LINE)
    canvas.legend(figure, data.styles, "--")
    caption = (
        f"{data.headline.label} by beam search of the methods that learn from the teacher's output, "
        "by how the teacher decoded it. "
        "Dotted lines: methods that learn from no output, in their colours."
    )
    return figure, caption + data.scope(decoding=False)


def _dots(
    data: FigureData, cells: Sequence[Summary], rows: Sequence[str], row: Callable[[Summary], str]
) -> Figure:
    """A panel a capacity, a row a condition, a mark a method. Marks of a row are moved apart."""
    capacities = data.grid.capacities
    figure = canvas.sheet(max(6.8, 1.0 + 2.2 * len(capacities)), 1.3 + 0.46 * len(rows))
    panels = figure.subplots(1, len(capacities), sharex=True, sharey=True, squeeze=False)[0]
    methods = [method for method in data.styles if any(summary.method == method for summary in cells)]
    for axes, capacity in zip(panels, capacities, strict=True):
        for summary in (s for s in cells if s.capacity == capacity):
            spread, (colour, marker) = data.bleu(summary), data.styles[summary.method]
            y = rows.index(row(summary)) + 0.15 * (methods.index(summary.method) - (len(methods) - 1) / 2)
            bars = None if spread.high is None else [[_half(spread)], [_half(spread)]]
            axes.errorbar(
                spread.mean, y, xerr=bars, color=colour, marker=marker, linestyle="none", elinewidth=1
            )
        axes.set(
            title=capacity,
            xlabel=f"{data.headline.label} on {data.headline.name}",
            yticks=range(len(rows)),
            yticklabels=rows,
        )
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure
