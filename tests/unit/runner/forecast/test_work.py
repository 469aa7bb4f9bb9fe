"""runner.forecast.work: what stages of an experiment have to do, by literal figures."""

from __future__ import annotations

import pytest

from runner.forecast.work import CHECKPOINTS, HYPOTHESES, MODELS, TARGETS
from tests.unit.runner.forecast.helpers import TEXT, planner

QUICK = {  # of the committed params that figures below follow from
    "training__updates": 800,
    "training__max_tokens": 2000,
    "training__checkpoint_every": 100,
    "training__curve_pairs": 40,
}


def test_a_student_trains_validates_and_translates_for_its_curve() -> None:
    work = planner(**QUICK).work("student_word@word-tiny-clean-1")
    # Eight points: 100 lines of 10 tokens on the longer side, in batches of 2,000, at a quarter of a step.
    assert work.steps == 800 * 1.25 + 8 * 100 * 10 / 2000 * 0.25
    assert work.updates == 800
    assert work.translated == {1: 8 * 40}
    assert work.calls == 8
    assert work.model is not None
    assert work.disk[MODELS] == 4 * work.model.parameters
    assert work.disk[CHECKPOINTS] == 10 * work.disk[MODELS]  # four to average, and two states of three


def test_batches_of_an_update_and_trainings_of_a_student_multiply() -> None:
    plain = planner(**QUICK).work("student_plain@plain-tiny-clean-1")
    summed = planner(**QUICK, training__accumulate=4).work("student_plain@plain-tiny-clean-1")
    assert (plain.updates, summed.updates) == (800, 3200)
    best = planner(**QUICK).work("student_hybrid@hybrid_best-tiny-clean-beam-1")
    one = planner(**QUICK).work("student_hybrid@hybrid-tiny-clean-beam-1")
    assert best.steps == 3 * one.steps
    ensemble = planner(teacher__seeds=[1, 2]).work("teacher@clean")
    assert ensemble.updates == 2 * planner().work("teacher@clean").updates


def test_an_online_student_asks_each_teacher_for_each_batch() -> None:
    work = planner(**QUICK, teacher__seeds=[1, 2]).work("student_online@on_policy-tiny-clean-1")
    assert work.asked == 2 * 800
    assert planner(**QUICK).work("student_word@word-tiny-clean-1").asked == 0


def test_an_online_student_samples_a_share_of_the_later_batches() -> None:
    """Half of those after the first 400 of 800."""
    late = {**QUICK, "methods__on_policy__on_policy__from_update": 900}
    four = planner(**QUICK, training__accumulate=4)
    key = "student_online@on_policy-tiny-clean-1"
    assert planner(**QUICK).work(key).sampled == 200
    assert four.work(key).sampled == 800
    assert planner(**late).work(key).sampled == 0
    assert planner(**QUICK).work("student_word@word-tiny-clean-1").sampled == 0


def test_decoding_translates_train_and_valid_once_a_penalty() -> None:
    work = planner().work("decode@clean-beam")
    assert work.translated == {5: 1000 + 5 * 100}
    assert work.calls == 6
    assert work.disk[HYPOTHESES] == 1000 * 9 * 4.5 * 5
    assert planner().work("decode@clean-greedy").translated == {1: 1000}
    forced = planner().work("decode@clean-forced")
    assert (forced.translated, forced.scored) == ({}, 1000)


@pytest.mark.parametrize(("vocabulary", "size"), [(500, 2), (70_000, 4)])
def test_targets_keep_ids_and_probabilities_of_each_position(vocabulary: int, size: int) -> None:
    from dataclasses import replace

    found = replace(planner(targets__top_k=16), vocabulary=vocabulary).work("targets_gold@clean")
    assert found.scored == 1000
    assert found.disk == {TARGETS: 1000 * 10 * 16 * (2 + size)}


def test_an_evaluation_translates_by_each_search() -> None:
    work = planner().work("evaluate_plain@plain-tiny-clean-1")
    assert work.translated == {1: 150, 5: 5 * 100 + 2 * 50}
    teacher = planner().work("evaluate_teacher@clean")
    assert teacher.model == planner().teacher()
    assert work.model != teacher.model


def test_dictionaries_of_their_own_have_rows_of_their_own() -> None:
    joint, separate = (planner(architecture__embeddings=kind).teacher() for kind in ("joint", "separate"))
    assert separate.parameters - joint.parameters == 500 * separate.architecture.width
    assert separate.products == joint.products


def test_other_stages_pass_over_the_text() -> None:
    assert planner().work("prepare").pairs == 1150
    assert planner().work("noise@clean").pairs == 1150
    assert planner().work("report").models == 1 + 8
    assert planner().work("manifests").pairs == 0
    assert planner().work("teacher@clean").flops(TEXT) == 1600 * planner().teacher().step_flops(TEXT)
