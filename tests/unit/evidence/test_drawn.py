"""What figures draw, read back from their axes: the right cell of the right search, size, noise and seed."""

import json
import re
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from nmtkd.evidence import canvas, figures, speed_figure
from nmtkd.evidence.canvas import INK, FigureData, Point
from nmtkd.evidence.statistics import Comparison
from nmtkd.evidence.summaries import Summary
from tests.unit.evidence import report_tree

SEARCHES = ("beam", "greedy")
SIZES = {"tiny": 51_234, "small": 264_500}
GRID: dict[str, Any] = {  # the larger size first: no line may hang on the grid's order
    "methods": report_tree.methods(plain=["plain"], word=["word"], seq=["seq"]),
    "capacities": ["small", "tiny"],
    "noises": ["clean", "del10"],
    "decodings": ["beam", "greedy"],
    "seeds": [1, 2],
}
DODGED = 0.05  # of a size: marks are moved sideways by less


class Drawn(NamedTuple):
    """What was drawn, and the figures by name."""

    data: FigureData
    figures: dict[str, Figure]


class Line(NamedTuple):
    """A line or a mark as it is drawn."""

    method: str
    xs: list[float]
    ys: list[float]
    style: str
    marker: str
    fill: str


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Drawn:
    """A grid of every axis. Cells have verdicts in turn, and curves of their own."""
    root, study = tmp_path_factory.mktemp("drawn"), report_tree.grid(**GRID)
    report_tree.write(root, study)
    data, verdicts = report_tree.figure_data(root, study), cycle((1, 0, -1))
    data = replace(
        data,
        summaries=[replace(one, gains=_judged(one, next(verdicts))) for one in data.summaries],
        curves={
            cell: [Point(100 * at, 5 - number / 100 - at, number + at / 2) for at in (1, 2, 3)]
            for number, cell in enumerate(data.curves)
        },
    )
    found = dict[str, Figure]()

    def saved(figure: Figure, path: Path) -> None:
        found[path.stem] = figure
        path.write_text("", encoding="utf-8")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(canvas, "save", saved)
        figures.draw(data, root)
    return Drawn(data, found)


def _judged(summary: Summary, verdict: int) -> dict[str, Comparison]:
    return {search: replace(gain, verdict=verdict) for search, gain in summary.gains.items()}


def cell(data: FigureData, method: str, capacity: str, noise: str = "clean", decoding: str = "") -> Summary:
    """The first of several decodings, if none is named."""
    place = (method, capacity, noise)
    return next(
        one
        for one in data.summaries
        if (one.method, one.capacity, one.noise) == place and decoding in ("", one.decoding)
    )


def teacher(data: FigureData, noise: str = "clean") -> Summary:
    return cell(data, "teacher", "teacher", noise)


def bleu(summary: Summary, search: str = "beam") -> float:
    return summary.spreads["test", search, "bleu"].mean


def interval(summary: Summary, search: str = "beam") -> tuple[float, float]:
    """Student's t of two seeds."""
    spread = summary.spreads["test", search, "bleu"]
    assert spread.low is not None
    assert spread.high is not None
    return spread.low, spread.high


def titled(figure: Figure, title: str) -> Axes:
    (found,) = (axes for axes in figure.axes if title in (axes.get_title(loc) for loc in ("left", "center")))
    return found


def rows_of(figure: Figure) -> list[str]:
    """Names of the rows 0, 1, 2 ..., which all panels share, from the highest to the lowest."""
    first = figure.axes[0]
    assert first.get_yticks().tolist() == list(range(len(first.get_yticks())))
    assert first.get_ylim()[0] > first.get_ylim()[1]
    return [label.get_text() for label in first.get_yticklabels()]


def lines(data: FigureData, axes: Axes) -> list[Line]:
    """All that is drawn of methods and teachers, whom their colours tell."""
    names = {colour.lower(): method for method, (colour, _) in data.styles.items()} | {INK.lower(): "teacher"}
    return [
        Line(
            names[to_hex(line.get_color())],
            np.asarray(line.get_xdata(), float).tolist(),
            np.asarray(line.get_ydata(), float).tolist(),
            str(line.get_linestyle()),
            str(line.get_marker()),
            to_hex(line.get_markerfacecolor()),
        )
        for line in axes.lines
    ]


def written(axes: Axes) -> list[Annotation]:
    """What stands beside marks and at the ends of lines."""
    return [text for text in axes.texts if isinstance(text, Annotation)]


def bars(data: FigureData, axes: Axes) -> dict[tuple[str, float, float], tuple[float, float]]:
    """Ends of the error bar along its own axis, by method and the place of the mark."""
    found = {}
    for container in axes.containers:
        (line, _, (segments,)) = container
        (name,) = (method for method, (colour, _) in data.styles.items() if colour == line.get_color())
        places = zip(line.get_xdata(), line.get_ydata(), segments.get_segments(), strict=True)
        for x, y, ((x0, y0), (x1, y1)) in places:
            assert x0 == x1 == x or y0 == y1 == y
            found[name, float(x), float(y)] = (float(y0), float(y1)) if x0 == x1 else (float(x0), float(x1))
    return found


