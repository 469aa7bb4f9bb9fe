"""runner.forecast.plan: what is measured of which model, and how stages share the machine or its cards."""

from __future__ import annotations

from typing import Any

import pytest

from nmtkd import machine
from runner.forecast import speed
from runner.forecast.cost import Speed
from runner.forecast.plan import Forecast, Looked, Question, forecast
from runner.forecast.sizes import Model
from tests.unit.runner.forecast.helpers import ASSUMED, TEXT, experiment

RECIPE = {"updates": 100, "warmup": 1, "checkpoint_every": 100, "average": 1, "curve_pairs": 0}
CHANGES = {
    **{f"{of}training__{name}": value for of in ("", "teacher__") for name, value in RECIPE.items()},
    "teacher__seeds": [1, 2],
    "methods__on_policy__on_policy__from_update": 60,
    "methods__on_policy__on_policy__share": 0.5,
}
BARE = TEXT.model_copy(update={"valid": 0})  # no validation, whose time is no round number
TINY, SMALL = "student_plain@plain-tiny-clean-1", "student_plain@plain-small-clean-1"
ONLINE, TEACHER = "student_online@on_policy-tiny-clean-1", "teacher@clean"
DEPENDS = {"corpus": [], TEACHER: ["corpus"], TINY: ["corpus"], SMALL: ["corpus"]}
WITH_ONLINE = {**DEPENDS, ONLINE: [TEACHER]}


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Model, dict[str, Any]]]:
    """What is measured, on eight cores: a step takes a second, a batch with a teacher beside it two more."""
    asked: list[tuple[Model, dict[str, Any]]] = []

    def measure(model: Model, _: object, **how: Any) -> Speed:
        asked.append((model, how))
        lines = dict.fromkeys(how["beams"], 0.5)
        return Speed(step=1.0, line=lines, scored=0.125, asking=3.0, sample=4.0)

    monkeypatch.setattr(speed, "measure", measure)
    monkeypatch.setattr(machine, "threads", lambda: 8)
    return asked


def found(depends: dict[str, list[str]], jobs: int, **changes: Any) -> Forecast:
    asked = Question(choices=[], jobs=jobs, card=None, cards=7)
    params = experiment(**CHANGES | changes.pop("params", {}))
    looked = Looked(params=params, depends=depends, done=[], counted=(BARE, 500))
    return forecast(asked, looked, ASSUMED, lambda _: None)


@pytest.mark.parametrize(("jobs", "each"), [(1, 8), (3, 2), (16, 1)])
def test_a_teacher_is_timed_on_all_cores_and_others_on_their_share(
    measured: list[tuple[Model, dict[str, Any]]], jobs: int, each: int
) -> None:
    """No share is less than a core. Beside a stage there are as many others as run at once but for it."""
    one = found({**DEPENDS, "targets_gold@clean": [TEACHER]}, jobs)
    how = {model.architecture: how for model, how in measured}
    params = one.params
    teacher = how.pop(params.teacher.architecture)
    assert set(how) == {params.capacities["tiny"], params.capacities["small"]}
    assert (teacher["training"], teacher["other"], teacher["beside"]) == (8, each, jobs - 1)
    for student in how.values():
        assert (student["training"], student["other"], student["beside"]) == (each, each, jobs - 1)


def test_each_model_is_timed_at_what_it_has_to_do(measured: list[tuple[Model, dict[str, Any]]]) -> None:
    depends = {
        **WITH_ONLINE,
        "decode@clean-greedy": [TEACHER],
        "targets_gold@clean": [TEACHER],
        "evaluate_plain@plain-small-clean-1": [SMALL],
    }
    one = found(depends, 2, params={"training__curve_pairs": 40, "targets__top_k": 6})
    params = one.params
    how = {model.architecture: how for model, how in measured}
    teacher, tiny, small = (
        how[shape]
        for shape in (params.teacher.architecture, params.capacities["tiny"], params.capacities["small"])
    )
    assert [each["beams"] for each in (teacher, tiny, small)] == [[1], [1], [1, 5]]
    assert [each["top_k"] for each in (teacher, tiny, small)] == [6, 0, 0]
    assert teacher["online"] is small["online"] is None
    assert tiny["online"].method == params.methods["on_policy"]
    assert tiny["online"].teacher.architecture == params.teacher.architecture
    assert len(measured) == 3


