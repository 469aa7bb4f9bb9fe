"""A training step on a GPU: our bfloat16 beside stock fairseq's fp16, and its share of the card's rate.

    python bench/gpu.py [--rounds N] [--tokens 4096 16384 32768]

Without a GPU it says so and measures nothing. The model is that of conf/scale/paper.yaml. The text is made
up: as long and as varied as IWSLT14's, in 10,000 pieces (words by Zipf's law), a tenth of its size. What is
measured is whole updates, batches and optimiser included, after an epoch that is not counted: in it our side
packs batches and records graphs, for the seconds that the facts name, and stock plans its attention anew for
each shape of a batch.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
import training

SHAPE = {
    "encoder_layers": 6,
    "decoder_layers": 6,
    "width": 512,
    "ffn": 1024,
    "heads": 4,
}  # transformer_iwslt_de_en
SMALL = {"encoder_layers": 3, "decoder_layers": 3, "width": 256, "ffn": 512, "heads": 4}  # a student
STUDENTS = 4  # of those at once
RECIPE = {"lr": 0.0005, "warmup": 4000, "dropout": 0.3, "clip_norm": 0.0, "pre_norm": False}
TOKENS = (4096, 16384, 32768)  # of a batch
SIZE = 8192  # of the matrices whose product gives the card's rate
PRODUCTS = 20
SECONDS = 5.0  # that updates are counted for, at least
FLOPS = 6  # of a training step for each parameter and token: two forward, four backward
PAIRS, PIECES, MEAN, SPREAD, LONGEST = 16_000, 10_000, 22.0, 0.55, 120  # of the text; log-normal lengths
Found = list[dict[str, Any]]
NOISE = 0.15  # standard deviation of a target's length from its source's, in logarithms
COUNTED = 60  # updates of fairseq-train, at least
FULL = 0.6  # of max_tokens: less than an epoch's batches hold of real tokens


def made_up(data: Path) -> None:
    """Text as the stage noise leaves it."""
    rng = np.random.default_rng(1)
    (data / "bpe").mkdir(parents=True)
    (data / "noise" / "clean").mkdir(parents=True)
    pieces = np.array([f"p{number}" for number in range(PIECES)])
    shares = 1.0 / (np.arange(PIECES) + 2.7)
    logs = np.log(MEAN) - SPREAD**2 / 2 + SPREAD * rng.standard_normal(PAIRS)
    sides = [np.clip(np.exp(logs + shift), 1, LONGEST).astype(int) for shift in (0.0, NOISE)]
    sides[1] = np.clip(np.exp(logs + NOISE * rng.standard_normal(PAIRS)), 1, LONGEST).astype(int)
    for side, lengths in zip(("src", "tgt"), sides, strict=True):
        words = pieces[rng.choice(PIECES, int(lengths.sum()), p=shares / shares.sum())].tolist()
        ends = lengths.cumsum().tolist()
        lines = (
            " ".join(words[end - length : end]) for end, length in zip(ends, lengths.tolist(), strict=True)
        )
        (data / "noise" / "clean" / f"train.{side}").write_text("\n".join(lines) + "\n")
    (data / "bpe" / "dict.txt").write_text("".join(f"{piece} 1\n" for piece in pieces.tolist()))
    np.save(data / "bpe" / "lengths.npy", np.stack([side + 1 for side in sides], 1))
    form = {"target": "en", "tokeniser": "reversible", "longest": LONGEST + 1}
    (data / "bpe" / "text.json").write_text(json.dumps(form))


def matrix_rate() -> float:
    """FLOP/s of a large bfloat16 product."""
    import torch

    left, right = (torch.randn(SIZE, SIZE, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    for timed in (False, True):
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(PRODUCTS):
            left @ right
        torch.cuda.synchronize()
        if timed:
            return 2 * SIZE**3 * PRODUCTS / (time.perf_counter() - start)
    raise AssertionError


def ours(data: Path, tokens: int, shape: dict[str, int], *, graphs: bool = True) -> dict[str, Any]:
    """Target tokens/s of whole updates, after the first epoch, and what that epoch took."""
    import torch

    from nmtkd.plan.models import Architecture
    from nmtkd.training import loop

    how = training.recipe(updates=1).model_copy(update={"max_tokens": tokens})
    with tempfile.TemporaryDirectory() as folder:
        run = loop.begin(training.text(data), Architecture(**shape), how, 1, Path(folder), stage="bench")
        run.stepper._records = graphs
        spent, seen = [], []
        updates = 0
        for epochs in (1, 0):
            start = time.perf_counter()
            while True:
                updates += len(run.epochs)
                run.training = how.model_copy(update={"updates": updates, "checkpoint_every": updates + 1})
                run.to_the_end()
                torch.cuda.synchronize()
                if epochs or time.perf_counter() - start > SECONDS:
                    break
            spent.append(time.perf_counter() - start)
            seen.append(run.seen)
    counted = seen[1].updates - seen[0].updates
    return {
        "rate": (seen[1].target_tokens - seen[0].target_tokens) / spent[1],
        "step": 1000 * spent[1] / counted,
        "first": spent[0] - len(run.epochs) * spent[1] / counted,
        "graphs": len(run.stepper._graphs or ()),
        "parameters": run.loaded.parameters(),
        "memory": torch.cuda.max_memory_allocated() / 2**20,
    }


def at_once(data: Path, tokens: int) -> dict[str, Any]:
    """Target tokens/s of STUDENTS trainings on one card together."""
    command = [sys.executable, __file__, "--side", "student", "--data", str(data), "--tokens", str(tokens)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(STUDENTS)]
    said = [each.communicate()[0] for each in started]
    rates = [json.loads(each.rsplit(harness.MARK, 1)[1].splitlines()[0])["rate"] for each in said]
    return {"rate": sum(rates)}


def measured(side: str, data: Path, tokens: int) -> dict[str, Any]:
    """What one side gives."""
    if side == "products":
        return {"rate": matrix_rate()}
    if side == "stock":
        training.RECIPE["max_tokens"] = tokens
        epoch = int(np.load(data / "bpe" / "lengths.npy").max(1).sum() / (FULL * tokens))
        return training.stock(data, False, None, epoch + COUNTED, device=["--fp16"], epoch=2)
    if side == "students":
        return at_once(data, tokens)
    return ours(data, tokens, SMALL if side == "student" else SHAPE, graphs=side != "eager")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    sides = ["ours", "stock", "products", "eager", "student", "students"]
    parser.add_argument("--side", choices=sides)
    parser.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "nmtkd-bench-gpu")
    parser.add_argument("--tokens", type=int, nargs="+", default=list(TOKENS))
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("no GPU here: nothing measured")
        return
    training.SHAPE.update(SHAPE)
    training.RECIPE.update(RECIPE | {"precision": "bfloat16"})
    if not asked.data.exists():
        made_up(asked.data)
    if asked.side:
        harness.result(**measured(asked.side, asked.data, asked.tokens[0]))
        return
    rows, facts = list[harness.Row](), {"card": torch.cuda.get_device_name()}
    options = ["--data", str(asked.data)]

    def found(names: Sequence[str], tokens: int) -> dict[str, list[dict[str, Any]]]:
        command = [*options, "--tokens", str(tokens)]
        return harness.pairs({name: harness.side(__file__, name, *command) for name in names}, asked.rounds)

    def row(what: str, against: str, goal: str, ours: Found, other: Found, unit: str) -> None:
        rates = [[one["rate"] for one in side] for side in (ours, other)]
        rows.append(harness.row(what, against, goal, *rates, unit))
        harness.save("gpu", rows, facts)

    products = found(["products"], 0)["products"]
    for tokens in asked.tokens:
        sides = found(["ours", "stock"], tokens)
        what = f"training step in bfloat16, batches of {tokens:,} tokens"
        row(what, "fairseq-train --fp16", ">= 4", sides["ours"], sides["stock"], "target tokens/s")
        done = [{"rate": FLOPS * one["parameters"] * one["rate"]} for one in sides["ours"]]
        what = f"arithmetic of parameters at {tokens:,} tokens, of the card's matrix rate"
        one = sides["ours"][0]
        facts[f"{tokens:,} tokens"] = (
            f"{one['step']:.1f} ms a step, {one['graphs']} graphs recorded in the first epoch, which takes "
            f"{one['first']:.1f} s longer for it; {one['memory']:,.0f} MiB at most"
        )
        row(what, "bfloat16 products", "", done, products, "FLOP/s")
    tokens = asked.tokens[0]
    sides = found(["ours", "eager"], tokens)
    what = f"training step in bfloat16, batches of {tokens:,} tokens"
    row(what, "without graphs and packing", "", sides["ours"], sides["eager"], "target tokens/s")
    sides = found(["students", "student"], tokens)
    what = f"{STUDENTS} students at once on one card, batches of {tokens:,} tokens"
    row(what, "one student", "", sides["students"], sides["student"], "target tokens/s")


if __name__ == "__main__":
    main()
