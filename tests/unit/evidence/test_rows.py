"""The CSV files of a report."""

from pathlib import Path

from nmtkd import files
from nmtkd.evidence import results, rows
from tests.unit.evidence import report_tree

GOLDEN = Path(__file__).parent.parent.parent / "golden"


def test_tidy_rows_are_the_golden_ones(tmp_path: Path) -> None:
    report_tree.write(tmp_path, report_tree.grid())
    found = results.read(report_tree.grid(), ["test"], tmp_path)
    files.write_csv(tmp_path / "results.csv", rows.RESULTS_HEADER, rows.tidy_rows(found))
    assert (tmp_path / "results.csv").read_bytes() == (GOLDEN / "report_results.csv").read_bytes()


def test_rows_for_plots_are_of_the_validation_set(tmp_path: Path) -> None:
    report_tree.write(tmp_path, report_tree.grid())
    found = results.read(report_tree.grid(), ["test"], tmp_path)
    assert rows.bleu_header("bleu").endswith(",search,valid_bleu")
    valid, test = (f"{found[1].score(split, 'greedy', 'bleu'):.4f}" for split in ("valid", "test"))
    assert valid != test
    written = rows.bleu_rows(found, "bleu")
    assert [row[:-1] for row in written[:3]] == [
        ["teacher", "2614784", "teacher", "clean", "none", "7", "beam"],
        ["teacher", "2614784", "teacher", "clean", "none", "7", "greedy"],
        ["tiny", "51234", "plain", "clean", "none", "1", "beam"],
    ]
    assert written[3][-2:] == ["greedy", valid]
    assert rows.bleu_header("bleu_tok_lc").endswith(",search,valid_bleu_tok_lc")


def test_what_a_run_learnt_from_is_a_row(tmp_path: Path) -> None:
    study = report_tree.grid(**report_tree.ADAPTIVE)
    report_tree.write(tmp_path, study)
    found = {one.key: one for one in results.read(study, ["test"], tmp_path)}
    best, plain = found["hybrid_best-tiny-clean-beam-1"], found["plain-tiny-clean-1"]
    assert rows.RUNS_HEADER == (
        "key,method,capacity,noise,decoding,seed,parameters,precision,"
        "updates,sentences,passes,source_tokens,target_tokens,trainings,length_penalty,climb"
    )
    cell = ["tiny", "clean", "beam", "1", "51234", "float32", "300"]
    assert rows.run_rows([best, plain], {best.key: 0.62511, plain.key: None}) == [
        [best.key, "hybrid_best", *cell, "5440", "4.0", "18000", "17600", "2", "1.0", "0.6251"],
        [plain.key, "plain", *cell[:2], "none", *cell[3:], "2720", "2.0", "18000", "17600", "1", "1.0", ""],
    ]


def test_what_students_chose_is_a_fact_a_row(tmp_path: Path) -> None:
    study = report_tree.grid(**report_tree.ADAPTIVE)
    report_tree.write(tmp_path, study)
    found = {one.key: one for one in results.read(study, ["test"], tmp_path)}
    best, gated = found["hybrid_best-gated-clean-beam-1"], found["plain-gated-clean-1"]
    kept = [["units", "64"], ["kept", "37"], ["effective_capacity", "0.5781"], ["parameters_before", "70000"]]
    kept += [
        ["valid_bleu_before", "12.7500"],
        ["valid_bleu_closed", "12.5000"],
        ["valid_bleu_end", "12.6250"],
    ]
    tried = [
        ["valid_bleu_at_gate_0.25", "12.5000"],
        ["valid_bleu_at_gate_0.75", "11.0000"],
        ["gate", "0.2500"],
    ]
    assert rows.adapted_rows([best, gated]) == [[best.key, *row] for row in tried + kept] + [
        [gated.key, *row] for row in kept
    ]
    assert rows.adapted_rows([found["teacher-clean"], found["seq-tiny-clean-beam-1"]]) == []
