"""What each stage opens, what each training learns from, and in which order."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sacrebleu.metrics.bleu import BLEU

from nmtkd.plan import layout
from tests.stages.laboratory import AVERAGE, FIXED_GATE, RUN, SAMPLED_AT, TEMPERATURE, Laboratory

# A condition's teacher may be a copy of another condition's: docs/decisions.md says why no stage declares it.
TWINS = "models/teacher/"
NO_READS = ("manifests/", layout.RANDOM_WEIGHTS)  # which code runs, and the start that is none

PLAIN = "student plain-tiny-clean-1"
# What students name themselves, by what their names promise: text of the target side, hypotheses beside it,
# and the prefix of the teacher's distributions.
LEARNT: dict[str, tuple[str, str, str]] = {
    PLAIN: ("gold", "", ""),
    "student plain-tiny-clean-2": ("gold", "", ""),
    "student word-tiny-clean-1": ("gold", "", "gold"),
    "student seq-tiny-clean-beam-1": ("best", "", ""),
    "student seq-tiny-clean-beam-2": ("best", "", ""),
    "student interp-tiny-clean-beam-1": ("closest", "", ""),
    "student both-tiny-clean-beam-1": ("best", "", "beam"),
    "student hybrid_best-tiny-clean-beam-1, gate 0.25": ("gold", "best", "gold"),
    "student hybrid_best-tiny-clean-beam-1, gate 0.5": ("gold", "best", "gold"),
    "student hybrid_best-tiny-clean-beam-1, gate 0.75": ("gold", "best", "gold"),
    f"student hybrid_half-tiny-clean-beam-1, gate {FIXED_GATE}": ("gold", "best", "gold"),
    "student plain-gated50-clean-1": ("gold", "", ""),
    "teacher clean": ("gold", "", ""),
}
NOISY = {
    "student plain-tiny-del30-1": "data/noise/del30",
    "student on_policy-tiny-del30-1": "data/noise/del30",
    "teacher del30": "data/noise/del30",
}
FOLDERS = {
    PLAIN: "models/student/plain-tiny-clean-1",
    "student seq-tiny-clean-beam-2": "models/student/seq-tiny-clean-beam-2",
    "teacher clean": "models/teacher/clean",
    "teacher del30": "models/teacher/del30",
}


@pytest.mark.parametrize("name", [*RUN, "report"])
def test_a_stage_opens_what_it_declares_and_all_of_it(lab: Laboratory, name: str) -> None:
    stage = lab.stages[name]
    own = (*stage.outs, *(f"{Path(out).parent}/.{Path(out).name}." for out in stage.outs), ".scratch", ".dvc")
    own += ("params.yaml", "dvc.yaml", "reports/machine", ".reports.")
    inside = [Path(path) for path in lab.opened[name] if Path(path).is_relative_to(lab.folder)]
    inside = [
        path for path in inside if not path.is_dir()
    ]  # a folder is opened to be removed or synchronised
    opened = {str(path.relative_to(lab.folder)) for path in inside}
    opened = {path for path in opened if not path.startswith(own)}
    deps = {dep.removeprefix(f"{lab.folder}/") for dep in stage.deps}
    if stage.command[0] == "teacher":
        opened = {path for path in opened if not path.startswith(TWINS)}
    stray = {path for path in opened if not any(path == dep or path.startswith(f"{dep}/") for dep in deps)}
    idle = {dep for dep in deps if not any(path == dep or path.startswith(f"{dep}/") for path in opened)}
    assert not stray and not {dep for dep in idle if not dep.startswith(NO_READS)}


def hypotheses(lab: Laboratory) -> list[list[str]]:
    """The teacher's translations of each line, best first."""
    lines = lab.text("data/hypotheses/clean-beam/hypotheses.jsonl")
    return [[entry["text"] for entry in json.loads(line)["hypotheses"]] for line in lines]


