"""Training and decoding beside JoeyNMT and Hugging Face's MarianMTModel, each in an environment of its own.

    python bench/peers.py [--data FOLDER] [--envs FOLDER] [--rounds N] [--only train beam greedy]

Needs the data of `dvc repro` on any corpus (stages corpus, prepare, bpe and noise; noise condition `clean`).
The goals are those of multi30k with scale=cpu: `dvc exp run -S corpus=multi30k -S scale=cpu`, or its first
four stages. The first run makes the peers' environments and trains a model to decode with (minutes); both
stay under --envs.

All sides: one architecture (shared.py), one dictionary, float32, CPU, NMTKD_THREADS threads or all cores;
each peer also with glibc's memory thresholds raised as machine.keep_freed_memory raises them for our own
trainings ("+memory"), and where the processor multiplies bfloat16, in it: by autocast, ours by
training.precision ("+bfloat16").

- Training: target tokens a second over 40 updates after 5 of warm-up, in batches of 4,096 tokens. Marian
  takes exactly our batches, which are of similar length; JoeyNMT makes its own, in random order and so with
  more padding, and is measured on ours too ("+batches").
- Decoding: 250 training sentences at beam 5 and greedily, at most 60 tokens each, reading the model left out.
  Everybody translates with the same weights, of a model of ours that is trained for a few passes and then put
  into the peers. Outputs end where sentences end, which random weights would not let them do, and equal
  greedy translations show that the sides compute the same. Peers get the sentences sorted by length, 64 at a
  time; ours go through nmtkd.decoding.translate (CTranslate2), which sorts for itself.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import venv
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import harness  # it puts src/ on the path

sys.path.append(str(harness.ROOT / "bench" / "peers"))
import shared

from nmtkd import files, machine

SIDES = harness.ROOT / "bench" / "peers"
OURS = "ours"
# The variants of each peer, by measure: those that make a difference there.
DECODERS = {"joeynmt": [], "joeynmt+memory": ["--keep"], "marian": [], "marian+memory": ["--keep"]}
HALF = "bfloat16"
TRAINERS = {
    **DECODERS,
    "joeynmt+memory+batches": ["--keep", "--batches"],
    f"joeynmt+memory+batches+{HALF}": ["--keep", "--batches", f"--{HALF}"],
    f"marian+memory+{HALF}": ["--keep", f"--{HALF}"],
}
NAMES = {"train": "training", "beam": "decoding, beam 5", "greedy": "decoding, greedy"}
GOAL = ">= 1"
ROUNDS = 3


def environment(name: str, folder: Path) -> str:
    """The interpreter of a peer's environment, which is made where it is not there yet."""
    wanted = SIDES / f"requirements-{name}.txt"
    pins, ready, python = (
        wanted.read_text(encoding="utf-8"),
        folder / name / "ready",
        folder / name / "bin" / "python",
    )
    if ready.exists() and ready.read_text(encoding="utf-8") == pins:
        return str(python)
    print(f"making the environment {folder / name}", flush=True)
    venv.create(folder / name, with_pip=True, clear=True)
    install = [str(python), "-m", "pip", "install", "--quiet", "--progress-bar", "off"]
    torch = metadata.version("torch").split("+", maxsplit=1)[
        0
    ]  # our own; first and alone, so that no peer chooses another build
    subprocess.run([*install, f"torch=={torch}"], check=True)
    subprocess.run([*install, "--no-deps", "-r", str(wanted)], check=True)
    ready.write_text(pins, encoding="utf-8")
    return str(python)


def prepared(data: Path, folder: Path) -> Path:
    """The folder of what all sides read, one for each text and set-up. Our side makes a missing one."""
    read = [data / "bpe" / name for name in ("dict.txt", "valid.src", "valid.tgt")]
    read += [data / "noise" / "clean" / f"train.{side}" for side in ("src", "tgt")]
    setup = str(sorted((name, value) for name, value in vars(shared).items() if name.isupper()))
    work = folder / f"work-{files.fingerprint(setup, read)}"
    if not (work / "ready").exists():
        print(f"training the model to decode with, in {work}", flush=True)
        subprocess.run(
            [sys.executable, str(SIDES / "ours_side.py"), "prepare", str(data), str(work)], check=True
        )
        (work / "ready").touch()
    return work


def commands(measure: str, data: Path, work: Path, pythons: dict[str, str]) -> dict[str, Sequence[str]]:
    """What measures each side, ours first."""
    found: dict[str, Sequence[str]] = {
        OURS: [sys.executable, str(SIDES / "ours_side.py"), measure, str(data), str(work)]
    }
    names = dict(TRAINERS if measure == "train" else DECODERS)
    if not machine.multiplies_bfloat16():
        names = {name: options for name, options in names.items() if not name.endswith(HALF)}
    elif measure == "train":
        found[f"{OURS}+{HALF}"] = [*found[OURS], f"--{HALF}"]
    for name, options in names.items():
        peer = name.split("+", maxsplit=1)[0]
        found[name] = [pythons[peer], str(SIDES / f"{peer}_side.py"), measure, str(data), str(work), *options]
    return found


def agreement(work: Path, name: str, measure: str) -> float:
    """The share of a peer's translations that are ours, word for word. Both are of WORK/decode.src."""
    pair = [
        (work / f"{side}-{measure}.txt").read_text(encoding="utf-8").splitlines() for side in (OURS, name)
    ]
    return sum(one == other for one, other in zip(*pair, strict=True)) / len(pair[0])


def rows(measure: str, found: dict[str, list[dict[str, Any]]], work: Path) -> list[harness.Row]:
    """Ours over each of the others."""
    ours_of = {half: found.pop(f"{OURS}{half}", []) for half in ("", f"+{HALF}")}
    unit = "target tokens/s" if measure == "train" else "sentences/s"
    told = []
    for name, theirs in found.items():
        ours = ours_of[f"+{HALF}" if name.endswith(HALF) else ""]
        if measure == "train":
            tokens = [
                sum(one["tokens"] for one in side) / sum(one["updates"] for one in side)
                for side in (ours, theirs)
            ]
            note = f"{tokens[0]:,.0f} and {tokens[1]:,.0f} target tokens a batch"
        else:
            note = f"{100 * agreement(work, name, measure):.0f}% equal translations"
        values = [[one["value"] for one in side] for side in (ours, theirs)]
        told.append(harness.row(NAMES[measure], name, GOAL, *values, unit, note=note))
    return told


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=harness.ROOT / "data")
    parser.add_argument("--envs", type=Path, default=harness.ROOT / ".scratch" / "peers")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=list(NAMES))
    asked = parser.parse_args()
    data, envs = asked.data.resolve(), asked.envs.resolve()
    pythons = {name: environment(name, envs) for name in ("joeynmt", "marian")}
    work = prepared(data, envs)
    told, versions = [], {}
    for measure in asked.only:
        found = harness.pairs(commands(measure, data, work, pythons), asked.rounds)
        versions |= {
            name.split("+", maxsplit=1)[0]: one[0]["version"]
            for name, one in found.items()
            if not name.startswith(OURS)
        }
        told += rows(measure, found, work)
    words = len((work / "words.txt").read_text(encoding="utf-8").split("\n")) - 1
    sizes = {
        "pairs": len((data / "noise" / "clean" / "train.src").read_text(encoding="utf-8").split("\n")) - 1,
        "vocabulary": words,
    }
    harness.save(
        "peers",
        told,
        {**versions, **sizes, "batch": f"{shared.MAX_TOKENS:,} tokens", "threads": machine.threads()},
    )


if __name__ == "__main__":
    main()
