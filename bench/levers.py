"""What each lever of a training step is worth: all of them beside all but one, on the model and recipe of bench/training.py.

python bench/levers.py [--data FOLDER] [--rounds N]        # FOLDER: data/ of a finished `dvc repro` by default
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
import training


def logits_kept() -> None:
    """The loss from logits, through torch's graph."""
    from nmtkd.distil import fused

    fused.fits = lambda *_: False


def torchs_attention() -> None:
    """torch's fused attention kernel."""
    import torch

    from nmtkd import transformer

    def attend(query: Any, key: Any, value: Any, heads: int, mask: Any, *, causal: bool) -> Any:
        split = [one.view(*one.shape[:-1], heads, -1).transpose(1, 2) for one in (query, key, value)]
        found = torch.nn.functional.scaled_dot_product_attention(*split, attn_mask=mask, is_causal=causal)
        return found.transpose(1, 2).flatten(2)

    transformer.attend = attend


def torchs_dropout() -> None:
    """torch's own random numbers."""
    import torch

    from nmtkd import transformer

    class Dropout:
        def __init__(self, rate: float, *_: Any) -> None:
            self.rate = rate

        def __call__(self, x: Any) -> Any:
            return torch.dropout(x, self.rate, True)

        def add(self, x: Any, residual: Any) -> Any:
            return residual + self(x)

    transformer.Dropout = Dropout  # type: ignore[assignment,misc]


def torchs_product() -> None:
    """The matrix product that torch takes by itself."""
    from nmtkd import transformer
    from nmtkd.distil import fused

    for module in (transformer, fused):
        module.product = lambda inputs, matrix: inputs @ matrix.t()


def largest_logit_looked_for() -> None:
    """The two passes that keep exp from overflowing, always."""
    from nmtkd.distil import fused

    fused.SAFE = 0.0


def unfused_adam() -> None:
    """Several passes over the weights."""
    import torch

    whole = torch.optim.AdamW
    torch.optim.AdamW = lambda given, fused, **settings: whole(given, fused=False, foreach=False, **settings)  # type: ignore[misc,assignment]


def memory_given_back() -> None:
    """glibc's own thresholds."""
    from nmtkd import machine

    machine.keep_freed_memory = lambda: None


LEVERS: dict[str, Callable[[], None]] = {
    "memory thresholds": memory_given_back,
    "loss without logits": logits_kept,
    "oneDNN's product for logits": torchs_product,
    "no search for the largest logit": largest_logit_looked_for,
    "attention by batched products": torchs_attention,
    "dropout from sixteen bits": torchs_dropout,
    "fused Adam": unfused_adam,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", choices=["all", *LEVERS])
    parser.add_argument("--data", type=Path, default=harness.ROOT / "data")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if asked.side:
        if asked.side != "all":
            LEVERS[asked.side]()
        harness.result(**training.ours(asked.data, None, training.UPDATES))
        return
    found = harness.pairs({name: harness.side(__file__, name, "--data", str(asked.data)) for name in ("all", *LEVERS)}, asked.rounds)
    rates = {name: [one["rate"] for one in measured] for name, measured in found.items()}
    rows = [harness.row(name, "all but this", "", rates["all"], rates[name], "target tokens/s") for name in LEVERS]
    harness.save("levers", rows, {"model": training.SHAPE, "recipe": training.RECIPE})


if __name__ == "__main__":
    main()
