"""nmtkd.training.student: what a student reads, and what its training is known by."""

from pathlib import Path

import pytest

from nmtkd import files
from nmtkd.distil import hypotheses
from nmtkd.plan import layout
from nmtkd.plan.runs import Run
from nmtkd.training.student import gather
from nmtkd.training.text_form import TextForm
from tests.unit.training.helpers import METHODS, write_corpus

SOURCES, TARGETS = ["a b", "c"], ["今天天@@ 气很好", "他来"]
SAID = [[("他们不来了", -0.1), ("今天@@ 气很好", -0.2)], [("他来", -0.1), ("我来", -0.2)]]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training text with a teacher's two translations of each line."""
    monkeypatch.chdir(tmp_path)
    write_corpus("clean", SOURCES, TARGETS, target="zh")
    folder = layout.hypotheses_dir("clean", "beam")
    folder.mkdir(parents=True)
    writer = hypotheses.Writer(folder, SOURCES)
    for line, entries in enumerate(SAID):
        writer.put(line, entries)
    writer.close({})


@pytest.mark.usefixtures("corpus")
def test_closest_translation_is_told_by_characters_in_chinese() -> None:
    material = gather(Run.from_key("seq", "interp-tiny-clean-beam-1"), METHODS["seq"], 1.0)
    assert list(material.data.train[1]) == ["今天@@ 气很好", "他来"]
    assert material.data.decoding == "beam"


@pytest.mark.usefixtures("corpus")
def test_student_knows_the_form_of_its_text_and_is_known_by_it() -> None:
    """The form decides the model's positions and the curve: a killed training of another one is another."""
    material = gather(Run.from_key("plain", "plain-tiny-clean-1"), METHODS["plain"], 1.0)
    assert material.data.form == TextForm(target="zh", tokeniser="reversible", longest=9)
    assert material.data.decoding == ""
    assert layout.BPE / layout.TEXT in material.paths
    assert all(files.file_hash(path) for path in material.paths)
