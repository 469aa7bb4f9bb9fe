"""Entries of the pipeline, one a DVC stage. `src` is found from this folder, so that an experiment's workspace runs its own code."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

if TYPE_CHECKING:
    from nmtkd.training.loop import Trained

# A stage's own progress is what its user reads. fairseq, Hydra and torch announce much at import that nobody here can act on.
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
    """Runs `main`; a user's mistake (ValueError, OSError) ends it with one message and exit code 1 instead of a traceback."""
    try:
        main()
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None


def note_training(key: str, folder: Path, trained: Trained) -> None:
    """Tells what a training cost, and keeps it in reports/machine/: seconds are a fact of the machine, never of a result."""
    from nmtkd import files, machine
    from nmtkd.plan import layout

    model = (layout.model_dir(folder) / layout.HASH).read_text(encoding="utf-8").strip()
    facts = {"kind": "training", "key": key, "model": model, "machine": machine.description(), **trained.cost}
    files.write_script(layout.machine_file("training", key), "machine", facts)
    cost = trained.cost
    print(
        f"[{key}] {trained.card['parameters']} parameters, {cost['seconds']:g} s, "
        f"{cost['target_tokens_per_second']:g} target tokens/s"
    )
