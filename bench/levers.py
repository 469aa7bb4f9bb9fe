"""What each lever of a training step is worth: all of them beside all but one.

Model and recipe are those of bench/training.py.

Both sides of a pair are one step each on the same batch, one after the other in one process: levers are worth
less than the machine's own wavering from one half minute to the next. A round takes each of some batches once
for each side.

python bench/levers.py [--data FOLDER] [--rounds N]        # FOLDER: data/ of a finished `dvc repro` by
default
"""

from __future__ import annotations

import argparse
import ctypes
import itertools
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import harness
import training

BATCHES = 8  # of a round: the first of a shuffled pass
M_TRIM, M_MMAP, GLIBC_BYTES = -1, -3, 2**17  # glibc's own thresholds
Off = Callable[[Any], AbstractContextManager[Any]]  # takes the training, switches a lever off for a while


@contextmanager
def memory_given_back(_: Any) -> Iterator[None]:
    """glibc's own thresholds. What the process already holds still serves it: this hides a part."""
    from nmtkd import machine

    glibc = ctypes.CDLL(None)
    glibc.mallopt(M_TRIM, GLIBC_BYTES)
    glibc.mallopt(M_MMAP, GLIBC_BYTES)
    yield
    machine.keep_freed_memory()


def logits_kept(_: Any) -> AbstractContextManager[Any]:
    """The loss from logits, through torch's graph."""
    from nmtkd.training.criterions.cross_entropy import CrossEntropyCriterion

    return patch.object(CrossEntropyCriterion, "needs_no_logits", lambda *_: False)


def torchs_attention(_: Any) -> AbstractContextManager[Any]:
    """torch's fused attention kernel."""
    import torch

    from nmtkd.network import transformer

    def attend(query: Any, key: Any, value: Any, heads: int, mask: Any, *, causal: bool) -> Any:
        split = [one.view(*one.shape[:-1], heads, -1).transpose(1, 2) for one in (query, key, value)]
        found = torch.nn.functional.scaled_dot_product_attention(*split, attn_mask=mask, is_causal=causal)
        return found.transpose(1, 2).flatten(2)

    return patch.object(transformer, "attend", attend)


def torchs_dropout(_: Any) -> AbstractContextManager[Any]:
    """torch's own random numbers."""
    import torch

    from nmtkd.network import transformer

    class Dropout:
        def __init__(self, rate: float, *_: Any) -> None:
            self.rate = rate

        def __call__(self, x: Any) -> Any:
            return torch.dropout(x, self.rate, True)

        def add(self, x: Any, residual: Any) -> Any:
            return residual + self(x)

    return patch.object(transformer, "Dropout", Dropout)


def torchs_product(_: Any) -> AbstractContextManager[Any]:
    """The matrix product that torch takes by itself."""
    from nmtkd.distil import chunked_loss

    return patch.object(chunked_loss, "matmul_transposed", lambda inputs, matrix: inputs @ matrix.t())


def largest_logit_looked_for(_: Any) -> AbstractContextManager[Any]:
    """The two passes that keep exp from overflowing, always."""
    from nmtkd.distil import chunked_loss

    return patch.object(chunked_loss, "SAFE", 0.0)


def unfused_adam(run: Any) -> AbstractContextManager[Any]:
    """Several passes over the weights."""
    import torch

    (group,) = run.trainer.optimizer.param_groups
    settings = {name: group[name] for name in ("lr", "betas", "eps", "weight_decay")}
    return patch.object(
        run.trainer.optimizer,
        "_optimizer",
        torch.optim.AdamW(group["params"], fused=False, foreach=False, **settings),
    )


def stock_forward_pass(_: Any) -> AbstractContextManager[Any]:
    """fairseq's own forward pass and loss: all levers off but memory and Adam."""
    from nmtkd.network import transformer

    return patch.object(transformer, "fits", lambda _: False)


LEVERS: dict[str, Off] = {
    "all of the forward pass and loss": stock_forward_pass,
    "memory thresholds": memory_given_back,
    "loss without logits": logits_kept,
    "oneDNN's product for logits": torchs_product,
    "no search for the largest logit": largest_logit_looked_for,
    "attention by batched products": torchs_attention,
    "dropout from sixteen bits": torchs_dropout,
    "fused Adam": unfused_adam,
}


def prepared(data: Path, folder: Path) -> Any:
    """A training that is ready to step."""
    from nmtkd.plan.models import Architecture
    from nmtkd.training import loop

    architecture = Architecture(**training.SHAPE)
    return loop.begin(training.text(data), architecture, training.recipe(), 1, folder, stage="bench")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=harness.ROOT / "data")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        run = prepared(asked.data, Path(folder))
        batches = list(
            itertools.islice(run.epochs.next_epoch_itr(fix_batches_to_gpus=False, shuffle=True), BATCHES)
        )
        for name, off in LEVERS.items():
            found: dict[str, list[float]] = {"all": [], "off": []}
            for number in range(-1, asked.rounds):  # the first round is not counted
                sums = dict.fromkeys(found, 0.0)
                for batch in batches:
                    sums["all"] += harness.seconds(lambda batch=batch: run.stepper.step([batch]))
                    with off(run):
                        sums["off"] += harness.seconds(lambda batch=batch: run.stepper.step([batch]))
                for side, values in found.items() if number >= 0 else ():
                    values.append(1000 * sums[side] / len(batches))
            rows.append(
                harness.row(name, "all but this", "", found["all"], found["off"], "ms a step", inverse=True)
            )
            print(rows[-1], flush=True)
    harness.save(
        "levers", rows, {"model": training.SHAPE, "recipe": training.RECIPE, "batches of a round": BATCHES}
    )


if __name__ == "__main__":
    main()
