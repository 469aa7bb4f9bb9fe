"""How much of the teacher's term its k best tokens keep: stored loss beside whole loss, on trained models.

    python bench/top_k.py [--teacher FOLDER] [--student FOLDER] [--pairs N]      # after `dvc repro`

Prints a table: mean divergence a token for k = 4 ... 64 and for all tokens, the share that is missing, bytes
a token on disk. Probabilities go through float16, as on disk. For every divergence the stored value must lie
below the whole one: the script ends in error otherwise.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

import torch

from nmtkd import machine
from nmtkd.distil.token_loss import TeacherTerm, token_level
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.plan.methods import Method
from nmtkd.text.parallel import read_pair

KEPT = (4, 8, 16, 32, 64)
KINDS = {
    kind: TeacherTerm(method=Method(sequence="gold", teacher_weight=1.0, divergence=kind, **options))
    for kind, options in (
        ("forward_kl", {}),
        ("reverse_kl", {}),
        ("jensen_shannon", {"beta": 0.5}),
        ("total_variation", {}),
    )
}
BYTES = 4  # a kept token: uint16 and float16
MAX_TOKENS = 2048
ROUNDING = 2e-3  # float16 keeps three digits


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", type=Path, default=layout.teacher_dir("clean"))
    parser.add_argument("--student", type=Path, default=layout.student_dir("plain-tiny-clean-1"))
    parser.add_argument("--pairs", type=int, default=1000)
    asked = parser.parse_args()
    teacher, student, pairs = asked.teacher, asked.student, asked.pairs
    torch.set_num_threads(machine.threads())
    sides = [
        lines[:: max(1, len(lines) // pairs)]
        for lines in read_pair(*(layout.noise_dir("clean") / f"train.{s}" for s in ("src", "tgt")))
    ]
    with bridge.quiet():
        models = [bridge.load_model(layout.model_dir(folder), "cpu") for folder in (teacher, student)]
    dataset = bridge.pairs(models[0], *sides)
    vocabulary = len(models[0].dictionary)
    sums = {kind: dict.fromkeys((*KEPT, vocabulary), 0.0) for kind in KINDS}
    mass, tokens = dict.fromkeys((*KEPT, vocabulary), 0.0), 0
    for batch in bridge.batches(dataset, MAX_TOKENS):
        sample = bridge.collate(dataset, batch, "cpu")
        with torch.no_grad():
            logits = [one.model(**sample["net_input"])[0].flatten(0, 1).float() for one in models]
        padding = sample["target"].flatten().eq(models[0].dictionary.pad())
        tokens += int((~padding).sum())
        probs, ids = torch.softmax(logits[0], -1).sort(-1, descending=True)
        for k in (*KEPT, vocabulary):
            kept = probs[:, :k] if k == vocabulary else probs[:, :k].half().float()
            mass[k] += float(kept.sum(-1)[~padding].sum())
            for kind, term in KINDS.items():
                loss = token_level(logits[1], ids[:, :k], kept, padding, term)
                sums[kind][k] += float(loss.double().sum())
    print(
        f"{tokens} target tokens of {len(sides[0])} training pairs, vocabulary {vocabulary}; "
        f"teacher {teacher}, student {student}\n"
    )
    print(
        "| k | bytes a token | teacher's mass kept | "
        + " | ".join(f"{kind} (missing)" for kind in KINDS)
        + " |"
    )
    print("| ---: | ---: | ---: |" + " ---: |" * len(KINDS))
    below = True
    for k in (*KEPT, vocabulary):
        cells = []
        for kind in KINDS:
            whole, value = sums[kind][vocabulary] / tokens, sums[kind][k] / tokens
            below &= value <= whole * (1 + ROUNDING)
            cells.append(f"{value:.4f} ({100 * (whole - value) / whole:.1f}%)")
        print(
            f"| {k if k < vocabulary else 'all'} | {BYTES * k} | {100 * mass[k] / tokens:.1f}% | "
            f"{' | '.join(cells)} |"
        )
    if not below:
        raise SystemExit("error: a stored loss lies above the whole one")


if __name__ == "__main__":
    main()
