"""`python -m runner.forecast`: stages, time, disk and memory of an experiment, before it runs."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from runner import schedule
from runner.forecast import assumptions, plan, screen

COMPOSE = """
import sys
from dvc.utils.hydra import compose_and_dump
path, folder, *choices = sys.argv[1:]
try:
    compose_and_dump(path, folder, None, "config", ".hydra_plugins", choices)
except Exception as error:
    sys.exit(str(error))
"""


def compose(choices: Sequence[str], path: Path) -> None:
    """Writes the params of choices such as study=noise into `path`, as `dvc exp run -S` would.

    In a process of its own: fairseq, once imported, has a Hydra "config" too. Raises ValueError for a choice
    that conf/ has not.
    """
    command = [sys.executable, "-c", COMPOSE, str(path), os.path.abspath("conf"), *choices]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(choices)}: {done.stderr.strip()}\nchoices are files and values of conf/")


def tell(line: str) -> None:
    """A line of progress."""
    print(f"[plan] {line}", file=sys.stderr, flush=True)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "choices", nargs="*", help="of conf/: study=capacity corpus=iwslt14; none: params.yaml"
    )
    parser.add_argument("--jobs", type=int, help="stages at once; by default as many as of a run")
    parser.add_argument("--card", help="a GPU that is not here, of conf/forecast.yaml")
    parser.add_argument("--cards", type=int, default=1, help="how many of it")
    parser.add_argument("--brief", action="store_true", help="a line")
    parser.add_argument("--json", action="store_true", help="for a program")
    given = parser.parse_args()
    jobs = schedule.at_once() if given.jobs is None else given.jobs
    assumed = assumptions.read()
    if given.card and given.card not in assumed.cards:
        parser.error(f"CARD must be one of {', '.join(assumed.cards)}; got {given.card}")
    if min(jobs, given.cards) < 1:
        parser.error(f"JOBS and CARDS must be 1 or more; got {jobs} and {given.cards}")
    asked = plan.Question(choices=given.choices, jobs=jobs, card=given.card, cards=given.cards)
    found = plan.forecast(asked, plan.look(given.choices, compose), assumed, tell)
    if given.json:
        print(json.dumps(screen.figures(found)))
    else:
        print(screen.brief(found) if given.brief else "\n".join(screen.lines(found)))


if __name__ == "__main__":
    from runner import entries

    entries.run(main)
