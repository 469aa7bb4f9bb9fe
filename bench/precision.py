"""bfloat16 beside float32: a training step of several sizes, and token targets with how far they differ.

    python bench/precision.py [--data FOLDER] [--model FOLDER] [--rounds N]    # after `make repro`

Steps are of the same batches in turn, in one process; the first round compiles kernels and is not counted.
"""

from __future__ import annotations

import argparse
import itertools
import os
import tempfile
from pathlib import Path

import gpu
import harness
import teacher
import training

BATCHES = 12  # of a round
TOKENS = 2048  # of a batch, as in scale=quick
MODELS: dict[str, tuple[str, dict[str, int]]] = {  # name: goal, shape
    "the default teacher (1.9M)": (
        ">= 1.7",
        {"encoder_layers": 3, "decoder_layers": 3, "width": 128, "ffn": 512, "heads": 4},
    ),
    "`small` (0.43M)": (
        ">= 1.3",
        {"encoder_layers": 2, "decoder_layers": 2, "width": 64, "ffn": 128, "heads": 4},
    ),
    "256 / 1024 / 4+4 (8M)": (
        ">= 2",
        {"encoder_layers": 4, "decoder_layers": 4, "width": 256, "ffn": 1024, "heads": 4},
    ),
    "transformer_iwslt_de_en": (
        ">= 2",
        gpu.SHAPE,
    ),
}
TYPES = ("float32", "bfloat16")
PRODUCT = 1024  # rows and columns of a product that fits the cache
COMPARED = 600  # lines whose whole distributions are compared


def steps(data: Path, shape: dict[str, int], rounds: int) -> dict[str, list[float]]:
    """Seconds of a round's steps, by type and round."""
    from nmtkd.plan.models import Architecture
    from nmtkd.training import loop

    recipe = training.recipe().model_copy(update={"max_tokens": TOKENS})
    with tempfile.TemporaryDirectory() as folder:
        run = loop.begin(training.text(data), Architecture(**shape), recipe, 1, Path(folder), stage="bench")
        batches = run.epochs.next_epoch_itr(fix_batches_to_gpus=False, shuffle=True)
        groups = [[batch] for batch in itertools.islice(batches, BATCHES)]
        found: dict[str, list[float]] = {name: [] for name in TYPES}
        for number in range(-1, rounds):
            sums = dict.fromkeys(TYPES, 0.0)
            for group, name in itertools.product(groups, TYPES):
                run.stepper._precision = name
                sums[name] += harness.seconds(lambda group=group: run.stepper.step(group))
            for name, seconds in sums.items() if number >= 0 else ():
                found[name].append(seconds)
    return found


def apart(model: Path, data: Path) -> str:
    """Mean KL of bfloat16's distributions from float32's, and how often the likeliest token is the same."""
    import torch

    from nmtkd.decoding import scoring

    options = model, *teacher.text(data, COMPARED), scoring.vocabulary(model), 1.0, teacher.SCORED
    whole = [
        {line: (ids, probs) for line, ids, probs in scoring.distributions(*options, name)} for name in TYPES
    ]
    kl, same = [], []
    for line, (ids, probs) in whole[0].items():
        p, q = (
            torch.zeros(probs.shape, dtype=torch.float64).scatter_(1, one, two.double())
            for one, two in ((ids, probs), whole[1][line])
        )
        kl.append(torch.special.xlogy(p, p / q).sum(1))
        same.append(ids[:, 0] == whole[1][line][0][:, 0])
    positions = torch.cat(same)
    return (
        f"mean KL {float(torch.cat(kl).mean()):.1e} nats, likeliest token equal in "
        f"{100 * float(positions.double().mean()):.2f}% of {len(positions):,} positions"
    )


def products() -> dict[str, float]:
    """GFLOP/s of a large product by type: what the processor has."""
    import torch

    found = {}
    for name in TYPES:
        matrix = torch.ones(PRODUCT, PRODUCT, dtype=getattr(torch, name))
        least = min(harness.seconds(lambda matrix=matrix: matrix @ matrix) for _ in range(20))
        found[f"product of {PRODUCT} x {PRODUCT} in {name}, GFLOP/s"] = round(2 * PRODUCT**3 / least / 1e9)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=harness.ROOT / "data")
    parser.add_argument("--model", type=Path, default=harness.ROOT / "models" / "teacher" / "clean" / "model")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--name", default="precision", help="of the figures: `precision_amx` are a Xeon's")
    asked = parser.parse_args()
    from nmtkd import machine

    if not machine.multiplies_bfloat16():
        raise SystemExit("this processor has no instructions for bfloat16: there is nothing to measure")
    rows = []
    for name, (goal, shape) in MODELS.items():
        found = steps(asked.data, shape, asked.rounds)
        ours, other = (
            [1000 * seconds / BATCHES for seconds in found[kind]] for kind in ("bfloat16", "float32")
        )
        what = f"training step in bfloat16, {name}"
        rows.append(harness.row(what, "float32", goal, ours, other, "ms a step", inverse=True))
        print(rows[-1], flush=True)
    found = {name: [] for name in TYPES}
    for _, name in itertools.product(range(asked.rounds), TYPES):
        found[name].append(teacher.write(asked.model, asked.data, teacher.LINES, name)["seconds"])
    note = apart(asked.model, asked.data)
    rates = [[teacher.LINES / seconds for seconds in found[name]] for name in ("bfloat16", "float32")]
    rows.append(
        harness.row("token targets in bfloat16", "float32", ">= 1.6", *rates, "sentences/s", note=note)
    )
    print(rows[-1], flush=True)
    harness.save(asked.name, rows, {**products(), "threads": os.environ.get("NMTKD_THREADS", "all cores")})


if __name__ == "__main__":
    main()
