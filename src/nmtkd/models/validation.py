"""A model in training, seen from the validation set: its loss without any teacher, and the BLEU of its greedy translations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fairseq.data.data_utils import post_process
from sacrebleu.metrics.bleu import BLEU

from nmtkd import machine
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.models.decoding import greedy

Sides = tuple[Sequence[str], Sequence[str]]  # source and target lines


def batches(trainer: Any) -> list[dict[str, Any]]:
    """The validation set in batches, in one order, on the trainer's device."""
    found = trainer.get_valid_iterator("valid").next_epoch_itr(shuffle=False, set_dataset_epoch=False)
    return [trainer._prepare_sample(sample)[0] for sample in found]


def loss(trainer: Any) -> float:
    """The stock loss, bits a token."""
    total = tokens = 0.0
    for sample in batches(trainer):
        log = trainer.valid_step(sample)
        count = int(sample["ntokens"])
        total, tokens = total + float(log["loss"]) * count, tokens + count
    return total / tokens


def bleu(loaded: bridge.Loaded, sides: Sides) -> float | None:
    """BLEU of greedy translations over lower-cased words; None where there are no lines."""
    if not sides[0]:
        return None
    loaded.model.eval()
    words = [[post_process(line, "subword_nmt") for line in side] for side in (greedy(loaded, sides[0]), sides[1])]
    return float(BLEU(tokenize="none", lowercase=True, force=True).corpus_score(words[0], [words[1]]).score)


def quality(folder: Path, valid: Sides) -> float:
    """BLEU of a finished model's greedy translations of the validation set, over lower-cased words."""
    found = bleu(bridge.load_model(folder, machine.device()), valid)
    assert found is not None
    return found


def sample(valid: Sides, count: int) -> Sides:
    """`count` validation pairs, evenly spread over the set: its lines stand in the order of the corpus."""
    total = len(valid[0])
    chosen = sorted({index * total // count for index in range(count)}) if count else []
    return [valid[0][i] for i in chosen], [valid[1][i] for i in chosen]
