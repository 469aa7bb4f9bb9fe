"""What a run says first: what it will cost, where that is worth a look."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from nmtkd import machine
from nmtkd.plan import params as reading
from nmtkd.plan.schema import Params
from nmtkd.plan.values import BFLOAT16, FLOAT32
from runner import launching, schedule
from runner.forecast import assumptions, plan, text

# Training of so many FLOPs takes a minute or two of a CPU. The speed of less is not worth measuring.
WORTH = 1e13


def announce(
    depends: Mapping[str, Sequence[str]], stale: Collection[str], jobs: int, tell: Callable[[str], None]
) -> None:
    """Tells what the stages of the workspace will cost that a run has to do, `jobs` at once."""
    path = Path("params.yaml")
    try:
        params = reading.validate(reading.read_yaml(path), path)
    except reading.ParamsError:  # the first stage tells it
        return
    left = schedule.Plan(depends, stale).left
    looked = plan.Looked(
        params=params,
        depends=depends,
        done=[stage for stage in depends if stage not in left],
        counted=text.found(_here, params),
    )
    planner, _ = plan.planner_of(looked, assumptions.read())
    if sum(planner.work(stage).flops(planner.text) for stage in left) < WORTH or launching.asked():
        return
    if advised := advice(params):
        tell(advised)
    command = [sys.executable, "-m", "runner.forecast", "--brief", "--jobs", str(jobs)]
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    if told.strip():
        tell(told.strip())


def advice(params: Params) -> str:
    """The precision of training that is faster on this processor, if it is another one than asked for."""
    if schedule.on_gpu():
        return ""
    has, settings = machine.multiplies_bfloat16(), []
    for section, recipe in (("teacher.training", params.teacher.training), ("training", params.training)):
        faster = BFLOAT16 if has else FLOAT32
        settings += [f"{section}.precision={faster}"] * (recipe.precision != faster)
    if not settings:
        return ""
    why = "multiplies bfloat16 faster than float32" if has else "has no instructions for bfloat16: it is slow"
    return (
        f"this processor {why}; to train in {faster}, for other digits, add to SET of `make params`: "
        f"{' '.join(settings)}"
    )


def _here(path: str) -> Path | None:
    found = Path(path)
    return found if found.exists() else None
