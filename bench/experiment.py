"""The default experiment from nothing (the environment apart), by stage: this revision beside another one, in turn, in fresh clones.

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
        program = ["repro.py"] if (clone / "repro.py").exists() else ["-m", "nmtkd.jobs"]
        path = os.pathsep.join([str(tools), str(Path(sys.executable).parent), os.environ["PATH"]])
        environment = {**os.environ, "PATH": path, "PYTHONPATH": "src", "NMTKD_SCRATCH": str(Path(name) / "scratch")}
        start = time.monotonic()
        subprocess.run([sys.executable, *program, str(jobs)], cwd=clone, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - start
        stages: dict[str, float] = defaultdict(float)
        for line in log.read_text(encoding="utf-8").splitlines():
            command, taken = line.split("\t")
            stages[command.split()[0].removeprefix("stages.")] += float(taken)
        metrics = json.loads((clone / "reports" / "metrics.json").read_text(encoding="utf-8"))
        shutil.rmtree(clone)
    return {"seconds": seconds, "stages": dict(stages), "metrics": metrics}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True)
    parser.add_argument("--side")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    if asked.side:
        harness.result(**run("HEAD" if asked.side == "after" else asked.before, asked.jobs))
        return
    options = ["--before", asked.before, "--jobs", str(asked.jobs)]
    found = harness.pairs({name: harness.side(__file__, name, *options) for name in ("before", "after")}, asked.rounds)
    seconds = {name: [one["seconds"] for one in measured] for name, measured in found.items()}
    what = f"the default experiment from nothing, JOBS={asked.jobs}"
    rows = [harness.row(what, f"revision {asked.before[:7]}", "", seconds["after"], seconds["before"], "s", inverse=True)]
    rows.append(harness.row(what, "10 minutes", "<= 1", seconds["after"], [600.0] * asked.rounds, "s"))
    for stage in found["before"][0]["stages"]:
        each = {name: [one["stages"][stage] for one in measured] for name, measured in found.items()}
        rows.append(harness.row(f"`{stage}`, all of them, summed", "the same", "", each["after"], each["before"], "s", inverse=True))
    harness.save("experiment", rows, {"BLEU before": found["before"][0]["metrics"], "BLEU after": found["after"][0]["metrics"]})


if __name__ == "__main__":
    main()
