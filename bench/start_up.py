"""`python bench/start_up.py`: what it costs that nothing is to be done. Seconds against goals.

A finished repository of 100 stages and `manifests` is made in a temporary folder from the project's own
dvc.yaml: outputs that hold their own names, recorded by `dvc commit`. In it `dvc repro` finds nothing to run.
Beside it: what a stage that needs no fairseq pays before its work (imports and params), what each stage pays
DVC (a fork of the runner against a process of its own; a stage written into the lock file, and params.yaml
read for each stage, as the runner has it done against DVC's own way), what it pays for its code to be seen to
be right (files parsed, or as they were kept), and what a process that imported a training pays to end (as
stages do, or as Python does).
"""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import harness
import yaml
from dvc.utils.serialize import load_yaml, modify_yaml

from runner import __main__ as runner
from runner import lockfile, manifests
from tests.endtoend.lab import Lab, make_lab
from tests.structure import graph

REPRO_SECONDS, STAGE_SECONDS = 3.0, 2.0  # the goals
AXES = {
    "methods": {"plain": ["plain"], "word": ["word", "word_reverse"], "seq": ["seq"], "both": ["both"]}
    | {"hybrid": [], "online": []},
    "capacities": ["tiny", "small", "medium"],
    "noises": ["clean"],
    "decodings": ["beam"],
    "seeds": [1, 2, 3],
}
STAGES = 101  # what these multiply out to, and `manifests`
# What stages write into their folders, as far as DVC sees it: so many files of such names.
PARTS = ("src", "tgt", "raw", "ref", "names")
PREPARED = " ".join(f"{split}.{part}" for split in ("train", "valid", "test") for part in PARTS)
MODEL = "model/model.pt model/model.sha256 model/dict.src.txt model/dict.tgt.txt"
FILES = {
    "data/raw": "train.src train.tgt card.json",
    "data/prepared": f"card.json {PREPARED}",
    "data/bpe": "codes.bpe dict.txt dict.src.txt dict.tgt.txt card.json text.json "
    "valid.src valid.tgt test.src test.tgt",
    "data/noise": "train.src train.tgt card.json",
    "models/teacher": f"{MODEL} card.json curve.csv",
    "data/hypotheses": "hypotheses.jsonl card.json",
    "data/targets": "ids.npy probs.npy offsets.npy header.json",
    "models/student": f"{MODEL} card.json curve.csv",
    "data/translations": "valid.beam test.beam valid.greedy test.greedy curve.csv",
    "reports/figures": "bleu_by_capacity.png curves.png",
}
LOADS = {  # what each stage without fairseq loads before its work
    "corpus": ["corpus"],
    "prepare": ["corpus", "prepare", "evaluate.tokenize"],
    "bpe": ["corpus.target", "corpus.tests", "prepare.tokeniser", "bpe"],
    "noise": ["noises.clean", "teacher.training.max_tokens", "training.max_tokens"],
    "report": ["corpus.target", "corpus.tests", "evaluate.long_words", "evaluate.tokenize", "report", "grid"],
}
SINGLE = "noise@clean"  # one stage
LEARNS = "student"  # one that imports torch and fairseq
PAIRS = (  # two sides, and what they are
    ("fork", "process", "one stage that is up to date: fork", "process"),
    (
        "lock",
        "lock_by_dvc",
        f"dvc.lock of {STAGES} stages, a stage written into it: as the runner does",
        "as DVC does",
    ),
    (
        "params",
        "params_by_dvc",
        f"params.yaml read for each of {STAGES} stages: as the runner does",
        "as DVC does",
    ),
    ("code", "code_parsed", "code of a training compared with its manifest: as it was kept", "parsed"),
    ("end", "end_as_python", "a process that imports a training and ends: as stages do", "as Python does"),
)


