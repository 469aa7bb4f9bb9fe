"""A laboratory whose stages run in this process, one after another, and are watched.

It stands at values that hide no fault: two seeds, temperature 2 and samples at another, gates of each kind,
an average of three checkpoints, sets of unequal sizes, teachers of clean and of noisy text, text that is not
its tokens, languages whose tokens become text by rules of their own, a BLEU that is not their usual one, and
segments as long as the bound on long ones.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from dvc.repo import Repo
from torch import Tensor

from nmtkd.training import loop
from nmtkd.training.checkpoints import Checkpoints
from nmtkd.training.step import Started, Stepper
from tests.structure import graph
from tests.structure.graph import ROOT, Stage

SIZES = {"train": 260, "valid": 20, "test": 28, "other": 16}
LONG = 4  # words of a long segment
SEEDS = (1, 2)
AVERAGE = 3
TEMPERATURE, SAMPLED_AT = 2.0, 0.5
FIXED_GATE, CLOSING, BUDGET = 0.3, 60, 0.375
TOKENIZE = "intl"  # of BLEU
NOISES = ("clean", "del30", "del30_clean")
CHOICES = [
    "corpus=files",
    "scale=toy",
    "corpus.source=en",
    "corpus.target=fr",
    "corpus.tests=[test,other]",
    "prepare.tokeniser=moses",
    "bpe.merges=40",
    f"targets.temperature={TEMPERATURE}",
    "targets.top_k=5",
    f"teacher.training.average={AVERAGE}",
    "teacher.training.updates=200",
    "teacher.training.max_tokens=256",
    "teacher.seeds=[3]",
    f"training.average={AVERAGE}",
    "training.max_tokens=256",
    "training.updates=120",
    "training.checkpoint_every=30",
    "capacities.tiny.width=32",
    "capacities.tiny.ffn=64",
    f"capacities.gated50.gates.closing={CLOSING}",
    f"capacities.gated50.gates.budget={BUDGET}",
    f"evaluate.long_words={LONG}",
    f"evaluate.tokenize={TOKENIZE}",
    "evaluate.length_penalties=[0.6,1.0,1.4]",
    "report.min_segments=10",
    "report.bootstrap_samples=200",
    "methods.on_policy.on_policy.from_update=10",
    f"methods.on_policy.on_policy.temperature={SAMPLED_AT}",
    f"methods.hybrid_half.gate.values=[{FIXED_GATE}]",
    "grid.methods.seq=[seq,interp]",
    "grid.methods.hybrid=[hybrid_best,hybrid_half]",
    "grid.methods.online=[on_policy]",
    "grid.capacities=[tiny,gated50]",
    "grid.decodings=[beam,forced]",
    f"grid.noises=[{','.join(NOISES)}]",
    f"grid.seeds=[{','.join(map(str, SEEDS))}]",
]
REPORTED = [
    *(f"grid.methods.{family}=[]" for family in ("word", "both", "hybrid", "online")),
    "grid.methods.seq=[seq]",
    "grid.capacities=[tiny]",
    "grid.decodings=[beam]",
    "grid.noises=[clean]",
]
# Of all that the grid has: each kind of stage, each family, both seeds, each condition's teacher.
RUN = [
    "corpus",
    "prepare",
    "bpe",
    *(f"{stage}@{noise}" for noise in NOISES for stage in ("noise", "teacher")),
    "decode@clean-beam",
    "decode@clean-forced",
    "targets_gold@clean",
    "targets@clean-beam",
    *(f"student_plain@plain-tiny-clean-{seed}" for seed in SEEDS),
    "student_plain@plain-tiny-del30-1",
    "student_plain@plain-gated50-clean-1",
    "student_word@word-tiny-clean-1",
    *(f"student_seq@seq-tiny-clean-beam-{seed}" for seed in SEEDS),
    "student_seq@interp-tiny-clean-beam-1",
    "student_both@both-tiny-clean-beam-1",
    "student_hybrid@hybrid_best-tiny-clean-beam-1",
    "student_hybrid@hybrid_half-tiny-clean-beam-1",
    "student_online@on_policy-tiny-del30-1",
    *(f"evaluate_teacher@{noise}" for noise in ("clean", "del30")),
    *(f"evaluate_plain@plain-tiny-clean-{seed}" for seed in SEEDS),
    *(f"evaluate_seq@seq-tiny-clean-beam-{seed}" for seed in SEEDS),
]
COMPOSE = """
import sys
from dvc.utils.hydra import compose_and_dump
compose_and_dump(sys.argv[1], sys.argv[2], None, "config", ".hydra", sys.argv[3:])
"""
NOUNS = ["arbre", "ecole", "orage", "lampe", "porte", "table", "image", "usine"]
VERBS = ["ouvre", "voit", "prend", "cache", "aime"]


def write_corpus(folder: Path) -> None:
    """English says the words of the French backwards. French elides its articles, English has spaces."""
    draw, lines = random.Random(11), set[tuple[str, str]]()
    while len(lines) < sum(SIZES.values()):
        nouns = draw.choices(NOUNS, k=draw.randint(1, 3))
        verbs = draw.choices(VERBS, k=len(nouns))
        there = " ".join(
            f"{verb} {'l’' if noun[0] in 'aeiou' else 'la '}{noun}".replace("’", "'")
            for verb, noun in zip(verbs, nouns, strict=True)
        )
        here = " ".join(f"{noun[::-1]} {verb[::-1]}s" for verb, noun in zip(verbs, nouns, strict=True))
        end = draw.choice([".", "!", ""])
        lines.add((f"{here.capitalize()}{end}", f"{there.capitalize()}{end}"))
    rest = sorted(lines)
    draw.shuffle(rest)
    folder.mkdir(parents=True)
    for split, size in SIZES.items():
        chosen, rest = rest[:size], rest[size:]
        for side, text in zip(("src", "tgt"), zip(*chosen, strict=True), strict=True):
            (folder / f"{split}.{side}").write_text("".join(f"{line}\n" for line in text), encoding="utf-8")


@dataclass
class Training:
    """What arrived at the updates of a training, and its weights at each checkpoint."""

    stage: str
    scratch: Path
    seed: int
    criterion: dict[str, Any] = field(default_factory=dict)  # its configuration at the first update
    updates: list[list[int]] = field(default_factory=list)  # lines of train of each, in their order
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)  # by number: what was read of each
    weights: list[dict[str, Tensor]] = field(default_factory=list)

    def epochs(self) -> list[list[int]]:
        """The lines of each whole epoch, in their order."""
        seen = list(chain(*self.updates))
        size = len(set(seen))
        return [seen[start : start + size] for start in range(0, len(seen) - size + 1, size)]


@dataclass
class Laboratory:
    """Where it stands, what its stages opened and printed, and their trainings by their names."""

    folder: Path
    stages: dict[str, Stage] = field(default_factory=dict)
    opened: dict[str, set[str]] = field(default_factory=dict)
    printed: dict[str, list[str]] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)  # while they worked, on stderr
    trainings: dict[str, Training] = field(default_factory=dict)

    def text(self, path: str) -> list[str]:
        """The lines of a file."""
        return (self.folder / path).read_text(encoding="utf-8").split("\n")[:-1]

    def json(self, path: str) -> Any:
        """What a JSON file holds."""
        return json.loads((self.folder / path).read_text(encoding="utf-8"))

    def model(self, path: str) -> dict[str, Tensor]:
        """The weights of a trained model."""
        found: dict[str, Tensor] = torch.load(self.folder / path / "model/model.pt", weights_only=True)[
            "model"
        ]
        return found


def _words(dictionary: Any, row: Tensor) -> str:
    special = {dictionary.pad(), dictionary.eos()}
    return " ".join(dictionary[token] for token in row.tolist() if token not in special)


def _read(part: dict[str, Any], row: int, task: Any) -> dict[str, Any]:
    """What a batch holds of a line, as text and as the teacher's rows."""
    target = part["target"][row]
    found: dict[str, Any] = {
        "source": _words(task.source_dictionary, part["net_input"]["src_tokens"][row]),
        "target": _words(task.target_dictionary, target),
        "prefix": _words(task.target_dictionary, part["net_input"]["prev_output_tokens"][row]),
    }
    if "hypothesis" in part:
        for name, key in (("hypothesis", "target"), ("hypothesis prefix", "prev_output_tokens")):
            found[name] = _words(task.target_dictionary, part["hypothesis"][key][row])
    if "teacher_ids" in part:
        real = target != task.target_dictionary.pad()
        for name in ("teacher_ids", "teacher_probs"):
            found[name] = part[name][row][real].tolist()
    return found


