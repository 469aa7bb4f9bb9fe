"""Reading the grid's results and learning curves."""

from pathlib import Path

import pytest

from nmtkd.evidence import canvas, curves, results
from nmtkd.evidence.results import ResultsError
from nmtkd.files import DamagedError
from nmtkd.plan import layout
from tests.unit.evidence import report_tree


def test_cells_come_in_the_order_of_the_grid_and_orphans_do_not(tmp_path: Path) -> None:
    report_tree.write(tmp_path, report_tree.grid())
    smaller = report_tree.grid(capacities=["small"])
    assert [one.key for one in results.read(smaller, ["test"], tmp_path)] == [
        "teacher-clean",
        "plain-small-clean-1",
        "seq-small-clean-beam-1",
    ]


def test_missing_cells_are_listed_at_once(tmp_path: Path) -> None:
    report_tree.write(tmp_path, report_tree.grid())
    for key in ("teacher-clean", "seq-tiny-clean-beam-1"):
        (tmp_path / layout.scores_file(key)).unlink()
    with pytest.raises(ResultsError) as error:
        results.read(report_tree.grid(), ["test"], tmp_path)
    lines = str(error.value).splitlines()
    assert lines[1].startswith("  teacher-clean: missing; ") and lines[1].endswith(
        "data/translations/teacher-clean/scores.json is not there"
    )
    assert lines[2].startswith("  seq-tiny-clean-beam-1: missing; ")
    assert lines[3] == "  2 of 5 cells of the grid are missing: finish the pipeline, or name fewer in `grid:`"
    assert len(lines) == 4


def test_one_metric_has_one_signature(tmp_path: Path) -> None:
    report_tree.write(tmp_path, report_tree.grid())
    found = results.read(report_tree.grid(), ["test"], tmp_path)
    scores = [score.model_dump() for score in found[1].scores]
    for score in scores:
        score["signature"] = score["signature"].replace("tok:13a", "tok:intl")
    report_tree.edit(tmp_path, found[1].key, {"scores": scores})
    with pytest.raises(ResultsError) as error:
        results.read(report_tree.grid(), ["test"], tmp_path)
    message = str(error.value)
    assert "bleu: computed in several ways" in message
    assert "tok:intl|smooth:exp|version:2.6.0: plain-tiny-clean-1\n" in message + "\n"
    assert (
        "tok:13a|smooth:exp|version:2.6.0: "
        "teacher-clean, plain-small-clean-1, seq-tiny-clean-beam-1, seq-small-clean-beam-1" in message
    )
    assert "chrf2: computed" not in message


def test_one_cell_has_one_signature_too(tmp_path: Path) -> None:
    """A set that was scored again by another version is named, be all others as they were."""
    report_tree.write(tmp_path, report_tree.grid())
    found = results.read(report_tree.grid(), ["test"], tmp_path)
    scores = [score.model_dump() for score in found[1].scores]
    scores[-1]["signature"] += "|again"
    report_tree.edit(tmp_path, found[1].key, {"scores": scores})
    with pytest.raises(ResultsError, match=rf"computed in several ways[^~]*\|again: {found[1].key}$"):
        results.read(report_tree.grid(), ["test"], tmp_path)


def test_cells_must_hold_the_same_scores(tmp_path: Path) -> None:
    report_tree.write(tmp_path, report_tree.grid())
    found = results.read(report_tree.grid(), ["test"], tmp_path)
    kept = [
        score.model_dump() for score in found[2].scores if (score.split, score.search) != ("test", "greedy")
    ]
    report_tree.edit(tmp_path, found[2].key, {"scores": kept})
    with pytest.raises(
        ResultsError,
        match=r"(?s)scores differ between cells.*"
        r"plain-small-clean-1: no bleu of test by greedy; evaluate this cell again",
    ):
        results.read(report_tree.grid(), ["test"], tmp_path)


@pytest.mark.parametrize("search", ["beam", "beam_at_1", "greedy"])
def test_choices_take_validation_scores_of_every_cell(tmp_path: Path, search: str) -> None:
    study = report_tree.grid(capacities=["tiny"], methods=report_tree.methods(plain=["plain"]))
    report_tree.write(tmp_path, study)
    for one in results.read(study, ["test"], tmp_path):
        kept = [
            score.model_dump() for score in one.scores if (score.split, score.search) != ("valid", search)
        ]
        report_tree.edit(tmp_path, one.key, {"scores": kept})
    with pytest.raises(ResultsError, match=f"plain-tiny-clean-1: no bleu of valid by {search}; evaluate"):
        results.read(study, ["test"], tmp_path)


