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
from fairseq.trainer import Trainer
from omegaconf import DictConfig, open_dict

from nmtkd import machine
from nmtkd.models import checkpoints, validation
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.models.adaptive import Adaptive, Gating
from nmtkd.models.batches import KeptBatches
from nmtkd.models.stepping import Stepper
from nmtkd.models.validation import Sides
from nmtkd.params import Architecture, Training

# Losses in bits a token, as in fairseq's logs; gate and openness are means since the last point, empty for models without them.
CURVE = ["update", "epoch", "train_loss", "valid_loss", "valid_bleu", "target_tokens", "gate", "openness", "seconds"]
WATCHED = ("gate", "openness")
STATE = "state.pt"


@dataclass(frozen=True, kw_only=True)
class Data:
    """Text in BPE, aligned by line."""

    dictionary: Path
    train: Sides
    valid: Sides
    hypotheses: Sequence[str] | None = None  # the teacher's translations of the training source, beside its gold text


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
    gating: Gating | None = None,
    name: str = bridge.MODEL,
) -> dict[str, Any]:
    """Trains in `scratch`, going on from what a killed process left there; writes model, dictionaries, curve.csv and card.json to `out`.

    `gating` closes and trims a gated architecture. Raises bridge.ModelError where a line is longer than the model's positions.
    """
    machine.keep_freed_memory()
    torch.set_num_threads(machine.threads())
    command = bridge.arguments(architecture, training, seed)
    folder = scratch / "data"
    if not (folder / "whole").exists():
        splits = {"train": data.train, "valid": data.valid}
        splits |= {"hypotheses": (data.train[0], data.hypotheses)} if data.hypotheses is not None else {}
        bridge.write_data(folder, data.dictionary, splits)
        (folder / "whole").touch()
    run = _Run(command, folder, training, stage, data.valid, adapt)
    if architecture.gates and gating:
        run.adaptive = Adaptive(architecture.gates, gating, run.loaded, data.valid)
    run.resume(scratch)
    with bridge.quiet():
        run.to_the_end(scratch)
        run.average(scratch)
        shape = run.adaptive.trim() if run.adaptive else []
    bridge.save_model(out / name, [*command, *shape], run.trainer.get_model().state_dict(), training.updates)
    (out / bridge.HASH).write_text(bridge.model_hash(out) + "\n", encoding="utf-8")
    return _finish(run, scratch, out, name)