def closest(found: list[str], gold: str) -> str:
    """Of these the one with the best sentence BLEU against gold, in words."""
    metric = BLEU(tokenize="none", effective_order=True)
    hypotheses, reference = [text.replace("@@ ", "") for text in found], gold.replace("@@ ", "")
    scores = [metric.sentence_score(text, [reference]).score for text in hypotheses]
    return found[scores.index(max(scores))]


def text_of(lab: Laboratory, name: str) -> list[str]:
    """The lines of a kind of text: gold, the best translations, or those most like gold."""
    gold = lab.text("data/noise/clean/train.tgt")
    if name == "gold":
        return gold
    if name == "best":
        return [best for best, *_ in hypotheses(lab)]
    return [closest(found, line) for found, line in zip(hypotheses(lab), gold, strict=True)]


def test_texts_of_the_three_kinds_differ(lab: Laboratory) -> None:
    """Else the next test could not tell which of them was read."""
    texts = [text_of(lab, name) for name in ("gold", "best", "closest")]
    assert len({tuple(lines) for lines in texts}) == 3
    assert lab.text("data/noise/clean/train.tgt") != lab.text("data/noise/del30/train.tgt")


def stored(lab: Laboratory, prefix: str) -> list[tuple[Any, Any]]:
    """The teacher's tokens and their probabilities [positions, K] along each line, as on the disk."""
    folder = lab.folder / f"data/targets/clean-{prefix}"
    ids, probs, offsets = (np.load(folder / f"{name}.npy") for name in ("ids", "probs", "offsets"))
    return [(ids[a:b], probs[a:b]) for a, b in itertools.pairwise(offsets)]


@pytest.mark.parametrize("stage", LEARNT)
def test_a_student_learns_from_what_its_name_says(lab: Laboratory, stage: str) -> None:
    """Seen where a batch arrives at an update."""
    target, beside, prefix = LEARNT[stage]
    sources, targets = lab.text("data/noise/clean/train.src"), text_of(lab, target)
    translations = text_of(lab, beside) if beside else [""] * len(sources)
    rows = stored(lab, prefix) if prefix else []
    read = lab.trainings[stage].lines
    assert sorted(read) == list(range(len(sources)))
    for number, line in read.items():
        assert line["source"] == sources[number]
        assert line["target"] == line["prefix"] == targets[number]
        assert line.get("hypothesis", "") == line.get("hypothesis prefix", "") == translations[number]
        assert ("teacher_ids" in line) == bool(prefix)
        if prefix:
            assert line["teacher_ids"] == rows[number][0].tolist()
            assert line["teacher_probs"] == rows[number][1].astype(np.float32).tolist()


@pytest.mark.parametrize("stage", NOISY)
def test_noise_reaches_student_and_teacher(lab: Laboratory, stage: str) -> None:
    sources, targets = (lab.text(f"{NOISY[stage]}/train.{side}") for side in ("src", "tgt"))
    read = lab.trainings[stage].lines
    assert [read[number]["source"] for number in range(len(sources))] == sources
    assert [read[number]["target"] for number in range(len(sources))] == targets


def test_only_a_teacher_of_the_same_text_is_the_same_teacher(lab: Laboratory) -> None:
    clean, noisy, copied = (lab.model(f"models/teacher/{n}") for n in ("clean", "del30", "del30_clean"))
    assert "teacher del30_clean" not in lab.trainings
    assert all(torch.equal(clean[name], copied[name]) for name in clean)
    assert not any(torch.equal(clean[name], noisy[name]) for name in clean if name.endswith("fc1.weight"))


@pytest.mark.parametrize("stage", [*LEARNT, *NOISY])
def test_an_epoch_holds_each_pair_once_in_another_order_than_the_last(lab: Laboratory, stage: str) -> None:
    epochs = lab.trainings[stage].epochs()
    assert len(epochs) >= 2
    for epoch in epochs:
        assert sorted(epoch) == list(range(len(epoch)))
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


