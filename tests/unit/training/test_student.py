"""nmtkd.training.student: what a student reads, and what its training is known by."""

import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from nmtkd import files
from nmtkd.distil import hypotheses, targets
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network.stamps import stamp
from nmtkd.plan import layout
from nmtkd.plan.methods import FAMILIES, Gate
from nmtkd.plan.runs import Run
from nmtkd.text.text_form import TextForm
from nmtkd.training import student, validation
from nmtkd.training.criterions.hybrid import LEARNED
from nmtkd.training.student import gather
from tests.conftest import Tiny
from tests.unit.network.building import PLAIN, recipe
from tests.unit.training.helpers import (
    JOINT,
    METHODS,
    OTHER_METHOD,
    OTHER_RECIPE,
    OTHER_SIZE,
    configured_by,
    unfinished,
    write_corpus,
    write_model,
)

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


# Of this teacher and this text

KEYS = {
    "seq": "interp-tiny-clean-beam-1",
    "both": "both-tiny-clean-beam-1",
    "hybrid": "hybrid-tiny-clean-beam-1",
    "word": "word-tiny-clean-1",
    "plain": "plain-tiny-clean-1",
}


def write_targets(prefix: str, lines: list[str]) -> None:
    """Token targets of the teacher along these lines, at a temperature of their own."""
    folder = layout.targets_dir("clean", prefix)
    folder.mkdir(parents=True)
    header = targets.Header(
        top_k=1,
        temperature=3.0,
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


# What a training is known by, and what it is given

ONLINE = "on_policy-tiny-del30-1"
TARGETS_OF, SAID_FILE = "data/targets/clean-{}/header.json", "data/hypotheses/clean-beam/hypotheses.jsonl"
# What the students of a family read beside training text, validation set, dictionary, form and lengths.
READ = {
    "plain": [],
    "word": [TARGETS_OF.format("gold")],
    "seq": [SAID_FILE],
    "both": [SAID_FILE, TARGETS_OF.format("beam")],
    "hybrid": [SAID_FILE, TARGETS_OF.format("gold")],
    "online": [f"models/teacher/del30/model/model{number}.pt" for number in ("", 2)],
}


@pytest.fixture
def ready(taught: None) -> None:
    """A noisy condition with a teacher of two members, and a manifest."""
    write_corpus("del30", SOURCES, TARGETS, target="zh")
    write_model(layout.model_dir(layout.teacher_dir("del30")), "one", "two")
    files.write_json(layout.manifest("student"), {})


Begun = list[dict[str, Any]]


def asked(family: str, dictionaries: bridge.Dictionaries = JOINT, **changes: Any) -> dict[str, Any]:
    """What student.train is asked for a run of the family, some of it replaced."""
    run, method = Run.from_key(family, (KEYS | {"online": ONLINE})[family]), METHODS[family]
    material = gather(run, method, 5.0, dictionaries)
    whole = {"run": run, "method": method, "architecture": PLAIN, "training": recipe(), "material": material}
    return whole | changes


def start(begun: Begun, given: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the last training was given, and the student's card."""
    with unfinished(Path(f"out{len(begun)}")) as output:
        student.train(**given, output=output)
        return begun[-1], files.read_object(output.path / layout.CARD)


def key(begun: Begun, given: dict[str, Any]) -> str:
    """Whose unfinished work it would take up."""
    return str(start(begun, given)[0]["scratch"])


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("family", "kind"), [*((family, "joint") for family in FAMILIES), ("plain", "separate")]
)
def test_a_training_is_known_by_all_that_it_reads(begun: Begun, family: str, kind: str) -> None:
    noise = "del30" if family == "online" else "clean"
    dictionaries = {"joint": ["dict.txt"], "separate": ["dict.src.txt", "dict.tgt.txt"]}[kind]
    paths = [f"data/noise/{noise}/train.{side}" for side in ("src", "tgt")] + READ[family]
    held_out = ("valid.src", "valid.tgt", "text.json", "lengths.npy", *dictionaries)
    paths += [f"data/bpe/{name}" for name in held_out]
    given = asked(family, layout.DICTIONARIES[kind])
    first, same = key(begun, given), []
    for path in [*map(Path, paths), layout.manifest("student")]:
        content = path.read_bytes()
        path.write_bytes(content + b"\n")
        same += [path] if key(begun, given) == first else []
        path.write_bytes(content)
    assert same == [] and key(begun, given) == first


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("part", "other"),
    [("training", OTHER_RECIPE), ("architecture", OTHER_SIZE), ("method", OTHER_METHOD)],
    ids=["training", "architecture", "method"],
)
def test_a_training_is_known_by_every_parameter(begun: Begun, part: str, other: dict[str, Any]) -> None:
    given = asked("plain")
    first, whole = key(begun, given), given[part]
    changed = {name: whole.model_copy(update={name: value}) for name, value in other.items()}
    assert changed.keys() == type(whole).model_fields.keys() - {"init"}
    assert [name for name, value in changed.items() if key(begun, given | {part: value}) == first] == []


