"""nmtkd.text.workers: order, bounded look-ahead, and errors that come through."""

from collections.abc import Callable, Iterator

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
