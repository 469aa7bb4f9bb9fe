"""What figures draw, read back from their axes: the right cell of the right search, size, noise and seed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nmtkd.evidence import canvas, figures
from nmtkd.evidence.canvas import FigureData
from nmtkd.evidence.summaries import Summary
from tests.unit.evidence import report_tree

SEARCHES = ("beam", "greedy")
GRID: dict[str, Any] = {"noises": ["clean", "del10"], "seeds": [1, 2]}
Drawn = tuple[FigureData, dict[str, Figure]]


@pytest.fixture
def drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Drawn]:
    """Draws a grid: its data, and the figures by name."""

    def draw(**changes: Any) -> Drawn:
        study, found, save = report_tree.grid(**changes), dict[str, Figure](), canvas.save
        report_tree.write(tmp_path, study)
        data = report_tree.figure_data(tmp_path, study)

        def saved(figure: Figure, path: Path) -> None:
            found[path.stem] = figure
            save(figure, path)

        monkeypatch.setattr(canvas, "save", saved)
        figures.draw(data, tmp_path)
        return data, found

    return draw


def cell(data: FigureData, method: str, capacity: str, noise: str = "clean") -> Summary:
    (found,) = (
        one for one in data.summaries if (one.method, one.capacity, one.noise) == (method, capacity, noise)
    )
    return found


def bleu(summary: Summary, search: str) -> float:
    return summary.spreads["test", search, "bleu"].mean


def numbers(values: Any) -> list[float]:
    return [float(value) for value in values]


def titled(figure: Figure, title: str) -> Axes:
    (found,) = (axes for axes in figure.axes if title in (axes.get_title(loc) for loc in ("left", "center")))
    return found


def bars(axes: Axes) -> list[tuple[float, float]]:
    """Ends of all vertical error bars."""
    found = [segment for lines in axes.collections for segment in getattr(lines, "get_segments", list)()]
    return [(float(one[0][1]), float(one[1][1])) for one in found if one[0][0] == one[1][0]]


def test_quality_by_size_is_of_clean_text_by_each_search(drawn: Callable[..., Drawn]) -> None:
    data, found = drawn(**GRID)
    for search in SEARCHES:
        axes = titled(found["bleu_by_capacity"], f"{search} search")
        heights = [numbers(line.get_ydata()) for line in axes.lines]
        for method in ("plain", "seq"):
            wanted = [bleu(cell(data, method, capacity), search) for capacity in ("tiny", "small")]
            assert any(len(ys) == 2 and ys == pytest.approx(wanted) for ys in heights), (method, search)
        teacher = bleu(cell(data, "teacher", "teacher"), search)
        assert any(len(set(ys)) == 1 and ys[0] == pytest.approx(teacher) for ys in heights)
        spreads = [
            cell(data, method, capacity).spreads["test", search, "bleu"]
            for method in ("plain", "seq")
            for capacity in ("tiny", "small")
        ]
        wanted_bars = sorted((2 * one.mean - (one.high or 0.0), one.high or 0.0) for one in spreads)
        assert np.array(sorted(bars(axes))) == pytest.approx(np.array(wanted_bars)), "Student's t, not sd"


def test_gains_are_of_their_search_with_their_interval(drawn: Callable[..., Drawn]) -> None:
    data, found = drawn(**GRID)
    for search in SEARCHES:
        axes = titled(found["gain_over_plain"], f"{search} search")
        xs = [tuple(numbers(line.get_xdata())) for line in axes.lines]
        for capacity in ("tiny", "small"):
            gain = cell(data, "seq", capacity).gains[search]
            assert gain.evidence is not None
            assert any(
                one == pytest.approx((gain.evidence.low, gain.evidence.high)) for one in xs if len(one) == 2
            )
            assert any(one == pytest.approx((gain.difference,)) for one in xs if len(one) == 1)


def test_under_noise_each_condition_has_its_own_students_and_teacher(drawn: Callable[..., Drawn]) -> None:
    data, found = drawn(**GRID)
    panels = found["bleu_by_noise"].axes
    assert len(panels) == 2
    for axes, capacity in zip(panels, ("tiny", "small"), strict=True):
        points = [(numbers(line.get_xdata())[0], numbers(line.get_ydata())[0]) for line in axes.lines]
        for row, noise in enumerate(("clean", "del10")):
            students = [cell(data, method, capacity, noise) for method in ("plain", "seq")]
            for summary in (*students, cell(data, "teacher", "teacher", noise)):
                wanted = bleu(summary, "beam")
                assert any(x == pytest.approx(wanted) and round(y) == row for x, y in points), summary.cell