@pytest.mark.usefixtures("ready")
def test_a_training_is_known_by_its_run_and_its_temperature(begun: Begun) -> None:
    given = asked("plain")
    other = dict.fromkeys(("method", "capacity", "noise", "decoding"), "x") | {"family": "seq", "seed": 2}
    runs = [replace(given["run"], **{name: value}) for name, value in other.items()]
    warmer = given | {"material": replace(given["material"], temperature=7.0)}
    keys = [key(begun, one) for one in (given, warmer, *(given | {"run": run} for run in runs))]
    assert len(set(keys)) == len(keys) == 2 + len(fields(Run))


@pytest.mark.usefixtures("ready")
def test_a_start_counts_by_its_content_and_is_told(begun: Begun) -> None:
    """Not by its place, which is another in a queue's workspace."""
    contents = {"a": "trained", "b": "trained", "c": "otherwise"}
    models = [
        write_model(layout.model_dir(layout.student_dir(name)), content) for name, content in contents.items()
    ]
    inits = [None, layout.RANDOM_WEIGHTS, *(str(layout.student_dir(name)) for name in contents)]
    given, cards = zip(
        *(start(begun, asked("plain", training=recipe(init=init))) for init in inits), strict=True
    )
    assert [one["start"] for one in given] == [None, None, *models]
    told = [{"run": name, "model": files.file_hash(one)} for name, one in zip(contents, models, strict=True)]
    assert [card.get("start") for card in cards] == [None, None, *told]
    keys = [one["scratch"] for one in given]
    assert keys[0] == keys[1] and keys[2] == keys[3] and len(set(keys)) == 3


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("family", "temperature"), [("word", 3.0), ("both", 3.0), ("hybrid", 3.0), ("online", 5.0)]
)
def test_stored_targets_have_the_temperature_that_they_were_made_at(
    begun: Begun, tiny: Tiny, family: str, temperature: float
) -> None:
    """A teacher in memory that which is asked for: the condition's own, all its members."""
    given, _ = start(begun, asked(family))
    found = configured_by(tiny, given["adapt"]).criterion
    assert found.temperature == temperature
    assert found.get("teachers", "") == ":".join(READ["online"] if family == "online" else [])
    assert given["seed"] == 1


def gated(**values: Any) -> Any:
    return METHODS["hybrid"].model_copy(update={"gate": Gate.model_validate(values)})


@pytest.mark.usefixtures("ready")
@pytest.mark.parametrize(
    ("kind", "values", "wanted"), [("learned", [], LEARNED), ("fixed", [0.3], 0.3)], ids=["learned", "fixed"]
)
def test_a_hybrid_is_trained_at_the_gate_of_its_method(
    begun: Begun, tiny: Tiny, kind: str, values: list[float], wanted: float
) -> None:
    given, _ = start(begun, asked("hybrid", method=gated(kind=kind, values=values)))
    assert configured_by(tiny, given["adapt"]).criterion.gate == wanted
    assert len(begun) == 1


@pytest.mark.usefixtures("ready")
def test_best_of_several_says_what_all_of_them_saw(
    begun: Begun, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By BLEU of the whole validation set. Three were trained for it; its other facts are its own."""
    scores, valid = {0.25: 1.0, 0.5: 3.0, 0.75: 2.0}, (["held", "out"], ["heldout", "too"])
    given = asked("hybrid", method=gated(kind="validated", values=list(scores)))
    given["material"] = replace(given["material"], data=replace(given["material"].data, valid=valid))

    def quality(model: Path, sides: validation.Sides, form: TextForm) -> float:
        assert sides == valid and form == given["material"].data.form
        return scores[float(model.parent.name)]

    monkeypatch.setattr(validation, "quality", quality)
    with unfinished(Path("out")) as output:
        trained = student.train(**given, output=output)
    assert [configured_by(tiny, one["adapt"]).criterion.gate for one in begun] == list(scores)
    assert len({one["scratch"] for one in begun}) == 3
    assert files.read_object(Path("out") / layout.CARD) == trained.card | {"model": "2" * 64}
    assert stamp(layout.model_dir(Path("out"))) == "2" * 64
    assert trained.seconds == 4.5 and trained.card == {
        "parameters": 7,
        "gate": 0.5,
        "valid_bleu": 3.0,
        "tried": {"0.25": 1.0, "0.5": 3.0, "0.75": 2.0},
        "data": {
            "updates": 12,
            "sentences": 24,
            "passes": 12.0,
            "source_tokens": 60,
            "target_tokens": 90,
            "trainings": 3,
        },
    }