@contextmanager
def watched(trainings: dict[str, Training]) -> Iterator[None]:
    """Within it trainings leave what they read, and their weights, in `trainings`."""
    train, step, save = loop.train, Stepper.step, Checkpoints.save
    current: list[Training] = []

    def trained(*given: Any, **how: Any) -> Any:
        current.append(Training(how["stage"], scratch=given[4], seed=given[3]))
        assert how["stage"] not in trainings, "each training says who it is"
        trainings[how["stage"]] = current[-1]
        return train(*given, **how)

    def stepped(stepper: Stepper, group: Sequence[Any]) -> Started:
        seen = current[-1]
        seen.criterion = seen.criterion or dict(stepper._trainer.cfg.criterion)
        seen.updates.append([])
        for part in chain(*group):
            for row, line in enumerate(part["id"].tolist()):
                seen.updates[-1].append(line)
                read = _read(part, row, stepper._trainer.task)
                assert seen.lines.setdefault(line, read) == read, "a line is the same in every epoch"
        return step(stepper, group)

    def saved(checkpoints: Checkpoints, update: int, weights: Any, state: Any) -> None:
        current[-1].weights.append({name: value.clone() for name, value in weights.items()})
        save(checkpoints, update, weights, state)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "train", trained)
        patch.setattr(Stepper, "step", stepped)
        patch.setattr(Checkpoints, "save", saved)
        yield


