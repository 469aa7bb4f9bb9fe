"""stages.student and stages.teacher: what params.yaml says of a training arrives there."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import student, teacher

from nmtkd import files
from nmtkd.plan import layout
from tests.conftest import Tiny
from tests.unit.plan.good import changed
from tests.unit.training.helpers import configured_by, write_corpus, write_model

SOURCES, TARGETS = ["w1 w2", "w3"], ["w4", "w5"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text, and the manifests of both stages."""
    monkeypatch.chdir(tmp_path)
    write_corpus("clean", SOURCES, TARGETS)
    for entry in ("student", "teacher"):
        files.write_json(layout.manifest(entry), {})


def write_params(**changes: Any) -> None:
    files.write_text(Path("params.yaml"), yaml.safe_dump(changed(**changes)))


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("kind", layout.DICTIONARIES)
def test_trainings_have_the_dictionaries_that_embeddings_are_of(
    begun: list[dict[str, Any]], kind: str
) -> None:
    write_params(architecture__embeddings=kind)
    student.main(["plain", "plain-tiny-clean-1"])
    teacher.main(["clean"])
    assert [one["data"].dictionaries for one in begun] == [layout.DICTIONARIES[kind]] * 2


@pytest.mark.usefixtures("workspace")
def test_each_training_has_the_recipe_the_size_and_the_seed_of_its_own(begun: list[dict[str, Any]]) -> None:
    raw = changed(training__lr=0.002, teacher__training__lr=0.001, teacher__seeds=[7])
    write_params(training__lr=0.002, teacher__training__lr=0.001, teacher__seeds=[7])
    student.main(["plain", "plain-tiny-clean-5"])
    teacher.main(["clean"])
    sizes = [one["architecture"].model_dump(exclude={"gates"}) for one in begun]
    assert sizes == [raw["capacities"]["tiny"], raw["teacher"]["architecture"]]
    assert [(one["seed"], one["training"].lr) for one in begun] == [(5, 0.002), (7, 0.001)]


@pytest.mark.usefixtures("workspace")
def test_an_online_students_teacher_is_asked_at_the_temperature_of_targets(
    begun: list[dict[str, Any]], tiny: Tiny
) -> None:
    write_params(targets__temperature=3.0)
    write_model(layout.model_dir(layout.teacher_dir("clean")), "one")
    student.main(["online", "online-tiny-clean-1"])
    assert configured_by(tiny, begun[0]["adapt"]).criterion.temperature == 3.0
