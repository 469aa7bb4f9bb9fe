"""The training loop: fairseq's trainer and data. A killed training resumes and ends in the same bytes.

All random numbers follow from the seed and the update (fairseq reseeds at every step): a run resumed from its
last checkpoint equals an uninterrupted one. Data and selection are the same for all models: the same pairs in
the same updates (batches.py), a fixed number of updates, then the mean of the last checkpoints.
"""

from __future__ import annotations

import itertools
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from fairseq import tasks
from fairseq.trainer import Trainer
from omegaconf import DictConfig, open_dict

from nmtkd import files, machine, processes
from nmtkd.network import command_line
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.plan.models import Architecture, Training
from nmtkd.plan.values import BFLOAT16
from nmtkd.training import checkpoints, texts, validation
from nmtkd.training import start as warm
from nmtkd.training.adaptive import AdaptiveCapacity
from nmtkd.training.criterions.cross_entropy import use_chunked_cross_entropy
from nmtkd.training.curve import CURVE, Curve
from nmtkd.training.graphs import SPARE
from nmtkd.training.step import Started, Stepper
from nmtkd.training.texts import Data
from nmtkd.training.trained import Seen, Trained

Adapt = Callable[[DictConfig], None]  # sets task and criterion in fairseq's configuration


def train(
    data: Data,
    architecture: Architecture,
    training: Training,
    seed: int,
    scratch: Path,
    out: Path,
    *,
    stage: str,
    section: str = "training",
    adapt: Adapt = use_chunked_cross_entropy,
    name: str = layout.MODEL,
    start: Path | None = None,
) -> Trained:
    """Trains in `scratch`, from the last checkpoint if a killed process left one there.

    Writes the model and its hash to out/model/. The first member of an ensemble also writes the dictionaries
    there, and out/curve.csv. Of processes that share the training, the first one writes. `section` of
    params.yaml holds the recipe; `start` is a model file whose weights it starts from. Raises
    bridge.ModelError if a training pair fits no batch of max_tokens, start.StartError for a model of another
    shape.
    """
    run = begin(data, architecture, training, seed, scratch, stage=stage, section=section, adapt=adapt)
    if not run.resume() and start:
        warm.load(run.trainer.get_model(), start, section)
    with bridge.quiet():
        run.to_the_end()
        if not processes.first():
            return Trained(card={"parameters": run.loaded.parameters()}, seconds=run.seconds, seen=run.seen)
        run.average()
        shape = run.adaptive.trim() if run.adaptive else []
    folder = layout.model_dir(out)
    folder.mkdir(exist_ok=True)
    bridge.save_model(
        folder / name, [*run.command, *shape], run.trainer.get_model().state_dict(), training.updates
    )
    (folder / layout.HASH).write_text(bridge.model_hash(folder) + "\n", encoding="utf-8")
    if name == layout.MODEL:
        for side in (bridge.SOURCE, bridge.TARGET):
            shutil.copyfile(
                bridge.dictionary_of(texts.folder(scratch), side), bridge.dictionary_of(folder, side)
            )
        files.write_csv(out / layout.CURVE, CURVE, run.curve.rows)
    card: dict[str, Any] = {"parameters": run.loaded.parameters(), "updates": training.updates}
    card |= {"precision": training.precision, "data": run.seen.facts()}
    if run.adaptive:
        card["gates"] = run.adaptive.facts
    return Trained(card=card, seconds=run.seconds, seen=run.seen)


def begin(
    data: Data,
    architecture: Architecture,
    training: Training,
    seed: int,
    scratch: Path,
    *,
    stage: str,
    section: str = "training",
    adapt: Adapt = use_chunked_cross_entropy,
) -> Run:
    """A training at update 0, with its data binarised in `scratch`.

    Raises bridge.ModelError where the batches of an update cannot be shared evenly.
    """
    machine.keep_freed_memory()
    torch.set_num_threads(machine.threads())
    check_shares(training, section)
    if slow := slow_on_gpu(training, section):
        print(f"[{stage}] {slow}", flush=True)

    def prepared() -> int:
        found = texts.binarise(data, scratch)
        checkpoints.check_room(scratch, architecture, training, data.dictionaries, stage)
        return found

    # Held-out lines are to be translated too, and noise or a teacher may have made longer ones.
    longest = max(data.form.longest, processes.first_does(prepared))
    positions, joint = command_line.positions_for(longest), len(set(data.dictionaries)) == 1
    command = command_line.arguments(architecture, training, seed, positions, joint=joint)
    run = Run(command, scratch, training, stage, section, data, adapt)
    if architecture.gates:
        run.adaptive = AdaptiveCapacity(architecture.gates, run.loaded, data.valid, data.form)
    return run


