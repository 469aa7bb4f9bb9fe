"""The last screen: the table with what this machine measured, its meaning, the page and the next command."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nmtkd.evidence import screen, tables
from nmtkd.evidence.findings import Findings
from nmtkd.evidence.headline import Headline
from nmtkd.evidence.results import ResultsError
from tests.unit.evidence import report_tree

LINES = 30  # of a terminal


def _written(root: Path, headline: Headline = report_tree.HEADLINE, **changes: Any) -> str:
    """Results and table.md of a study; returns its lead."""
    study = report_tree.grid(**changes)
    report_tree.write(root, study)
    _, summaries = report_tree.summarise(root, study, headline)
    table = tables.build(summaries, study, report_tree.REPORT, headline, 5)
    lead = Findings(summaries, "95%", headline).lead()
    (root / screen.TABLE).write_text(tables.as_markdown(table, lead), encoding="utf-8")
    return lead


def _rows(text: str) -> dict[tuple[str, str], list[str]]:
    """The two last cells of each row, by method and capacity."""
    lines = text.splitlines()
    cells = [line.split() for line in lines[2 : lines.index("")]]
    return {(row[0], row[1]): row[-2:] for row in cells}


def test_the_screen_is_the_result(tmp_path: Path) -> None:
    lead = _written(tmp_path)
    text = screen.text(report_tree.grid(), tmp_path)
    lines = text.splitlines()
    assert lines[0].startswith("method") and lines[0].endswith("sent/s  train s")
    assert set(map(tuple, _rows(text).values())) == {("-", "-")}
    table, meaning, commands = text.split("\n\n")
    assert len(table.splitlines()) == 2 + 5
    assert " ".join(meaning.split()) == lead and lead.count(". ") == 1
    assert commands.splitlines()[0] == "Marks  ≠ another verdict at lp 1"
    assert commands.splitlines()[1] == f"Page   {tmp_path / 'reports/index.html'}"
    assert commands.splitlines()[2] == "Notes  reports/table.md; sent/s, train s: -"
    assert commands.splitlines()[3].startswith("Next   dvc exp run -S study=capacity   three seeds")
    assert "Caution" not in text and "chrF2:" not in text  # notes stay in table.md


def test_it_shows_what_this_machine_measured_of_these_models(tmp_path: Path) -> None:
    """Not what it measured of another model with the same name, nor of broken files."""
    _written(tmp_path)
    report_tree.write_machine(tmp_path, "teacher-clean", 100.4, 61.7)
    report_tree.write_machine(tmp_path, "seq-tiny-clean-beam-1", 950.0, 30.0)
    report_tree.write_machine(tmp_path, "plain-tiny-clean-1", 9000.0, 9.0, model="another")
    (tmp_path / "reports/machine/training/seq-small-clean-beam-1.js").write_text("machine(3);\n")
    (tmp_path / "reports/machine/decoding/seq-small-clean-beam-1.js").write_text("machine({")
    text = screen.text(report_tree.grid(), tmp_path)
    assert "Notes  reports/table.md; sent/s, train s: Abacus <9>, 2 cores\n" in text
    assert _rows(text) == {
        ("teacher", "teacher"): ["100", "62"],
        ("plain", "tiny"): ["-", "-"],
        ("seq", "tiny"): ["950", "30"],
        ("plain", "small"): ["-", "-"],
        ("seq", "small"): ["-", "-"],
    }


def test_several_seeds_are_a_mean_over_those_that_were_measured(tmp_path: Path) -> None:
    """Rows are told apart by noise and decoding too; with several seeds the next step is another one."""
    study: dict[str, Any] = {
        "noises": ["clean", "del10"],
        "decodings": ["beam", "greedy"],
        "seeds": [1, 2, 3],
    }
    _written(tmp_path, **study, capacities=["tiny"])
    for seed, rate in ((1, 100.0), (3, 300.0)):
        report_tree.write_machine(tmp_path, f"seq-tiny-del10-greedy-{seed}", rate, 10.0 * seed)
    report_tree.write_machine(tmp_path, "plain-tiny-clean-2", 77.0, 7.0)
    text = screen.text(report_tree.grid(**study, capacities=["tiny"]), tmp_path)
    measured = [line.split() for line in text.splitlines()[2:] if line and line.split()[-1] in ("20", "7")]
    assert [(*row[:4], *row[-2:]) for row in measured] == [
        ("plain", "tiny", "clean", "none", "77", "7"),
        ("seq", "tiny", "del10", "greedy", "200", "20"),
    ]
    assert "Next   dvc exp run -S study=noise" in text


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_a_small_test_set_asks_for_a_larger_one(tmp_path: Path, seeds: list[int]) -> None:
    """Not for seeds; and no interval is on the screen."""
    low = replace(report_tree.SMALL, ceiling=90.0)
    _written(tmp_path, low, seeds=seeds)
    text = screen.text(report_tree.grid(seeds=seeds), tmp_path)
    assert "Next   a larger test set   " in text and "[" not in text
    words = " ".join(text.split())
    assert "12 segments are too few for a verdict, which takes 13 (report.min_segments). " in words
    assert "No model can score more than 90.0 BLEU on `test`" in words
    _written(tmp_path / "none", methods=report_tree.methods(seq=["seq"]))
    text = screen.text(report_tree.grid(methods=report_tree.methods(seq=["seq"])), tmp_path / "none")
    assert "Next   dvc exp run" in text


def test_a_screen_without_marks_explains_none(tmp_path: Path) -> None:
    _written(tmp_path, capacities=["tiny"])
    text = screen.text(report_tree.grid(capacities=["tiny"]), tmp_path)
    assert "Marks" not in text and "mark" not in text.splitlines()[0]


def test_what_few_need_gives_way_in_its_order(tmp_path: Path) -> None:
    """A narrow table keeps all columns."""
    _written(tmp_path)
    table, _ = tables.from_markdown((tmp_path / screen.TABLE).read_text(encoding="utf-8"))
    kept = [
        {name for name in table.header if name not in screen._fitted(table, width).header}
        for width in (500, 140, 115, 0)
    ]
    assert kept[0] == set() and kept[1] < kept[2] < kept[3]
    assert kept[3] == {"tok-lc", "lp", "climb", "chrF2", "MB", "p", "passes", "5+ words", "greedy", "params"}


def test_nine_models_fit_a_screen(tmp_path: Path) -> None:
    """Columns that few need give way where names are long."""
    families = report_tree.methods(plain=["plain"], seq=["seq"], hybrid=["hybrid_best"])
    studies: list[dict[str, Any]] = [{"seeds": [1]}, {"seeds": [1, 2]}, {"noises": ["clean", "del10"]}]
    for number, changes in enumerate(studies):
        _written(tmp_path / str(number), methods=families, capacities=["tiny", "gated", "small"], **changes)
        study = report_tree.grid(methods=families, capacities=["tiny", "gated", "small"], **changes)
        text = screen.text(study, tmp_path / str(number))
        lines = [line for line in text.splitlines() if not line.startswith("Page")]
        assert max(map(len, lines)) <= screen.WIDTH
        assert len(lines) < LINES
        assert all(
            name in lines[0] for name in ("BLEU", "BP", "vs plain", "at lp 1", "p Holm", "mark", "sent/s")
        )
        assert "\nMarks  * other data than plain\n" in text


def test_a_missing_or_foreign_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    with pytest.raises(ResultsError, match=r"reports/table\.md: missing; run `dvc repro`"):
        screen.text(report_tree.grid(), tmp_path)
    (tmp_path / screen.TABLE).write_text("no table\n")
    with pytest.raises(ResultsError, match=r"reports/table\.md: no table of this report .* run `dvc repro`"):
        screen.text(report_tree.grid(), tmp_path)
