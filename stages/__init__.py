"""Entries of the pipeline, one a DVC stage.

`src` is found from this folder, so that an experiment's workspace runs its own code.
"""

from __future__ import annotations

import logging
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from runner.entries import entry, output, run

__all__ = ["entry", "output", "run"]

# A stage's own progress is what its user reads. fairseq and Hydra announce much that nobody here can act on.
for name in ("fairseq", "fairseq.tasks.text_to_speech", "hydra"):
    logging.getLogger(name).setLevel(logging.ERROR)
warnings.filterwarnings("ignore", category=UserWarning)
warnings.filterwarnings("ignore", category=FutureWarning)