def test_a_file_of_another_run_is_refused(tmp_path: Path) -> None:
    report_tree.write(tmp_path, report_tree.grid())
    report_tree.edit(tmp_path, "plain-tiny-clean-1", {"seed": 2})
    with pytest.raises(
        ResultsError,
        match=r"plain-tiny-clean-1: of another run; .* "
        r"says plain-tiny-clean-1, plain, tiny, clean, none, 2; evaluate",
    ):
        results.read(report_tree.grid(), ["test"], tmp_path)


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    report_tree.write(tmp_path, report_tree.grid())
    report_tree.edit(tmp_path, "plain-tiny-clean-1", {"parameters": "many"})
    with pytest.raises(
        ResultsError,
        match=r"plain-tiny-clean-1: unreadable; .*"
        r"plain-tiny-clean-1/scores\.json: parameters: Input should be a valid integer",
    ):
        results.read(report_tree.grid(), ["test"], tmp_path)


def test_a_result_names_its_model_and_updates_and_no_time(tmp_path: Path) -> None:
    """All that is read of a result is the same for equal runs on machines of different speed."""
    report_tree.write(tmp_path, report_tree.grid())
    (_, plain, *_) = results.read(report_tree.grid(), ["test"], tmp_path)
    assert (plain.key, plain.model, plain.updates) == (
        "plain-tiny-clean-1",
        report_tree.model_hash("plain-tiny-clean-1"),
        300,
    )
    assert not {"training", "speed", "seconds"} & set(results.Result.model_fields)


def test_curves_keep_what_was_not_measured_empty(tmp_path: Path) -> None:
    study = report_tree.grid(**report_tree.ADAPTIVE)
    report_tree.write(tmp_path, study)
    found = {one.key: one for one in results.read(study, ["test"], tmp_path)}
    points = {key: curves.read_curve(tmp_path / f"data/translations/{key}/curve.csv") for key in found}
    assert curves.CURVES_HEADER == "key,method,capacity,update,valid_loss,valid_bleu,gate,openness"
    wanted = {
        "teacher-clean": (["", ""], ["", ""]),
        "plain-gated-clean-1": (["", ""], ["0.7500", "0.5100"]),
        "hybrid_best-tiny-clean-beam-1": (["0.5000", "0.2500"], ["", ""]),
        "hybrid_best-gated-clean-beam-1": (["0.5000", "0.2500"], ["0.7500", "0.5100"]),
    }
    for key, (gates, opened) in wanted.items():
        facts = [key, found[key].method, found[key].capacity]
        first, _, last = curves.curve_rows([found[key]], points)
        assert first == [*facts, "100", "4.5000", "", gates[0], opened[0]]
        assert last == [*facts, "200", "3.7500", "12.5000", gates[1], opened[1]]


def _curve(*points: tuple[int, float | None]) -> list[canvas.Point]:
    return [canvas.Point(update, 5.0, bleu) for update, bleu in points]


def test_climb_is_the_rise_of_a_line_over_the_last_quarter() -> None:
    """Of 800 updates the last 200: 4, 6 and 5 BLEU have a slope of 0.005, so 1.0 in all; 3 is before them."""
    flat = [(200, 1.0), (400, 2.0), (500, 3.0)]
    assert curves.climb(_curve(*flat, (600, 4.0), (700, 6.0), (800, 5.0))) == pytest.approx(1.0)
    assert curves.climb(_curve(*flat, (600, 5.0), (700, 5.0), (800, 5.0))) == pytest.approx(0.0)
    assert curves.climb(_curve(*flat, (600, 5.0), (700, 4.0), (800, 3.0))) == pytest.approx(-2.0)


def test_a_line_takes_two_checkpoints() -> None:
    """The last two where the quarter has one: of 1000 updates 2 BLEU in 400 are 1.25 in 250."""
    assert curves.climb(_curve((200, 1.0), (600, 4.0), (1000, 6.0))) == pytest.approx(1.25)
    assert curves.climb(_curve((600, 4.0), (700, None), (1000, 6.0))) == pytest.approx(1.25)
    assert curves.climb(_curve((600, None), (1000, 6.0))) is None
    assert curves.climb([]) is None


