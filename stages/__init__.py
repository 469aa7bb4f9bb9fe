"""Entries of the pipeline, one a DVC stage. `src` is found from this folder, so that an experiment's workspace runs its own code."""

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

# A stage's own progress is what its user reads: fairseq, Hydra and torch announce much at import that nobody here can act on.
for name in ("fairseq", "fairseq.tasks.text_to_speech", "hydra"):
    logging.getLogger(name).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", category=FutureWarning)


def entry(main: Callable[[], None]) -> None:
    """Runs `main`; a user's mistake (ValueError, OSError) ends it with one message and exit code 1 instead of a traceback."""
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
