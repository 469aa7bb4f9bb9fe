"""nmtkd.training.teacher: which conditions share one, and how long the lines are that it takes."""

from pathlib import Path
from typing import Any

import pytest

from nmtkd import files
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.plan.models import Teacher
from nmtkd.training import teacher
from tests.unit.network.building import PLAIN, long_line, recipe
from tests.unit.training.helpers import JOINT, unfinished, write_corpus

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


def test_ensembles_card_says_what_all_its_members_saw() -> None:
    write_corpus("clean", SOURCES, TARGETS)
    out = Path("out")
    asked = Teacher(architecture=PLAIN, training=recipe(updates=2), seeds=[1, 2])
    with unfinished(out) as output:
        teacher.train("clean", asked, JOINT, output)
    assert files.read_json(out / layout.CARD)["data"] == {
        "updates": 4,
        "sentences": 8,
        "passes": 4.0,
        "source_tokens": 20,
        "target_tokens": 16,
        "trainings": 2,
    }


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
