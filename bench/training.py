"""A training step beside stock fairseq-train: the same model, batches and recipe.

    python bench/training.py [--data FOLDER] [--name NAME] [--rounds N]    # by default data/ of `dvc repro`

Stock is the command `fairseq-train` as installed, once more with the memory thresholds of
machine.keep_freed_memory, and where the processor multiplies bfloat16 with its criterion in autocast; then
ours is measured in bfloat16 too. The figures of each corpus have a NAME: `training` is multi30k's, whose
goals are its own, `training_default` the default corpus's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness

# The model of the published baseline on multi30k: 2.6M parameters at 10,000 merges, batches of 4,096 tokens.
SHAPE = {"encoder_layers": 4, "decoder_layers": 4, "width": 128, "ffn": 256, "heads": 4}
RECIPE: dict[str, Any] = {
    "max_tokens": 4096,
    "lr": 0.004,
    "warmup": 600,
    "adam_betas": [0.9, 0.98],
    "weight_decay": 0.0001,
    "dropout": 0.2,
    "precision": "float32",
}
RECIPE |= {"label_smoothing": 0.1, "clip_norm": 1.0, "pre_norm": True, "average": 1, "curve_pairs": 0}
UPDATES = 50  # a run: half a minute, of which the first SKIPPED do not count
SKIPPED = 10
LOGGED = 10  # updates between two lines of fairseq-train
HELD = 16  # pairs to validate on, once at the end and out of the measured time
TRACKED = 20  # updates after which weights are compared
STOCK = "import fairseq_cli.train as t; t.cli_main()"
AUTOCAST = f"""
import torch, fairseq.criterions.label_smoothed_cross_entropy as module
stock = module.LabelSmoothedCrossEntropyCriterion.forward
def forward(*given, **named):
    with torch.autocast("cpu", torch.bfloat16):
        return stock(*given, **named)
