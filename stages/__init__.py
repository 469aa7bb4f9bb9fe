"""Entries of the pipeline, one a DVC stage. `src` is found from this folder, so that an experiment's workspace runs its own code."""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))


def entry(main: Callable[[], None]) -> None:
    """Runs `main`; a user's mistake (ValueError, OSError) ends it with one message and exit code 1 instead of a traceback."""
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
