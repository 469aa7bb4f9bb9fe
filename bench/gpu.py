"""A training step on a GPU: our bfloat16 beside stock fairseq's fp16, and its share of the card's rate.

python bench/gpu.py [--data FOLDER] [--rounds N]        # the model of conf/scale/paper.yaml; without a GPU it
says so and measures nothing
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import harness
import training

SHAPE = {
    "encoder_layers": 6,
    "decoder_layers": 6,
    "width": 512,
    "ffn": 1024,
    "heads": 4,
}  # transformer_iwslt_de_en
RECIPE = {"lr": 0.0005, "warmup": 4000, "dropout": 0.3, "clip_norm": 0.0, "pre_norm": False}
SIZE = 8192  # of the matrices whose product gives the card's rate
PRODUCTS = 20
UPDATES = 200
FLOPS = 6  # of a training step for each parameter and token: two forward, four backward


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


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", choices=["stock", "ours", "products"])
    parser.add_argument("--data", type=Path, default=harness.ROOT / "data")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("no GPU here: nothing measured")
        harness.save("gpu", [], {"measured": "not yet: no GPU was at hand"})
        return
    training.SHAPE.update(SHAPE)
    training.RECIPE.update(RECIPE | {"precision": "bfloat16"})
    if asked.side == "products":
        harness.result(rate=matrix_rate())
    elif asked.side == "ours":
        found: dict[str, Any] = training.ours(asked.data, None, UPDATES)
        harness.result(**found, memory=torch.cuda.max_memory_allocated() / 2**20)
    elif asked.side == "stock":
        harness.result(**training.stock(asked.data, False, None, UPDATES, device=["--fp16"]))
    else:
        options = ["--data", str(asked.data)]
        measured = harness.pairs(
            {name: harness.side(__file__, name, *options) for name in ("ours", "stock", "products")},
            asked.rounds,
        )
        rates = {name: [one["rate"] for one in each] for name, each in measured.items()}
        done = [FLOPS * one["parameters"] * one["rate"] for one in measured["ours"]]
        rows = [
            harness.row(
                "training step, bfloat16",
                "fairseq-train --fp16",
                "",
                rates["ours"],
                rates["stock"],
                "target tokens/s",
            ),
            harness.row(
                "arithmetic of parameters, of the card's matrix rate",
                "bfloat16 products",
                "",
                done,
                rates["products"],
                "FLOP/s",
            ),
        ]
        harness.save(
            "gpu",
            rows,
            {
                "card": torch.cuda.get_device_name(),
                "peak memory, MiB": [one["memory"] for one in measured["ours"]],
            },
        )


if __name__ == "__main__":
    main()
