"""What a training reads: its text, in fairseq's format and batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fairseq.trainer import Trainer

from nmtkd import files
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.text.text_form import TextForm
from nmtkd.training.batches import EqualBatches
from nmtkd.training.validation import Sides


@dataclass(frozen=True, kw_only=True)
class Data:
    """Text in BPE, aligned by line. Raises bridge.ModelError unless each training pair has its lengths.

    Raises files.DamagedError for lengths that none has.
    """

    dictionaries: bridge.Dictionaries
    form: TextForm
    train: Sides
    valid: Sides
    # integers [N, 2]: BPE tokens of each training pair as clean gold text, EOS included
    lengths: Any
    # the teacher's translations of the training source, where they are used beside gold
    hypotheses: Sequence[str] | None = None

    def __post_init__(self) -> None:
        wanted = (len(self.train[0]), 2)
        where = layout.BPE / layout.LENGTHS
        if self.lengths.shape != wanted:
            raise bridge.ModelError(
                f"{where}: must hold both lengths of {wanted[0]} training pairs, "
                f"{list(wanted)}; got {list(self.lengths.shape)}; run the bpe stage again"
            )
        if self.lengths.dtype.kind not in "iu" or self.lengths.min(initial=1) < 1:
            raise files.damaged(
                where, "must hold whole numbers above 0: lengths with the end of the sentence"
            )


def binarise(data: Data, scratch: Path) -> int:
    """Writes fairseq's data folder into `scratch`, over what a killed training may have left.

    Returns the length of the longest line in tokens, EOS included.
    """
    splits = {"train": data.train, "valid": data.valid}
    if data.hypotheses is not None:
        splits["hypotheses"] = (data.train[0], data.hypotheses)
    return bridge.write_data(folder(scratch), data.dictionaries, splits)


def folder(scratch: Path) -> Path:
    """fairseq's data folder of a training."""
    return scratch / "data"


def load(trainer: Trainer, data: Data, section: str) -> None:
    """Loads the binarised text into the trainer's task, for training in batches cut by `data.lengths`.

    Validation batches grow to hold the longest validation line. Raises bridge.ModelError for a line that
    fairseq would skip as too long: runs must not differ in data. `section` of params.yaml has the recipe.
    """
    task, cfg = trainer.task, trainer.cfg.dataset
    for split in ("train", "valid"):
        task.load_dataset(split, combine=False, epoch=1)
        longer = task.dataset(split).sizes.max(1)  # tokens of each pair's longer side
        bridge.check_lengths(split, longer, min(trainer.get_model().max_positions()))
    cfg.max_tokens_valid = max(cfg.max_tokens, int(task.dataset("valid").sizes.max()))
    line, side = divmod(int(data.lengths.argmax()), 2)
    longest = int(data.lengths[line, side])
    if longest > cfg.max_tokens:
        raise bridge.ModelError(
            f"train.{(bridge.SOURCE, bridge.TARGET)[side]}, line {line + 1}: {longest} BPE tokens in clean "
            f"text, a batch holds {cfg.max_tokens}; raise {section}.max_tokens, or lower prepare.max_words"
        )
    # For a GPU fairseq's loader would copy every batch of every epoch to pinned memory.
    lazy = bool(trainer.cuda)
    task.datasets["train"] = EqualBatches(task.dataset("train"), data.lengths, cfg.max_tokens, lazy=lazy)
