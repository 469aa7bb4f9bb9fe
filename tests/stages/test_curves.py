"""Learning curves counted again: from the weights of a checkpoint, and from what arrived at the updates."""

from __future__ import annotations

import csv
import math

import pytest
import torch
from sacrebleu.metrics.bleu import BLEU

from nmtkd.decoding.translate import greedy
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.text import text_form
from tests.stages.laboratory import Laboratory

PAIRS, SMOOTHING = 4, 0.1  # curve_pairs and label_smoothing of the toy scale
CURVES = {
    "student plain-tiny-clean-1": "models/student/plain-tiny-clean-1",
    "student both-tiny-clean-beam-1": "models/student/both-tiny-clean-beam-1",
    "teacher del30": "models/teacher/del30",
}


def rows(lab: Laboratory, folder: str) -> list[dict[str, str]]:
    with open(lab.folder / folder / "curve.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("stage", CURVES)
def test_validation_is_of_the_validation_set_without_a_teacher(lab: Laboratory, stage: str) -> None:
    """Loss in bits a token with smoothing as in fairseq, and sacreBLEU of pairs spread over the set."""
    loaded = bridge.load_model(lab.folder / CURVES[stage] / "model", "cpu")
    form = text_form.read(lab.folder / "data/bpe")
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
        said = [form.text(line) for line in greedy(loaded, [sources[number] for number in chosen])]
        truth = [form.text(golds[number]) for number in chosen]
        wanted = BLEU().corpus_score(said, [truth]).score
        assert float(row["valid_bleu"]) == pytest.approx(wanted, abs=1e-3)


@pytest.mark.parametrize("stage", CURVES)
def test_target_tokens_and_epochs_are_those_of_the_updates(lab: Laboratory, stage: str) -> None:
    training = lab.trainings[stage]
    sizes = {line: len(read["target"].split()) + 1 for line, read in training.lines.items()}
    for row in rows(lab, CURVES[stage]):
        seen = [line for update in training.updates[: int(row["update"])] for line in update]
        assert int(row["target_tokens"]) == sum(sizes[line] for line in seen)
        assert int(row["epoch"]) == -(-len(seen) // len(sizes))
