"""The figures of a report, as SVG for its page and PNG where a README shows them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullLocator

from nmtkd.evidence import canvas
from nmtkd.evidence.canvas import INK, TEACHER_LINE, Drawn, Material
from nmtkd.evidence.curves import learning_curves
from nmtkd.evidence.numbers import count, signed, sizes
from nmtkd.evidence.results import SEARCHES, TEACHER
from nmtkd.evidence.statistics import Spread
from nmtkd.evidence.tables import Summary

PNG_FIGURES = ("bleu_by_capacity", "learning_curves")  # shown where SVG is not
BEAM = SEARCHES[0]
DODGE = 1.025  # on a log axis: about a mark's width


@dataclass(frozen=True)
class Drawing:
    """A figure that was drawn: its file is `name`.svg."""

    name: str
    title: str
    caption: str
    svg: str


def draw(material: Material, out: Path) -> list[Drawing]:
    """Writes every figure that the grid gives data for into the folder `out`, in the order of the page."""
    figures: list[tuple[str, str, Callable[[Material], Drawn]]] = [
        ("bleu_by_capacity", "Quality by size", _bleu_by_capacity),
        ("gain_over_plain", "What distillation adds", _gain),
        ("bleu_by_noise", "Under noise", _by_noise),
        ("bleu_by_decoding", "By the teacher's decoding", _by_decoding),
        ("quality_and_speed", "Quality against speed", _speed),
        ("learning_curves", "Learning curves", learning_curves),
    ]
    drawings = []
    for name, title, function in figures:
        with matplotlib.rc_context(canvas.STYLE):
            drawn = function(material)
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


def _bleu_by_capacity(material: Material) -> Drawn:
    figure = canvas.sheet(6.8, 3.4)
    panels = figure.subplots(1, 2, sharey=True)
    cells = [one for one in material.base() if one.method != TEACHER]
    sizes = sorted({one.parameters for one in cells})
    teacher = material.teacher(material.grid.noises[0])
    ends = []
    several = len(material.grid.seeds) > 1
    widest = DODGE ** ((len(material.look) - 1) / 2 * several)
    for axes, search in zip(panels, SEARCHES, strict=True):
        for number, (method, (colour, marker)) in enumerate(material.look.items()):
            beside = DODGE ** (
                (number - (len(material.look) - 1) / 2) * (len(material.grid.seeds) > 1)
            )  # so that error bars do not hide each other
            line = sorted((one for one in cells if one.method == method), key=lambda one: one.parameters)
            spreads = [material.bleu(one, search) for one in line]
            bars = [_half(spread) for spread in spreads] if spreads[0].high is not None else None
            axes.errorbar(
                [one.parameters * beside for one in line], [one.mean for one in spreads], bars, color=colour, marker=marker, elinewidth=1
            )
            ends.append((axes, (line[-1].parameters * widest, spreads[-1].mean, method, colour)))
        height = material.bleu(teacher, search).mean
        axes.axhline(height, **TEACHER_LINE)
        axes.annotate(f"teacher, {count(teacher.parameters)}", (0, height), (3, 4), ("axes fraction", "data"), "offset points", color=INK)
        axes.set(title=f"{search} search", xscale="log", xlabel="parameters", xlim=(sizes[0] / 1.2, sizes[-1] * 1.2))
        axes.xaxis.set(major_locator=FixedLocator(sizes), major_formatter=FuncFormatter(lambda size, _: count(round(size))))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(y=0.09)
    panels[0].set_ylabel(f"BLEU on {material.headline}")
    for axes in panels:
        canvas.end_labels(axes, [end for where, end in ends if where is axes])
    told = "BLEU of each method at each student size; the dashed line is the teacher, whose size is written above it."
    return figure, told + material.shown()


def _gain(material: Material) -> Drawn:
    cells = [one for one in material.summaries if one.gains and one.noise == material.grid.noises[0]]
    if not cells:
        return None
    rows: list[tuple[str, Summary | None]] = []
    for capacity in material.grid.capacities:
        members = [one for one in cells if one.capacity == capacity]
        several = len(material.grid.decodings) > 1
        rows.append((f"{capacity}, {sizes(one.parameters for one in members)}", None))
        rows += [
            (f"{one.method}, {one.decoding}" if several and one.decoding in material.grid.decodings else one.method, one) for one in members
        ]
    figure = canvas.sheet(6.8, 1.0 + 0.27 * len(rows))
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, search in zip(panels, SEARCHES, strict=True):
        axes.axvline(0.0, color=material.look[material.grid.methods.plain[0]][0], linewidth=1.3)
        for y, (_, one) in enumerate(rows):
            if one is not None:
                gain, (colour, marker) = one.gains[search], material.look[one.method]
                axes.plot([gain.low, gain.high], [y, y], color=colour, linewidth=1.5)
                axes.plot(gain.difference, y, color=colour, marker=marker, markerfacecolor=colour if gain.told else "white")
                axes.annotate(
                    signed(gain.difference).replace("-", "\u2212"),
                    (gain.high, y),
                    (5, 0),
                    textcoords="offset points",
                    va="center",
                    color=colour,
                )
        axes.set(title=f"{search} search", xlabel="BLEU over plain", yticks=range(len(rows)), yticklabels=[name for name, _ in rows])
        axes.grid(axis="y", visible=False)
        axes.margins(x=0.17)
    panels[0].set_ylim(len(rows) - 0.4, -0.6)
    for label, (_, one) in zip(panels[0].get_yticklabels(), rows, strict=True):
        label.set(fontweight="bold" if one is None else "normal", color=INK)
    told = f"Difference in BLEU to the plain student of the same size, with its {material.level} interval. Hollow: it holds 0."
    how = " Differences are paired by seed." if len(material.grid.seeds) > 1 else " Paired bootstrap over test segments."
    return figure, told + how + material.shown(decoding=False, bars=False)


def _by_noise(material: Material) -> Drawn:
    noises = material.grid.noises
    if len(noises) < 2:
        return None
    first = material.grid.decodings[:1]
    cells = [one for one in material.summaries if one.decoding in first or one.decoding not in material.grid.decodings]
    figure = _dots(material, cells, noises, lambda one: one.noise)
    for axes in figure.axes:
        for y, noise in enumerate(noises):
            axes.plot(material.bleu(material.teacher(noise)).mean, y, color=INK, marker="|", markersize=13, markeredgewidth=1.8)
    canvas.legend(figure, material.look, "|")
    told = "BLEU by beam search after training under each noise condition; test sets are clean. Stroke: that condition's teacher."
    return figure, told + material.shown(noise=False)


def _by_decoding(material: Material) -> Drawn:
    decodings = material.grid.decodings
    cells = [one for one in material.summaries if one.noise == material.grid.noises[0] and one.decoding in decodings]
    if len(decodings) < 2 or not cells:
        return None
    figure = _dots(material, cells, decodings, lambda one: one.decoding)
    for axes, capacity in zip(figure.axes, material.grid.capacities, strict=True):
        for one in material.base():
            if one.capacity == capacity and one.decoding not in decodings:
                axes.axvline(material.bleu(one).mean, color=material.look[one.method][0], linestyle=(0, (1, 1.2)), linewidth=2)
        axes.axvline(material.bleu(material.teacher(material.grid.noises[0])).mean, **TEACHER_LINE)
    canvas.legend(figure, material.look, "--")
    told = "BLEU by beam search of the methods that learn from the teacher's output, by how the teacher decoded it. "
    return figure, told + "Dotted lines: methods that learn from no output, in their colours." + material.shown(decoding=False)


def _dots(material: Material, cells: Sequence[Summary], rows: Sequence[str], row: Callable[[Summary], str]) -> Figure:
    """A panel a capacity with a row a condition and a mark a method, side by side within the row where error bars need it."""
    capacities = material.grid.capacities
    figure = canvas.sheet(max(6.8, 1.0 + 2.2 * len(capacities)), 1.3 + 0.46 * len(rows))
    panels = figure.subplots(1, len(capacities), sharex=True, sharey=True, squeeze=False)[0]
    methods = [method for method in material.look if any(one.method == method for one in cells)]
    for axes, capacity in zip(panels, capacities, strict=True):
        for one in (one for one in cells if one.capacity == capacity):
            spread, (colour, marker) = material.bleu(one), material.look[one.method]
            y = rows.index(row(one)) + 0.15 * (methods.index(one.method) - (len(methods) - 1) / 2)
            bars = None if spread.high is None else [[_half(spread)], [_half(spread)]]
            axes.errorbar(spread.mean, y, xerr=bars, color=colour, marker=marker, linestyle="none", elinewidth=1)
        axes.set(title=capacity, xlabel=f"BLEU on {material.headline}", yticks=range(len(rows)), yticklabels=rows)
    panels[0].set_ylim(len(rows) - 0.5, -0.5)
    return figure


def _speed(material: Material) -> Drawn:
    cells = [one for one in material.base() if one.rates]
    if not cells:
        return None
    figure = canvas.sheet(6.8, 3.9)
    axes = figure.subplots()
    for one in cells:
        colour, marker = material.look.get(one.method, (INK, "*"))
        size = 11.0 if one.method == TEACHER else 6.5
        points = [(one.rates[search], material.bleu(one, search).mean, search) for search in SEARCHES if search in one.rates]
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], color=colour, linewidth=0.8, alpha=0.5)
        for x, y, search in points:
            axes.plot(x, y, color=colour, marker=marker, markersize=size, markerfacecolor=colour if search == BEAM else "white")
    for capacity in dict.fromkeys(one.capacity for one in cells if BEAM in one.rates):
        best = max((one for one in cells if one.capacity == capacity), key=lambda one: material.bleu(one).mean)
        place = (best.rates[BEAM], material.bleu(best).mean)
        card = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1}
        axes.annotate(capacity, place, (-10, 0), textcoords="offset points", ha="right", va="center", color=INK, bbox=card)
    axes.set(xscale="log", xlabel="sentences a second", ylabel=f"BLEU on {material.headline}")
    axes.xaxis.set(
        major_locator=LogLocator(subs=(1, 2, 5)), major_formatter=FuncFormatter(lambda x, _: f"{x:g}"), minor_locator=NullLocator()
    )
    axes.margins(x=0.17, y=0.09)
    canvas.legend(figure, material.look, "*")
    told = "BLEU against translation speed on the machine that measured it: filled marks by beam search, hollow ones by greedy search."
    return figure, told + material.shown(bars=False)
