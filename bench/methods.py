"""What a method's update costs beside a plain one of the same student; and two students side by side beside one after the other.

Updates, not target tokens: a pass over the pairs has about as many updates with any targets, but hypotheses are shorter than gold text.

python bench/methods.py [--capacity NAME] [--rounds N]        # needs data/ and models/ of a finished `dvc repro`
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

UPDATES = 100  # a side: some seconds, the first pass over a part of the batches among them
GOALS = {"word": "<= 1.05", "seq": "<= 1.05", "interp": "<= 1.05", "both": "<= 1.05", "hybrid_half": "<= 2.1", "hybrid": "<= 2.1"}
FAMILIES = {"plain": "plain", "word": "word", "seq": "seq", "interp": "seq", "both": "both", "hybrid_half": "hybrid", "hybrid": "hybrid"}
SIDE_BY_SIDE = 200  # updates of each of two students


def train(method: str, capacity: str, updates: int) -> dict[str, Any]:
    """A student of the default noise and decoding; its card. One pair of the validation set is looked at, at the end."""
    from stages import student

    import nmtkd_fairseq
    from nmtkd import grid, params
    from nmtkd.models import training

    settings = params.load("methods", "capacities", "training", "grid")
    recipe = settings.training.model_copy(update={"updates": updates, "checkpoint_every": updates, "average": 1, "curve_pairs": 0})
    family = FAMILIES[method]
    shape = params.FAMILY_SHAPES[family]
    decoding = settings.grid.decodings[0] if shape.hypotheses else grid.prefix(shape)
    run = grid.Run(family=family, method=method, capacity=capacity, noise=settings.grid.noises[0], decoding=decoding, seed=1)
    lesson, how = student.gather(run, settings.methods[method], 1.0), settings.methods[method]
    gate = how.gate.values[0] if how.gate and how.gate.values else None
    adapt = nmtkd_fairseq.distil(how, settings.capacities[capacity], gate=gate, **lesson.teaching) or nmtkd_fairseq.quick
    with tempfile.TemporaryDirectory() as folder:
        card: dict[str, Any] = training.train(
            lesson.data, settings.capacities[capacity], recipe, 1, Path(folder), Path(folder), stage="bench", adapt=adapt
        )
    return card


def both_students(capacity: str, together: bool) -> float:
    """Seconds for two students, start-up and all: at once with half of the cores each, or in turn with all of them."""
    from nmtkd import machine

    cores = machine.threads() // 2 if together else machine.threads()
    environment = {**harness.os.environ, "NMTKD_THREADS": str(max(1, cores)), "OMP_NUM_THREADS": str(max(1, cores))}
    command = harness.side(__file__, "plain", "--capacity", capacity, "--updates", str(SIDE_BY_SIDE))
    start = time.monotonic()
    running = []
    for _ in range(2):
        running.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=harness.ROOT))
        if not together:
            running[-1].wait()
    if any(process.wait() for process in running):
        raise SystemExit("error: a student failed; run the side alone to see why")
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side")
    parser.add_argument("--capacity", default="small")
    parser.add_argument("--updates", type=int, default=UPDATES)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if asked.side in ("together", "in turn"):
        harness.result(seconds=both_students(asked.capacity, asked.side == "together"))
        return
    if asked.side:
        card = train(asked.side, asked.capacity, asked.updates)
        harness.result(step=card["seconds"] / card["updates"], rate=card["target_tokens_per_second"])
        return
    options = ["--capacity", asked.capacity]
    found = harness.pairs({name: harness.side(__file__, name, *options) for name in FAMILIES}, asked.rounds)
    steps = {name: [1000 * one["step"] for one in measured] for name, measured in found.items()}
    rows = [
        harness.row(f"{name}: an update", "an update of plain", goal, steps[name], steps["plain"], "ms") for name, goal in GOALS.items()
    ]
    pair = harness.pairs({name: harness.side(__file__, name, *options) for name in ("together", "in turn")}, asked.rounds)
    seconds = {name: [one["seconds"] for one in measured] for name, measured in pair.items()}
    rows.append(
        harness.row(
            "two students at once, half of the cores each", "in turn", ">= 1.2", seconds["together"], seconds["in turn"], "s", inverse=True
        )
    )
    harness.save("methods", rows, {"capacity": asked.capacity, "hybrid": "two decoder passes for one gold token"})


if __name__ == "__main__":
    main()
