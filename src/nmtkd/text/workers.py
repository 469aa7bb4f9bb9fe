"""Runs a function over tasks on all cores, in order and in bounded memory."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import connection, get_context, parent_process
from typing import Any, TypeVar

from nmtkd import machine

Task = TypeVar("Task")
Result = TypeVar("Result")

# Tasks submitted ahead for each worker: enough that none waits for the parent, few enough for memory.
AHEAD = 3

_worker_functions: list[
    Callable[[Any], Any]
] = []  # in a worker: the one function that it calls with each task


def each(
    make: Callable[..., Callable[[Task], Result]],
    args: tuple[Any, ...],
    tasks: Iterable[Task],
    *,
    serial: bool,
) -> Iterator[Result]:
    """The results of the function `make(*args)` for the tasks, in the order of the tasks.

    A process on each core makes a function of its own; it imports what `make`, `args` and the results need.
    `serial` computes here instead: right for work that takes less than the second or so that workers need to
    start. Only a few tasks are taken ahead of the result that is waited for, so that neither tasks nor
    results pile up. A worker that dies raises BrokenProcessPool.
    """
    workers = machine.threads()
    if serial or workers == 1:
        yield from map(make(*args), tasks)
        return
    # Spawned, not forked: the parent may have threads, and a worker needs nothing of its memory.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (make, args)) as pool:
        pending: deque[Future[Result]] = deque()
        for task in tasks:
            pending.append(pool.submit(_call, task))
            if len(pending) > AHEAD * workers:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _start_worker(make: Callable[..., Callable[[Any], Any]], args: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _worker_functions[:] = [make(*args)]


def _end_with_parent() -> None:
    """Ends this worker with its parent: it would wait for tasks of a killed one for ever."""
    parent = parent_process()
    assert parent is not None, "a worker has a parent"
    connection.wait([parent.sentinel])
    os._exit(1)


def _call(task: Any) -> Any:
    return _worker_functions[0](task)
