"""What a method's update costs beside a plain one; what two students at once cost beside two in turn.

All methods train in one process and take turns, update by update: the machine's wavering then meets all of
them alike. An update is what training.loop pays for one: the next batch and the step on it. UPDATES are half
of the default's, so that a batch is put together for the first time in as many updates of a hundred as there,
or more. Updates, not target tokens, are compared: a pass over the pairs has about as many of them with any
targets, but hypotheses are shorter than gold text.

python bench/methods.py [--capacity NAME] [--rounds N]        # needs data/ and models/ of a finished `dvc
repro`
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import harness

UPDATES = 400
GOALS = {
    "word": "<= 1.05",
    "seq": "<= 1.05",
    "interp": "<= 1.05",
    "both": "<= 1.05",
    "hybrid_half": "<= 2.1",
    "hybrid": "<= 2.1",
}
FAMILY = {
    "plain": "plain",
    "word": "word",
    "seq": "seq",
    "interp": "seq",
    "both": "both",
    "hybrid_half": "hybrid",
    "hybrid": "hybrid",
}
SIDE_BY_SIDE = 200  # updates of each of two students


def begun(method: str, capacity: str, folder: Path) -> Any:
    """The training of a student of the default noise and decoding."""
    from nmtkd.plan import layout, params
    from nmtkd.plan.methods import FAMILIES
    from nmtkd.plan.runs import Run, prefix
    from nmtkd.training import loop, options, student

    settings = params.load("methods", "capacities", "training", "grid")
    name, how, architecture = FAMILY[method], settings.methods[method], settings.capacities[capacity]
    family, noise = FAMILIES[name], settings.grid.noises[0]
    decoding = settings.grid.decodings[0] if family.hypotheses else prefix(family)
    run = Run(family=name, method=method, capacity=capacity, noise=noise, decoding=decoding, seed=1)
    material = student.gather(run, how, 1.0, layout.DICTIONARIES["joint"])
    adapt = options.distil(
        name,
        how,
        architecture,
        targets=material.targets,
        temperature=material.temperature,
        gate=how.gate.values[0] if how.gate and how.gate.values else None,
    )
    return loop.begin(material.data, architecture, settings.training, 1, folder, stage="bench", adapt=adapt)


def updates(run: Any) -> Iterator[None]:
    """Each turn an update, pass after pass."""
    while True:
        run.trainer.begin_epoch(run.epochs.next_epoch_idx)
        for batch in run.epochs.next_epoch_itr(fix_batches_to_gpus=False, shuffle=True):
            yield run.stepper.step([batch])


def in_turn(capacity: str) -> dict[str, float]:
    """Milliseconds of an update of each method."""
    with tempfile.TemporaryDirectory() as folder:
        running = {method: updates(begun(method, capacity, Path(folder) / method)) for method in FAMILY}
        spent = dict.fromkeys(FAMILY, 0.0)
        for _ in range(UPDATES):
            for method, run in running.items():
                spent[method] += harness.seconds(lambda run=run: next(run))  # type: ignore[misc]
    return {method: 1000 * seconds / UPDATES for method, seconds in spent.items()}


def one_student(capacity: str) -> None:
    """A plain one of SIDE_BY_SIDE updates."""
    with tempfile.TemporaryDirectory() as folder:
        run = updates(begun("plain", capacity, Path(folder)))
        for _ in range(SIDE_BY_SIDE):
            next(run)


def both_students(capacity: str, together: bool) -> float:
    """Seconds for two students: at once with half of the cores each, or in turn with all of them."""
    from nmtkd import machine

    cores = machine.threads() // 2 if together else machine.threads()
    environment = {
        **harness.os.environ,
        "NMTKD_THREADS": str(max(1, cores)),
        "OMP_NUM_THREADS": str(max(1, cores)),
    }
    command = harness.side(__file__, "one", "--capacity", capacity)
    start = time.monotonic()
    running = []
    for _ in range(2):
        running.append(
            subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd=harness.ROOT,
            )
        )
        if not together:
            running[-1].wait()
    if any(process.wait() for process in running):
        raise SystemExit("error: a student failed; run the side alone to see why")
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side")
    parser.add_argument("--capacity", default="small")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if asked.side in ("together", "in turn"):
        harness.result(seconds=both_students(asked.capacity, asked.side == "together"))
    elif asked.side == "one":
        one_student(asked.capacity)
    elif asked.side:
        harness.result(**in_turn(asked.capacity))
    else:
        compare(asked.capacity, asked.rounds)


def compare(capacity: str, rounds: int) -> None:
    """All rows."""
    options = ["--capacity", capacity]
    (found,) = harness.pairs({"methods": harness.side(__file__, "methods", *options)}, rounds).values()
    steps = {name: [one[name] for one in found] for name in FAMILY}
    rows = [
        harness.row(f"{name}: an update", "an update of plain", goal, steps[name], steps["plain"], "ms")
        for name, goal in GOALS.items()
    ]
    pair = harness.pairs(
        {name: harness.side(__file__, name, *options) for name in ("together", "in turn")}, rounds
    )
    seconds = {name: [one["seconds"] for one in measured] for name, measured in pair.items()}
    rows.append(
        harness.row(
            "two students at once, half of the cores each",
            "in turn",
            ">= 1.2",
            seconds["together"],
            seconds["in turn"],
            "s",
            inverse=True,
        )
    )
    harness.save("methods", rows, {"capacity": capacity, "hybrid": "two decoder passes for one gold token"})


if __name__ == "__main__":
    main()
