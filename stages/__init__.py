"""Entries of the pipeline, one a DVC stage.

`src` is found from this folder, so that an experiment's workspace runs its own code.
"""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

INTERRUPTED = 130  # exit status, as shells have it

# A stage's own progress is what its user reads. fairseq and Hydra announce much that nobody here can act on.
for name in ("fairseq", "fairseq.tasks.text_to_speech", "hydra"):
    logging.getLogger(name).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", category=FutureWarning)


def entry(main: Callable[[], None]) -> None:
    """Runs `main` of the module that was started, once its manifest is seen to name the code at hand."""
    from runner import manifests

    def checked() -> None:
        spec = sys.modules["__main__"].__spec__
        assert spec is not None, "a stage is started as `python -m stages.NAME`"
        manifests.check(spec.name.removeprefix("stages."))
        main()

    run(checked)


def run(main: Callable[[], None]) -> None:
    """Runs `main`. A user's mistake (ValueError, OSError) ends it with one message and exit code 1."""
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None