class _Run:
    """fairseq's parts of a training, and where it stands."""

    def __init__(self, command: list[str], folder: Path, training: Training, stage: str, valid: Sides, adapt: Adapt | None) -> None:
        cfg = bridge.configuration(command)
        device = machine.device()
        with open_dict(cfg):
            cfg.task.data = str(folder)
            cfg.common.cpu = device == "cpu"
            cfg.dataset.data_buffer_size = 0 if cfg.common.cpu else cfg.dataset.data_buffer_size  # its thread's pool fights for the cores
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
            self.task.datasets["train"] = KeptBatches(self.task.dataset("train"))
            self.epochs = self.trainer.get_train_iterator(epoch=1, load_dataset=False)
            self.stepper = Stepper(self.trainer)
            self.trainer.lr_step(0)
        self.training = training
        self.stage = stage
        self.loaded = bridge.Loaded(model=self.trainer.get_model(), task=self.task, dictionary=self.task.target_dictionary, device=device)
        self.adaptive: Adaptive | None = None
        self.sample = validation.sample(valid, training.curve_pairs)
        self.rows: list[list[Any]] = []
        self.seconds = 0.0
        self.tokens = 0
        self._since = time.monotonic()
        self._losses: list[tuple[float, float]] = []  # (sum of losses, tokens) since the last checkpoint
        self._watched: dict[str, list[float]] = {name: [] for name in WATCHED}  # a batch each, since the last checkpoint

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
        self.trainer.get_criterion().load_state_dict(state["criterion"])
        self.trainer.optimizer.load_state_dict(state["optimizer"])
        self.trainer.set_num_updates(state["update"])
        self.epochs.load_state_dict(state["epochs"])
        self.rows, self.seconds, self.tokens = state["rows"], state["seconds"], state["tokens"]
        if self.adaptive:
            self.adaptive.facts = state["gates"]
        print(f"[{self.stage}] going on from update {state['update']}", flush=True)

    def save(self, scratch: Path) -> None:
        """Weights of this checkpoint first, then the state that names it: a kill in between costs only the work since the last one."""
        update = self.trainer.get_num_updates()
        weights = self.trainer.get_model().state_dict()
        checkpoints.write(scratch / f"weights-{update}.pt", weights)
        state = {
            "model": weights,
            "criterion": self.trainer.get_criterion().state_dict(),
            "optimizer": self.trainer.optimizer.state_dict(),
            "update": update,
            "epochs": self.epochs.state_dict(),
            "rows": self.rows,
            "seconds": self.seconds,
            "tokens": self.tokens,
            "gates": self.adaptive.facts if self.adaptive else {},
        }
        checkpoints.write(scratch / STATE, state)
        (scratch / f"weights-{update - self.training.average * self.training.checkpoint_every}.pt").unlink(missing_ok=True)

    def to_the_end(self, scratch: Path) -> None:
        """All updates that are left."""
        self._since = time.monotonic()
        while self.trainer.get_num_updates() < self.training.updates:
            self.trainer.begin_epoch(self.epochs.next_epoch_idx)
            batches = self.epochs.next_epoch_itr(fix_batches_to_gpus=False, shuffle=True)
            for sample in batches:
                self._step(sample)
                update = self.trainer.get_num_updates()
                if self.adaptive and update == self.adaptive.gates.closing:
                    self._close(self.adaptive)
                if update % self.training.checkpoint_every == 0:
                    self._validate()
                    self.save(scratch)
                if update >= self.training.updates:
                    break

    def _step(self, sample: dict[str, Any]) -> None:
        log = self.stepper.step(sample)
        tokens = int(sample["ntokens"])
        self.tokens += tokens
        self._losses.append((log["loss"] * tokens, tokens))
        for name in WATCHED:
            self._watched[name] += [log[name] / log["nsentences"]] if name in log else []
        done, total = self.trainer.get_num_updates(), self.training.updates
        machine.progress(self.stage, done, total, f"updates, loss {log['loss']:.2f}, lr {self.trainer.get_lr():.5f}{self._eta(done)}")

    def _eta(self, done: int) -> str:
        elapsed = self.seconds + time.monotonic() - self._since
        return f", about {(self.training.updates - done) * elapsed / done:.0f} s left"

    def _close(self, adaptive: Adaptive) -> None:
        """The time of measuring is not training's."""
        self.seconds += time.monotonic() - self._since
        print(f"[{self.stage}] {adaptive.close(validation.batches(self.trainer))}", flush=True)
        self._since = time.monotonic()

    def _validate(self) -> None:
        """A point of the learning curve. The validation loss is the stock one, without any teacher term."""
        self.seconds += time.monotonic() - self._since
        loss, bleu = validation.loss(self.trainer), validation.bleu(self.loaded, self.sample)
        train_loss = sum(loss for loss, _ in self._losses) / max(1, sum(tokens for _, tokens in self._losses))
        watched = [sum(values) / len(values) if values else None for values in self._watched.values()]
        self._losses, self._watched = [], {name: [] for name in WATCHED}
        row = [self.trainer.get_num_updates(), self.epochs.epoch, train_loss, loss, bleu, self.tokens, *watched, self.seconds]
        self.rows.append([round(value, 4) if isinstance(value, float) else value for value in row])
        shown = "" if bleu is None else f", BLEU {bleu:.1f} (greedy, {len(self.sample[0])} validation pairs)"
        shown += "".join(f", {name} {value:.2f}" for name, value in zip(WATCHED, watched, strict=True) if value is not None)
        print(f"[{self.stage}] update {row[0]}: train loss {train_loss:.3f}, valid loss {row[3]:.3f}{shown}", flush=True)
        self._since = time.monotonic()

    def average(self, scratch: Path) -> None:
        """Gives the model the mean of its last checkpoints."""
        training = self.training
        last = [training.updates - back * training.checkpoint_every for back in reversed(range(training.average))]
        self.trainer.get_model().load_state_dict(checkpoints.average([scratch / f"weights-{update}.pt" for update in last]))


def _finish(run: _Run, scratch: Path, out: Path, name: str) -> dict[str, Any]:
    """What stands beside the model. An ensemble's folder describes its first member."""
    card: dict[str, Any] = {
        "parameters": run.loaded.parameters(),
        "updates": run.training.updates,
        "seconds": round(run.seconds, 1),
        "target_tokens_per_second": round(run.tokens / max(run.seconds, math.ulp(1.0)), 1),
    }
    if run.adaptive:
        card["gates"] = run.adaptive.facts
    if name == bridge.MODEL:
        for side in (bridge.SOURCE, bridge.TARGET):
            (out / f"dict.{side}.txt").write_bytes((scratch / "data" / f"dict.{side}.txt").read_bytes())
        # Time is a fact of the machine: it goes into a file of its own, so that model.pt and curve.csv are the same on every rerun.
        with open(out / "curve.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(CURVE[:-1])
            writer.writerows(row[:-1] for row in run.rows)
        (out / "card.json").write_text(json.dumps(card, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return card
