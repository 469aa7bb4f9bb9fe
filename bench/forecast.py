"""What `make plan` says beside what a run takes: the default experiment, a part of study=methods, multi30k.

    python bench/forecast.py [--folder FOLDER] [--only NAME]        # forty minutes on an idle machine

In a fresh clone of what is committed, in FOLDER if one is named; what is done there is not done again.
multi30k runs with a fifth of its teacher's updates, two fifths of its students' and two methods. Its archives
must be in .archives, or named by NMTKD_ARCHIVES.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness

JOBS = 2
WITHIN = "<= 1.5"  # of the longer over the shorter
PART = {"plain": "[plain]", "word": "[word_rank]", "seq": "[]", "both": "[]", "hybrid": "[hybrid]"}
EXPERIMENTS = {
    "the default experiment": ["study=default"],
    "a part of study=methods": [
        "study=methods",
        "grid.seeds=[1]",
        *(f"grid.methods.{family}={methods}" for family, methods in PART.items()),
    ],
    "multi30k at scale=cpu, shortened": [
        "corpus=multi30k",
        "scale=cpu",
        "teacher.training.updates=1040",
        "training.updates=500",
        "grid.methods.word=[]",
        "grid.methods.seq=[]",
    ],
}
KEPT = "planned.json"
COMPOSE = """
import sys
from dvc.utils.hydra import compose_and_dump
compose_and_dump("params.yaml", sys.argv[1], None, "config", ".hydra_plugins", sys.argv[2:])
"""


def run(choices: list[str], clone: Path) -> dict[str, Any]:
    """What the plan says of an experiment in a clone, and the seconds that its run takes."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "PYTHONPATH": "src"}
    environment.setdefault("NMTKD_ARCHIVE_CACHE", str(harness.ROOT / ".archives"))

    def python(*arguments: str, **how: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=clone, env=environment, check=True, text=True, **how)

    python("-c", COMPOSE, str(clone / "conf"), *choices)
    planned = json.loads(
        python("-m", "runner.forecast", "--json", "--jobs", str(JOBS), stdout=subprocess.PIPE).stdout
    )
    start = time.monotonic()
    python("-m", "runner", str(JOBS), stdout=subprocess.DEVNULL)
    return {**planned, "took": time.monotonic() - start}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", choices=EXPERIMENTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = asked.folder or Path(place)
        clone, kept = folder / "clone", folder / KEPT
        if not clone.exists():
            subprocess.run(["git", "clone", "-q", str(harness.ROOT), str(clone)], check=True)
        found = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
        for name, choices in EXPERIMENTS.items():
            if name in found or asked.only not in (None, name):
                continue
            found[name] = run(choices, clone)
            print(f"{time.strftime('%H:%M:%S')} {name}: {found[name]}", flush=True)
            kept.write_text(json.dumps(found), encoding="utf-8")
    if set(found) == set(EXPERIMENTS):
        harness.save("forecast", [row(name, one) for name, one in found.items()], {"JOBS": JOBS})


def row(name: str, one: dict[str, Any]) -> harness.Row:
    """The time that was planned beside the time that it took: the longer over the shorter."""
    planned, took = one["seconds"][0], one["took"]
    return harness.Row(
        what=f"time planned for {name}",
        against="the run, longer over shorter",
        goal=WITHIN,
        ratios=[max(planned / took, took / planned)],
        ours=planned,
        other=took,
        unit="s",
        note=f"{one['left']} of {one['stages']} stages",
    )


if __name__ == "__main__":
    main()