def test_gates_and_openness_are_means_over_seeds(tmp_path: Path) -> None:
    study = report_tree.grid(**report_tree.ADAPTIVE, seeds=[1, 3])
    report_tree.write(tmp_path, study)
    found = results.read(study, ["test"], tmp_path)
    points = {
        one.key: curves.read_curve(tmp_path / f"data/translations/{one.key}/curve.csv") for one in found
    }
    first, _, last = curves.mean_curves(found, points)["hybrid_best", "gated", "clean", "beam"]
    assert (first.gate, first.openness, first.valid_bleu) == (0.5, 0.75, None)
    assert last.gate == 0.25
    assert last.openness == pytest.approx((0.51 + 0.53) / 2)
    last = curves.mean_curves(found, points)["plain", "tiny", "clean", "none"][-1]
    assert (last.gate, last.openness, last.valid_loss) == (None, None, 3.75)


@pytest.mark.parametrize(
    "header", ["update,loss", "update,valid_loss,valid_bleu,gate", "update,valid_loss,valid_bleu,openness"]
)
def test_a_curve_without_its_columns_is_refused(tmp_path: Path, header: str) -> None:
    (tmp_path / "curve.csv").write_text(f"{header}\n{','.join('123456'[: header.count(',') + 1])}\n")
    with pytest.raises(
        ResultsError,
        match=r"curve\.csv: no learning curve with update, valid_loss, valid_bleu, gate, openness \(",
    ):
        curves.read_curve(tmp_path / "curve.csv")


def test_a_missing_curve_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"none\.csv: missing; run `dvc checkout --force .*none\.csv`"):
        curves.read_curve(tmp_path / "none.csv")


def test_lines_end_at_lf_alone(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes("a\u2028b\n\nc\n".encode())
    assert results.read_lines(tmp_path / "lines") == ["a\u2028b", "", "c"]


@pytest.mark.parametrize(
    "text", ["", "update,valid", "update,valid_loss\n1,2.0\n2", "update,valid_loss\n1,2"]
)
def test_a_cut_curve_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "curve.csv").write_text(text, encoding="utf-8")
    with pytest.raises(
        DamagedError, match=r"curve\.csv: no whole table: it is empty, was cut, or has rows of"
    ):
        curves.read_curve(tmp_path / "curve.csv")


def test_segments_that_are_not_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "lines").write_bytes(b"a\n\xff\n")
    with pytest.raises(DamagedError, match=r"lines: no whole text in UTF-8 \(UnicodeDecodeError: .*0xff"):
        results.read_lines(tmp_path / "lines")


def test_translations_of_two_types_are_not_compared(tmp_path: Path) -> None:
    report_tree.write(tmp_path, report_tree.grid())
    path = tmp_path / layout.scores_file("plain-tiny-clean-1")
    path.write_text(path.read_text(encoding="utf-8").replace('"compute": "float32"', '"compute": "int8"'))
    with pytest.raises(ResultsError) as error:
        results.read(report_tree.grid(), ["test"], tmp_path)
    told = str(error.value).splitlines()[1:]
    assert told[0] == "  evaluate.compute differ between cells; they must be the same to be compared"
    assert told[2] == "    int8: plain-tiny-clean-1"


@pytest.mark.parametrize("name", ["test.beam", "test.beam_at_1", "test.greedy", "curve.csv"])
def test_what_lies_beside_scores_is_what_was_scored(tmp_path: Path, name: str) -> None:
    """Of as many lines, with a part of zeros as a crash leaves it; or not there at all. All are told."""
    report_tree.write(tmp_path, report_tree.grid())
    keys = "plain-tiny-clean-1", "seq-tiny-clean-beam-1"
    changed, lost = (tmp_path / layout.translations_dir(key) / name for key in keys)
    changed.write_bytes(changed.read_bytes()[:-4] + b"\0\0\0\n")
    lost.unlink()
    with pytest.raises(ResultsError) as error:
        results.read(report_tree.grid(), ["test"], tmp_path)
    assert str(error.value).splitlines()[1:] == [
        f"  {keys[0]}: {changed} is not the file that was scored; evaluate this cell again",
        f"  {keys[1]}: missing; {lost} is not there; evaluate this cell again",
    ]


@pytest.mark.parametrize("split", ["test", "other"])
def test_results_of_other_references_are_refused(tmp_path: Path, split: str) -> None:
    """As many segments as before. Scores of all test sets go into tables, not of the first alone."""
    report_tree.write(tmp_path, report_tree.grid())
    lines = report_tree.REFERENCES
    (tmp_path / layout.PREPARED / f"{split}.ref").write_text("\n".join(lines[::-1]) + "\n", encoding="utf-8")
    with pytest.raises(ResultsError) as error:
        results.read(report_tree.grid(), ["test", split], tmp_path)
    found = str(error.value).splitlines()[1:]
    assert len(found) == 5
    assert found[1] == (
        f"  plain-tiny-clean-1: scored against other references of {split} than data/prepared/{split}.ref; "
        "evaluate this cell again"
    )
