"""runner.forecast.speed: a model of random weights trains, translates and scores by the real code."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from nmtkd.decoding import translate, with_fairseq
from nmtkd.decoding.search import Search
from nmtkd.training.step import Stepper
from runner.forecast import speed
from runner.forecast.assumptions import Sizes
from runner.forecast.sizes import Model
from tests.unit.distil.helpers import method
from tests.unit.network.building import PLAIN, recipe
from tests.unit.training.helpers import DRAWN

ASKED = method(divergence="jensen_shannon", beta=0.5, on_policy={**DRAWN, "share": 1.0})
TEXT = Sizes(train=1, valid=1, tests=1, source=4.0, target=6.0)
MODEL = Model(architecture=PLAIN, training=recipe(max_tokens=2048), rows=50, vocabulary=50)
ONLINE = speed.Online(ASKED, MODEL)


def test_a_model_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[tuple[str, int, str]] = []
    lengths: set[int] = set()
    sampled: list[tuple[int, int, int]] = []
    update, translated = Stepper.step, translate.translate

    def counted(stepper: Stepper, group: list[object]) -> object:
        started = update(stepper, group)
        criterion = type(stepper._trainer.get_criterion()).__name__
        steps.append((criterion, int(started.log["ntokens"]), os.environ["NMTKD_THREADS"]))
        return started

    def noted(*given: object) -> object:
        found = translated(*given)  # type: ignore[arg-type]
        lengths.update(len(best.text.split()) for best, *_ in found)
        return found

    monkeypatch.setattr(Stepper, "step", counted)

    def drawn(members: object, lines: list[str], search: Search, limit: int) -> Iterator[object]:
        assert search.sampling is not None and search.beam == 1
        sampled.append((len(lines), len(lines[0].split()), limit))
        return generated(members, lines, search, limit)  # type: ignore[arg-type]

    generated = with_fairseq.generate
    monkeypatch.setattr(with_fairseq, "generate", drawn)
    monkeypatch.setattr(translate, "translate", noted)
    monkeypatch.setattr(speed, "LEAST_SECONDS", 0.0)
    monkeypatch.delenv("NMTKD_THREADS", raising=False)
    found = speed.measure(MODEL, TEXT, beams=[1, 3], top_k=4, online=ONLINE, training=1, other=1, beside=0)
    assert found.step > 0.0
    assert set(found.line) == {1, 3}
    assert found.conversion > 0.0
    # Batches of 2,048 tokens: lines of 12 words and the end, twice the mean length.
    assert steps == [
        (criterion, 157 * 13, "1")
        for criterion in ("CrossEntropyCriterion", "OnlineCriterion")
        for _ in range(speed.UNTIMED + speed.STEPS)
    ]
    assert found.asking > 0.0
    assert max(lengths) == 6  # a translation ends at the mean length
    # A batch is sampled as often as that is timed, and once more: as many lines as a step has, as long.
    assert sampled == [(157, 8, 12)] * (1 + speed.SAMPLES) and found.sample > 0.0
    assert "NMTKD_THREADS" not in os.environ


def test_a_large_batch_is_measured_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The seconds are those of the whole."""
    monkeypatch.setattr(speed, "MOST_FLOPS", MODEL.step_flops(TEXT) / 4)
    bench = speed.Bench(MODEL, TEXT, tmp_path)
    assert bench._tokens == 512
    clock = iter(float(second) for second in range(100))
    monkeypatch.setattr("runner.forecast.speed.time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert bench.step() == 4.0


def test_company_is_kept_where_stages_run_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    @contextmanager
    def company(count: int, threads: int) -> Iterator[None]:
        asked.append((count, threads))
        yield

    monkeypatch.setattr(speed, "company", company)
    for name, value in (
        ("step", 1.0),
        ("line", (1.0, 1.0)),
        ("scored", 1.0),
        ("asking", 1.0),
        ("sample", 1.0),
    ):
        monkeypatch.setattr(speed.Bench, name, lambda *_, value=value: value)
    for training in (1, 2):  # a student on one of two cores, a teacher on both
        speed.measure(MODEL, TEXT, beams=[1], top_k=4, online=ONLINE, training=training, other=1, beside=1)
    assert asked == [(1, 1), (1, 1), (0, 1), (1, 1)]


def test_company_works_and_ends() -> None:
    with speed.company(1, 1):
        # Other tests of this process may have left workers that wait.
        (other,) = (one for one in psutil.Process().children() if speed.MULTIPLY in one.cmdline())
        end = time.monotonic() + 20.0
        while other.cpu_times().user < 0.5 and time.monotonic() < end:
            time.sleep(0.1)
        assert other.cpu_times().user >= 0.5
    assert not other.is_running()