def test_a_teacher_that_is_done_is_timed_where_a_student_asks_it(
    measured: list[tuple[Model, dict[str, Any]]],
) -> None:
    one = found({ONLINE: []}, 2)
    assert {model.architecture for model, _ in measured} == {
        one.params.teacher.architecture, one.params.capacities["tiny"],
    }  # fmt: skip
    found({TINY: []}, 2)
    assert len(measured) == 3


def test_an_online_students_seconds_are_its_own_and_each_members(
    measured: list[tuple[Model, dict[str, Any]]],
) -> None:
    one = found(WITH_ONLINE, 2)
    assert one.seconds[TINY] == pytest.approx((2.0 + 100.0,) * 2)
    assert one.seconds[TEACHER] == pytest.approx((2.0 + 2 * 100.0,) * 2)
    # Of its family a batch takes half as long again, two seconds more with the first member beside it and a
    # quarter of a step for the second; half of the last 40 are sampled, in four.
    assert one.seconds[ONLINE] == pytest.approx((2.0 + 150.0 + 100 * 2.0 + 100 * 0.25 + 20 * 4.0,) * 2)


@pytest.mark.parametrize(("jobs", "students"), [(1, 204.0), (2, 102.0)])
def test_the_total_is_of_stages_side_by_side_but_for_a_teacher(
    measured: list[tuple[Model, dict[str, Any]]], jobs: int, students: float
) -> None:
    """Data of 1,050 pairs, both members, and two students."""
    one = found(DEPENDS, jobs)
    assert one.total == pytest.approx((2.0 + 1.05 + 202.0 + students,) * 2)


@pytest.mark.parametrize("cards", [1, 3])
def test_on_cards_a_stage_runs_on_each_and_a_teacher_beside_others(cards: int) -> None:
    """However many stages run here at once."""
    asked = Question(choices=[], jobs=2, card="small", cards=cards)
    looked = Looked(params=experiment(**CHANGES), depends=DEPENDS, done=[], counted=(TEXT, 500))
    one = forecast(asked, looked, ASSUMED, print)
    for end in (0, 1):
        data, *others = (one.seconds[stage][end] for stage in DEPENDS)
        assert one.total[end] == pytest.approx(data + (max(others) if cards == 3 else sum(others)))
    assert one.total[0] < one.total[1]


def test_a_teachers_batches_of_an_update_are_shared_among_the_cards() -> None:
    changes = CHANGES | {"teacher__training__accumulate": 2}
    looked = Looked(params=experiment(**changes), depends=DEPENDS, done=[], counted=(BARE, 500))
    one, two = (
        forecast(Question(choices=[], jobs=1, card="small", cards=cards), looked, ASSUMED, print).seconds
        for cards in (1, 2)
    )
    assert two[TEACHER][1] - 2.0 == pytest.approx((one[TEACHER][1] - 2.0) / 2)
    assert (one[TINY], one[SMALL]) == (two[TINY], two[SMALL])


def test_what_was_not_counted_is_told_as_assumed() -> None:
    asked = Question(choices=[], jobs=1, card="small", cards=1)
    looked = Looked(
        params=experiment(corpus__name="mine"), depends=DEPENDS, done=["corpus"], counted=None, linked=True
    )
    one = forecast(asked, looked, ASSUMED, print)
    assert (one.known, one.text.train, len(one.remarks), one.linked) == (False, 7000, 1, True)
    assert set(one.work) == set(DEPENDS) and set(one.seconds) == set(DEPENDS) - {"corpus"}
    assert set(one.models) == {"teacher", "tiny", "small"}