def slow_on_gpu(training: Training, section: str) -> str:
    """The faster precision of the GPU in use, if that one is slow which was asked for."""
    if training.precision != BFLOAT16 or machine.device() == "cpu" or machine.gpu_multiplies_bfloat16():
        return ""
    return (
        f"this GPU has no instructions for bfloat16: it is slow; {section}.precision=float16, for other "
        "digits, is faster"
    )


def check_shares(training: Training, section: str) -> None:
    """Raises bridge.ModelError unless each process has equally many batches of an update."""
    batches, sharing = training.accumulate or 1, processes.count()
    if batches % sharing:
        raise bridge.ModelError(
            f"{section}.accumulate: an update has {batches} batches, which {sharing} processes cannot share "
            f"evenly; make it a multiple of {sharing}, which changes the update, or name fewer GPUs in "
            "CUDA_VISIBLE_DEVICES, fewer processes in NMTKD_PROCESSES, or fewer nodes in NMTKD_LAUNCH"
        )


def grouped(batches: Iterator[Any], size: int) -> Iterator[list[Any]]:
    """Each `size` batches in a row; fewer at the end of an epoch, as fairseq's update_freq.

    No batch is taken before its group is asked for: fairseq's iterator counts what a resumed run skips.
    """
    while group := list(itertools.islice(batches, size)):
        yield group


