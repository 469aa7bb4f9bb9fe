"""Entries of the pipeline, one a DVC stage.

`src` is found from this folder, so that an experiment's workspace runs its own code.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

if TYPE_CHECKING:
    from nmtkd.outputs import Output
    from runner.notes import Notes

INTERRUPTED = 130  # exit status, as shells have it

# A stage's own progress is what its user reads. fairseq and Hydra announce much that nobody here can act on.
for name in ("fairseq", "fairseq.tasks.text_to_speech", "hydra"):
    logging.getLogger(name).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", category=FutureWarning)

_begun: list[Notes] = []  # of the entry that runs; empty where a test calls its `main` alone


def entry(main: Callable[[], None]) -> None:
    """Runs `main` of the module that was started, once its manifest is seen to name the code at hand."""
    from nmtkd import machine, outputs
    from runner import manifests, notes

    def checked() -> None:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        spec = sys.modules["__main__"].__spec__
        assert spec is not None, "a stage is started as `python -m stages.NAME`"
        stage = spec.name.removeprefix("stages.")
        if "DVC_STAGE" in os.environ:  # DVC started it, and would record what it makes
            machine.watch_parents()
        manifests.check(stage)
        _begun[:] = [notes.Notes.begin(stage, sys.argv[1:])]
        with outputs.full_disk_told(" ".join([stage, *sys.argv[1:]])):
            main()

    run(checked)


def output(folder: Path, **how: Any) -> AbstractContextManager[Output]:
    """nmtkd.outputs.made for the entry that runs, from what was noted when it began."""
    from nmtkd import outputs

    if not _begun:
        return outputs.made(folder, folder.name, **how)
    return outputs.made(folder, _begun[0].command.removeprefix("python -m stages."), _begun[0], **how)


def run(main: Callable[[], None]) -> None:
    """Runs `main`. A user's mistake (ValueError, OSError) ends it with one message and exit code 1."""
    from nmtkd import outputs

    try:
        main()
    except outputs.AlreadyMade as made:
        print(f"nothing to do: {made}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
