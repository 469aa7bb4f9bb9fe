"""`python -m tests.planted_bugs [WORD ...]`: plants one bug at a time in a copy and runs what must catch it.

A test that passes on broken code proves nothing. WORDs choose bugs by their names. Exit code 1 where a bug is
missed, where the tests are red without any bug, or where a bug does not fit the code.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bugs import (
    Bug,
    NotPlantedError,
    arms,
    distil,
    evidence,
    network,
    node_ids,
    planted,
    source,
    steady,
    text,
    training,
    wiring,
)
from tests.copies import copied, environment

BUGS: list[Bug] = [
    *arms.BUGS,
    *distil.BUGS,
    *evidence.BUGS,
    *network.BUGS,
    *steady.BUGS,
    *text.BUGS,
    *training.BUGS,
    *wiring.BUGS,
]


def red(folder: Path, ids: Sequence[str]) -> tuple[int, str]:
    """Runs tests of the copy on the source of the copy: pytest's exit code, and its list of what failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "-p", "no:cacheprovider", *ids]
    done = subprocess.run(
        command, cwd=folder, env=environment(folder), capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout


def plant(folder: Path, bug: Bug, ids: Mapping[str, str]) -> str:
    """What came of it: caught by all its tests, MISSED by some, or NOT PLANTED."""
    path = source(folder, bug)
    try:
        text = path.read_text(encoding="utf-8")
        tests = {name: ids[name] for name in bug.tests}
        path.write_text(planted(text, bug), encoding="utf-8")
    except (NotPlantedError, FileNotFoundError, KeyError) as error:
        return f"NOT PLANTED: {error}"
    code, failed = red(folder, list(tests.values()))
    path.write_text(text, encoding="utf-8")
    missed = [
        name
        for name, node_id in tests.items()
        if not re.search(rf"^FAILED {re.escape(node_id)}(\[| |$)", failed, re.MULTILINE)
    ]
    if missed:
        return f"MISSED by {', '.join(missed)} (pytest's exit code {code})"
    return f"caught by {', '.join(tests)}"


def main(words: Sequence[str]) -> int:
    """Prints a line a bug."""
    chosen = [bug for bug in BUGS if not words or any(word in bug.name for word in words)]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = copied(Path(name) / "copy")
        ids = node_ids(folder)
        code, _ = red(folder, sorted({ids[test] for bug in chosen for test in bug.tests if test in ids}))
        outcome = "all tests pass" if code == 0 else f"RED, exit code {code}"
        print(f"| {'no bug at all':<50} | {outcome}", flush=True)
        bad = int(code != 0)
        for bug in chosen:
            outcome = plant(folder, bug, ids)
            bad += not outcome.startswith("caught")
            print(f"| {bug.name:<50} | {outcome}", flush=True)
    print(f"{len(chosen)} bugs, {bad} complaints, {time.monotonic() - began:.0f} s")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