class Run:
    """fairseq's objects of a training, and its progress."""

    def __init__(
        self,
        command: list[str],
        scratch: Path,
        training: Training,
        stage: str,
        section: str,
        data: Data,
        adapt: Adapt,
    ) -> None:
        cfg = bridge.configuration(command)
        device = machine.device()
        with open_dict(cfg):
            cfg.task.data = str(texts.folder(scratch))
            cfg.common.cpu = device == "cpu"
            # A loader thread would compete for the cores, or for Python with what feeds a GPU.
            cfg.dataset.data_buffer_size = 0
            adapt(cfg)
        if device == "cuda":
            # With warn_only torch takes cuDNN's attention: not deterministic, and planned anew for each shape
            # of a batch.
            torch.use_deterministic_algorithms(True)
            # With it torch also fills what it allocates, which takes a fifth of a step. All that is read was
            # written.
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
        with bridge.quiet():
            bridge.seed_everything(cfg.common.seed)
            self.task = tasks.setup_task(cfg.task)
            model = self.task.build_model(cfg.model)
            self.trainer = Trainer(cfg, self.task, model, self.task.build_criterion(cfg.criterion))
            texts.load(self.trainer, data, section)
            self.epochs = self.trainer.get_train_iterator(epoch=1, load_dataset=False)
            self.stepper = Stepper(self.trainer, section, training.precision)
            self.trainer.lr_step(0)
        self.command = command
        self.checkpoints = checkpoints.Checkpoints(scratch, training, stage)
        self.training = training
        self.stage = stage
        self.loaded = bridge.Loaded(
            model=self.trainer.get_model(),
            task=self.task,
            dictionary=self.task.target_dictionary,
            device=device,
        )
        self.adaptive: AdaptiveCapacity | None = None
        self.sample, self.form = validation.sample(data.valid, training.curve_pairs), data.form
        self.curve, self.seen = Curve(), Seen(pairs=len(data.lengths))
        self._under_way = deque[Started]()
        self.seconds = 0.0
        self._since = time.monotonic()

    def resume(self) -> bool:
        """Restores the newest whole checkpoint. Whether there is one."""
        state = self.checkpoints.newest()
        if state is None:
            return False
        self.trainer.get_model().load_state_dict(state["model"])
        self.trainer.get_criterion().load_state_dict(state["criterion"])
        self.trainer.optimizer.load_state_dict(state["optimizer"])
        self.trainer.set_num_updates(state["update"])
        self.epochs.load_state_dict(state["epochs"])
        self.curve.rows, self.seconds, self.seen = state["rows"], state["seconds"], Seen(**state["seen"])
        self.stepper.scale.load(state["scale"])
        if self.adaptive:
            self.adaptive.facts = state["gates"]
        print(f"[{self.stage}] going on from update {state['update']}", flush=True)
        return True

    def save(self) -> None:
        """Writes a checkpoint. A stage whose run is gone ends here."""
        update = self.trainer.get_num_updates()
        weights = self.trainer.get_model().state_dict()
        state = {
            "model": weights,
            "criterion": self.trainer.get_criterion().state_dict(),
            "optimizer": self.trainer.optimizer.state_dict(),
            "update": update,
            "epochs": self.epochs.state_dict(),
            "rows": self.curve.rows,
            "seconds": self.seconds,
            "seen": asdict(self.seen),
            "gates": self.adaptive.facts if self.adaptive else {},
            "scale": self.stepper.scale.state(),
        }
        self.checkpoints.save(update, weights, state)
        machine.check_parents()

    def to_the_end(self) -> None:
        """Runs all remaining updates."""
        self._since = time.monotonic()
        while self.trainer.get_num_updates() < self.training.updates:
            self.trainer.begin_epoch(self.epochs.next_epoch_idx)
            batches = self.epochs.next_epoch_itr(fix_batches_to_gpus=False, shuffle=True)
            for group in grouped(batches, self.training.accumulate or 1):
                self._under_way.append(self.stepper.update(group))
                self._note(leaving=SPARE)
                update = self.trainer.get_num_updates()
                if self.adaptive and update == self.adaptive.gates.closing:
                    self._close(self.adaptive)
                if update % self.training.checkpoint_every == 0:
                    self._checkpoint()
                if update >= self.training.updates:
                    break
        self._note()

    def _checkpoint(self) -> None:
        """The first process validates and saves; the others wait for it at their next update."""
        self._note()
        if processes.first():
            self._validate()
            self.save()

    def _note(self, leaving: int = 0) -> None:
        """Notes what updates found, but for so many that may be under way yet."""
        while self._under_way and (self._under_way[0].done or len(self._under_way) > leaving):
            started = self._under_way.popleft()
            log = started.read()
            self.seen = self.seen.after(log)
            self.curve.note(log)
            machine.show(
                self.stage,
                started.update,
                self.training.updates,
                f"updates, loss {log['loss']:.2f}, lr {self.trainer.get_lr():.5f}{self._eta(started.update)}",
            )

    def _eta(self, done: int) -> str:
        elapsed = self.seconds + time.monotonic() - self._since
        return f", about {(self.training.updates - done) * elapsed / done:.0f} s left"

    def _close(self, adaptive: AdaptiveCapacity) -> None:
        """Closes units of gates, outside the measured time of training."""
        self._note()
        self.seconds += time.monotonic() - self._since
        if processes.first():
            print(f"[{self.stage}] {adaptive.close(validation.batches(self.trainer))}", flush=True)
        processes.as_first(list(self.trainer.get_model().state_dict().values()))
        self._since = time.monotonic()

    def _validate(self) -> None:
        """Adds a row to the learning curve. Validation loss is the stock one, without a teacher's term."""
        self.seconds += time.monotonic() - self._since
        bleu = validation.bleu(self.loaded, self.sample, self.form)
        message = self.curve.add(
            update=self.trainer.get_num_updates(),
            epoch=self.epochs.epoch,
            valid_loss=validation.loss(self.trainer),
            valid_bleu=bleu,
            target_tokens=self.seen.target_tokens,
        )
        shown = "" if bleu is None else f", BLEU {bleu:.1f} (greedy, {len(self.sample[0])} validation pairs)"
        print(f"[{self.stage}] {message}{shown}", flush=True)
        self._since = time.monotonic()

    def average(self) -> None:
        """Sets the model's weights to the mean of its last checkpoints."""
        self.trainer.get_model().load_state_dict(self.checkpoints.average())
