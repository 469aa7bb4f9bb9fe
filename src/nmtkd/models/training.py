"""Training one model: fairseq's trainer and data, in a loop that can be killed at any moment and ends in the same bytes.

Everything random follows from the seed and the update's number (fairseq reseeds at every step), so a run that goes on from its last
checkpoint is the uninterrupted run. Selection is the same for every model: a fixed number of updates, the mean of the last checkpoints.
"""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fairseq import tasks
from fairseq.data import iterators
from fairseq.data.data_utils import post_process
from fairseq.trainer import Trainer
from omegaconf import DictConfig, open_dict
from sacrebleu.metrics.bleu import BLEU

from nmtkd import machine
from nmtkd.models import checkpoints
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.models.decoding import greedy
from nmtkd.params import Architecture, Training

CURVE = [
    "update",
    "epoch",
    "train_loss",
    "valid_loss",
    "valid_bleu",
    "target_tokens",
    "seconds",
]  # losses in bits a token, as in fairseq's logs
STATE = "state.pt"


Sides = tuple[Sequence[str], Sequence[str]]  # source and target lines


@dataclass(frozen=True, kw_only=True)
class Data:
    """Text in BPE, aligned by line."""

    dictionary: Path
    train: Sides
    valid: Sides


Adapt = Callable[[DictConfig], None]  # changes fairseq's configuration, to put another task or criterion in the place of the stock ones


def train(
    data: Data,
    architecture: Architecture,
    training: Training,
    seed: int,
    scratch: Path,
    out: Path,
    *,
    stage: str,
    adapt: Adapt | None = None,
) -> dict[str, Any]:
    """Trains in `scratch`, going on from what a killed process left there; writes model.pt, dictionaries, curve.csv and card.json to `out`.

    Raises bridge.ModelError where a line is longer than the model's positions.
    """
    machine.keep_freed_memory()
    torch.set_num_threads(machine.threads())
    command = bridge.arguments(architecture, training, seed)
    folder = scratch / "data"
    if not (folder / "whole").exists():
        bridge.write_data(folder, data.dictionary, {"train": data.train, "valid": data.valid})
        (folder / "whole").touch()
    run = _Run(command, folder, training, stage, data.valid, adapt)
    run.resume(scratch)
    with bridge.quiet():
        run.to_the_end(scratch)
    return _finish(run, command, training, scratch, out)


