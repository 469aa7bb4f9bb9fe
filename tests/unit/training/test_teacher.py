"""nmtkd.training.teacher: which conditions share one, and how long the lines are that it takes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmtkd import files
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.plan.models import Consistency, Teacher
from nmtkd.text import provenance
from nmtkd.text.parallel import write_lines
from nmtkd.training import teacher
from tests.conftest import Tiny
from tests.unit.network.building import PLAIN, long_line, recipe
from tests.unit.training.helpers import (
    JOINT,
    OTHER_RECIPE,
    OTHER_SIZE,
    configured_by,
    unfinished,
    write_corpus,
    write_model,
)

SOURCES, TARGETS = ["w1 w2", "w3"], ["w4", "w5"]


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty one, with its own scratch space and a manifest."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NMTKD_SCRATCH", str(tmp_path / "scratch"))
    files.write_json(layout.manifest("teacher"), {})


def asked(noise: str) -> Any:
    """What the stage does for a condition: the teacher's positions, or the folder that it was copied from."""
    out = layout.teacher_dir(noise)
    how = Teacher(architecture=PLAIN, training=recipe(updates=2), seeds=[1])
    with unfinished(out) as output:
        found = teacher.train(noise, how, JOINT, output)
    return found if isinstance(found, Path) else bridge.positions(layout.model_dir(out))


def test_teacher_of_clean_text_takes_the_lines_that_noise_made_longer() -> None:
    """Its students' lines are to be translated and scored. Conditions of equal positions share a teacher."""
    write_corpus("clean", SOURCES, TARGETS)
    for noise, longest in (("longer", 6), ("longest", 600)):
        write_corpus(noise, ["w1 w2", long_line(longest)], TARGETS)
        write_corpus(f"{noise}/{layout.TEACHER_TEXT}", SOURCES, TARGETS)
    assert asked("clean") == 1024
    assert asked("longer") == layout.teacher_dir("clean")
    assert asked("longest") == 2048


def test_teacher_of_another_form_of_text_is_another() -> None:
    """A longer test line alone: the model is to take it."""
    write_corpus("clean", SOURCES, TARGETS)
    assert asked("clean") == 1024
    write_corpus("again", SOURCES, TARGETS, longest=3600)
    assert asked("again") == 8192


def test_teacher_is_not_trained_on_damaged_text_nor_copied_from_a_damaged_one() -> None:
    for noise in ("clean", "same", "other", "again"):
        write_corpus(noise, SOURCES, TARGETS)
    assert asked("clean") == 1024
    (layout.teacher_dir("clean") / layout.CARD).write_text("{", encoding="utf-8")
    assert asked("same") == 1024  # a card that is cut names no recipe
    (layout.model_dir(layout.teacher_dir("same")) / layout.MODEL).write_bytes(b"")
    assert asked("other") == 1024
    card = layout.teacher_dir("other") / layout.CARD
    files.write_json(card, {key: value for key, value in files.read_json(card).items() if key != "recipe"})
    assert asked("again") == 1024
    write_corpus("zeroed", SOURCES, TARGETS)
    (layout.noise_dir("zeroed") / "train.src").write_bytes(bytes(8))
    with pytest.raises(files.DamagedError, match=r"train\.src: not the content that was written"):
        asked("zeroed")
    with pytest.raises(files.DamagedError, match=r"data/noise/nosuch: no such folder; correct the name"):
        asked("nosuch")


# What its training is known by, and what it is given

Begun = list[dict[str, Any]]
TEACHER = Teacher(architecture=PLAIN, training=recipe(), seeds=[3, 5])


def start(begun: Begun, how: Teacher = TEACHER, kind: str = "joint") -> dict[str, Any]:
    """Begins a training of clean text. Gives the card."""
    with unfinished(Path(f"out{len(begun)}")) as output:
        teacher.train("clean", how, layout.DICTIONARIES[kind], output)
        return files.read_object(output.path / layout.CARD)


def key(begun: Begun, *given: Any) -> tuple[str, str]:
    """Whose unfinished work it would take up, and whose finished."""
    recipe = start(begun, *given)["recipe"]
    return str(begun[-1]["scratch"]), recipe


def test_ensembles_card_says_what_all_its_members_saw(begun: Begun) -> None:
    """Each of them has its own seed and its own unfinished work."""
    write_corpus("clean", SOURCES, TARGETS)
    card = start(begun)
    assert [(one["seed"], one["name"]) for one in begun] == [(3, "model.pt"), (5, "model2.pt")]
    assert len({one["scratch"] for one in begun}) == 2
    assert {one["section"] for one in begun} == {"teacher.training"}
    assert [one["stage"] for one in begun] == ["teacher clean, seed 3", "teacher clean, seed 5"]
    assert (card["parameters"], card["seeds"], "start" in card) == (14, [3, 5], False)
    assert card["data"] == {
        "updates": 8,
        "sentences": 16,
        "passes": 8.0,
        "source_tokens": 40,
        "target_tokens": 60,
        "trainings": 2,
    }


