"""Validation of a model in training: its loss without a teacher, and BLEU of its greedy translations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairseq.data.data_utils import post_process
from sacrebleu.metrics.bleu import BLEU

from nmtkd import machine
from nmtkd.decoding.translate import greedy
from nmtkd.network import fairseq_bridge as bridge

Sides = tuple[Sequence[str], Sequence[str]]  # source and target lines


def batches(trainer: Any) -> list[dict[str, Any]]:
    """Batches of the validation set, in a fixed order, on the trainer's device."""
    iterator = trainer.get_valid_iterator("valid").next_epoch_itr(shuffle=False, set_dataset_epoch=False)
    return [trainer._prepare_sample(sample)[0] for sample in iterator]


def loss(trainer: Any) -> float:
    """The stock loss in bits per token."""
    total = tokens = 0.0
    for sample in batches(trainer):
        log = trainer.valid_step(sample)
        count = int(sample["ntokens"])
        total, tokens = total + float(log["loss"]) * count, tokens + count
    return total / tokens


def bleu(loaded: bridge.Loaded, sides: Sides) -> float | None:
    """BLEU of greedy translations over lower-cased words; None if there are no lines."""
    if not sides[0]:
        return None
    loaded.model.eval()
    words = [
        [post_process(line, "subword_nmt") for line in side] for side in (greedy(loaded, sides[0]), sides[1])
    ]
    return float(BLEU(tokenize="none", lowercase=True, force=True).corpus_score(words[0], [words[1]]).score)


def quality(folder: Path, valid: Sides) -> float:
    """BLEU of a finished model's greedy translations of the validation set, over lower-cased words."""
    score = bleu(bridge.load_model(folder, machine.device()), valid)
    assert score is not None
    return score


def sample(valid: Sides, count: int) -> Sides:
    """`count` validation pairs, spread evenly over the set, whose lines are in corpus order."""
    total = len(valid[0])
    chosen = sorted({index * total // count for index in range(count)}) if count else []
    return [valid[0][i] for i in chosen], [valid[1][i] for i in chosen]