@pytest.mark.parametrize("key", ["plain-tiny-clean", "seq-tiny-clean-beam"])
def test_two_seeds_differ_in_weights_and_order(lab: Laboratory, key: str) -> None:
    """From the first update on, and in no epoch does one go the way of the other."""
    first, second = (lab.trainings[f"student {key}-{seed}"] for seed in (1, 2))
    assert not set(map(tuple, first.epochs())) & set(map(tuple, second.epochs()))
    one, two = (lab.model(f"models/student/{key}-{seed}") for seed in (1, 2))
    matrices = [name for name, value in one.items() if value.dim() == 2]
    assert matrices and not any(torch.equal(one[name], two[name]) for name in matrices)


def test_methods_of_a_seed_see_the_same_pairs_in_the_same_updates(lab: Laboratory) -> None:
    """What differs is what they learn from."""
    orders = [
        [sorted(update) for update in lab.trainings[stage].updates]
        for stage in [*LEARNT, *NOISY]
        if stage.endswith("-1")
    ]
    assert len(orders) == 8 and all(order == orders[0] for order in orders)


@pytest.mark.parametrize("stage", FOLDERS)
def test_a_model_is_the_mean_of_its_last_checkpoints(lab: Laboratory, stage: str) -> None:
    states = lab.trainings[stage].weights
    assert len(states) > AVERAGE
    found = lab.model(FOLDERS[stage])
    for name, value in found.items():
        if value.is_floating_point():
            wanted = sum(state[name].double() for state in states[-AVERAGE:]) / AVERAGE
            assert torch.equal(value, wanted.to(value.dtype)), name  # type: ignore[union-attr]


def test_no_two_trainings_share_scratch_space(lab: Laboratory) -> None:
    """Else a killed one would be taken up by another."""
    places = [training.scratch for training in lab.trainings.values()]
    assert len(set(places)) == len(places) == len(LEARNT) + len(NOISY)


@pytest.mark.parametrize(
    ("stage", "name", "temperature", "gate"),
    [
        ("student word-tiny-clean-1", "distillation", TEMPERATURE, None),
        ("student both-tiny-clean-beam-1", "distillation", TEMPERATURE, None),
        ("student on_policy-tiny-del30-1", "online_distillation", TEMPERATURE, None),
        *(
            (f"student {method}-tiny-clean-beam-1, gate {gate}", "hybrid_distillation", TEMPERATURE, gate)
            for method, gate in (
                *(("hybrid_best", gate) for gate in (0.25, 0.5, 0.75)),
                ("hybrid_half", FIXED_GATE),
            )
        ),
    ],
)
def test_a_loss_is_of_the_temperature_and_the_gate_that_were_asked_for(
    lab: Laboratory, stage: str, name: str, temperature: float, gate: float | None
) -> None:
    criterion = lab.trainings[stage].criterion
    assert (criterion["_name"], criterion["temperature"], criterion.get("gate")) == (name, temperature, gate)


def test_an_online_student_asks_the_teacher_of_its_noise_and_samples_at_a_temperature_of_its_own(
    lab: Laboratory,
) -> None:
    criterion = lab.trainings["student on_policy-tiny-del30-1"].criterion
    assert criterion["teachers"] == "models/teacher/del30/model/model.pt"
    assert json.loads(criterion["method"])["on_policy"]["temperature"] == SAMPLED_AT


def test_each_training_has_the_seed_of_its_name_and_a_teacher_that_of_params(lab: Laboratory) -> None:
    for stage, training in lab.trainings.items():
        wanted = 3 if stage.startswith("teacher") else int(stage.partition(",")[0].rpartition("-")[2])
        assert training.seed == wanted, stage


def test_targets_are_of_the_temperature_that_was_asked_for(lab: Laboratory) -> None:
    for prefix in ("gold", "beam"):
        assert lab.json(f"data/targets/clean-{prefix}/header.json")["temperature"] == TEMPERATURE
