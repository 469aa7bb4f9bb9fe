"""How an entry of stages/ begins and ends: its code is seen to be right, and an error is one message."""

from __future__ import annotations

import atexit
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NoReturn

from nmtkd import machine, outputs, processes
from nmtkd.outputs import Output
from runner import launching, manifests, tasks, torchrun
from runner.notes import Notes

OUT_OF_MEMORY = re.compile("out of memory|can't allocate memory")  # torch's words for a GPU and for a CPU
INTERRUPTED = 130  # exit status, as shells have it

_begun: list[Notes] = []  # of the entry that runs; empty where a test calls its `main` alone


def entry(main: Callable[[], None]) -> None:
    """Runs `main` of the module that was started, once its manifest is seen to name the code at hand."""

    def checked() -> None:
        if processes.shared():
            torchrun.join()
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        spec = sys.modules["__main__"].__spec__
        assert spec is not None, "a stage is started as `python -m stages.NAME`"
        name, arguments = spec.name.removeprefix("stages."), sys.argv[1:]
        if "DVC_STAGE" in os.environ:  # DVC started it, and records what it makes
            machine.watch_parents()
        manifests.check(name)
        if launching.launched(name, arguments):
            return
        with launching.job(several=name in torchrun.TRAININGS):
            if torchrun.shared(name, arguments):
                return
            with processes.group(), outputs.full_disk_told(" ".join([name, *arguments])):
                if processes.first():
                    _begun[:] = [Notes.begin(name, arguments)]
                main()
                processes.gather(None)  # the first one writes: no launcher may end before

    try:
        run(checked)
    except KeyboardInterrupt:  # one more, while it was told why the stage ends
        raise SystemExit(INTERRUPTED) from None
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Python's own end would answer it by a traceback
    leave()


def leave() -> NoReturn:
    """Ends this process as Python would, without taking apart what it imported: of torch that takes long."""
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def output(folder: Path, **how: Any) -> AbstractContextManager[Output]:
    """`outputs.made` for the entry that runs, from what was noted when it began."""
    if not _begun:
        return outputs.made(folder, folder.name, **how)
    (notes,) = _begun
    return outputs.made(folder, notes.stage, notes, **how)


def run(main: Callable[[], None]) -> None:
    """Runs `main`. A user's mistake (ValueError, OSError) ends it with one message and exit code 1.

    So does memory that is full, of the machine or of a GPU.
    """
    try:
        main()
    except outputs.AlreadyMade as made:
        print(f"nothing to do: {made}")
    except (ValueError, OSError) as error:
        failed(str(error), lost=isinstance(error, processes.LostError))
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not OUT_OF_MEMORY.search(str(error)):
            torchrun.report(traceback.format_exc())
            raise
        failed(f"memory is full ({error}); lower the max_tokens of this stage, or choose smaller models")
    except KeyboardInterrupt:
        told = tasks.told()  # a task that ends because another one failed was not interrupted
        if not processes.shared() and tasks.speaks():
            print("stopped", file=sys.stderr)
        raise SystemExit(1 if told else INTERRUPTED) from None


def failed(message: str, *, lost: bool = False) -> NoReturn:
    """Ends with a message: where several processes share the work, their launchers tell it once."""
    if not torchrun.report(message, lost=lost) and tasks.speaks(lost=lost):
        print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1) from None
