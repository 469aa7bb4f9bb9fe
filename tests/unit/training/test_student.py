"""nmtkd.training.student: what a student reads, and what its training is known by."""

from pathlib import Path
from typing import Any

import pytest

from nmtkd import files
from nmtkd.distil import hypotheses
from nmtkd.plan import layout
from nmtkd.plan.methods import Gate
from nmtkd.plan.runs import Run
from nmtkd.text.text_form import TextForm
from nmtkd.training import student, validation
from nmtkd.training.student import gather
from nmtkd.training.trained import Seen, Trained
from tests.unit.network.building import PLAIN, recipe
from tests.unit.training.helpers import METHODS, unfinished, write_corpus

SOURCES, TARGETS = ["a b", "c"], ["今天天@@ 气很好", "他来"]
SAID = [[("他们不来了", -0.1), ("今天@@ 气很好", -0.2)], [("他来", -0.1), ("我来", -0.2)]]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training text with a teacher's two translations of each line."""
    monkeypatch.chdir(tmp_path)
    write_corpus("clean", SOURCES, TARGETS, target="zh")
    folder = layout.hypotheses_dir("clean", "beam")
    folder.mkdir(parents=True)
    writer = hypotheses.Writer(folder, SOURCES, TARGETS)
    for line, entries in enumerate(SAID):
        writer.put(line, entries)
    writer.close({})


@pytest.mark.usefixtures("corpus")
def test_closest_translation_is_told_by_characters_in_chinese() -> None:
    material = gather(Run.from_key("seq", "interp-tiny-clean-beam-1"), METHODS["seq"], 1.0)
    assert list(material.data.train[1]) == ["今天@@ 气很好", "他来"]


@pytest.mark.usefixtures("corpus")
def test_student_knows_the_form_of_its_text_and_is_known_by_it() -> None:
    """The form decides the model's positions and the curve, the lengths its batches: a killed training of
    other ones is another."""
    material = gather(Run.from_key("plain", "plain-tiny-clean-1"), METHODS["plain"], 1.0)
    assert material.data.form == TextForm(target="zh", tokeniser="reversible", longest=9)
    assert material.data.lengths.tolist() == [[3, 3], [2, 2]]
    assert {layout.BPE / layout.TEXT, layout.BPE / layout.LENGTHS} < set(material.paths)
    assert all(files.file_hash(path) for path in material.paths)


@pytest.mark.usefixtures("corpus")
def test_best_of_several_says_what_all_of_them_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three were trained for it; its other facts are its own."""

    def one(*given: Any) -> Trained:
        folder, gate = given[-2:]
        (folder / "mark").write_text(str(gate), encoding="utf-8")
        seen = Seen(pairs=2, updates=4, sentences=8, source_tokens=20, target_tokens=30)
        return Trained(card={"parameters": 7, "data": seen.facts()}, seconds=1.5, seen=seen)

    scores = iter([1.0, 3.0, 2.0])
    monkeypatch.setattr(student, "_train_one", one)
    monkeypatch.setattr(validation, "quality", lambda *_: next(scores))
    method = METHODS["hybrid"].model_copy(update={"gate": Gate(kind="validated", values=[0.25, 0.5, 0.75])})
    material = gather(Run.from_key("plain", "plain-tiny-clean-1"), METHODS["plain"], 1.0)
    out = tmp_path / "out"
    run = Run.from_key("hybrid", "hybrid_best-tiny-clean-beam-1")
    trained = student.train(run, method, PLAIN, recipe(), material, unfinished(out))
    assert trained.card == files.read_json(out / layout.CARD)
    assert trained.card["data"] == {
        "updates": 12,
        "sentences": 24,
        "passes": 12.0,
        "source_tokens": 60,
        "target_tokens": 90,
        "trainings": 3,
    }
    assert (trained.card["gate"], trained.card["parameters"], trained.seconds) == (0.5, 7, 4.5)
    assert (out / "mark").read_text(encoding="utf-8") == "0.5"
