"""runner.forecast.cost: seconds of work by measured speed or a card, and of stages side by side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner import schedule
from runner.forecast.assumptions import Launch
from runner.forecast.cost import Measured, Named, Speed, makespan
from runner.forecast.work import Work
from tests.unit.runner.forecast.helpers import ASSUMED, TEXT, planner

TEACHER = planner().teacher()
STUDENT = planner().model(planner().params.capacities["tiny"], planner().params.training)
SPEEDS = {
    STUDENT: Speed(step=0.5, line={1: 0.01, 5: 0.1}, conversion=0.25, scored=0.02, asking=0.75, sample=7.0),
    TEACHER: Speed(step=4.0),
}
WORK = Work(model=STUDENT, steps=10.0, updates=8, translated={1: 100, 5: 20}, conversions=4, scored=50)


def test_measured_seconds_add_up() -> None:
    alone = Measured(SPEEDS, SPEEDS[TEACHER], ASSUMED)
    seconds = 2.0 + 10 * 0.5 + 4 * 0.25 + 50 * 0.02 + 100 * 0.01 + 20 * 0.1
    assert alone("student_plain@x-tiny-clean-1", WORK) == pytest.approx((seconds, seconds))
    # Four batches along which a teacher is asked, one of which is sampled.
    asked = Work(model=STUDENT, steps=4.0, updates=4, asked=4.0, sampled=1.0)
    seconds = 2.0 + 4 * 0.75 + 7.0
    assert alone("student_online@x-tiny-clean-1", asked)[0] == pytest.approx(seconds)
    # A quarter of the teacher's step for each that another member of it reads along.
    two = Work(model=STUDENT, steps=4.0, updates=4, asked=8.0, sampled=1.0)
    assert alone("student_online@x-tiny-clean-1", two)[0] == pytest.approx(seconds + 4 * 0.25 * 4.0)


def test_data_stages_follow_the_pairs() -> None:
    measured = Measured({}, None, ASSUMED)
    assert measured("bpe", Work(pairs=50_000)) == (2.0 + 150.0,) * 2
    assert measured("report", Work(models=8)) == (2.0 + 4.0,) * 2


def test_a_card_gives_a_range() -> None:
    card = Named(ASSUMED.cards["small"], 1, TEXT, TEACHER, ASSUMED)
    flops = 10**6 * STUDENT.step_flops(TEXT)
    best, worst = card("student_plain@x", Work(model=STUDENT, steps=1e6))
    assert best == pytest.approx(2.0 + max(flops / 0.5e12, 1e6 * 2 * 0.001))
    assert worst == pytest.approx(2.0 + max(flops / 0.1e12, 1e6 * 2 * 0.01))
    # Samples start a pass of the decoder's one layer for each of their tokens: a third of a step's layer.
    sampled = card("student_online@x", Work(model=STUDENT, steps=1e6, sampled=1e5))[1] - 2.0
    started = 1e6 * 2 + 1e5 * 2.0 * TEXT.target / 3
    assert sampled == pytest.approx(max((flops + 1e5 * 0.25 * flops / 1e6) / 0.1e12, started * 0.01))
    # Translating costs by the width of a beam, and scoring a line as much as one of beam 1.
    decoded = card("decode@x", Work(model=STUDENT, translated={1: 7000, 5: 1000}, scored=500))
    flops = 7500 * STUDENT.line_flops(TEXT) + 1000 * STUDENT.line_flops(TEXT, 5)
    assert decoded == pytest.approx((2.0 + flops / 0.1e12, 2.0 + flops / 0.01e12))


def test_on_a_card_asking_and_sampling_are_forward_passes_of_their_own_models() -> None:
    """A quarter of a step each: of the teacher's for each batch and member, of the student's for a sample."""
    free = ASSUMED.model_copy(update={"launch": Launch(least=1e-12, most=1e-12)})
    work = Work(model=STUDENT, steps=1000.0, updates=1000, asked=2000.0, sampled=400.0)
    flops = (1000 + 400 * 0.25) * STUDENT.step_flops(TEXT) + 2000 * 0.25 * TEACHER.step_flops(TEXT)
    found = Named(ASSUMED.cards["small"], 1, TEXT, TEACHER, free)("student_online@x", work)
    assert found == pytest.approx((2.0 + flops / 0.5e12, 2.0 + flops / 0.1e12))


def test_only_a_teachers_batches_are_shared_among_cards() -> None:
    four = replace(STUDENT, training=STUDENT.training.model_copy(update={"accumulate": 4}))
    one, two = (
        Named(ASSUMED.cards["small"], cards, TEXT, TEACHER, ASSUMED)(
            "student_plain@x", Work(model=four, steps=9)
        )
        for cards in (1, 2)
    )
    assert one == two


def test_a_teacher_shares_its_batches_among_cards() -> None:
    four = planner(teacher__training__accumulate=4).teacher()
    seconds = [
        Named(ASSUMED.cards["small"], cards, TEXT, four, ASSUMED)(
            "teacher@clean", Work(model=four, steps=1e6)
        )[0]
        for cards in (1, 2, 4, 6)
    ]
    base, one = 2.0, seconds[0] - 2.0
    assert seconds == pytest.approx([base + one, base + one / 2, base + one / 4, base + one / 2])


DEPENDS = {
    "data": [],
    "teacher@a": ["data"],
    "plain": ["data"],
    "word": ["teacher@a"],
    "end": ["plain", "word"],
}
SECONDS = {"data": 1.0, "teacher@a": 10.0, "plain": 4.0, "word": 5.0, "end": 1.0}


@pytest.mark.parametrize(
    ("jobs", "alone", "total"),
    [
        (1, True, 21.0),
        (2, False, 17.0),  # plain beside the teacher
        (2, True, 17.0),  # plain beside word
    ],
)
def test_stages_side_by_side(jobs: int, alone: bool, total: float) -> None:
    plan = schedule.Plan(DEPENDS, list(DEPENDS))
    assert makespan(plan, SECONDS, jobs, alone=alone) == total


def test_a_teacher_alone_waits_for_what_runs() -> None:
    depends = {"data": [], "teacher@a": ["data"], "teacher@b": ["data"], "plain": ["data"]}
    seconds = {"data": 1.0, "teacher@a": 10.0, "teacher@b": 10.0, "plain": 4.0}
    together, apart = (
        makespan(schedule.Plan(depends, list(depends)), seconds, 3, alone=alone) for alone in (False, True)
    )
    assert (together, apart) == (11.0, 25.0)
