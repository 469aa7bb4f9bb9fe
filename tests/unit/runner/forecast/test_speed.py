"""runner.forecast.speed: a model of random weights trains, translates and scores by the real code."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from nmtkd.decoding import translate
from nmtkd.training.step import Stepper
from runner.forecast import speed
from runner.forecast.assumptions import Sizes
from runner.forecast.sizes import Model
from tests.unit.network.building import PLAIN, recipe

TEXT = Sizes(train=1, valid=1, tests=1, source=4.0, target=6.0)
MODEL = Model(architecture=PLAIN, training=recipe(max_tokens=2048), rows=50, vocabulary=50)


def test_a_model_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[int, str]] = []
    lengths: set[int] = set()
    update, translated = Stepper.step, translate.translate

    def counted(stepper: Stepper, group: list[object]) -> object:
        log = update(stepper, group)
        steps.append((int(log["ntokens"]), os.environ["NMTKD_THREADS"]))
        return log

    def noted(*given: object) -> object:
        found = translated(*given)  # type: ignore[arg-type]
        lengths.update(len(best.text.split()) for best, *_ in found)
        return found

    monkeypatch.setattr(Stepper, "step", counted)
    monkeypatch.setattr(translate, "translate", noted)
    monkeypatch.setattr(speed, "LEAST_SECONDS", 0.0)
    monkeypatch.delenv("NMTKD_THREADS", raising=False)
    found = speed.measure(MODEL, TEXT, beams=[1, 3], top_k=4, training=1, other=1)
    assert found.step > 0.0
    assert set(found.line) == {1, 3}
    assert found.call > 0.0
    # Batches of 2,048 tokens: lines of 12 words and the end, twice the mean length.
    assert steps == [(157 * 13, "1")] * (speed.UNTIMED + speed.STEPS)
    assert max(lengths) == 6  # a translation ends at the mean length
    assert "NMTKD_THREADS" not in os.environ


def test_a_large_batch_is_measured_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds are those of the whole."""
    monkeypatch.setattr(speed, "MOST_FLOPS", MODEL.step_flops(TEXT) / 4)
    bench = speed.Bench(MODEL, TEXT, tmp_path)
    assert bench._tokens == 512
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr("runner.forecast.speed.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert bench.step() == 4.0