def test_quality_by_size_is_of_clean_text_by_each_search(drawn: Drawn) -> None:
    """A line a method from the small size to the large one, with t-intervals; the teacher lies across."""
    data, figure = drawn.data, drawn.figures["bleu_by_capacity"]
    for search in SEARCHES:
        axes = titled(figure, f"{search} search")
        found = {line.method: line for line in lines(data, axes)}
        assert len(axes.lines) == len(found) == 4
        ends = bars(data, axes)
        assert len(ends) == 6
        for method in data.styles:
            line = found[method]
            assert line.xs == pytest.approx(list(SIZES.values()), rel=DODGED)
            for capacity, x, y in zip(SIZES, line.xs, line.ys, strict=True):
                summary = cell(data, method, capacity)
                assert y == pytest.approx(bleu(summary, search))
                assert ends[method, x, y] == pytest.approx(interval(summary, search)), "Student's t, not sd"
        assert found["teacher"].ys == pytest.approx([bleu(teacher(data), search)] * 2)
        assert axes.get_xscale() == "log" and axes.get_xticks().tolist() == list(SIZES.values())
        assert [axes.xaxis.get_major_formatter()(size) for size in SIZES.values()] == ["51.2k", "264k"]


def test_names_stand_at_the_ends_of_their_lines(drawn: Drawn) -> None:
    """In their order where they are moved apart, and right of the last mark."""
    data, figure = drawn.data, drawn.figures["bleu_by_capacity"]
    for search in SEARCHES:
        names = {text.get_text(): text for text in written(titled(figure, f"{search} search"))}
        assert set(names) == {*data.styles, "teacher, 2.61M"}
        assert names["teacher, 2.61M"].xy[1] == pytest.approx(bleu(teacher(data), search))
        by_score = sorted(data.styles, key=lambda method: bleu(cell(data, method, "small"), search))
        assert by_score == sorted(data.styles, key=lambda method: names[method].xy[1])
        for method, (colour, _) in data.styles.items():
            scores = [bleu(cell(data, method, capacity), search) for capacity in SIZES]
            start, end = (abs(names[method].xy[1] - score) for score in scores)
            assert end < start and names[method].get_color() == colour
            assert names[method].xy[0] >= SIZES["small"]


def test_gains_are_of_their_search_with_their_interval(drawn: Drawn) -> None:
    """A row a student of clean text, below the heading of its size; hollow where no difference is shown."""
    data, figure = drawn.data, drawn.figures["gain_over_plain"]
    rows = [("word", ""), ("seq", "beam"), ("seq", "greedy")]
    names = ["word", "seq, beam", "seq, greedy"]
    assert rows_of(figure) == ["small, 264k", *names, "tiny, 51.2k", *names]
    fills = set()
    for search in SEARCHES:
        axes = titled(figure, f"{search} search")
        marks = {line.ys[0]: line for line in lines(data, axes) if len(line.xs) == 1}
        spans = {line.ys[0]: line for line in lines(data, axes) if len(line.xs) == 2 and line.xs != [0, 0]}
        (zero,) = (line for line in lines(data, axes) if line.xs == [0, 0])
        assert zero.method == "plain" and len(axes.lines) == 1 + 2 * 6
        numbers = {text.xy[1]: text for text in written(axes)}
        for heading, capacity in ((0, "small"), (4, "tiny")):
            for y, (method, decoding) in enumerate(rows, heading + 1):
                gain = cell(data, method, capacity, decoding=decoding).gains[search]
                assert gain.evidence is not None
                mark, span = marks[y], spans[y]
                assert mark.xs == pytest.approx([gain.difference]) and span.ys == [y, y]
                assert span.xs == pytest.approx([gain.evidence.low, gain.evidence.high])
                colour, marker = data.styles[method]
                assert mark.method == span.method == method and mark.marker == marker
                assert mark.fill == (colour.lower() if gain.verdict else "#ffffff")
                assert numbers[y].get_text() == f"{gain.difference:+.1f}".replace("-", "\u2212")
                assert numbers[y].xy[0] == pytest.approx(gain.evidence.high), "right of its interval"
                fills.add(gain.verdict)
    assert fills == {1, 0, -1}


def _assert_marks(data: FigureData, axes: Axes, row: int, summaries: list[Summary]) -> None:
    """That a row holds a mark of each, within reach of its name, with its t-interval, and no other."""
    ends = {place: ends for place, ends in bars(data, axes).items() if round(place[2]) == row}
    assert sorted(method for method, _, _ in ends) == sorted(one.method for one in summaries)
    for (method, x, _), found in ends.items():
        (summary,) = (one for one in summaries if one.method == method)
        assert x == pytest.approx(bleu(summary)), summary.cell
        assert found == pytest.approx(interval(summary)), summary.cell


