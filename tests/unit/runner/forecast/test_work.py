"""runner.forecast.work: what stages of an experiment have to do, by literal figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.forecast import work as kinds
from runner.forecast.work import CHECKPOINTS, HYPOTHESES, MODELS, TARGETS, Work
from tests.unit.runner.forecast.helpers import TEXT, planner

QUICK = {  # of the committed params that figures below follow from
    "training__updates": 800,
    "training__max_tokens": 2000,
    "training__checkpoint_every": 100,
    "training__curve_pairs": 40,
}
PLAIN = "student_plain@plain-tiny-clean-1"
EVALUATED = "plain@plain-tiny-clean-1", "plain@plain-small-clean-1"


def test_a_student_trains_validates_and_translates_for_its_curve() -> None:
    work = planner(**QUICK).work("student_word@word-tiny-clean-1")
    # Eight points: 100 lines of 10 tokens on the longer side, in batches of 2,000, at a quarter of a step.
    assert work.steps == 800 * 1.25 + 8 * 100 * 10 / 2000 * 0.25
    assert work.updates == 800
    assert work.translated == {1: 8 * 40}
    assert work.conversions == 8
    assert work.model is not None
    assert work.disk[MODELS] == 4 * work.model.parameters
    assert work.disk[CHECKPOINTS] == 10 * work.disk[MODELS]  # four to average, and two states of three


def test_validation_takes_the_longer_side() -> None:
    """100 lines of 13 tokens of source, 12 and the end; all 100 pairs for a curve of more than there are."""
    wide = TEXT.model_copy(update={"source": 12.0})
    work = replace(planner(**QUICK | {"training__curve_pairs": 500}), text=wide).work(PLAIN)
    assert work.steps == 800 + 8 * 100 * 13 / 2000 * 0.25
    assert (work.translated, work.conversions) == ({1: 8 * 100}, 8)
    none = planner(**QUICK | {"training__curve_pairs": 0}).work(PLAIN)
    assert (none.translated, none.conversions) == ({1: 0}, 0)


def test_a_teacher_trains_each_member_and_a_consistency_reads_its_batches_twice() -> None:
    recipe = {name.replace("training", "teacher__training"): value for name, value in QUICK.items()}
    alike = {"teacher__training__consistency": {"kind": "rdrop", "weight": 5.0}}
    once = 8 * 100 * 10 / 2000 * 0.25  # of a member's validation
    for seeds, changes, factor in (([1], {}, 1.0), ([1], alike, 2.0), ([1, 2], alike, 2.0)):
        work = planner(**recipe, **changes, teacher__seeds=seeds).work("teacher@clean")
        members = len(seeds)
        assert work.steps == members * (800 * factor + once)
        assert (work.updates, work.conversions) == (members * 800, members * 8)
        assert work.translated == {1: members * 8 * 40}
        assert work.model is not None
        assert work.disk[MODELS] == members * 4 * work.model.parameters
        # Members train one after the other, and checkpoints go with each.
        assert work.disk[CHECKPOINTS] == 10 * 4 * work.model.parameters


def test_batches_of_an_update_and_trainings_of_a_student_multiply() -> None:
    plain = planner(**QUICK).work("student_plain@plain-tiny-clean-1")
    summed = planner(**QUICK, training__accumulate=4).work("student_plain@plain-tiny-clean-1")
    assert (plain.updates, summed.updates) == (800, 3200)
    best = planner(**QUICK).work("student_hybrid@hybrid_best-tiny-clean-beam-1")
    one = planner(**QUICK).work("student_hybrid@hybrid-tiny-clean-beam-1")
    assert (best.steps, best.conversions) == (3 * one.steps, 3 * one.conversions)
    assert best.translated == {1: 3 * one.translated[1]}
    assert best.disk == {MODELS: 3 * one.disk[MODELS], CHECKPOINTS: one.disk[CHECKPOINTS]}
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
    assert work.conversions == 1
    assert work.disk[HYPOTHESES] == 1000 * 9 * 4.5 * 5
    assert planner().work("decode@clean-greedy").translated == {1: 1000}
    assert planner().work("decode@clean-greedy").conversions == 1
    forced = planner().work("decode@clean-forced")
    assert (forced.translated, forced.scored) == ({}, 1000)


def test_each_member_of_an_ensemble_reads_the_text() -> None:
    two = planner(teacher__seeds=[1, 2], decodings__beam__engine="fairseq", decodings__beam__nbest=3)
    beam, forced = two.work("decode@clean-beam"), two.work("decode@clean-forced")
    assert (beam.translated, beam.scored) == ({5: 2 * (1000 + 5 * 100)}, 0)
    assert (forced.translated, forced.scored) == ({}, 2 * 1000)
    assert two.work("targets_gold@clean").scored == 2 * 1000
    # What is written is the ensemble's: one text, three translations a line or one.
    assert beam.disk == {HYPOTHESES: 1000 * 9 * 4.5 * 3}
    assert forced.disk == {HYPOTHESES: 1000 * 9 * 4.5}


@pytest.mark.parametrize(
    ("vocabulary", "kept", "size"), [(12, 12, 2), (500, 16, 2), (65_535, 16, 2), (65_536, 16, 4)]
)
def test_targets_keep_ids_and_probabilities_of_each_position(vocabulary: int, kept: int, size: int) -> None:
    found = replace(planner(targets__top_k=16), vocabulary=vocabulary).work("targets_gold@clean")
    assert found.scored == 1000
    assert found.disk == {TARGETS: 1000 * 10 * kept * (2 + size)}


def test_an_evaluation_translates_by_each_search() -> None:
    work = planner().work("evaluate_plain@plain-tiny-clean-1")
    assert work.translated == {1: 150, 5: 5 * 100 + 2 * 50}
    assert work.disk == {kinds.TEXT: 3 * 150 * 9 * 4.5}
    # Each penalty on valid, the test set by two searches; greedily valid and the test set: by one translator.
    assert work.conversions == 1
    greedy = planner(evaluate__beam=1, evaluate__length_penalties=[1.0]).work("evaluate_teacher@clean")
    assert greedy.translated == {1: 150 + 100 + 2 * 50}
    models = [planner().work(f"evaluate_{name}").model for name in ("teacher@clean", *EVALUATED)]
    params = planner().params
    assert [one and one.architecture for one in models] == [
        params.teacher.architecture, params.capacities["tiny"], params.capacities["small"],
    ]  # fmt: skip


def test_data_stages_read_all_pairs_and_write_both_sides() -> None:
    for stage in ("corpus", "prepare", "bpe", "noise@clean"):
        work = planner().work(stage)
        assert (work.pairs, work.disk) == (1150, {kinds.TEXT: 1150 * (8 + 9) * 4.5})
    assert planner().work("manifests") == Work()


def test_a_report_resamples_each_teacher_and_student() -> None:
    """Four methods in two sizes, and a teacher each noise."""
    assert planner().work("report").models == 1 + 8


def test_dictionaries_of_their_own_have_rows_of_their_own() -> None:
    joint, separate = (planner(architecture__embeddings=kind).teacher() for kind in ("joint", "separate"))
    assert separate.parameters - joint.parameters == 500 * separate.architecture.width
    assert separate.products == joint.products


def test_training_is_counted_in_flops_of_its_batches() -> None:
    """Of a batch as it is, however many passes a loss takes: what a run says first and decides by."""
    for changes, batches in (({}, 1600), ({"teacher__training__accumulate": 2}, 3200)):
        found = planner(**changes)
        assert found.work("teacher@clean").flops(TEXT) == batches * found.teacher().step_flops(TEXT)
    assert planner().work("decode@clean-beam").flops(TEXT) == 0.0
