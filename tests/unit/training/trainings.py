"""`python -m tests.unit.training.trainings FOLDER OUT [KIND [kill]]`: a training of each kind, or of one.

By as many processes as torchrun gives it. With `kill` the second one dies at update 13.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

from nmtkd import files, processes
from nmtkd.plan import layout
from nmtkd.plan.methods import OnPolicy
from nmtkd.training import loop
from nmtkd.training.options import distil
from nmtkd.training.step import Started, Stepper
from tests.unit.distil.helpers import method
from tests.unit.network.building import GATED, PLAIN, recipe
from tests.unit.training.helpers import HYBRID, data

TINY, TARGETS = "tiny.pickle", "targets"
# Nine batches an epoch: of the last update of each, the second process has none.
RECIPE: dict[str, Any] = {
    "updates": 20,
    "checkpoint_every": 10,
    "average": 2,
    "max_tokens": 46,
    "accumulate": 2,
}
SAMPLED = OnPolicy(share=1.0, temperature=1.0, from_update=0, max_length_offset=0)
KINDS: dict[str, tuple[str, dict[str, Any], bool, float]] = {  # family, method, gated units, dropout
    "plain": ("plain", {"teacher_weight": 0.0}, False, 0.0),
    "plain with dropout": ("plain", {"teacher_weight": 0.0}, False, 0.3),
    "word": ("word", {}, False, 0.0),
    "ranking": ("word", {"ranking": {"weight": 0.5, "tokens": 3}}, False, 0.0),
    "hybrid": ("hybrid", HYBRID, False, 0.0),
    "online": ("online", {"on_policy": SAMPLED}, False, 0.0),
    "gated": ("plain", {"teacher_weight": 0.0}, True, 0.0),
    "gated hybrid": ("hybrid", HYBRID, True, 0.0),
}


def train(kind: str, folder: Path, out: Path) -> None:
    """The training of a kind, in `out`; the first process writes its card there."""
    with (folder / TINY).open("rb") as file:
        tiny = pickle.load(file)
    family, changes, gated, dropout = KINDS[kind]
    architecture, asked = GATED if gated else PLAIN, method(**changes)
    adapt = distil(
        family,
        asked,
        architecture,
        targets=folder / TARGETS if family in ("word", "hybrid") else None,
        teachers=[tiny.folder / layout.MODEL],
        temperature=2.0,
    )
    lines = tiny.sources, tiny.targets
    text = data(tiny, lines, (lines[0][:9], lines[1][:9]), hypotheses=lines[1][::-1])
    how = recipe(**RECIPE, dropout=dropout)
    place = out / kind
    for each in (place / "scratch", place / f"out{processes.number()}"):
        each.mkdir(parents=True, exist_ok=True)
    done = loop.train(
        text,
        architecture,
        how,
        1,
        place / "scratch",
        place / f"out{processes.number()}",
        stage="t",
        adapt=adapt,
    )
    if processes.first():
        files.write_json(place / "card.json", done.card)


def main(folder: str, out: str, kind: str = "", kill: str = "") -> None:
    step = Stepper.step

    def dying(stepper: Stepper, group: Any) -> Started:
        if processes.number() == 1 and stepper._trainer.get_num_updates() == 12:
            os.kill(os.getpid(), signal.SIGKILL)
        return step(stepper, group)

    if kill:
        setattr(Stepper, "step", dying)  # noqa: B010
    with processes.group():
        for each in [kind] if kind else KINDS:
            train(each, Path(folder), Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
