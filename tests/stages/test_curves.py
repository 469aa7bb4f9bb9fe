"""Learning curves counted again: from the weights of a checkpoint, and from what arrived at the updates."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable

import pytest
import torch
from sacrebleu.metrics.bleu import BLEU

from nmtkd.decoding.translate import greedy
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.text import text_form
from tests.stages.laboratory import AVERAGE, BUDGET, CLOSING, Laboratory

PAIRS, SMOOTHING = 4, 0.1  # curve_pairs and label_smoothing of the toy scale
CURVES = {
    "student plain-tiny-clean-1": "models/student/plain-tiny-clean-1",
    "student both-tiny-clean-beam-1": "models/student/both-tiny-clean-beam-1",
    "teacher del30": "models/teacher/del30",
}


def rows(lab: Laboratory, folder: str) -> list[dict[str, str]]:
    with open(lab.folder / folder / "curve.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def bleu(lab: Laboratory, loaded: bridge.Loaded, chosen: Iterable[int] | None = None) -> float:
    """sacreBLEU of a model's greedy translations of some validation lines, or of all."""
    form = text_form.read(lab.folder / "data/bpe")
    sources, golds = (lab.text(f"data/bpe/valid.{side}") for side in ("src", "tgt"))
    lines = range(len(golds)) if chosen is None else chosen
    said = [form.text(line) for line in greedy(loaded, [sources[number] for number in lines])]
    return float(BLEU().corpus_score(said, [[form.text(golds[number]) for number in lines]]).score)


@pytest.mark.parametrize("stage", CURVES)
def test_validation_is_of_the_validation_set_without_a_teacher(lab: Laboratory, stage: str) -> None:
    """Loss in bits a token with smoothing as in fairseq, and sacreBLEU of pairs spread over the set."""
    loaded = bridge.load_model(lab.folder / CURVES[stage] / "model", "cpu")
    sources, golds = (lab.text(f"data/bpe/valid.{side}") for side in ("src", "tgt"))
    chosen = [number * len(sources) // PAIRS for number in range(PAIRS)]
    for row, weights in list(zip(rows(lab, CURVES[stage]), lab.trainings[stage].weights, strict=True))[-2:]:
        loaded.model.load_state_dict(weights)
        loaded.model.eval()
        bits, tokens = 0.0, 0
        for source, gold in zip(sources, golds, strict=True):
            ids, target = (torch.tensor([bridge.encode(loaded.dictionary, line)]) for line in (source, gold))
            prefix = torch.cat([target[:, -1:], target[:, :-1]], 1)
            with torch.no_grad():
                logits = loaded.model(ids, torch.tensor([ids.size(1)]), prefix)[0][0].double()
            logp = logits.log_softmax(-1)
            other = SMOOTHING / (logp.size(-1) - 1)
            right = logp.gather(-1, target[0][:, None]).sum()
            bits -= float((1 - SMOOTHING - other) * right + other * logp.sum()) / math.log(2)
            tokens += target.size(1)
        assert float(row["valid_loss"]) == pytest.approx(bits / tokens, abs=2e-4)
        assert float(row["valid_bleu"]) == pytest.approx(bleu(lab, loaded, chosen), abs=1e-3)


@pytest.mark.parametrize("stage", CURVES)
def test_target_tokens_and_epochs_are_those_of_the_updates(lab: Laboratory, stage: str) -> None:
    training = lab.trainings[stage]
    sizes = {line: len(read["target"].split()) + 1 for line, read in training.lines.items()}
    for row in rows(lab, CURVES[stage]):
        seen = [line for update in training.updates[: int(row["update"])] for line in update]
        assert int(row["target_tokens"]) == sum(sizes[line] for line in seen)
        assert int(row["epoch"]) == -(-len(seen) // len(sizes))


@pytest.mark.parametrize("stage", CURVES)
def test_each_point_is_told(lab: Laboratory, stage: str) -> None:
    """With how many validation pairs its BLEU is of."""
    name, _, key = stage.partition(" ")
    (run,) = (run for run in lab.printed if run.startswith(name) and run.endswith(f"@{key}"))
    pattern = (
        rf"\[{stage}\] update (\d+): train loss (.*), valid loss (.*), BLEU (.*) \(greedy, (\d+) validation"
    )
    told = [found.groups() for line in lab.printed[run] if (found := re.match(pattern, line))]
    points = rows(lab, CURVES[stage])
    assert [int(update) for update, *_ in told] == [int(point["update"]) for point in points]
    for (_, *losses, score, pairs), point in zip(told, points, strict=True):
        wanted = [float(point[column]) for column in ("train_loss", "valid_loss")]
        assert [float(loss) for loss in losses] == pytest.approx(wanted, abs=1e-3)
        assert float(score) == pytest.approx(float(point["valid_bleu"]), abs=0.1) and int(pairs) == PAIRS


def test_the_best_gate_is_that_of_the_best_model_on_the_whole_validation_set(lab: Laboratory) -> None:
    folder = "models/student/hybrid_best-tiny-clean-beam-1"
    card, loaded = lab.json(f"{folder}/card.json"), bridge.load_model(lab.folder / folder / "model", "cpu")
    scores = {}
    for gate in ("0.25", "0.5", "0.75"):
        weights = lab.trainings[f"student hybrid_best-tiny-clean-beam-1, gate {gate}"].weights[-AVERAGE:]
        mean = {name: torch.stack([one[name].double() for one in weights]).mean(0) for name in weights[0]}
        loaded.model.load_state_dict(mean)
        scores[gate] = bleu(lab, loaded)
    assert card["tried"] == pytest.approx(scores, abs=1e-3) and len(set(scores.values())) > 1
    assert card["tried"][str(card["gate"])] == max(card["tried"].values())
    assert card["valid_bleu"] == pytest.approx(max(scores.values()), abs=1e-3)
    assert "gate" not in lab.json("models/student/hybrid_half-tiny-clean-beam-1/card.json")


def test_gated_units_beyond_the_budget_close_at_their_update_for_good(lab: Laboratory) -> None:
    """And BLEU on the card is of the whole validation set: after closing, and of the finished model."""
    folder, name = "models/student/plain-gated50-clean-1", "student plain-gated50-clean-1"
    card, training = lab.json(f"{folder}/card.json"), lab.trainings[name]
    points = [int(row["update"]) for row in rows(lab, folder)]
    closed = [
        torch.cat([weights[key] < -500.0 for key in sorted(weights) if key.endswith("fc1.gate.bias")])
        for weights in training.weights
    ]
    shares = [float(units.float().mean()) for units in closed]
    assert shares == [1.0 - BUDGET if update >= CLOSING else 0.0 for update in points]
    assert points[0] < CLOSING
    assert all(torch.equal(units, closed[-1]) for units in closed[points.index(CLOSING) :])
    gates = card["gates"]
    assert (gates["units"], gates["kept"], gates["effective_capacity"]) == (64, 24, BUDGET)
    trimmed = bridge.load_model(lab.folder / folder / "model", "cpu")
    assert gates["valid_bleu_end"] == pytest.approx(bleu(lab, trimmed), abs=1e-3)
    assert gates["parameters_before"] > card["parameters"] == trimmed.parameters()
