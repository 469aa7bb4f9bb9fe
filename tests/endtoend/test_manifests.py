"""What an edit of the code, or of a param, makes DVC run again: what it can change, and nothing else."""

from __future__ import annotations

import hashlib
import re

from tests.endtoend.conftest import CopyLab
from tests.structure import edits


def test_a_reworded_docstring_and_a_new_reader_retrain_nothing(copy: CopyLab) -> None:
    lab = copy()
    edits.reword_a_docstring(lab.folder)
    edits.add_a_reader(lab.folder)
    edits.add_an_option(lab.folder)
    assert lab.repro() == {"manifests", "corpus"}, "the corpus comes out the same, and what follows stands"


def test_a_new_stage_makes_no_other_stale(copy: CopyLab) -> None:
    lab = copy()
    edits.add_a_stage(lab.folder)
    edits.replace(
        lab.folder,
        "dvc.yaml",
        r"    - manifests/report.json: \{cache: false\}\n",
        "    - manifests/report.json: {cache: false}\n    - manifests/export.json: {cache: false}\n",
    )
    assert lab.repro() == {"manifests"}


def test_a_familys_row_retrains_students_and_another_torch_all_models(copy: CopyLab) -> None:
    lab = copy()
    edits.change_a_familys_row(lab.folder)
    stale = {stage.partition("@")[0] for stage in lab.stale()}
    assert {"student_plain", "student_word", "student_seq", "student_both"} <= stale
    assert not stale & {"teacher", "decode", "targets", "targets_gold", "noise", "bpe"}
    edits.take_another_torch(lab.folder)
    assert {"teacher", "decode", "targets"} <= {stage.partition("@")[0] for stage in lab.stale()}


def test_how_many_tokens_of_the_teacher_are_kept_does_not_translate_again(copy: CopyLab) -> None:
    lab = copy()
    lab.edit("params.yaml", ("targets.top_k", 3))
    stale = {stage.partition("@")[0] for stage in lab.stale()}
    assert {"targets", "targets_gold", "student_word", "student_both"} <= stale
    assert not stale & {"decode", "teacher", "student_plain", "student_seq"}


def test_a_new_mirror_evaluates_nothing_again(copy: CopyLab) -> None:
    """It is of the corpus alone, whose files come out the same."""
    lab = copy()
    content = b"a"
    archive = {"name": "a.txt", "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (lab.folder / "archives").mkdir()
    (lab.folder / "archives/a.txt").write_bytes(content)
    lab.env["NMTKD_ARCHIVES"] = str(lab.folder / "archives")
    lab.edit("params.yaml", ("corpus.archives", [{**archive, "mirrors": ["https://a.invalid/a"]}]))
    lab.repro()
    lab.edit("params.yaml", ("corpus.archives", [{**archive, "mirrors": ["https://b.invalid/a"]}]))
    assert lab.repro() == {"corpus"}


def test_an_entry_refuses_code_that_its_manifest_does_not_name(copy: CopyLab) -> None:
    """`repro -s` looks at no other stage: without this DVC would record a model as one of the old code."""
    lab = copy()
    lab.append("src/nmtkd/distil/divergences.py", "\nADDED = None\n")
    done = lab.ask("python", "-m", "stages.student", "word", "word-tiny-clean-1")
    assert done.returncode == 1
    assert "manifests/student.json: names other code than there is now" in done.stderr
    assert "src/nmtkd/distil/divergences.py" in done.stderr
    assert "dvc repro manifests" in done.stderr
    lab.run("dvc", "repro", "--quiet", "manifests")
    lab.run("python", "-m", "stages.student", "word", "word-tiny-clean-1")


def test_one_cell_is_run_with_what_it_depends_on(copy: CopyLab) -> None:
    lab = copy()
    edits.change_a_divergence(lab.folder)
    assert lab.repro("student_word@word-tiny-clean-1") == {"manifests", "student_word@word-tiny-clean-1"}


def test_an_experiment_carries_an_edit_of_the_code(copy: CopyLab) -> None:
    lab = copy()
    edits.change_a_divergence(lab.folder)
    small = ["-S", "grid.methods.seq=[]", "-S", "grid.methods.both=[]", "-S", "grid.capacities=[tiny]"]
    printed = lab.run("dvc", "exp", "run", "-n", "edited", *small)
    ran = set(re.findall(r"Running stage '([^']+)'", printed))
    students = {stage for stage in ran if stage.startswith("student")}
    assert students == {"student_plain@plain-tiny-clean-1", "student_word@word-tiny-clean-1"}
    assert "manifests" in ran
    assert not {stage for stage in ran if stage.startswith(("teacher", "decode", "targets", "noise", "bpe"))}
    lab.run("git", "checkout", "-q", ".")
    lab.run("dvc", "checkout")
    assert lab.stale() == set(), "the baseline is back"
