"""What all sides of bench/peers.py have in common: set-up, text, results. Standard library only.

A side is called with MEASURE (train, beam, greedy), the folder of the pipeline's data and a folder WORK that
`ours_side.py prepare` fills:

    batches.json   the line numbers of the UPDATES first batches of our training, in its order
    decode.src     the sentences to translate, longest first: padding is least in every framework's batches
    words.txt      the dictionary's words in the order of their ids, without the four special symbols
    weights.pt     a post-norm model of ours, trained for a while: fairseq's names, and the `positions`
    model/         the same model as the project keeps it
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness  # it puts src/ on the path

from nmtkd import machine

# conf/scale/cpu.yaml: its teacher's architecture, in batches as its students have them.
ENCODER_LAYERS = DECODER_LAYERS = 4
WIDTH, FFN, HEADS = 128, 256, 4
MAX_TOKENS = 4096  # a batch, of the longer side, padding included
DROPOUT, SMOOTHING = 0.2, 0.1
LR, WARMUP, BETAS, DECAY = 0.005, 400, (0.9, 0.98), 0.0001
SEED = 1

WARM = 5  # updates before the clock starts: memory, kernels and caches are then as they stay
UPDATES = 40  # a third of an epoch on multi30k
SENTENCES = 250  # the first of the training text: some sides are slow
BEAM = 5
LIMIT = 60  # most tokens of an output, for all: longer than any good translation here

# The model that all sides translate with: post-norm, because Marian knows no other. After three passes over
# multi30k its outputs end like sentences.
MODEL_UPDATES = 800
MODEL = {"max_tokens": 2048, "lr": 0.002, "warmup": 200, "pre_norm": False, "dropout": 0.1}

UNK, PAD, BOS, EOS = "<unk>", "<pad>", "<s>", "</s>"
SPECIALS = [BOS, PAD, EOS, UNK]  # fairseq's order: their ids are 0 to 3


@dataclass(frozen=True)
class Asked:
    """What a side shall do."""

    measure: str
    data: Path
    work: Path
    keep: bool  # raise glibc's memory thresholds, as our training does
    batches: bool  # train on our batches, where the framework would make its own
    bfloat16: bool  # train with products in bfloat16: peers by torch.autocast


def asked(description: str | None, *measures: str) -> Asked:
    """Reads a side's command line and sets its memory thresholds."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measure", choices=measures or ("train", "beam", "greedy"))
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--keep", action="store_true", help="raise glibc's memory thresholds")
    parser.add_argument("--batches", action="store_true", help="train on our batches")
    parser.add_argument("--bfloat16", action="store_true", help="train with products in bfloat16")
    found = Asked(**vars(parser.parse_args()))
    if found.keep:
        machine.keep_freed_memory()
    return found


def lines(path: Path) -> list[str]:
    """A file's lines; no other separator than a newline ends one."""
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


def train_text(data: Path) -> tuple[list[str], list[str]]:
    """Both sides of the training text, in BPE."""
    source, target = (lines(data / "noise" / "clean" / f"train.{side}") for side in ("src", "tgt"))
    return source, target


def batches(work: Path) -> list[list[int]]:
    """Line numbers of our batches."""
    found: list[list[int]] = json.loads((work / "batches.json").read_text(encoding="utf-8"))
    return found


def trained(tokens: int, seconds: float, first: float, whole: float, version: str) -> None:
    """The result of a training: target tokens, ends of sentences included, and losses in nats a token.

    `first` is the loss of WARM updates, `whole` that of all UPDATES.
    """
    if not whole < first:
        raise SystemExit(
            f"error: the loss does not fall: {first:.3f} over the first {WARM} updates, "
            f"{whole:.3f} over all {UPDATES}"
        )
    harness.result(
        value=round(tokens / seconds, 1),
        tokens=tokens,
        updates=UPDATES,
        first=round(first, 3),
        loss=round(whole, 3),
        version=version,
    )


def translated(
    outputs: Sequence[str], seconds: float, work: Path, name: str, version: str, **more: float
) -> None:
    """The result of a translation; its text stays in WORK, to be compared."""
    empty = sum(not line.strip() for line in outputs)
    if empty == len(outputs):
        raise SystemExit("error: all outputs are empty")
    (work / f"{name}.txt").write_text("".join(f"{line}\n" for line in outputs), encoding="utf-8")
    words = sum(len(line.split()) for line in outputs)
    harness.result(
        value=round(len(outputs) / seconds, 2),
        sentences=len(outputs),
        empty=empty,
        tokens=words,
        version=version,
        **more,
    )
