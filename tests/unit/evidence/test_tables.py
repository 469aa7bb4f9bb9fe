"""Summaries over seeds and the printed table."""

from dataclasses import replace
from pathlib import Path

import pytest

from nmtkd.evidence import numbers, tables
from nmtkd.evidence.findings import Findings
from nmtkd.evidence.results import ResultsError
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


def test_the_best_of_one_seed_is_judged_by_bootstrap(tmp_path: Path) -> None:
    _, summaries = report_tree.summarise(_written(tmp_path), report_tree.grid())
    found = {(one.method, one.capacity): one for one in summaries}
    assert set(found) == {
        ("teacher", "teacher"),
        ("plain", "tiny"),
        ("plain", "small"),
        ("seq", "tiny"),
        ("seq", "small"),
    }
    assert not found["teacher", "teacher"].gains and not found["plain", "tiny"].gains
    seq, plain = found["seq", "tiny"], found["plain", "tiny"]
    for search in ("beam", "greedy"):
        wanted = seq.spreads["test", search, "bleu"].mean - plain.spreads["test", search, "bleu"].mean
        assert seq.gains[search].difference == pytest.approx(wanted, abs=1e-4)
        told = seq.gains[search].evidence
        assert told is not None and told.low < wanted < told.high


def _written(root: Path) -> Path:
    report_tree.write(root, report_tree.grid())
    return root


def test_translations_must_be_those_that_were_scored(tmp_path: Path) -> None:
    _written(tmp_path)
    path = tmp_path / layout.translations_dir("seq-tiny-clean-beam-1") / "test.beam"
    path.write_text("\n".join(report_tree.REFERENCES) + "\n", encoding="utf-8")
    with pytest.raises(
        ResultsError,
        match=r"seq-tiny-clean-beam-1 or plain-tiny-clean-1: beam: "
        r"the translations differ by .* not of one evaluation",
    ):
        report_tree.summarise(tmp_path, report_tree.grid())


def test_several_seeds_are_paired_and_need_no_translations(tmp_path: Path) -> None:
    study = report_tree.grid(seeds=[1, 2, 3])
    report_tree.write(tmp_path, study)
    for path in (tmp_path / "data/translations").rglob("test.*"):
        path.unlink()
    found, summaries = report_tree.summarise(tmp_path, study)
    seq = next(one for one in summaries if (one.method, one.capacity) == ("seq", "small"))
    values = {one.key: one.score("test", "beam", "bleu") or 0.0 for one in found}
    wanted = (
        sum(
            values[f"seq-small-clean-beam-{seed}"] - values[f"plain-small-clean-{seed}"] for seed in (1, 2, 3)
        )
        / 3
    )
    assert seq.gains["beam"].difference == pytest.approx(wanted)
    assert seq.spreads["test", "beam", "bleu"].n == 3
    table = tables.build(summaries, study, report_tree.REPORT, report_tree.HEADLINE, 5)
    assert "±" in table.rows[1][3] and "±" not in table.rows[0][3]
    assert any("Student's t-interval" in note for note in table.notes)
    assert not any(note.startswith("Caution") for note in table.notes)


def test_sizes_of_gated_students_are_means_over_seeds(tmp_path: Path) -> None:
    """Each seed keeps its own number of units: 61,000, 62,000 and 64,000 parameters of four bytes."""
    study = report_tree.grid(**report_tree.ADAPTIVE, seeds=[1, 2, 4])
    report_tree.write(tmp_path, study)
    _, summaries = report_tree.summarise(tmp_path, study)
    gated = [one for one in summaries if one.capacity == "gated"]
    assert [one.method for one in gated] == ["plain", "seq", "hybrid_best"]
    assert {(one.parameters, round(one.megabytes, 6)) for one in gated} == {(62_333, 0.249333)}
    assert {one.parameters for one in summaries if one.capacity == "tiny"} == {51_234}
    table = tables.build(summaries, study, report_tree.REPORT, report_tree.HEADLINE, 5)
    sizes = {row[1]: row[table.header.index("params")] for row in table.rows}
    assert sizes == {"teacher": "2.61M", "tiny": "51.2k", "gated": "62.3k"}


def test_one_seed_is_cautioned(tmp_path: Path) -> None:
    notes = _table(tmp_path).notes
    assert notes[-1].startswith("Caution, one seed a cell")
    assert any(
        "paired bootstrap over segments, 200 samples" in note and "not corrected for there being 2" in note
        for note in notes
    )


@pytest.mark.parametrize("seeds", [[1], [1, 2]])
def test_a_small_test_set_bears_no_verdict(tmp_path: Path, seeds: list[int]) -> None:
    """Scores and differences stand there, intervals and p do not; a note says how many segments they take."""
    study = report_tree.grid(seeds=seeds)
    report_tree.write(tmp_path, study)
    _, large = report_tree.summarise(tmp_path, study)
    _, small = report_tree.summarise(tmp_path, study, report_tree.SMALL)
    for one, other in zip(small, large, strict=True):
        assert all(gain.evidence is None and gain.verdict is None for gain in one.gains.values())
        differences = {search: gain.difference for search, gain in other.gains.items()}
        assert {search: gain.difference for search, gain in one.gains.items()} == differences
        assert all((spread.low, spread.high) == (None, None) for spread in one.spreads.values())
        assert [spread.mean for spread in one.spreads.values()] == [
            spread.mean for spread in other.spreads.values()
        ]
    table = tables.build(small, study, report_tree.REPORT, report_tree.SMALL, 5)
    assert table.header[-4:] == ["vs plain", "95% interval", "p", "MB"]
    gains = [row[-4:-1] for row in table.rows]
    assert [cells[1:] for cells in gains] == [["", ""], ["", ""], ["-", "-"], ["", ""], ["-", "-"]]
    assert gains[0][0] == "" and gains[2][0].startswith("+")
    note = next(note for note in table.notes if note.startswith("vs plain"))
    why = "no interval and no p: 12 segments are too few for a verdict, which takes 13 (report.min_segments)."
    assert note.endswith(why)
    assert not any("bootstrap" in note or "t-interval" in note or "p is not" in note for note in table.notes)
    assert any("no score tells how far a second training" in note for note in table.notes) == (seeds == [1])


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
    study = report_tree.grid()
    _, summaries = report_tree.summarise(_written(tmp_path / "one"), study)
    found = tables.as_metrics(summaries, study, "test")
    mean = summaries[1].spreads["test", "beam", "bleu"].mean
    assert list(found) == ["teacher", "plain", "seq"] and found["plain"]["tiny"] == round(mean, 2) != mean
    study = report_tree.grid(**SEVERAL)
    report_tree.write(tmp_path / "many", study)
    found = tables.as_metrics(report_tree.summarise(tmp_path / "many", study)[1], study, "test")
    assert list(found["teacher"]) == ["clean", "del10"]
    assert list(found["seq"]["tiny"]["clean"]) == ["beam", "greedy"]
    assert isinstance(found["plain"]["tiny"]["del10"], float)


@pytest.mark.parametrize(
    ("number", "text"),
    [(950, "950"), (79_400, "79.4k"), (2_614_784, "2.61M"), (264_500, "264k"), (1_300_000_000, "1.3G")],
)
def test_parameters_in_three_digits(number: int, text: str) -> None:
    assert numbers.count(number) == text


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
