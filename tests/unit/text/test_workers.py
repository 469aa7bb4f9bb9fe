"""nmtkd.text.workers: order, bounded look-ahead, and errors that come through."""

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from nmtkd.text import workers


def make_adder(number: int) -> Callable[[int], int]:
    return number.__add__


def make_divider() -> Callable[[int], float]:
    return (12).__truediv__


@pytest.mark.parametrize("serial", [True, False])
def test_results_keep_the_order_of_tasks(serial: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMTKD_THREADS", "2")
    assert list(workers.each(make_adder, (5,), range(20), serial=serial)) == list(range(5, 25))
    assert list(workers.each(make_adder, (5,), [], serial=serial)) == []


@pytest.mark.parametrize("serial", [True, False])
def test_tasks_are_taken_a_few_ahead_only(serial: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or the whole corpus would wait in memory."""
    monkeypatch.setenv("NMTKD_THREADS", "2")
    taken = 0

    def tasks() -> Iterator[int]:
        nonlocal taken
        for task in range(100):
            taken += 1
            yield task

    for given, _ in enumerate(workers.each(make_adder, (0,), tasks(), serial=serial), start=1):
        assert taken - given <= 2 * workers.AHEAD
    assert taken == 100


@pytest.mark.parametrize("serial", [True, False])
def test_an_error_of_a_task_is_raised_here(serial: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMTKD_THREADS", "2")
    results = workers.each(make_divider, (), [3, 0, 2], serial=serial)
    assert next(results) == 4
    with pytest.raises(ZeroDivisionError):
        next(results)


def work() -> None:
    for _ in workers.each(make_sleeper, (), range(1000), serial=False):
        pass


def make_sleeper() -> Callable[[int], None]:
    return lambda task: time.sleep(0.01)


def test_workers_of_a_killed_process_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """They wait for tasks of a queue that they keep open themselves."""
    monkeypatch.setenv("NMTKD_THREADS", "2")
    parent = multiprocessing.get_context("fork").Process(target=work)
    parent.start()
    end = time.monotonic() + 60
    process = psutil.Process(parent.pid)
    while len(children := process.children(recursive=True)) < 2:
        assert time.monotonic() < end
        time.sleep(0.05)
    time.sleep(1.0)  # they work
    assert parent.pid is not None
    os.kill(parent.pid, signal.SIGKILL)
    parent.join()
    _, left = psutil.wait_procs(children, timeout=20)
    assert left == []
