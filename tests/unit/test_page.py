"""Figures, findings, the page and the stage that writes them."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import report

from nmtkd.evidence import canvas, figures, page, tables
from nmtkd.evidence.findings import Findings
from nmtkd.evidence.statistics import Comparison, Spread
from nmtkd.evidence.tables import Summary
from nmtkd.params import FAMILY_SHAPES
from tests.unit import report_tree

ROOT = Path(__file__).parent.parent.parent
ALWAYS = ["bleu_by_capacity", "gain_over_plain", "quality_and_speed", "learning_curves"]


def _draw(root: Path, **changes: Any) -> list[figures.Drawing]:
    study = report_tree.grid(**changes)
    report_tree.write(root, study)
    (root / "figures").mkdir()
    return figures.draw(report_tree.material(root, study), root / "figures")


def _page(root: Path, card: dict[str, Any] = report_tree.CARD, **changes: Any) -> tuple[str, list[figures.Drawing]]:
    drawings = _draw(root, **changes)
    study = report_tree.grid(**changes)
    found, summaries = report_tree.summarise(root, study)
    table = tables.build(summaries, study, report_tree.REPORT, "test", 5)
    return page.build(found, summaries, table, drawings, card=card, grid=study, level="95%", headline="test"), drawings


def test_figures_are_the_same_bytes_again(tmp_path: Path) -> None:
    _draw(tmp_path / "one")
    _draw(tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one/figures").iterdir())
    assert files == sorted([f"{name}.svg" for name in ALWAYS] + ["bleu_by_capacity.png", "learning_curves.png"])
    for name in files:
        assert (tmp_path / "one/figures" / name).read_bytes() == (tmp_path / "two/figures" / name).read_bytes()


def test_figures_follow_the_grid(tmp_path: Path) -> None:
    names = [one.name for one in _draw(tmp_path / "noise", noises=["clean", "del10"], seeds=[1, 2])]
    assert "bleu_by_noise" in names and "bleu_by_decoding" not in names
    drawings = {one.name: one for one in _draw(tmp_path / "decoding", decodings=["beam", "greedy"], capacities=["tiny"])}
    assert "bleu_by_decoding" in drawings and "bleu_by_noise" not in drawings
    assert "Shown: decoding beam." in drawings["bleu_by_capacity"].caption
    names = [one.name for one in _draw(tmp_path / "bare", methods=report_tree.methods(seq=["seq"]))]
    assert "gain_over_plain" not in names


def test_figures_hold_text_and_no_date(tmp_path: Path) -> None:
    svg = {one.name: one.svg for one in _draw(tmp_path)}
    assert ">teacher, 2.61M</text>" in svg["bleu_by_capacity"] and ">seq</text>" in svg["bleu_by_capacity"]
    assert "dc:date" not in svg["learning_curves"]


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
        (svg,) = (one.svg for one in _draw(tmp_path / str(number), **changes) if one.name == "learning_curves")
        assert [label for label in labels if f">{label}</text>" in svg] == wanted


def test_no_two_methods_look_the_same() -> None:
    """Of as many as the configuration knows: colour and marker together tell a method."""
    known = list(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["methods"])
    assert len(known) > len(canvas.COLOURS)
    assert len(set(canvas.looks(known).values())) == len(known)


def test_labels_stand_apart() -> None:
    assert canvas.apart([1.0, 1.1, 5.0], 1.0) == pytest.approx([0.55, 1.55, 5.0])
    assert canvas.apart([3.0, 1.0], 1.0) == [3.0, 1.0]


def test_the_page_holds_every_figure_and_needs_nothing_else(tmp_path: Path) -> None:
    html, drawings = _page(tmp_path)
    assert len(drawings) == 4
    for one in drawings:
        assert f'<figure id="{one.name}">' in html and one.caption.split(";")[0] in html
    assert html.count("<svg") == 4
    assert "<script" not in html and "<link" not in html and "<img" not in html and "@import" not in html
    assert not re.findall(r'(?:href|src)="(?!#)(?!(?:table\.md|[a-z]+\.csv)")[^"]*"', html)
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'(?:href="#|url\(#)([^")]+)', html):
        assert reference in ids


def test_the_page_shows_data_and_signatures(tmp_path: Path) -> None:
    html, _ = _page(tmp_path, report_tree.CARD | {"license": "<b>odd & old</b>"})
    assert "&lt;b&gt;odd &amp; old&lt;/b&gt;" in html and "<b>odd" not in html
    assert "<td>1,360</td>" in html and "<td>3 (25.0%)</td>" in html and "exact duplicates" in html
    assert "bleu: nrefs:1|case:mixed" in html and "One seed a cell." in html


def test_the_page_shows_what_students_chose(tmp_path: Path) -> None:
    html, _ = _page(tmp_path / "adaptive", **report_tree.ADAPTIVE)
    section = html[html.index('<section id="adapted">') : html.index('<section id="data">')]
    row = '<th scope="row">hybrid_best-tiny-clean-beam-1</th><td>0.25</td><td>0.25: 12.5, 0.75: 11.0</td>'
    assert row in section
    row = '<th scope="row">plain-gated-clean-1</th><td>64</td><td>37</td><td>58%</td><td>70k</td><td>61k</td>'
    row += "<td>12.8</td><td>12.5</td><td>12.6</td>"
    assert row in section
    assert "plain-tiny" not in section
    html, _ = _page(tmp_path / "plain")
    assert "What students chose" not in html


def test_every_family_is_told_where_the_grid_has_it(tmp_path: Path) -> None:
    assert set(page.FAMILIES) == set(FAMILY_SHAPES)
    html, _ = _page(tmp_path, **report_tree.ADAPTIVE)
    assert f"<b>hybrid_best</b> {page.FAMILIES['hybrid']}" in html
    assert page.FAMILIES["online"] not in html


def _summary(method: str, mean: float, gain: Comparison | None = None, capacity: str = "tiny") -> Summary:
    size = {"teacher": 2_000_000, "tiny": 100_000}[capacity]
    spreads = {("test", "beam", "bleu"): Spread(mean, None, None, None, 1)}
    return Summary(method, capacity, "clean", "none", size, 1.0, spreads, {} if gain is None else {"beam": gain}, {})


def test_findings_call_only_what_can_be_told() -> None:
    """One gain, one loss, one interval that holds 0."""
    summaries = [
        _summary("teacher", 40.0, capacity="teacher"),
        _summary("plain", 30.0),
        _summary("seq", 32.5, Comparison(2.5, 1.2, 3.9, 0.002)),
        _summary("word", 30.4, Comparison(0.4, -0.5, 1.3, 0.4)),
        _summary("both", 28.0, Comparison(-2.0, -3.0, -1.0, 0.002)),
    ]
    found = Findings(summaries, "95%", "test")
    assert found.lead() == (
        "The teacher (2M parameters) scores 40.0 BLEU on `test`. "
        "Beside the plain student of the same size, 1 of 3 distilled students score higher, 1 lower, and for 1 no difference can be told. "
        "Most of all, `seq` gains +2.5 BLEU (95% interval +1.2 to +3.9) over `plain` at `tiny`. "
        "Most of all, `both` loses 2.0 BLEU (95% interval -3.0 to -1.0) to `plain` at `tiny`."
    )
    assert found.places() == [
        (
            "`tiny`",
            "(100k parameters, `plain` 30.0 BLEU): `seq` gains +2.5 BLEU (95% interval +1.2 to +3.9); "
            "`word`: no difference can be told (+0.4, 95% interval -0.5 to +1.3); `both` loses 2.0 BLEU (95% interval -3.0 to -1.0).",
        )
    ]
    assert found.numbers()[1] == ("Best student", "32.5", "BLEU, `seq` at `tiny`: 5% of the teacher's parameters")
    assert found.numbers()[2] == ("Gap closed", "25%", "of the way from `plain` (30.0) to the teacher (40.0), `seq` at `tiny`")


def test_findings_claim_no_gap_closed_without_a_gain() -> None:
    summaries = [
        _summary("teacher", 40.0, capacity="teacher"),
        _summary("plain", 30.0),
        _summary("word", 30.4, Comparison(0.4, -0.5, 1.3, 0.4)),
    ]
    found = Findings(summaries, "95%", "test")
    assert "none of 1 distilled students score higher, none lower, and for 1 no difference can be told." in found.lead()
    assert len(found.numbers()) == 2


def test_the_stage_writes_the_same_bytes_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And says where the page is."""
    study = report_tree.grid()
    report_tree.write(tmp_path, study)
    raw: dict[str, Any] = {}
    for name in ("config", "corpus/homeassistant", "scale/quick"):
        raw |= yaml.safe_load((ROOT / f"conf/{name}.yaml").read_text(encoding="utf-8"))
    del raw["defaults"]
    raw["report"]["bootstrap_samples"] = 50
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw | {"grid": study.model_dump()}), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    outs = []
    for _ in range(2):
        report.main()
        outs.append({path: path.read_bytes() for path in sorted(Path("reports").rglob("*")) if path.is_file()})
    assert outs[0] == outs[1]
    names = {str(path.relative_to("reports")) for path in outs[0] if "runs" not in path.parts}
    files = {"results.csv", "speed.csv", "adapted.csv", "bleu.csv", "curves.csv", "metrics.json", "table.md", "index.html"}
    assert names == files | {f"figures/{name}.svg" for name in ALWAYS} | {"figures/bleu_by_capacity.png", "figures/learning_curves.png"}
    printed = capsys.readouterr().out
    assert "vs plain" in printed and printed.rstrip().endswith(str(tmp_path / "reports/index.html"))
