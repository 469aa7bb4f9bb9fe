"""The printed table and its notes, and numbers as they are written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nmtkd.evidence import numbers, tables
from nmtkd.evidence.findings import Findings
from nmtkd.evidence.statistics import Comparison, Evidence, Spread
from nmtkd.plan import layout
from tests.unit.evidence import report_tree

GOLDEN = Path(__file__).parent.parent.parent / "golden"
SEVERAL = {"noises": ["clean", "del10"], "decodings": ["beam", "greedy"], "seeds": [1, 2]}


def _table(root: Path, **changes: object) -> tables.Table:
    study = report_tree.grid(**changes)
    report_tree.write(root, study)
    return tables.build(
        report_tree.summarise(root, study)[1], study, report_tree.REPORT, report_tree.HEADLINE, 5
    )


def test_the_table_is_the_golden_one(tmp_path: Path) -> None:
    study = report_tree.grid()
    report_tree.write(tmp_path, study)
    _, summaries = report_tree.summarise(tmp_path, study)
    table = tables.build(summaries, study, report_tree.REPORT, report_tree.HEADLINE, 5)
    text = tables.as_markdown(table, Findings(summaries, "95%", report_tree.HEADLINE).lead())
    assert text == (GOLDEN / "report_table.md").read_text(encoding="utf-8")


def test_terminal_and_markdown_say_the_same(tmp_path: Path) -> None:
    """The terminal has no notes."""
    table = _table(tmp_path)
    text, markdown = tables.as_text(table), tables.as_markdown(table, "What it means.")
    for row in (table.header, *table.rows):
        for cell in row:
            assert cell in text and cell in markdown
    assert all(note in markdown and note not in text for note in table.notes)
    lines = text.splitlines()
    assert lines[1] == "-" * max(map(len, lines))  # the rule is as wide as the table
    assert len(lines) == 2 + len(table.rows)


def test_markdown_is_read_as_it_was_written(tmp_path: Path) -> None:
    table = _table(tmp_path, **SEVERAL)
    assert tables.from_markdown(tables.as_markdown(table, "What it means.")) == (table, "What it means.")
    for text in ("", "no table\n", "| a | b |\n| --- | --- |\n| c |\n"):
        with pytest.raises(ValueError, match=r"another number of cells|not enough values"):
            tables.from_markdown(text)


def _written(root: Path) -> Path:
    report_tree.write(root, report_tree.grid())
    return root


def test_one_seed_is_cautioned(tmp_path: Path) -> None:
    notes = _table(tmp_path / "one").notes
    assert notes[-1] == (
        "Caution, one seed a cell: nothing here tells where a second training would land, "
        "nor which sign a difference would have then."
    )
    assert any(note.endswith("by paired bootstrap over the 12 segments, 200 samples.") for note in notes)
    notes = _table(tmp_path / "two", seeds=[1, 2]).notes
    assert not any(note.startswith("Caution") for note in notes)
    pooled = (
        "the 12 segments and Student's t over seeds, whose luck is pooled over all students, 200 samples."
    )
    assert any(note.endswith(pooled) for note in notes)


def test_a_table_of_two_precisions_says_so(tmp_path: Path) -> None:
    study = report_tree.grid()
    report_tree.write(tmp_path, study)
    _, summaries = report_tree.summarise(tmp_path, study)
    mixed = [
        replace(one, precision="bfloat16" if one.method == "teacher" else "float32") for one in summaries
    ]
    said = [
        tables.build(rows, study, report_tree.REPORT, report_tree.HEADLINE, 5).notes
        for rows in (mixed, summaries)
    ]
    (caution,) = [note for note in said[0] if note not in said[1]]
    others = ", ".join(dict.fromkeys(one.method for one in tables.in_order(summaries, study)[1:]))
    assert caution == (
        f"Caution, products in training were not of one type. bfloat16: teacher; float32: {others}."
    )


def test_a_table_of_translations_in_int8_says_so(tmp_path: Path) -> None:
    study = report_tree.grid()
    report_tree.write(tmp_path, study)
    _, summaries = report_tree.summarise(tmp_path, study)
    rounded = [replace(one, compute="int8") for one in summaries]
    said = [
        tables.build(rows, study, report_tree.REPORT, report_tree.HEADLINE, 5).notes
        for rows in (rounded, summaries)
    ]
    assert [note for note in said[0] if note not in said[1]] == [
        "All models translated the test sets in int8 (evaluate.compute)."
    ]


def test_p_is_corrected_for_all_rows(tmp_path: Path) -> None:
    """As many resamples as can show a difference among two rows cannot among ten."""
    table = _table(tmp_path / "few")
    columns = [table.header.index(name) for name in ("p", "p Holm")]
    assert [[row[i] for i in columns] for row in table.rows if row[0] == "seq"] == [["0.010", "0.020"]] * 2
    assert any("corrected for there being 2 comparisons (Holm 1979)" in note for note in table.notes)
    assert not any(note.startswith("No difference can be shown") for note in table.notes)
    table = _table(tmp_path / "many", noises=["clean", "a", "b", "c", "d"])
    columns = [table.header.index(name) for name in ("p", "p Holm")]
    assert [[row[i] for i in columns] for row in table.rows if row[0] == "seq"] == [["0.010", "0.100"]] * 10
    wanted = (
        "No difference can be shown: with 200 samples and 10 comparisons the least p Holm is 0.100; raise "
    )
    assert wanted + "report.bootstrap_samples." in table.notes


def test_length_stands_beside_bleu(tmp_path: Path) -> None:
    """The penalty of each model, what brevity costs, and the gain where all have penalty 1."""
    study = report_tree.grid(seeds=[1, 2])
    report_tree.write(tmp_path, study)
    report_tree.edit(tmp_path, "seq-small-clean-beam-2", {"length_penalty": 0.6})
    shown = {"split": "test", "search": "beam", "metric": "brevity_penalty"}
    for seed, brevity in ((1, 0.9), (2, 0.8)):
        key = f"seq-tiny-clean-beam-{seed}"
        scores = json.loads((tmp_path / layout.scores_file(key)).read_text(encoding="utf-8"))["scores"]
        changed = [one | ({"value": brevity} if shown.items() <= one.items() else {}) for one in scores]
        report_tree.edit(tmp_path, key, {"scores": changed})
    _, summaries = report_tree.summarise(tmp_path, study)
    table = tables.build(summaries, study, report_tree.REPORT, report_tree.HEADLINE, 5)
    assert table.header[3:6] == ["BLEU", "BP", "lp"]
    columns = [table.header.index(name) for name in ("BP", "lp", "at lp 1", "mark")]
    rows = {(row[0], row[1]): [row[i] for i in columns] for row in table.rows}
    assert rows["teacher", "teacher"] == ["1.00", "1", "", ""]
    assert rows["seq", "tiny"] == ["0.85", "1", "+38.6", ""]
    assert rows["seq", "small"] == ["1.00", "0.6-1.4", "+0.0", "≠"]


def test_differences_and_what_is_known_of_them_are_by_beam(tmp_path: Path) -> None:
    """But one column, which is at length penalty 1."""
    study = report_tree.grid(capacities=["tiny"])
    report_tree.write(tmp_path, study)
    _, summaries = report_tree.summarise(tmp_path, study)
    gains = {
        "beam": Comparison(1.2, Evidence(0.4, 2.1, 0.031, 0.062), 0),
        "beam_at_1": Comparison(2.3, Evidence(1.5, 3.2, 0.011, 0.022), 1),
        "greedy": Comparison(-3.4, Evidence(-4.6, -2.7, 0.012, 0.024), -1),
    }
    summaries = [replace(one, gains=gains if one.gains else {}) for one in summaries]
    table = tables.build(summaries, study, report_tree.REPORT, report_tree.HEADLINE, 5)
    (row,) = (row for row in table.rows if row[0] == "seq")
    told = dict(zip(table.header, row, strict=True))
    columns = ("vs plain", "at lp 1", "95% interval", "p", "p Holm")
    assert [told[name] for name in columns] == ["+1.2", "+2.3", "[+0.4, +2.1]", "0.031", "0.062"]


def test_marks_have_their_notes_where_a_row_has_them(tmp_path: Path) -> None:
    methods = report_tree.methods(plain=["plain"], seq=["seq"], hybrid=["hybrid_best"])
    study = report_tree.grid(methods=methods)
    report_tree.write(tmp_path, study)
    _, summaries = report_tree.summarise(tmp_path, study)
    climbing = [replace(one, climbs=one.method in ("plain", "hybrid_best")) for one in summaries]
    table = tables.build(climbing, study, report_tree.REPORT, report_tree.HEADLINE, 5)
    place = table.header.index("mark")
    assert [row[place] for row in table.rows] == ["", "↑", "", "↑*", "↑", "≠", "↑*"]
    told = {note[0]: note for note in table.notes if note[1] == ":"}
    assert list(told) == ["↑", "≠", "*"]
    assert "rises by more than 1 over the last quarter (report.max_climb" in told["↑"]
    assert "comparisons with it are of speed of learning" in told["↑"]
    assert "the choice of the penalty decides about this difference" in told["≠"]
    assert "another number of sentences than its plain student, or was trained more than once" in told["*"]
    plain = [replace(one, gains={}) for one in summaries if one.method == "plain"]
    table = tables.build(plain, study, report_tree.REPORT, report_tree.HEADLINE, 5)
    assert "mark" not in table.header and not any(note[1] == ":" for note in table.notes)


def test_passes_and_climbs_are_columns(tmp_path: Path) -> None:
    study = report_tree.grid(**report_tree.ADAPTIVE)
    report_tree.write(tmp_path, study)
    _, summaries = report_tree.summarise(tmp_path, study)
    climbs = {"seq": None, "hybrid_best": -0.6}
    changed = [replace(one, climb=climbs.get(one.method, one.climb)) for one in summaries]
    table = tables.build(changed, study, report_tree.REPORT, report_tree.HEADLINE, 5)
    columns = [table.header.index(name) for name in ("passes", "climb")]
    cells = {row[0]: [row[i] for i in columns] for row in table.rows}
    assert (cells["plain"], cells["teacher"]) == (["2.0", "+0.6"], ["5.0", "+0.6"])
    assert (cells["seq"], cells["hybrid_best"]) == (["2.0", "-"], ["4.0", "-0.6"])
    sizes = {row[1]: row[table.header.index("params")] for row in table.rows}
    assert sizes == {"teacher": "2.61M", "tiny": "51.2k", "gated": "61k"}


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_a_small_test_set_bears_no_verdict(tmp_path: Path, seeds: list[int]) -> None:
    """Scores and differences stand there, intervals and p do not; a note says how many segments they take."""
    study = report_tree.grid(seeds=seeds)
    report_tree.write(tmp_path, study)
    _, small = report_tree.summarise(tmp_path, study, report_tree.SMALL)
    table = tables.build(small, study, report_tree.REPORT, report_tree.SMALL, 5)
    assert table.header[-6:] == ["vs plain", "at lp 1", "95% interval", "p", "p Holm", "MB"]
    gains = [row[-6:-1] for row in table.rows]
    assert [cells[2:] for cells in gains] == [[""] * 3, [""] * 3, ["-"] * 3, [""] * 3, ["-"] * 3]
    assert gains[0][:2] == ["", ""] and gains[2][0].startswith("+") and gains[2][1].startswith("+")
    note = next(note for note in table.notes if note.startswith("vs plain"))
    why = "no interval and no p: 12 segments are too few for a verdict, which takes 13 (report.min_segments)."
    assert note.endswith(why)
    assert not any("bootstrap" in note or "Student" in note or "Holm" in note for note in table.notes)
    assert any(note.startswith("Caution, one seed") for note in table.notes) == (seeds == [1])


def test_notes_name_the_tokeniser_and_the_ceiling(tmp_path: Path) -> None:
    study = report_tree.grid()
    report_tree.write(tmp_path, study)
    _, summaries = report_tree.summarise(tmp_path, study)
    low = replace(report_tree.HEADLINE, tokeniser="ja-mecab", ceiling=81.46)
    notes = tables.build(summaries, study, report_tree.REPORT, low, 5).notes
    assert notes[0].startswith(
        "BLEU: sacreBLEU on detokenised text, cased, ja-mecab tokeniser; test set `test`"
    )
    assert not any("13a" in note for note in notes)
    assert notes[-1].startswith("No model can score more than 81.5 BLEU on `test`: so much its references")
    low = replace(report_tree.HEADLINE, ceiling=99.0)
    notes = tables.build(summaries, study, report_tree.REPORT, low, 5).notes
    assert not any("No model" in note for note in notes)


def test_axes_show_where_they_vary(tmp_path: Path) -> None:
    table = _table(tmp_path, **SEVERAL)
    assert table.header[:4] == ["method", "capacity", "noise", "decoding"]
    assert [row[:4] for row in table.rows[:6]] == [
        ["teacher", "teacher", "clean", "none"],
        ["teacher", "teacher", "del10", "none"],
        ["plain", "tiny", "clean", "none"],
        ["seq", "tiny", "clean", "beam"],
        ["seq", "tiny", "clean", "greedy"],
        ["plain", "small", "clean", "none"],
    ]


def test_without_a_plain_method_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    table = _table(tmp_path, methods=report_tree.methods(seq=["seq"]))
    gain = table.header.index("vs plain")
    assert all(row[gain] == "" for row in table.rows)
    assert not any(note.startswith("vs plain") for note in table.notes)
    assert not any("interval" in note for note in table.notes)


def test_metrics_nest_as_far_as_the_grid_does(tmp_path: Path) -> None:
    """They are of the validation set: a parameter that they choose has not seen the test set."""
    study = report_tree.grid()
    _, summaries = report_tree.summarise(_written(tmp_path / "one"), study)
    found = tables.as_metrics(summaries, study)
    valid, test = (summaries[1].spreads[split, "beam", "bleu"].mean for split in ("valid", "test"))
    assert list(found) == ["valid"] and list(found["valid"]) == ["teacher", "plain", "seq"]
    assert found["valid"]["plain"]["tiny"] == round(valid, 2) != valid and round(valid, 2) != round(test, 2)
    study = report_tree.grid(**SEVERAL)
    report_tree.write(tmp_path / "many", study)
    found = tables.as_metrics(report_tree.summarise(tmp_path / "many", study)[1], study)["valid"]
    assert list(found["teacher"]) == ["clean", "del10"]
    assert list(found["seq"]["tiny"]["clean"]) == ["beam", "greedy"]
    assert isinstance(found["plain"]["tiny"]["del10"], float)


@pytest.mark.parametrize(
    ("number", "text"),
    [(950, "950"), (79_400, "79.4k"), (2_614_784, "2.61M"), (264_500, "264k"), (1_300_000_000, "1.3G")],
)
def test_parameters_in_three_digits(number: int, text: str) -> None:
    assert numbers.count(number) == text


def test_a_mean_stands_with_its_standard_deviation() -> None:
    """Not with its interval, which is wider."""
    assert numbers.show(Spread(31.04, 1.26, 28.5, 33.5, 3)) == "31.0 ±1.3"
    assert numbers.show(Spread(31.04, None, None, None, 1)) == "31.0"
    assert numbers.show(None) == ""


def test_what_rounds_to_zero_has_no_minus() -> None:
    assert [numbers.signed(value) for value in (-0.04, 0.0, 0.04, -0.06, 1.25)] == [
        "+0.0",
        "+0.0",
        "+0.0",
        "-0.1",
        "+1.2",
    ]


def test_sizes_of_one_capacity_may_differ() -> None:
    assert numbers.sizes([61_000, 61_000]) == "61k"
    assert numbers.sizes([70_400, 61_000, 65_000]) == "61k to 70.4k"


def test_seeds_of_several_values_are_a_span() -> None:
    assert [numbers.span(values) for values in ([1.0], [1.4, 1.4], [1.4, 0.6, 1.0])] == [
        "1",
        "1.4",
        "0.6-1.4",
    ]


def test_p_has_three_decimals() -> None:
    shown = [numbers.show_p(value) for value in (1.0, 0.0123, 0.001, 0.0009)]
    assert shown == ["1.000", "0.012", "0.001", "<0.001"]