def test_under_noise_each_condition_has_its_own_students_and_teacher(drawn: Drawn) -> None:
    """Students by the first decoding; the teacher is a stroke."""
    data, panels = drawn.data, drawn.figures["bleu_by_noise"].axes
    assert rows_of(drawn.figures["bleu_by_noise"]) == ["clean", "del10"]
    assert [axes.get_title("left") for axes in panels] == ["small", "tiny"]
    for axes, capacity in zip(panels, ("small", "tiny"), strict=True):
        strokes = [line for line in lines(data, axes) if line.method == "teacher"]
        assert [(line.ys, line.marker) for line in strokes] == [([0], "|"), ([1], "|")]
        for row, noise in enumerate(("clean", "del10")):
            _assert_marks(data, axes, row, [cell(data, method, capacity, noise) for method in data.styles])
            assert strokes[row].xs == pytest.approx([bleu(teacher(data, noise))])


def test_by_decoding_what_learns_from_no_output_is_a_line_across(drawn: Drawn) -> None:
    """Dotted, of the panel's size, as the teacher's is dashed; what learns from output has a mark a row."""
    data, panels = drawn.data, drawn.figures["bleu_by_decoding"].axes
    assert rows_of(drawn.figures["bleu_by_decoding"]) == ["beam", "greedy"]
    assert [axes.get_title("left") for axes in panels] == ["small", "tiny"]
    for axes, capacity in zip(panels, ("small", "tiny"), strict=True):
        for row, decoding in enumerate(("beam", "greedy")):
            _assert_marks(data, axes, row, [cell(data, "seq", capacity, decoding=decoding)])
        across = {line.method: line for line in lines(data, axes) if len(line.xs) == 2}
        assert set(across) == {"plain", "word", "teacher"} and len(axes.lines) == 2 + 3
        for method in ("plain", "word"):
            assert across[method].xs == pytest.approx([bleu(cell(data, method, capacity))] * 2)
        assert across["teacher"].xs == pytest.approx([bleu(teacher(data))] * 2)


def test_curves_are_of_their_size_with_the_teachers_beside(drawn: Drawn) -> None:
    """Of clean text and the first decoding; a value that was not measured has no row."""
    data, panels = drawn.data, drawn.figures["learning_curves"].axes
    assert [axes.get_ylabel() for axes in panels] == ["BLEU, greedy", "", "loss, bits a token", ""]
    assert [axes.get_title("left") for axes in panels] == ["small", "tiny", "", ""]
    for axes, (value, capacity) in zip(
        panels,
        [(value, capacity) for value in ("valid_bleu", "valid_loss") for capacity in ("small", "tiny")],
        strict=True,
    ):
        found = {line.method: line for line in lines(data, axes)}
        assert set(found) == {"teacher", *data.styles} and len(axes.lines) == 4
        for method, line in found.items():
            summary = teacher(data) if method == "teacher" else cell(data, method, capacity)
            assert line.xs == [100, 200, 300]
            assert line.ys == [getattr(point, value) for point in data.curves[summary.cell]], summary.cell
            assert line.style == ("--" if method == "teacher" else "-")


@pytest.mark.parametrize("name", ["bleu_by_noise", "bleu_by_decoding", "learning_curves"])
def test_a_legend_names_each_colour(drawn: Drawn, name: str) -> None:
    (legend,) = drawn.figures[name].legends
    found = {
        text.get_text(): to_hex(handle.get_color())  # type: ignore[union-attr]
        for text, handle in zip(legend.get_texts(), legend.legend_handles, strict=True)
    }
    colours = {method: colour.lower() for method, (colour, _) in drawn.data.styles.items()}
    assert found == colours | {"teacher": INK.lower()}


def test_quality_beside_speed_is_of_each_search(drawn: Drawn) -> None:
    """Points of clean text and the first decoding, each with the runs whose speed it has."""
    data = drawn.data
    (content,) = re.findall(r'<script type="application/json">(.*)</script>', speed_figure.figure(data))
    found = {(point["method"], point["capacity"]): point for point in json.loads(content)["points"]}
    methods = [(method, capacity) for method in data.styles for capacity in SIZES]
    assert sorted(found) == sorted([("teacher", "teacher"), *methods])
    for (method, capacity), point in found.items():
        summary = cell(data, method, capacity)
        assert point["bleu"] == {search: round(bleu(summary, search), 2) for search in SEARCHES}
        assert [run.partition(":")[0] for run in point["runs"].split()] == list(summary.models)
        assert tuple(point["style"]) == data.styles.get(method, (INK, "*"))
