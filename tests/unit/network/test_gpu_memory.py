"""nmtkd.network.gpu_memory: a GPU whose memory is too small is told, with what would fit."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from nmtkd.machine import MachineError
from nmtkd.network import gpu_memory
from nmtkd.network.gpu_memory import Trial, fitted

GB = 2**30
WIDTH = 64  # tokens of a row


class Played(gpu_memory.Gpu):
    """A GPU of 24 GiB, 2 of which others hold, and a model that needs `model` and a part for each token."""

    def __init__(self, model: int, each: int) -> None:
        self.model, self.each, self.most, self.calls = model, each, 0, list[int]()

    def total(self) -> int:
        return 24 * GB

    def room(self) -> int:
        return 22 * GB

    def clear(self) -> None:
        self.most = 0

    def peak(self) -> int:
        return self.most

    def compute(self, rows: int) -> int:
        """Computes rows as a GPU does: what is too much for its memory is an error."""
        self.calls.append(rows)
        self.most = self.model + self.each * rows * WIDTH
        if self.most > self.room():
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows * WIDTH

    def ask(self, rows: int, later: int = 0) -> str:
        """What is said where so many rows are too much."""

        def full() -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        trial = Trial(
            setting="training.max_tokens",
            value=8192,
            remedy="lower it",
            rows=rows,
            tokens=rows * WIDTH,
            compute=self.compute,
            later=later,
        )
        with pytest.raises(MachineError) as caught:
            fitted(full, lambda: trial, self)
        return str(caught.value)


WHERE = "this GPU's 24.00 GiB, of which 22.00 GiB are free for it"


def test_what_fits_is_computed_and_nothing_is_tried() -> None:
    def never() -> Any:
        pytest.fail("nothing to try")

    assert fitted(lambda: 3, never) == 3


def test_other_errors_are_their_own() -> None:
    def bad() -> None:
        raise RuntimeError("size mismatch")

    with pytest.raises(RuntimeError, match="size mismatch"):
        fitted(bad, lambda: pytest.fail("nothing to try"))


def test_batch_that_is_too_large_is_halved_until_it_fits_and_what_would_fit_is_told() -> None:
    """The model takes 8 GiB and a token 4 MiB: within 95% of 22 GiB, 3302 tokens."""
    gpu = Played(8 * GB, 4 * 2**20)
    assert gpu.ask(rows=128) == (
        f"training.max_tokens: 8,192 is too much for {WHERE}: about 3,300 would fit (the first 2,048 tokens "
        "of a batch took 16.00 GiB); lower it"
    )
    assert gpu.calls == [64, 32, 16]


def test_what_is_held_later_is_counted() -> None:
    """2 GiB of moments are 512 tokens of 4 MiB."""
    assert "about 2,700 would fit (the first 2,048" in Played(8 * GB, 4 * 2**20).ask(rows=128, later=2 * GB)


def test_no_more_is_advised_than_what_failed() -> None:
    """Where the estimate says that all would fit, what is in between does: 4095, rounded down."""
    assert "about 4,000 would fit (the first 2,048" in Played(GB, 2**10).ask(rows=64)


def test_single_row_that_fits_is_what_would_fit() -> None:
    gpu = Played(8 * GB, 200 * 2**20)
    assert "about 64 would fit (the first 64 tokens of a batch took 20.50 GiB)" in gpu.ask(rows=3)
    assert gpu.calls == [1]


@pytest.mark.parametrize(("model", "rows"), [(23 * GB, 128), (8 * GB, 1), (21 * GB, 128)])
def test_model_that_is_too_large_is_told(model: int, rows: int) -> None:
    """No row fits; there is but one; or none would, with what is held later."""
    assert Played(model, 2**20).ask(rows=rows, later=GB) == (
        f"training.max_tokens: the model itself is too large for {WHERE}: not even one line of its batch of "
        f"{rows * WIDTH:,} tokens fits; choose a smaller model, or a GPU with more memory"
    )


def test_what_filled_the_memory_is_let_go_before_anything_is_tried() -> None:
    """The error's traceback refers to the frames in which the batch is."""
    alive = set[str]()

    class Held:
        def __init__(self, name: str) -> None:
            self.name = name
            alive.add(name)

        def __del__(self) -> None:
            alive.discard(self.name)

    def full() -> None:
        held = Held("batch")
        raise torch.OutOfMemoryError(held.name)

    seen: list[set[str]] = []

    def compute(rows: int) -> int:
        seen.append(set(alive))
        held = Held(f"{rows} rows")
        if rows > 1:
            raise torch.OutOfMemoryError(held.name)
        return rows

    trial = Trial(setting="x", value=9, remedy="lower it", rows=4, tokens=4, compute=compute)
    with pytest.raises(MachineError):
        fitted(full, lambda: trial, Played(0, 0))
    assert seen == [set(), set()]


def test_tokens_are_those_of_the_longer_side_with_padding() -> None:
    sample = {"net_input": {"src_tokens": torch.zeros(3, 4)}, "target": torch.zeros(3, 5)}
    assert gpu_memory.tokens(sample) == 15
    sample["net_input"] = {"src_tokens": torch.zeros(3, 6)}
    assert gpu_memory.tokens(sample) == 18
    assert gpu_memory.tokens({**sample, "hypothesis": {"target": torch.zeros(3, 9)}}) == 27