class Hook:
    """Which files are opened. Python has no way to remove such a hook: it is put in place once."""

    found: set[str] | None = None

    @classmethod
    def install(cls) -> None:
        """Puts it in place."""
        sys.addaudithook(cls._called)

    @classmethod
    def _called(cls, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and cls.found is not None and isinstance(arguments[0], (str, os.PathLike)):
            path = os.fspath(arguments[0])
            if os.sep in path:  # a bare name is relative to a folder that is being removed
                cls.found.add(os.path.abspath(path))


def compose(folder: Path, choices: Sequence[str]) -> None:
    """Writes params.yaml. In a process of its own: fairseq's configurations stand in Hydra's way."""
    places = [str(folder / "params.yaml"), str(ROOT / "conf")]
    subprocess.run([sys.executable, "-c", COMPOSE, *places, *choices], check=True)


def main_of(stage: Stage) -> Callable[[], None]:
    """The entry of a stage with its names, as its command calls it."""
    entry, *names = stage.command
    main = importlib.import_module(f"stages.{entry}").main

    def run() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys, "argv", [entry, *names])
            main()

    return run


def make(folder: Path) -> Laboratory:
    """Runs all stages of RUN, and a report over some of them."""
    lab, choices = Laboratory(folder), [*CHOICES, f"corpus.folder={folder}/corpus"]
    write_corpus(folder / "corpus")
    shutil.copy(ROOT / "dvc.yaml", folder)
    shutil.copytree(ROOT / "manifests", folder / "manifests")
    compose(folder, choices)
    (folder / "conf").mkdir()
    (folder / "conf/random_weights").touch()
    Repo.init(str(folder), no_scm=True).close()
    Hook.install()
    with pytest.MonkeyPatch.context() as patch, watched(lab.trainings):
        patch.chdir(folder)
        patch.setenv("NMTKD_SCRATCH", str(folder / ".scratch"))
        lab.stages = {stage.name: stage for stage in graph.read(folder)}
        for name in RUN:
            _run(lab, name)
        compose(folder, [*choices, *REPORTED])
        lab.stages |= {stage.name: stage for stage in graph.read(folder)}
        _run(lab, "report")
    return lab


def _run(lab: Laboratory, name: str) -> None:
    Hook.found = set()
    try:
        with redirect_stdout(io.StringIO()) as printed, redirect_stderr(io.StringIO()) as told:
            main_of(lab.stages[name])()
    finally:
        lab.opened[name], Hook.found = Hook.found, None
    lab.printed[name], lab.told[name] = printed.getvalue().splitlines(), told.getvalue().splitlines()
