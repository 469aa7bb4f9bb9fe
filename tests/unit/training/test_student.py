"""nmtkd.training.student: what a student reads, and what its training is known by."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from nmtkd import files
from nmtkd.distil import hypotheses, targets
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.plan.methods import Gate
from nmtkd.plan.runs import Run
from nmtkd.text.text_form import TextForm
from nmtkd.training import student, validation
from nmtkd.training.student import gather
from nmtkd.training.trained import Seen, Trained
from tests.conftest import Tiny
from tests.unit.network.building import PLAIN, recipe
from tests.unit.training.helpers import JOINT, METHODS, unfinished, write_corpus

SOURCES, TARGETS = ["a b", "c"], ["今天天@@ 气很好", "他来"]
TEACHER = "a" * 64
STAMP = layout.model_dir(layout.teacher_dir("clean")) / layout.HASH
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
    files.write_text(STAMP, TEACHER + "\n")
    hashed = files.file_hash(layout.BPE / layout.DICTIONARY)
    writer.close({"teacher_hash": TEACHER, "dictionary_hash": hashed})


@pytest.mark.usefixtures("corpus")
def test_closest_translation_is_told_by_characters_in_chinese() -> None:
    material = gather(Run.from_key("seq", "interp-tiny-clean-beam-1"), METHODS["seq"], 1.0, JOINT)
    assert list(material.data.train[1]) == ["今天@@ 气很好", "他来"]


@pytest.mark.usefixtures("corpus")
def test_student_knows_the_form_of_its_text_and_is_known_by_it() -> None:
    """The form decides the model's positions and the curve, the lengths its batches: a killed training of
    other ones is another."""
    material = gather(Run.from_key("plain", "plain-tiny-clean-1"), METHODS["plain"], 1.0, JOINT)
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
        files.write_text(folder / "model" / layout.HASH, "7" * 64)
        seen = Seen(pairs=2, updates=4, sentences=8, source_tokens=20, target_tokens=30)
        return Trained(card={"parameters": 7, "data": seen.facts()}, seconds=1.5, seen=seen)

    scores = iter([1.0, 3.0, 2.0])
    monkeypatch.setattr(student, "_train_one", one)
    monkeypatch.setattr(validation, "quality", lambda *_: next(scores))
    method = METHODS["hybrid"].model_copy(update={"gate": Gate(kind="validated", values=[0.25, 0.5, 0.75])})
    material = gather(Run.from_key("plain", "plain-tiny-clean-1"), METHODS["plain"], 1.0, JOINT)
    out = tmp_path / "out"
    run = Run.from_key("hybrid", "hybrid_best-tiny-clean-beam-1")
    with unfinished(out) as output:
        trained = student.train(run, method, PLAIN, recipe(), material, output)
    assert {**trained.card, "model": "7" * 64} == files.read_json(out / layout.CARD)
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


# Of this teacher and this text

KEYS = {
    "seq": "interp-tiny-clean-beam-1",
    "both": "both-tiny-clean-beam-1",
    "hybrid": "hybrid-tiny-clean-beam-1",
    "word": "word-tiny-clean-1",
    "plain": "plain-tiny-clean-1",
}


def write_targets(prefix: str, lines: list[str]) -> None:
    """Token targets of the teacher along these lines."""
    folder = layout.targets_dir("clean", prefix)
    folder.mkdir(parents=True)
    header = targets.Header(
        top_k=1,
        temperature=1.0,
        vocabulary=9,
        dictionary_hash=files.file_hash(layout.BPE / layout.DICTIONARY),
        teacher_hash=TEACHER,
        prefix=prefix,
        prefix_hash=files.lines_hash(lines),
    )
    sizes = [len(line.split()) + 1 for line in lines]
    writer = targets.Writer(folder, sizes, header)
    for line, size in enumerate(sizes):
        writer.put(line, torch.ones(size, 1, dtype=torch.int64), torch.full((size, 1), 0.5))
    writer.close()


@pytest.fixture
def taught(corpus: None) -> None:
    """Token targets along gold and along the best translations too."""
    write_targets("gold", TARGETS)
    write_targets("beam", [entries[0][0] for entries in SAID])


def gathered(family: str) -> student.Material:
    return gather(Run.from_key(family, KEYS[family]), METHODS[family], 1.0, JOINT)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize("family", KEYS)
def test_whoever_learns_from_a_teacher_sees_that_it_is_the_one_at_hand(family: str) -> None:
    assert list(gathered(family).data.train[0]) == SOURCES
    files.write_text(STAMP, "b" * 64 + "\n")
    if family == "plain":
        gathered(family)
        return
    wrong = "token targets of another teacher" if family == "word" else "hypotheses of another teacher"
    with pytest.raises(ValueError, match=rf"{wrong} \(made with a{{12}}, at hand is b{{12}}\)"):
        gathered(family)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize("family", sorted(set(KEYS) - {"plain"}))
def test_a_teacher_without_a_stamp_is_named(family: str) -> None:
    files.write_text(STAMP, "")
    with pytest.raises(
        files.DamagedError, match=rf"^{STAMP}: must hold a SHA-256, holds ''; run `dvc checkout"
    ):
        gathered(family)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize(("family", "prefix"), [("word", "gold"), ("hybrid", "gold"), ("both", "beam")])
def test_half_of_the_targets_are_none(family: str, prefix: str) -> None:
    path = layout.targets_dir("clean", prefix) / "probs.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-2] + b"\0\0")
    with pytest.raises(files.DamagedError, match=rf"^{path}: not the content that was written"):
        gathered(family)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize("family", ["seq", "both", "hybrid"])
def test_other_words_of_the_teacher_are_not_learnt(family: str) -> None:
    path = layout.hypotheses_dir("clean", "beam") / hypotheses.RECORDS
    path.write_text(path.read_text(encoding="utf-8").replace("我来", "你来"), encoding="utf-8")
    with pytest.raises(files.DamagedError, match=rf"^{path}: not the records that card\.json names"):
        gathered(family)


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize("family", KEYS)
@pytest.mark.parametrize("name", [*layout.DICTIONARY_FILES, layout.LENGTHS, "valid.src", "valid.tgt"])
def test_every_student_reads_the_text_that_bpe_wrote(family: str, name: str) -> None:
    path = layout.BPE / name
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(files.DamagedError, match=rf"^{path}: not the content that was written"):
        gathered(family)


@pytest.mark.usefixtures("corpus")
def test_a_student_of_no_condition_is_refused() -> None:
    with pytest.raises(
        files.DamagedError, match=r"^data/noise/nosuch: no such folder; correct the name; run"
    ):
        gather(Run.from_key("plain", "plain-tiny-nosuch-1"), METHODS["plain"], 1.0, JOINT)


@pytest.mark.usefixtures("corpus")
def test_an_online_students_teacher_reads_its_text(tiny: Tiny) -> None:
    run = Run.from_key("online", "on_policy-tiny-clean-1")
    model = STAMP.parent
    shutil.copytree(tiny.folder, model, dirs_exist_ok=True)
    files.write_text(STAMP, bridge.model_hash(model))
    with pytest.raises(
        bridge.ModelError, match=rf"^{model}/dict\.src\.txt: not data/bpe/dict\.txt, the diction"
    ):
        gather(run, METHODS["online"], 1.0, JOINT)
    for side in ("src", "tgt"):
        shutil.copy(layout.BPE / layout.DICTIONARY, model / f"dict.{side}.txt")
    assert list(gather(run, METHODS["online"], 1.0, JOINT).teachers) == [model / layout.MODEL]
