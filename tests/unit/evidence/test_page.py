"""The page: what it holds, that it needs nothing but itself, and what it shows of this machine."""

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import pytest

from nmtkd.evidence import cards, figures, page, speed_figure, tables
from nmtkd.evidence.headline import Headline
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.runs import runs
from tests.unit.evidence import report_tree

PAGES: dict[str, tuple[str, list[figures.Drawing]]] = {}  # that were made, by what they are of


@pytest.fixture(autouse=True)
def no_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page holds SVGs; drawing its figures once more as PNGs takes a third of its time."""
    monkeypatch.setattr(figures, "PNG_FIGURES", ())


def _page(root: Path, *of: Any, **changes: Any) -> tuple[str, list[figures.Drawing]]:
    """As `_made`, made once: whoever goes on with the tree in `root` makes it anew."""
    key = repr((of, sorted(changes.items())))
    if key not in PAGES:
        PAGES[key] = _made(root, *of, **changes)
    return PAGES[key]


def _made(
    root: Path,
    card: dict[str, Any] = report_tree.CARD,
    headline: Headline = report_tree.HEADLINE,
    **changes: Any,
) -> tuple[str, list[figures.Drawing]]:
    """The page of this card, test set and grid, and its figures."""
    study = report_tree.grid(**changes)
    report_tree.write(root, study)
    (root / "figures").mkdir()
    data = report_tree.figure_data(root, study, headline)
    drawings = figures.draw(data, root / "figures")
    results, summaries = report_tree.summarise(root, study, headline)
    table = tables.build(summaries, study, report_tree.REPORT, headline, 5)
    return page.build(results, data, table, drawings, card), drawings


def _without_scripts(html: str) -> str:
    return re.sub(r"<script.*?</script>", "", html, flags=re.DOTALL)


def test_the_page_holds_every_figure_and_needs_nothing_else(tmp_path: Path) -> None:
    """But what this machine measured, which it can do without."""
    html, drawings = _page(tmp_path)
    assert len(drawings) == 3
    keys = ["teacher-clean", *(run.key for run in runs(report_tree.grid()))]
    sources = [f"machine/{kind}/{key}.js" for key in keys for kind in ("training", "decoding")]
    assert sorted(re.findall(r'<script src="([^"]*)"></script>', html)) == sorted(sources)
    assert re.findall(r"\b(?:fetch|import|XMLHttpRequest)\b", page.SCRIPT) == []
    html = _without_scripts(html)
    for drawing in drawings:
        assert f'<figure id="{drawing.name}">' in html and escape(drawing.caption.split(";")[0]) in html
    assert '<figure id="quality_and_speed">' in html
    assert html.count("<svg") == 3
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


@pytest.mark.parametrize(
    ("changes", "extent"),
    [
        ({}, "4 students, 2 methods, 2 sizes, 1 seed"),
        ({"capacities": ["tiny"], "seeds": [1, 2]}, "4 students, 2 methods, 1 size, 2 seeds"),
        (
            {"noises": ["clean", "del10"], "decodings": ["beam", "greedy"]},
            "12 students, 2 methods, 2 sizes, 1 seed, 2 noise conditions, 2 decodings",
        ),
    ],
)
def test_the_page_begins_with_the_extent_of_the_grid(
    tmp_path: Path, changes: dict[str, Any], extent: str
) -> None:
    """No teacher is a student, nor a method."""
    study = report_tree.grid(**changes)
    report_tree.write(tmp_path, study)
    data = report_tree.figure_data(tmp_path, study)
    table = tables.build(data.summaries, study, report_tree.REPORT, data.headline, 5)
    html = page.build(report_tree.summarise(tmp_path, study)[0], data, table, [], report_tree.CARD)
    assert f'<p class="sub">{extent}</p>' in html


@pytest.mark.parametrize(
    ("noises", "names"), [(["clean"], ["teacher"]), (["clean", "del10"], ["clean", "del10"])]
)
def test_several_teachers_stand_together_by_their_noise(
    tmp_path: Path, noises: list[str], names: list[str]
) -> None:
    html, _ = _page(tmp_path, noises=noises)
    headings = re.findall(r'<th scope="rowgroup"[^>]*><span>([^<]*)</span>', html)
    assert headings.count("teachers") == (len(noises) > 1)
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>', html)
    assert rows[: len(names)] == names


def test_clear_differences_are_coloured(tmp_path: Path) -> None:
    """Two students, a difference, its interval, and the difference at length penalty 1, which one lacks."""
    html, _ = _page(tmp_path)
    assert html.count("<td class=gain>") == 2 * 2 + 1 and html.count("<td class=unclear>+0.0") == 1
    assert html.count("<td class=unclear>") == 1 and "<td class=loss>" not in html


def test_an_interval_says_what_it_covers(tmp_path: Path) -> None:
    """And what is fixed in it; nothing is promised of what was not varied."""
    groups = [f"text {number // 3}" for number in range(12)]
    reading = {}
    for name, seeds in (("one", [1]), ("two", [1, 2])):
        html, _ = _page(tmp_path / name, seeds=seeds)
        told = html[html.index('<section id="reading">') : html.index('<section id="files">')]
        reading[name] = told
        assert "draws the 12 segments anew, the same for both systems" in reading[name]
        assert (
            "Fixed are the split of the corpus, the teacher, the noise drawn and the teacher's"
            in reading[name]
        )
        assert "p is below 0.05 after Holm's correction" in reading[name]
        assert not re.search(r"would most likely|same sign|excludes 0", html)
    assert "and with one seed the one training of each student: how" in reading["one"]
    assert "other seeds" not in reading["one"]
    assert "one training" not in reading["two"]
    assert "and other seeds of the students' trainings, by Student's t" in reading["two"]
    grouped = replace(report_tree.HEADLINE, groups=groups)
    assert "whole groups of segments (4 groups, the largest with 3 of 12 segments)" in page._intervals(
        grouped, 1, "95%"
    )


def test_length_has_its_section(tmp_path: Path) -> None:
    """A run a row: the penalty, the validation scores that chose it, and what length does on the test set."""
    html, _ = _made(tmp_path)
    section = html[html.index('<section id="length">') : html.index('<section id="data">')]
    assert '<th scope="col">validation BLEU at 1.0</th><th scope="col">validation BLEU at 1.4</th>' in section
    row = '<th scope="row">seq-small-clean-beam-1</th><td>1.4</td><td>10.2</td><td>9.5</td>'
    assert row + "<td>1.00</td><td>1.00</td><td>1.00</td><td>1.00</td></tr>" in section
    assert section.count('<th scope="row">') == 5
    found, _ = report_tree.summarise(tmp_path, report_tree.grid())
    values = {("beam", "brevity_penalty"): 0.61, ("beam", "length_ratio"): 0.67}
    values |= {("beam_at_1", "brevity_penalty"): 0.72, ("beam_at_1", "length_ratio"): 0.75}
    scores = [
        score.model_copy(update={"value": values.get((score.search, score.metric), 0.0)})
        for score in found[1].scores
        if score.split == "test"
    ]
    section = cards.lengths([found[1].model_copy(update={"scores": scores})], "test", "BLEU")
    assert "<td>0.61</td><td>0.67</td><td>0.72</td><td>0.75</td></tr>" in section


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_a_page_of_a_small_test_set_speaks_no_verdict(tmp_path: Path, seeds: list[int]) -> None:
    html, _ = _page(tmp_path, headline=report_tree.SMALL, seeds=seeds)
    html = _without_scripts(html)
    html = html[html.index("<body>") :]
    assert "12 segments are too few for a verdict, which takes 13 (report.min_segments)" in html
    assert "class=gain" not in html and "class=loss" not in html and html.count("class=unclear") == 2 * 3
    assert "Best student" not in html and "Gap closed" not in html
    for claim in ("One seed a cell.", "cover the choice", "Holm's", "The interval of", "t-interval"):
        assert claim not in html


def test_without_comparisons_the_page_tells_of_no_interval(tmp_path: Path) -> None:
    html, _ = _page(tmp_path, methods=report_tree.methods(seq=["seq"]))
    assert "One seed a cell." in html and "Name several seeds" in html
    assert "intervals cover" not in html and "The interval of" not in html and "Holm's" not in html


def test_the_ceiling_is_shown_with_the_lines_that_do_not_come_back(tmp_path: Path) -> None:
    """Markup as text, odd spaces by their code point; nothing of it where every line comes back."""
    worst = [{"split": "test", "line": 7, "reference": "a\u00a0<b>  c", "comes back as": "a <b> c\u200d"}]
    row = {"BLEU": 98.25, "lines": 12, "to the letter": 11, "spaces": 1}
    low = {"ceiling": {"test": row, "valid": row | {"BLEU": 100.0}}, "ceiling_worst": worst}
    html, _ = _page(tmp_path / "low", report_tree.CARD | low, replace(report_tree.HEADLINE, ceiling=98.25))
    section = html[html.index('<section id="data">') : html.index('<section id="reading">')]
    ceiling = section[section.index("The ceiling: references through tokeniser, BPE and back") :]
    assert '<th scope="row">test</th><td>98.25</td><td>12</td><td>11</td><td>1</td>' in ceiling
    assert '<th scope="row">valid</th><td>100.0</td>' in ceiling
    assert "".join(f'<th scope="col" class=left>{name}</th>' for name in worst[0]) in ceiling
    cells = "<td class=text>7</td><td class=text>a[U+00A0]&lt;b&gt;  c</td>"
    assert cells + "<td class=text>a &lt;b&gt; c[U+200D]</td>" in ceiling
    assert "ceiling worst" not in section and "<b>  c" not in html
    assert html.count("No model can score more than 98.2 BLEU on <code>test</code>") == 2  # lead and notes
    html, _ = _page(tmp_path / "high")
    assert "The ceiling: references" in html and "comes back as" not in html
    assert "No model can score more than" not in html


@pytest.mark.parametrize(
    "odd",
    [
        {"normalised": {}},
        {"normalised": {"test": {}}},
        {"normalised": {"test": {"nfc": 3}, "valid": {"nfc": 0}}},
        {"ceiling_worst": []},
        {"dropped": {}},
        {"dropped_share": 0.25},
    ],
)
def test_a_card_may_have_empty_parts(odd: dict[str, Any]) -> None:
    html = cards.data(report_tree.CARD | odd)
    assert html.count("<table>") == html.count("</table>") and "[]" not in html and "{}" not in html


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


def test_every_family_is_explained_where_the_grid_has_it(tmp_path: Path) -> None:
    html, _ = _page(tmp_path, **report_tree.ADAPTIVE)
    for name, methods in (("plain", "plain"), ("seq", "seq"), ("hybrid", "hybrid_best")):
        assert f"<b>{methods}</b> {FAMILIES[name].sentence}" in html
    for name in ("word", "both", "online"):
        assert FAMILIES[name].sentence not in html


def _opened(root: Path, html: str) -> dict[str, Any]:
    """What page.js makes of the page and of the files beside it."""
    path = root / "reports/index.html"
    path.write_text(html, encoding="utf-8")
    node = shutil.which("node")
    if node is None:
        pytest.skip("node runs the page's script; there is none")
    command = [node, str(Path(__file__).with_name("open_page.js")), str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    opened: dict[str, Any] = json.loads(done.stdout)
    return opened


def test_the_page_shows_no_time_and_no_rate_by_itself(tmp_path: Path) -> None:
    html, _ = _made(tmp_path)
    assert html.count(">-</td>") == 10  # five models, two columns
    assert "No speed was measured" in html
    opened = _opened(tmp_path, html)
    assert {text for _, _, text in opened["cells"]} == {"-"}
    assert (opened["plot"], opened["caption"]) == ("", "")


def test_the_page_shows_what_this_machine_measured(tmp_path: Path) -> None:
    """Of these very models: a fact of another model with the same name does not count."""
    html, _ = _made(tmp_path)
    report_tree.write_machine(tmp_path, "teacher-clean", 100.4, 61.7)
    report_tree.write_machine(tmp_path, "plain-tiny-clean-1", 950.0, 30.0)
    report_tree.write_machine(tmp_path, "seq-tiny-clean-beam-1", 9000.0, 9.0, model="another")
    opened = _opened(tmp_path, html)
    cells = {(value, key): text for value, key, text in opened["cells"]}
    assert cells["beam", "teacher-clean"] == "100" and cells["seconds", "teacher-clean"] == "62"
    assert cells["beam", "plain-tiny-clean-1"] == "950" and cells["seconds", "plain-tiny-clean-1"] == "30"
    assert cells["beam", "seq-tiny-clean-beam-1"] == cells["seconds", "seq-tiny-clean-beam-1"] == "-"
    assert cells["beam", "plain-small-clean-1"] == "-"
    svg = ET.fromstring(opened["plot"])
    marks = [mark for mark in svg if mark.tag in ("circle", "polygon")]
    assert len(marks) == 2 * 2 + 2  # beam and greedy of two models, and the methods above
    assert [mark.get("fill") for mark in marks if mark.tag == "circle"] == ["#555555", "#fff", "#555555"]
    texts = [text.text for text in svg.iter("text")]
    assert {"teacher", "plain", "tiny", "200", "1000", "sentences a second"} <= set(texts)
    assert "seq" not in texts
    assert opened["caption"] == "Measured on Abacus <9>, 2 cores."


def test_no_text_can_end_the_pages_script(tmp_path: Path) -> None:
    study = report_tree.grid()
    report_tree.write(tmp_path, study)
    data = report_tree.figure_data(tmp_path, study, report_tree.HEADLINE)
    html = speed_figure.figure(replace(data, styles=dict.fromkeys(data.styles, ("</script>", "o"))))
    (content,) = re.findall(r'<script type="application/json">(.*?)</script>', html)
    assert {"</script>"} < {point["style"][0] for point in json.loads(content)["points"]}


def test_several_seeds_show_the_mean_of_those_that_were_measured(tmp_path: Path) -> None:
    html, _ = _made(tmp_path, seeds=[1, 2, 3])
    for seed, beam in ((1, 100.0), (3, 300.0)):
        report_tree.write_machine(tmp_path, f"plain-tiny-clean-{seed}", beam, 10.0 * seed)
    cells = {(value, key): text for value, key, text in _opened(tmp_path, html)["cells"]}
    assert cells["beam", "plain-tiny-clean-1"] == "200" and cells["seconds", "plain-tiny-clean-1"] == "20"


def test_sentences_on_the_page_tell_no_speed(tmp_path: Path) -> None:
    """A sentence is the same on every machine."""
    html, _ = _page(tmp_path)
    section = html[html.index('<section id="findings">') : html.index('<section id="table">')]
    assert "speed" not in section and "sentences/s" not in section
