"""Figures: which there are, what they hold, and that they are the same bytes again."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.figure import Figure

from nmtkd.evidence import canvas, figures
from nmtkd.evidence.headline import Headline
from tests.unit.evidence import report_tree

ROOT = Path(__file__).parent.parent.parent.parent
ALWAYS = ["bleu_by_capacity", "gain_over_plain", "learning_curves"]


def draw(root: Path, headline: Headline = report_tree.HEADLINE, **changes: Any) -> list[figures.Drawing]:
    study = report_tree.grid(**changes)
    report_tree.write(root, study)
    (root / "figures").mkdir()
    return figures.draw(report_tree.figure_data(root, study, headline), root / "figures")


def test_figures_are_the_same_bytes_again(tmp_path: Path) -> None:
    draw(tmp_path / "one")
    draw(tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one/figures").iterdir())
    assert files == sorted(
        [f"{name}.svg" for name in ALWAYS] + ["bleu_by_capacity.png", "learning_curves.png"]
    )
    for name in files:
        assert (tmp_path / "one/figures" / name).read_bytes() == (
            tmp_path / "two/figures" / name
        ).read_bytes()


def test_figures_follow_the_grid(tmp_path: Path) -> None:
    names = [one.name for one in draw(tmp_path / "noise", noises=["clean", "del10"], seeds=[1, 2])]
    assert "bleu_by_noise" in names and "bleu_by_decoding" not in names
    drawings = {
        one.name: one
        for one in draw(tmp_path / "decoding", decodings=["beam", "greedy"], capacities=["tiny"])
    }
    assert "bleu_by_decoding" in drawings and "bleu_by_noise" not in drawings
    assert "Shown: decoding beam." in drawings["bleu_by_capacity"].caption
    names = [one.name for one in draw(tmp_path / "bare", methods=report_tree.methods(seq=["seq"]))]
    assert "gain_over_plain" not in names


def test_figures_hold_text_and_no_date(tmp_path: Path) -> None:
    svg = {one.name: one.svg for one in draw(tmp_path)}
    assert ">teacher, 2.61M</text>" in svg["bleu_by_capacity"] and ">seq</text>" in svg["bleu_by_capacity"]
    assert "dc:date" not in svg["learning_curves"]


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_a_small_test_set_has_no_bars(tmp_path: Path, seeds: list[int]) -> None:
    """Differences are hollow marks without an interval, and no caption tells of one."""
    grid: dict[str, Any] = {"seeds": seeds, "capacities": ["tiny"], "noises": ["clean", "del10"]}
    large = {one.name: one for one in draw(tmp_path / "large", **grid)}
    small = {one.name: one for one in draw(tmp_path / "small", report_tree.SMALL, **grid)}
    assert set(small) == set(large)
    for name in ("bleu_by_capacity", "bleu_by_noise"):
        assert ("LineCollection" in large[name].svg) == (len(seeds) > 1)
        assert "LineCollection" not in small[name].svg
    captions = " ".join(one.caption for one in small.values())
    assert "bars are" not in captions and "95%" not in captions and "bootstrap" not in captions
    why = "without intervals: 12 segments are too few for a verdict, which takes 13 (report.min_segments)."
    assert why in small["gain_over_plain"].caption
    told = large["gain_over_plain"].caption
    assert "with its 95% interval by paired bootstrap over the 12 segments" in told
    assert ("12 segments and other seeds. Hollow" in told) == (len(seeds) > 1)
    assert "Hollow: no difference is shown, by Holm's correction" in told


def test_a_difference_without_interval_is_a_hollow_mark(tmp_path: Path) -> None:
    study = report_tree.grid(capacities=["tiny"])
    report_tree.write(tmp_path, study)
    for headline, marks in ((report_tree.HEADLINE, 2), (report_tree.SMALL, 1)):
        axes = Figure().subplots()
        data = report_tree.figure_data(tmp_path, study, headline)
        (seq,) = (one for one in data.summaries if one.gains)
        figures._interval(axes, data, seq, "beam", 0.0)
        assert len(axes.lines) == marks
        assert (axes.lines[-1].get_markerfacecolor() == "white") == (marks == 1)


def test_curves_have_rows_for_gates_and_openness_where_there_are_any(tmp_path: Path) -> None:
    labels = ["BLEU, greedy", "loss, bits a token", "mean gate", "mean openness"]
    hybrid = {"methods": report_tree.methods(plain=["plain"], hybrid=["hybrid_best"])}
    cases: list[tuple[dict[str, Any], list[str]]] = [
        ({}, labels[:2]),
        ({"capacities": ["gated"]}, [*labels[:2], "mean openness"]),
        (hybrid, labels[:3]),
        (report_tree.ADAPTIVE, labels),
    ]
    for number, (changes, wanted) in enumerate(cases):
        (svg,) = (one.svg for one in draw(tmp_path / str(number), **changes) if one.name == "learning_curves")
        assert [label for label in labels if f">{label}</text>" in svg] == wanted


def test_no_two_methods_look_the_same() -> None:
    """Of as many as the configuration knows: colour and marker together tell a method."""
    known = list(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["methods"])
    assert len(known) > len(canvas.COLOURS)
    assert len(set(canvas.method_styles(known).values())) == len(known)


def test_labels_stand_apart() -> None:
    assert canvas.spaced([1.0, 1.1, 5.0], 1.0) == pytest.approx([0.55, 1.55, 5.0])
    assert canvas.spaced([3.0, 1.0], 1.0) == [3.0, 1.0]