@pytest.mark.parametrize("consistency", [None, Consistency(kind="simcut", weight=3.0, cutoff=0.05)])
def test_a_regulariser_reaches_all_members(begun: Begun, tiny: Tiny, consistency: Consistency | None) -> None:
    write_corpus("clean", SOURCES, TARGETS)
    start(begun, TEACHER.model_copy(update={"training": recipe(consistency=consistency)}))
    for one in begun:
        found = configured_by(tiny, one["adapt"]).criterion
        wanted = "consistency_regularised_cross_entropy" if consistency else "chunked_cross_entropy"
        assert (found._name, found.get("weight", None)) == (wanted, 3.0 if consistency else None)


@pytest.mark.parametrize(
    ("part", "other"), [("training", OTHER_RECIPE), ("architecture", OTHER_SIZE)], ids=["recipe", "size"]
)
def test_a_teacher_is_known_by_every_parameter(begun: Begun, part: str, other: dict[str, Any]) -> None:
    write_corpus("clean", SOURCES, TARGETS)
    first, whole = key(begun), getattr(TEACHER, part)
    changed = {name: whole.model_copy(update={name: value}) for name, value in other.items()}
    assert changed.keys() == type(whole).model_fields.keys() - {"init"}
    for name, value in changed.items():
        found = key(begun, TEACHER.model_copy(update={part: value}))
        assert found[0] != first[0] and found[1] != first[1], name


def test_a_teacher_is_known_by_its_seeds(begun: Begun) -> None:
    write_corpus("clean", SOURCES, TARGETS)
    recipes = [
        start(begun, TEACHER.model_copy(update={"seeds": seeds}))["recipe"] for seeds in ([3], [3, 5], [7])
    ]
    assert len(set(recipes)) == 3 and len({one["scratch"] for one in begun}) == 4


def stamp() -> None:
    """Writes the cards of the text as it now is."""
    read = [layout.CODES, *layout.DICTIONARY_FILES, layout.LENGTHS, *provenance.sides(["valid"])]
    files.write_json(layout.BPE / layout.CARD, provenance.written(layout.BPE, read))
    folder = layout.noise_dir("clean")
    files.write_json(folder / layout.CARD, provenance.cut(folder, layout.BPE))


@pytest.mark.parametrize("kind", layout.DICTIONARIES)
def test_a_teacher_is_known_by_all_that_it_reads(begun: Begun, kind: str) -> None:
    """And by nothing else: the dictionary of the other kind is none of its own."""
    write_corpus("clean", SOURCES, TARGETS)
    first = key(begun, TEACHER, kind)
    text = [Path(f"data/noise/clean/train.{side}") for side in ("src", "tgt")]
    text += [layout.BPE / f"valid.{side}" for side in ("src", "tgt")]
    joint, *own = (layout.BPE / name for name in ("dict.txt", "dict.src.txt", "dict.tgt.txt"))
    form, lengths = layout.BPE / layout.TEXT, layout.BPE / layout.LENGTHS
    found = {}
    for path in [*text, joint, *own, form, lengths, layout.manifest("teacher")]:
        content = path.read_bytes()
        if path == lengths:
            np.save(path, np.load(path) + 1)
        elif path.suffix == ".json":
            files.write_json(path, files.read_object(path) | {"tokeniser": "moses"})
        else:
            write_lines(path, [*path.read_text(encoding="utf-8").splitlines()[:-1], "w1 9"])
        stamp()
        found[path] = key(begun, TEACHER, kind)
        path.write_bytes(content)
    stamp()
    assert key(begun, TEACHER, kind) == first
    others = {path for path, value in found.items() if value == first}
    assert others == (set(own) if kind == "joint" else {joint})
    assert all(
        value[0] != first[0] and value[1] != first[1] for path, value in found.items() if path not in others
    )


def test_a_teachers_start_counts_by_its_content_and_each_member_has_its_own(begun: Begun) -> None:
    write_corpus("clean", SOURCES, TARGETS)
    folders = [Path("models/teacher") / name for name in ("a", "b", "c")]
    for folder, members in zip(folders, [("one", "two"), ("one", "two"), ("one",)], strict=True):
        write_model(layout.model_dir(folder), *members)
    inits = [None, layout.RANDOM_WEIGHTS, *map(str, folders)]
    cards = [start(begun, TEACHER.model_copy(update={"training": recipe(init=init)})) for init in inits]
    a, b, c = map(layout.model_dir, folders)
    wanted = (
        [None] * 4 + [a / "model.pt", a / "model2.pt", b / "model.pt", b / "model2.pt"] + [c / "model.pt"] * 2
    )
    assert [one["start"] for one in begun] == wanted
    told = [{"run": folder.name, "model": bridge.model_hash(layout.model_dir(folder))} for folder in folders]
    assert [card.get("start") for card in cards] == [None, None, *told]
    recipes = [card["recipe"] for card in cards]
    assert recipes[0] == recipes[1] and recipes[2] == recipes[3] and len(set(recipes)) == 3