class _Run:
    """fairseq's parts of a training, and where it stands."""

    def __init__(self, command: list[str], folder: Path, training: Training, stage: str, valid: Sides, adapt: Adapt | None) -> None:
        cfg = bridge.configuration(command)
        device = machine.device()
        with open_dict(cfg):
            cfg.task.data = str(folder)
            cfg.common.cpu = device == "cpu"
            if adapt is not None:
                adapt(cfg)
        if device == "cuda":
            torch.use_deterministic_algorithms(True, warn_only=True)
        with bridge.quiet():
            bridge.seed_everything(cfg.common.seed)
            self.task = tasks.setup_task(cfg.task)
            model = self.task.build_model(cfg.model)
            self.trainer = Trainer(cfg, self.task, model, self.task.build_criterion(cfg.criterion))
            self.task.load_dataset("valid", combine=False, epoch=1)
            self._check_lengths()
            self.epochs = self.trainer.get_train_iterator(epoch=1, load_dataset=False)
            self.trainer.lr_step(0)
        self.training = training
        self.stage = stage
        self.loaded = bridge.Loaded(model=self.trainer.get_model(), task=self.task, dictionary=self.task.target_dictionary, device=device)
        self.sample = _sample(valid, training.curve_pairs)
        self.rows: list[list[Any]] = []
        self.seconds = 0.0
        self.tokens = 0
        self._since = time.monotonic()
        self._losses: list[tuple[float, float]] = []  # (sum of losses, tokens) since the last checkpoint

    def _check_lengths(self) -> None:
        """fairseq leaves out what is too long; here nothing may be left out, or arms of a study would differ in data."""
        self.task.load_dataset("train", combine=False, epoch=1)
        bound = min(self.trainer.get_model().max_positions())
        for split in ("train", "valid"):
            longest = int(self.task.dataset(split).sizes.max())
            if longest > bound:
                raise bridge.ModelError(f"{split}: a line of {longest} BPE tokens; the model takes {bound}; lower prepare.max_words")
            if split == "train" and longest > self.trainer.cfg.dataset.max_tokens:
                raise bridge.ModelError(f"train: a line of {longest} BPE tokens does not fit a batch of max_tokens; raise max_tokens")

    def resume(self, scratch: Path) -> None:
        """Takes up the last whole checkpoint, if there is one."""
        path = scratch / STATE
        if not path.exists():
            return
        state = torch.load(path, map_location="cpu", weights_only=True)
        self.trainer.get_model().load_state_dict(state["model"])
        self.trainer.optimizer.load_state_dict(state["optimizer"])
        self.trainer.set_num_updates(state["update"])
        self.epochs.load_state_dict(state["epochs"])
        self.rows, self.seconds, self.tokens = state["rows"], state["seconds"], state["tokens"]
        print(f"[{self.stage}] going on from update {state['update']}", flush=True)

    def save(self, scratch: Path) -> None:
        """Weights of this checkpoint first, then the state that names it: a kill in between costs only the work since the last one."""
        update = self.trainer.get_num_updates()
        weights = self.trainer.get_model().state_dict()
        checkpoints.write(scratch / f"weights-{update}.pt", weights)
        state = {
            "model": weights,
            "optimizer": self.trainer.optimizer.state_dict(),
            "update": update,
            "epochs": self.epochs.state_dict(),
            "rows": self.rows,
            "seconds": self.seconds,
            "tokens": self.tokens,
        }
        checkpoints.write(scratch / STATE, state)
        (scratch / f"weights-{update - self.training.average * self.training.checkpoint_every}.pt").unlink(missing_ok=True)

    def to_the_end(self, scratch: Path) -> None:
        """All updates that are left."""
        self._since = time.monotonic()
        while self.trainer.get_num_updates() < self.training.updates:
            self.trainer.begin_epoch(self.epochs.next_epoch_idx)
            batches = self.epochs.next_epoch_itr(fix_batches_to_gpus=False, shuffle=True)
            for samples in iterators.GroupedIterator(batches, 1):
                self._step(samples)
                update = self.trainer.get_num_updates()
                if update % self.training.checkpoint_every == 0:
                    self._validate()
                    self.save(scratch)
                if update >= self.training.updates:
                    break

    def _step(self, samples: list[Any]) -> None:
        log = self.trainer.train_step(samples)
        tokens = sum(int(sample["ntokens"]) for sample in samples)
        self.tokens += tokens
        self._losses.append((float(log["loss"]) * tokens, tokens))
        done, total = self.trainer.get_num_updates(), self.training.updates
        machine.progress(
            self.stage, done, total, f"updates, loss {float(log['loss']):.2f}, lr {self.trainer.get_lr():.5f}{self._eta(done)}"
        )

    def _eta(self, done: int) -> str:
        elapsed = self.seconds + time.monotonic() - self._since
        return f", about {(self.training.updates - done) * elapsed / done:.0f} s left"

    def _validate(self) -> None:
        """A point of the learning curve. The validation loss is the stock one, without any teacher term."""
        self.seconds += time.monotonic() - self._since
        loss = tokens = 0.0
        for sample in self.trainer.get_valid_iterator("valid").next_epoch_itr(shuffle=False, set_dataset_epoch=False):
            log = self.trainer.valid_step(sample)
            count = int(sample["ntokens"])
            loss, tokens = loss + float(log["loss"]) * count, tokens + count
        bleu = self._greedy_bleu()
        train_loss = sum(loss for loss, _ in self._losses) / max(1, sum(tokens for _, tokens in self._losses))
        self._losses = []
        row = [self.trainer.get_num_updates(), self.epochs.epoch, train_loss, loss / tokens, bleu, self.tokens, self.seconds]
        self.rows.append([round(value, 4) if isinstance(value, float) else value for value in row])
        shown = "" if bleu is None else f", BLEU {bleu:.1f} (greedy, {len(self.sample[0])} validation pairs)"
        print(f"[{self.stage}] update {row[0]}: train loss {train_loss:.3f}, valid loss {row[3]:.3f}{shown}", flush=True)
        self._since = time.monotonic()

    def _greedy_bleu(self) -> float | None:
        if not self.sample[0]:
            return None
        self.loaded.model.eval()
        hypotheses = greedy(self.loaded, self.sample[0])
        words = [[post_process(line, "subword_nmt") for line in side] for side in (hypotheses, self.sample[1])]
        return float(BLEU(tokenize="none", lowercase=True, force=True).corpus_score(words[0], [words[1]]).score)


def _sample(valid: Sides, count: int) -> tuple[list[str], list[str]]:
    """`count` validation pairs, evenly spread over the set: its lines stand in the order of the corpus."""
    total = len(valid[0])
    chosen = sorted({index * total // count for index in range(count)}) if count else []
    return [valid[0][i] for i in chosen], [valid[1][i] for i in chosen]


def _finish(run: _Run, command: list[str], training: Training, scratch: Path, out: Path) -> dict[str, Any]:
    last = [training.updates - back * training.checkpoint_every for back in reversed(range(training.average))]
    weights = checkpoints.average([scratch / f"weights-{update}.pt" for update in last])
    bridge.save_model(out / bridge.MODEL, command, weights, training.updates)
    (out / bridge.HASH).write_text(bridge.file_hash(out / bridge.MODEL) + "\n", encoding="utf-8")
    for side in (bridge.SOURCE, bridge.TARGET):
        (out / f"dict.{side}.txt").write_bytes((scratch / "data" / f"dict.{side}.txt").read_bytes())
    # Time is a fact of the machine: it goes into a file of its own, so that model.pt and curve.csv are the same on every rerun.
    with open(out / "curve.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CURVE[:-1])
        writer.writerows(row[:-1] for row in run.rows)
    card = {
        "parameters": run.loaded.parameters(),
        "updates": training.updates,
        "seconds": round(run.seconds, 1),
        "target_tokens_per_second": round(run.tokens / max(run.seconds, math.ulp(1.0)), 1),
    }
    (out / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return card
