"""Work on text in chunks, by all cores, in order and in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from nmtkd import machine

Task = TypeVar("Task")
Result = TypeVar("Result")

# Tasks a worker that are handed over ahead of the one waited for: enough that none waits for the parent, few enough for memory.
AHEAD = 3

_hired: list[Callable[[Any], Any]] = []  # in a worker: what it does with each task


def each(make: Callable[..., Callable[[Task], Result]], given: tuple[Any, ...], tasks: Iterable[Task], *, alone: bool) -> Iterator[Result]:
    """What `make(*given)` makes of each task, in the order of the tasks.

    All cores work at it, each with a `make(*given)` of its own, in processes that import what `make`, `given` and the results need. `alone`
    says that the work is too little to start them for (a second or so): then it is done here. Tasks are taken from their iterator
    only a few ahead, so that neither they nor their results pile up. A worker that dies raises BrokenProcessPool.
    """
    workers = machine.threads()
    if alone or workers == 1:
        yield from map(make(*given), tasks)
        return
    # Spawned, not forked: the parent may have threads, and a worker needs nothing of its memory.
    with ProcessPoolExecutor(workers, get_context("spawn"), _hire, (make, given)) as pool:
        waiting: deque[Future[Result]] = deque()
        for task in tasks:
            waiting.append(pool.submit(_do, task))
            if len(waiting) > AHEAD * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _hire(make: Callable[..., Callable[[Any], Any]], given: tuple[Any, ...]) -> None:
    _hired[:] = [make(*given)]


def _do(task: Any) -> Any:
    return _hired[0](task)
