"""The default experiment from nothing (the environment apart), by stage: this revision beside another one.

Both run in turn, each in a fresh clone of what is committed, by whatever `make repro` is at that revision.

python bench/experiment.py --before REVISION [--jobs N] [--rounds N]        # an hour for old revisions
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


def run(revision: str, jobs: int) -> dict[str, Any]:
    """Seconds of `make repro JOBS=jobs` in a fresh clone, in all and by stage."""
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
    parser.add_argument("--before", required=True)
    parser.add_argument("--side")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    if asked.side:
        harness.result(**run("HEAD" if asked.side == "after" else asked.before, asked.jobs))
        return
    options = ["--before", asked.before, "--jobs", str(asked.jobs)]
    found = harness.pairs(
        {name: harness.side(__file__, name, *options) for name in ("before", "after")}, asked.rounds
    )
    seconds = {name: [one["seconds"] for one in measured] for name, measured in found.items()}
    what = f"the default experiment from nothing, JOBS={asked.jobs}"
    rows = [
        harness.row(
            what, f"revision {asked.before[:7]}", "", seconds["after"], seconds["before"], "s", inverse=True
        )
    ]
    rows.append(harness.row(what, "10 minutes", "<= 1", seconds["after"], [600.0] * asked.rounds, "s"))
    for stage in found["before"][0]["stages"]:
        after, before = ([one["stages"][stage] for one in found[name]] for name in ("after", "before"))
        what = f"`{stage}`, all of them, summed"
        rows.append(harness.row(what, "the same", "", after, before, "s", inverse=True))
    harness.save("experiment", rows, {f"BLEU {name}": found[name][0]["metrics"] for name in found})


if __name__ == "__main__":
    main()