module.LabelSmoothedCrossEntropyCriterion.forward = forward
{STOCK}"""
GOALS = {"training": ">= 3", "training_default": ">= 2.4"}  # in bfloat16, of stock in float32
PRELOAD = f"import ctypes; c = ctypes.CDLL(None); c.mallopt(-3, 2**30); c.mallopt(-1, 2**31 - 1); {STOCK}"


def recipe(dropout: float | None = None, updates: int = UPDATES) -> Any:
    """The recipe of both sides."""
    from nmtkd.plan.models import Training

    changed = {} if dropout is None else {"dropout": dropout}
    return Training(**(RECIPE | {"updates": updates, "checkpoint_every": updates} | changed))


def lines(data: Path) -> tuple[Path, Any]:
    """Dictionary and training pairs."""
    from nmtkd.text.parallel import read_pair

    text = data / "noise" / "clean"
    return data / "bpe" / "dict.txt", read_pair(text / "train.src", text / "train.tgt")


def text(data: Path) -> Any:
    """What our side trains on."""
    import numpy as np

    from nmtkd.text import text_form
    from nmtkd.training.texts import Data

    dictionary, (source, target) = lines(data)
    form = text_form.read(data / "bpe")
    return Data(
        dictionaries=(dictionary, dictionary),
        form=form,
        train=(source, target),
        valid=(source[:HELD], target[:HELD]),
        lengths=np.load(data / "bpe" / "lengths.npy"),
    )


def stock(
    data: Path,
    thresholds: bool,
    dropout: float | None,
    updates: int,
    save: Path | None = None,
    device: Sequence[str] = ("--cpu",),
    epoch: int = 1,
    program: str | None = None,
) -> dict[str, float]:
    """fairseq-train's own rate, target tokens/s, over its log after SKIPPED updates, from an epoch on."""
    from nmtkd import machine
    from nmtkd.network import command_line
    from nmtkd.network import fairseq_bridge as bridge
    from nmtkd.plan.models import Architecture

    dictionary, train = lines(data)
    with tempfile.TemporaryDirectory() as folder:
        bridge.write_data(Path(folder), (dictionary, dictionary), {"train": train})
        command = command_line.arguments(Architecture(**SHAPE), recipe(dropout, updates), 1)
        command[0], command[command.index("--save-dir") + 1] = folder, str(save or folder)
        command += [*device, "--disable-validation", "--log-format", "json", "--log-interval", str(LOGGED)]
        command += ["--no-epoch-checkpoints"] if save else ["--no-save"]
        run = program or (PRELOAD if thresholds else STOCK)
        cores = {"OMP_NUM_THREADS": str(machine.threads())}
        done = subprocess.run(
            [sys.executable, "-c", run, *command],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, **cores},
        )
    found = [
        json.loads(line[line.index("{") :])
        for line in done.stdout.splitlines() + done.stderr.splitlines()
        if '"wps"' in line
    ]
    rates = [
        float(one["wps"])
        for one in found
        if int(one.get("num_updates", 0)) > SKIPPED and int(one["epoch"]) >= epoch
    ]
    return {
        "rate": statistics.mean(rates),
        "peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    }


def ours(data: Path, dropout: float | None, updates: int, save: Path | None = None) -> dict[str, float]:
    """The same through nmtkd.training.loop. The rate is of all of a training's loop, batches included."""
    from nmtkd.plan.models import Architecture
    from nmtkd.training import loop

    with tempfile.TemporaryDirectory() as folder:
        how, out = recipe(dropout, updates), save or Path(folder)
        trained = loop.train(text(data), Architecture(**SHAPE), how, 1, Path(folder), out, stage="bench")
    return {
        "rate": trained.cost["target_tokens_per_second"],
        "parameters": trained.card["parameters"],
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def weights_apart(data: Path) -> dict[str, float]:
    """Largest difference of a weight after TRACKED updates without dropout; the largest possible change."""
    import torch

    from nmtkd.plan import layout

    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        stock(data, False, 0.0, TRACKED, Path(one))
        ours(data, 0.0, TRACKED, Path(two))
        found = [
            torch.load(path, weights_only=False)["model"]
            for path in (Path(one) / "checkpoint_last.pt", layout.model_dir(Path(two)) / layout.MODEL)
        ]
    # A key's bias has no gradient: softmax ignores a shift of all scores. Adam steps by rounding errors.
    names = [
        name
        for name in found[0]
        if name in found[1] and found[0][name].is_floating_point() and not name.endswith("k_proj.bias")
    ]
    apart = max(float((found[0][name] - found[1][name]).abs().max()) for name in names)
    return {"apart": apart, "way": RECIPE["lr"] * sum(range(TRACKED)) / RECIPE["warmup"]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sides = ["stock", "thresholds", "autocast", "ours", "bfloat16", "weights"]
    parser.add_argument("--side", choices=sides)
    parser.add_argument("--name", choices=GOALS, default="training_default")
    parser.add_argument("--data", type=Path, default=harness.ROOT / "data")
    parser.add_argument("--dropout", type=float)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if asked.side == "weights":
        harness.result(**weights_apart(asked.data))
    elif asked.side in ("ours", "bfloat16"):
        RECIPE["precision"] = "float32" if asked.side == "ours" else "bfloat16"
        harness.result(**ours(asked.data, asked.dropout, UPDATES))
    elif asked.side:
        program = AUTOCAST if asked.side == "autocast" else None
        harness.result(
            **stock(asked.data, asked.side == "thresholds", asked.dropout, UPDATES, program=program)
        )
    else:
        compare(asked.data, asked.rounds, asked.name)


def compare(data: Path, rounds: int, name: str) -> None:
    """All rows."""
    from nmtkd import machine

    halves = ("autocast", "bfloat16") if machine.multiplies_bfloat16() else ()
    rows, options = [], ["--data", str(data)]
    apart = harness.measure(harness.side(__file__, "weights", *options))
    print(apart)
    for dropout in (RECIPE["dropout"], 0.0):
        found = harness.pairs(
            {
                side: harness.side(__file__, side, *options, "--dropout", str(dropout))
                for side in ("stock", "thresholds", "ours", *halves)
            },
            rounds,
        )
        values = {
            side: {what: [one[what] for one in measured] for what in ("rate", "peak")}
            for side, measured in found.items()
        }
        what = f"plain training step, dropout {dropout}"
        rows += [
            harness.row(
                what,
                "fairseq-train as installed",
                ">= 1.7" if name == "training" else "",
                values["ours"]["rate"],
                values["stock"]["rate"],
                "target tokens/s",
            ),
            harness.row(
                what,
                "fairseq-train with memory thresholds",
                "",
                values["ours"]["rate"],
                values["thresholds"]["rate"],
                "target tokens/s",
            ),
            harness.row(
                f"peak memory, dropout {dropout}",
                "fairseq-train as installed",
                "<= 1",
                values["ours"]["peak"],
                values["stock"]["peak"],
                "MiB",
            ),
        ]
        if halves:
            half, unit = values["bfloat16"]["rate"], "target tokens/s"
            for other, goal in (("stock", GOALS[name]), ("autocast", "")):
                against = "fairseq-train as installed" + ", in bfloat16 autocast" * (other == "autocast")
                rows.append(
                    harness.row(f"{what}, in bfloat16", against, goal, half, values[other]["rate"], unit)
                )
    facts = {
        "model": SHAPE,
        "recipe": RECIPE,
        f"weights after {TRACKED} updates without dropout, at most apart": f"{apart['apart']:.2g} "
        f"(a weight went up to {apart['way']:.2g})",
    }
    harness.save(name, rows, facts)


if __name__ == "__main__":
    main()
