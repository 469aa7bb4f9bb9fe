"""What an edit of the code makes stale: what it can change, and nothing else."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab

READER = '''"""A made-up reader."""

from nmtkd.text.corpora.tally import Tally


def read(corpus, archives, out):
    """Reads nothing."""
    return Tally()
'''


def blocks(stages: set[str]) -> set[str]:
    return {stage.partition("@")[0].partition("_")[0] for stage in stages}


def changed(lab: Lab) -> set[str]:
    """The entries whose manifests the last edit changed: those whose stages run again."""
    before = {path.stem: path.read_bytes() for path in (lab.folder / "manifests").iterdir()}
    lab.run("dvc", "repro", "--quiet", "manifests")
    after = {path.stem: path.read_bytes() for path in (lab.folder / "manifests").iterdir()}
    return {name for name in after if after[name] != before.get(name)}


def replace(lab: Lab, file: str, pattern: str, text: str) -> None:
    path = lab.folder / file
    content, count = re.subn(pattern, text, path.read_text(encoding="utf-8"), count=1, flags=re.DOTALL)
    assert count == 1, f"{file}: {pattern} is not there"
    path.write_text(content, encoding="utf-8")


def reword_a_docstring(lab: Lab) -> None:
    replace(lab, "src/nmtkd/distil/token_loss.py", r'^"""[^"]*"""', '"""Other words."""')
    lab.append("src/nmtkd/network/transformer.py", "# a comment\n")


def add_a_stage(lab: Lab) -> None:
    (lab.folder / "stages/export.py").write_text(
        '"""A new stage."""\n\nfrom stages import entry\n', encoding="utf-8"
    )


def add_an_option(lab: Lab) -> None:
    replace(
        lab,
        "src/nmtkd/plan/methods.py",
        r"    gate: Gate \| None = None\n",
        "    gate: Gate | None = None\n    skew: float | None = None\n",
    )


def add_a_reader(lab: Lab) -> None:
    (lab.folder / "src/nmtkd/text/corpora/invented.py").write_text(READER, encoding="utf-8")
    lab.append(
        "src/nmtkd/text/corpora/readers.py",
        "\nfrom nmtkd.text.corpora import invented\n\nREADERS['invented'] = Reader(invented.read)\n",
    )


def change_a_divergence(lab: Lab) -> None:
    lab.append("src/nmtkd/distil/divergences.py", "\nADDED = None\n")


def change_the_merges(lab: Lab) -> None:
    lab.append("src/nmtkd/text/merges.py", "\nADDED = None\n")


def change_a_familys_row(lab: Lab) -> None:
    replace(
        lab, "src/nmtkd/plan/methods.py", r'("word": Family\(\n.*?)targets="gold"', r'\1targets="hypothesis"'
    )


def change_a_familys_sentence(lab: Lab) -> None:
    replace(lab, "src/nmtkd/plan/methods.py", "learns from the corpus alone", "learns from the text alone")


def take_another_torch(lab: Lab) -> None:
    replace(lab, "requirements.lock", r"\ntorch==[^\n]*", "\ntorch==99.0")


def take_another_build_of_torch(lab: Lab) -> None:
    replace(lab, "requirements.lock", r"\ntorch==([^\n+]*)[^\n]*", r"\ntorch==\1+cu999")


EDITS: list[tuple[Callable[[Lab], None], set[str]]] = [
    (reword_a_docstring, set()),
    (add_an_option, set()),
    (take_another_build_of_torch, set()),
    (add_a_reader, {"corpus"}),
    (change_a_divergence, {"student"}),
    (change_the_merges, {"bpe", "noise"}),
    (change_a_familys_row, {"student"}),
    (change_a_familys_sentence, {"report"}),
    (take_another_torch, {"teacher", "decode", "targets", "student", "evaluate"}),
]


@pytest.mark.parametrize(("edit", "entries"), EDITS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_edit_changes_the_manifests_of_what_it_can_change(
    edit: Callable[[Lab], None], entries: set[str], copy: CopyLab
) -> None:
    lab = copy()
    edit(lab)
    assert changed(lab) == entries
    assert blocks(lab.stale()) >= entries
    if not entries:
        assert lab.stale() == set()


def test_a_reworded_docstring_and_a_new_reader_retrain_nothing(copy: CopyLab) -> None:
    lab = copy()
    reword_a_docstring(lab)
    add_a_reader(lab)
    add_an_option(lab)
    assert lab.repro() == {"manifests", "corpus"}, "the corpus comes out the same, and what follows stands"


def test_a_new_stage_makes_no_other_stale(copy: CopyLab) -> None:
    lab = copy()
    add_a_stage(lab)
    replace(
        lab,
        "dvc.yaml",
        r"    - manifests/report.json: \{cache: false\}\n",
        "    - manifests/report.json: {cache: false}\n    - manifests/export.json: {cache: false}\n",
    )
    assert lab.repro() == {"manifests"}


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
    change_a_divergence(lab)
    assert lab.repro("student_word@word-tiny-clean-1") == {"manifests", "student_word@word-tiny-clean-1"}


def test_an_experiment_carries_an_edit_of_the_code(copy: CopyLab) -> None:
    lab = copy()
    change_a_divergence(lab)
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
