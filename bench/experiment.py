"""The default experiment from nothing (the environment apart), by stage: this revision beside another one,
or in bfloat16 beside float32.

Both run in turn, each in a fresh clone of what is committed, by whatever `make repro` is at that revision.

python bench/experiment.py --before REVISION [--jobs N] [--rounds N]        # an hour for old revisions
python bench/experiment.py --bfloat16 [--jobs N] [--rounds N]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness

# What `make repro` starts, newest first: a file that such a revision has, and the arguments to python.
PROGRAMS = (
    ("src/runner", ["-m", "runner"]),
    ("repro.py", ["repro.py"]),
    ("src/nmtkd/jobs.py", ["-m", "nmtkd.jobs"]),
)
RENAMED = {"score": "targets"}  # stages of earlier revisions
SECTIONS = ("teacher.training", "training", "targets")  # that have a precision
COMPOSE = """
import os, sys
from dvc.utils.hydra import compose_and_dump
compose_and_dump("params.yaml", os.path.abspath("conf"), None, "config", ".hydra_plugins", sys.argv[1:])
"""

# A `python` on the PATH that takes the time of `python -m stages.NAME ...` and hands everything on.
SHIM = """#!{python}
import os, subprocess, sys, time
start = time.time()
code = subprocess.call([{python!r}, *sys.argv[1:]])
if sys.argv[1:2] == ["-m"] and sys.argv[2].startswith("stages."):
    with open({log!r}, "a") as file:
        file.write(f"{{' '.join(sys.argv[2:])}}\\t{{time.time() - start:.1f}}\\n")
sys.exit(code)
"""


def run(revision: str, jobs: int, choices: Sequence[str] = ()) -> dict[str, Any]:
    """Seconds of `make repro JOBS=jobs` in a fresh clone, in all and by stage; first params by `choices`."""
    with tempfile.TemporaryDirectory() as name:
        clone, tools, log = Path(name) / "clone", Path(name) / "bin", Path(name) / "stages.log"
        subprocess.run(["git", "clone", "-q", str(harness.ROOT), str(clone)], check=True)
        subprocess.run(["git", "checkout", "-q", revision], cwd=clone, check=True)
        tools.mkdir()
        (tools / "python").write_text(SHIM.format(python=sys.executable, log=str(log)), encoding="utf-8")
        (tools / "python").chmod(0o755)
        program = next(arguments for file, arguments in PROGRAMS if (clone / file).exists())
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "PYTHONPATH": "src"}
        environment["NMTKD_SCRATCH"] = str(Path(name) / "scratch")
        if choices:
            subprocess.run([sys.executable, "-c", COMPOSE, *choices], cwd=clone, check=True)
        command = [sys.executable, *program, str(jobs)]
        start = time.monotonic()
        subprocess.run(command, cwd=clone, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - start
        stages: dict[str, float] = defaultdict(float)
        for line in log.read_text(encoding="utf-8").splitlines():
            called, taken = line.split("\t")
            stage = called.split()[0].removeprefix("stages.")
            stages[RENAMED.get(stage, stage)] += float(taken)
        metrics = json.loads((clone / "reports" / "metrics.json").read_text(encoding="utf-8"))
        shutil.rmtree(clone)
    return {"seconds": seconds, "stages": dict(stages), "metrics": metrics}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--before")
    what.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--side")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    if asked.side:
        choices = [f"{section}.precision=bfloat16" for section in SECTIONS] * (asked.side == "bfloat16")
        harness.result(**run(asked.before if asked.side == "before" else "HEAD", asked.jobs, choices))
    elif asked.bfloat16:
        compare(["--bfloat16"], "float32", "bfloat16", "float32", "experiment_bfloat16", asked)
    else:
        revision = f"revision {asked.before[:7]}"
        compare(["--before", asked.before], "before", "after", revision, "experiment", asked)


def compare(
    options: list[str], before: str, after: str, against: str, name: str, asked: argparse.Namespace
) -> None:
    """All rows: side `after` beside side `before`."""
    options = [*options, "--jobs", str(asked.jobs)]
    found = harness.pairs(
        {side: harness.side(__file__, side, *options) for side in (before, after)}, asked.rounds
    )
    seconds = [[one["seconds"] for one in found[side]] for side in (after, before)]
    what = f"the default experiment from nothing, JOBS={asked.jobs}" + ", in bfloat16" * asked.bfloat16
    rows = [
        harness.row(what, against, "", *seconds, "s", inverse=True),
        harness.row(what, "10 minutes", "<= 1", seconds[0], [600.0] * asked.rounds, "s"),
    ]
    for stage in found[before][0]["stages"]:
        taken = [[one["stages"][stage] for one in found[side]] for side in (after, before)]
        what = f"`{stage}`, all of them, summed"
        rows.append(harness.row(what, "the same", "", *taken, "s", inverse=True))
    harness.save(name, rows, {f"BLEU {side}": found[side][0]["metrics"] for side in found})


if __name__ == "__main__":
    main()