def finish(folder: Path) -> Lab:
    """The repository of 100 stages, all up to date."""
    lab = make_lab(folder)
    params = yaml.safe_load((harness.ROOT / "params.yaml").read_text(encoding="utf-8")) | {"grid": AXES}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    lab.run("dvc", "repro", "--quiet", "manifests")
    stages = graph.read(folder)
    assert len(stages) == STAGES, len(stages)
    read = {Path(dep) for stage in stages for dep in stage.deps}
    for stage in stages:
        for out in map(Path, stage.outs) if stage.name != "manifests" else ():
            names = FILES.get(str(out)) or FILES.get(str(out.parent))
            files = [out / name for name in names.split()] if names else [out]
            for file in {*files, *(path for path in read if out in path.parents and path.suffix)}:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).write_text(f"{file}\n", encoding="utf-8")
    for command in ("dvc commit -f -q", "git add -A", "git commit -qm finished", "dvc repro"):
        lab.run(*command.split())
    return lab


def written(path: Path) -> None:
    """Writes a lock file as DVC does after a stage."""
    with modify_yaml(path) as found:
        found["stages"][SINGLE] = {**found["stages"][SINGLE], "new": 1}


def timed(action: Callable[[], object]) -> None:
    """Reports how long `action` takes."""
    start = time.perf_counter()
    action()
    harness.result(seconds=time.perf_counter() - start)


def measure(side: str, folder: Path) -> None:
    """One side, in the finished repository."""
    if side == "repro":
        timed(lambda: Lab(folder).run("dvc", "repro"))
    elif side == "process":
        timed(lambda: Lab(folder).run("dvc", *runner.REPRO, "--single-item", SINGLE))
    elif side == "fork":
        for name in runner.PRELOADED:
            importlib.import_module(name)
        os.chdir(folder)
        timed(lambda: runner.start(SINGLE, {}).join())
    elif side in ("lock", "lock_by_dvc"):
        if side == "lock":
            lockfile.be_fast()
        copy = Path(shutil.copy(folder / lockfile.NAME, folder.parent))
        timed(lambda: written(copy))
    elif side in ("params", "params_by_dvc"):
        if side == "params":
            lockfile.be_fast()
        timed(lambda: [load_yaml(folder / "params.yaml") for _ in range(STAGES)])
    elif side in ("code", "code_parsed"):
        os.chdir(folder)
        manifests.write()
        manifests.forget()
        if side == "code_parsed":
            manifests._kept = dict
        timed(lambda: manifests.manifest(LEARNS))
    elif side in ("end", "end_as_python"):
        code = f"import stages.{LEARNS}; from runner import entries; " + "entries.leave()" * (side == "end")
        timed(lambda: subprocess.run([sys.executable, "-c", code], cwd=folder, check=True))
    else:
        names = ", ".join(map(repr, LOADS[side]))
        code = f"import stages.{side}; from nmtkd.plan import params; params.load({names})"
        timed(lambda: subprocess.run([sys.executable, "-c", code], cwd=folder, check=True))


def against(goal: float, what: str, seconds: Sequence[float]) -> harness.Row:
    """A row of seconds over a goal in seconds."""
    return harness.row(f"{what}, of {goal:g} s", "goal", "<= 1", seconds, [goal] * len(seconds), "s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    found = parser.parse_args()
    Lab.forks = False  # as users start them
    if found.side:
        measure(found.side, found.folder)
        return
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above) / "lab"
        finish(folder)
        sides = {
            name: harness.side(__file__, name, "--folder", str(folder))
            for name in ("repro", *LOADS, *(side for pair in PAIRS for side in pair[:2]))
        }
        measured = harness.pairs(sides, found.rounds)
        told = {name: [one["seconds"] for one in values] for name, values in measured.items()}
        lock_bytes = (folder / "dvc.lock").stat().st_size
        facts = {"stages": STAGES, "dvc.lock, bytes": lock_bytes, "load of the machine": os.getloadavg()[0]}
    rows = [against(REPRO_SECONDS, f"no-op dvc repro, {STAGES} stages", told["repro"])]
    rows += [against(STAGE_SECONDS, f"start-up of {name}", told[name]) for name in LOADS]
    rows += [harness.row(what, than, "", told[side], told[other], "s") for side, other, what, than in PAIRS]
    harness.save("start_up", rows, facts)


if __name__ == "__main__":
    main()
