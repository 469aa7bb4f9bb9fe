"""Validation of a model in training: its loss without a teacher, and BLEU of its greedy translations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from nmtkd import machine
from nmtkd.decoding.translate import greedy
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.text.bleu import measure
from nmtkd.text.languages import bleu_tokeniser
from nmtkd.text.text_form import TextForm

Sides = tuple[Sequence[str], Sequence[str]]  # source and target lines


def batches(trainer: Any) -> list[dict[str, Any]]:
    """Batches of the validation set, in a fixed order, on the trainer's device."""
    iterator = trainer.get_valid_iterator("valid").next_epoch_itr(shuffle=False, set_dataset_epoch=False)
    return [trainer._prepare_sample(sample)[0] for sample in iterator]


def loss(trainer: Any) -> float:
    """The stock loss in bits per token, unrounded: fairseq's `valid_step` rounds that of each batch."""
    model, criterion = trainer.model.eval(), trainer.criterion.eval()
    total = tokens = 0.0
    with torch.no_grad():
        for sample in batches(trainer):
            summed, _, _ = criterion(model, sample)
            total, tokens = total + float(summed), tokens + int(sample["ntokens"])
    return total / tokens / math.log(2)


def bleu(loaded: bridge.Loaded, sides: Sides, form: TextForm) -> float | None:
    """sacreBLEU of greedy translations, as text; None if there are no lines."""
    if not sides[0]:
        return None
    loaded.model.eval()
    hypotheses, references = (
        [form.text(line) for line in side] for side in (greedy(loaded, sides[0]), sides[1])
    )
    return measure(hypotheses, references, bleu_tokeniser(form.target)).bleu


def quality(folder: Path, valid: Sides, form: TextForm) -> float:
    """sacreBLEU of a finished model's greedy translations of the validation set, as text."""
    score = bleu(bridge.load_model(folder, machine.device()), valid, form)
    assert score is not None
    return score


def sample(valid: Sides, count: int) -> Sides:
    """`count` validation pairs, spread evenly over the set, whose lines are in corpus order."""
    total = len(valid[0])
    chosen = sorted({index * total // count for index in range(count)})
    return [valid[0][i] for i in chosen], [valid[1][i] for i in chosen]
