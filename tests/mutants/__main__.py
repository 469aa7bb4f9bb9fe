"""`python -m tests.mutants [ROOM ...]`: small changes to the code, and whether tests that run them notice.

mutmut says which changes there are: another operator or number, an argument left out, a condition turned
round. Of each room some are drawn by a fixed seed. coverage says which tests run the changed line, and these
alone are run. What is known lies in `.mutants/`, so that a stopped run goes on; the outcome goes to
reports/mutants.md and reports/mutants.json. Exit code 1 where fewer than GOAL of a room's are noticed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.copies import ROOT, copied, environment
from tests.mutants.changes import PER_ROOM, ROOMS, SEED, Mutant, drawn
from tests.mutants.covered import Covered

KNOWN = ROOT / ".mutants"
REPORTS = ROOT / "reports"
EQUIVALENT = Path(__file__).with_name(
    "equivalent.json"
)  # those that no test can notice, each with its reason
GOAL, MOST_EQUIVALENT = 0.85, 0.05
TIMES, SECONDS = 5.0, 60.0  # a mutant is late after as many times as long as its tests, and as many seconds
KILLED, SURVIVED, LATE, UNSEEN = "killed", "survived", "timed out", "no test runs it"


def outcome(mutant: Mutant, folder: Path, covered: Covered) -> dict[str, Any]:
    """What the tests of a mutant say, in a copy of its own."""
    tests = covered.tests(mutant)
    if not tests:
        return {"outcome": UNSEEN, "tests": 0}
    path = folder / mutant.module
    text = path.read_text(encoding="utf-8")
    path.write_text(mutant.text, encoding="utf-8")
    asked = folder / "asked.txt"
    asked.write_text("\n".join(tests), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-xqrfE", "--tb=no", "-pno:cacheprovider", "-pno:xdist"]
    limit = SECONDS + TIMES * sum(covered.seconds[test] for test in tests)
    try:
        done = subprocess.run(
            [*command, f"@{asked}"], cwd=folder, env=environment(folder), capture_output=True, text=True,
            check=False, timeout=limit,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return {"outcome": LATE, "tests": len(tests)}
    finally:
        path.write_text(text, encoding="utf-8")
    if not done.returncode:
        return {"outcome": SURVIVED, "tests": len(tests)}
    said = (done.stdout + done.stderr).splitlines()
    by = [line for line in said if line.startswith(("FAILED", "ERROR", "ImportError while loading conftest"))]
    if not by:  # a full disk is no test that noticed
        raise SystemExit(f"pytest itself ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return {"outcome": KILLED, "tests": len(tests), "by": by[0].partition(" - ")[0]}


def run(rooms: Sequence[str]) -> list[dict[str, Any]]:
    """The outcomes of all drawn mutants of these rooms."""
    KNOWN.mkdir(exist_ok=True)
    covered = Covered(KNOWN)
    known: dict[str, Any] = {}
    record = KNOWN / "outcomes.jsonl"
    if record.exists():
        known = {one["key"]: one for one in map(json.loads, record.read_text().splitlines())}
    work = [mutant for room in rooms for mutant in drawn(room)]
    cores = len(os.sched_getaffinity(0))
    folders = [copied(KNOWN / f"copy{number}") for number in range(cores)]

    def share(number: int) -> None:
        for mutant in work[number::cores]:
            if mutant.key in known:
                continue
            start = time.monotonic()
            one = asdict(mutant) | {"key": mutant.key} | outcome(mutant, folders[number], covered)
            del one["text"]
            known[mutant.key] = one
            with record.open("a", encoding="utf-8") as file:
                file.write(json.dumps(one, ensure_ascii=False) + "\n")
            took = time.monotonic() - start
            print(f"{time.strftime('%H:%M:%S')} {one['outcome']:<10} {took:4.0f} s {mutant.module}:"
                  f"{mutant.line}  {mutant.before}  ->  {mutant.after}", flush=True)  # fmt: skip

    with ThreadPoolExecutor(cores) as pool:
        list(pool.map(share, range(cores)))
    return [known[mutant.key] for mutant in work]


def equivalent(found: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Why no test can notice some of these mutants, by their keys. Raises SystemExit for reasons of none."""
    modules = {one["module"] for one in found}
    reasons = json.loads(EQUIVALENT.read_text(encoding="utf-8"))
    by_text = {(one["module"], one["before"], one["after"]): one["key"] for one in found}
    places = {(one["module"], one["before"], one["after"]): one["reason"] for one in reasons}
    if strange := [place for place in places if place[0] in modules and place not in by_text]:
        raise SystemExit(f"{EQUIVALENT.name}: no mutant of this run: {strange}")
    return {by_text[place]: reason for place, reason in places.items() if place in by_text}


def table(found: Sequence[dict[str, Any]], reasons: dict[str, str]) -> tuple[list[str], bool]:
    """reports/mutants.md as lines, and whether every room meets the goal."""
    lines = [
        "# Mutants: small changes to the code, and whether tests notice",
        "",
        f"{PER_ROOM} a room, drawn with seed {SEED} of all that mutmut makes. Each is met by the tests",
        "that run its line, among those that run in one process. `make mutants` writes this file.",
        "",
        "| room | drawn | killed | timed out | survived | no test runs it | equivalent | share noticed |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    good = True
    for room in [room for room in ROOMS if any(one["room"] == room for one in found)]:
        own = [one for one in found if one["room"] == room]
        same = [one for one in own if one["key"] in reasons]
        counts = {
            name: sum(one["outcome"] == name and one not in same for one in own)
            for name in (KILLED, LATE, SURVIVED, UNSEEN)
        }
        share = (counts[KILLED] + counts[LATE]) / max(1, len(own) - len(same))
        good &= share >= GOAL and len(same) <= MOST_EQUIVALENT * len(own)
        cells = [room, len(own), *counts.values(), len(same), f"{100 * share:.0f} %"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    for title, chosen in (
        ("Not noticed", [o for o in found if o["outcome"] in (SURVIVED, UNSEEN) and o["key"] not in reasons]),
        ("Equivalent", [one for one in found if one["key"] in reasons]),
    ):
        lines += ["", f"## {title}", ""]
        lines += [
            f"- `{one['module']}`, line {one['line']}: `{one['before']}` became `{one['after']}`"
            + (f": {reasons[one['key']]}" if one["key"] in reasons else "")
            for one in chosen
        ] or ["None."]
    return lines, good


def main(rooms: Sequence[str]) -> int:
    """Runs some rooms or all, and writes both reports; of other rooms they keep what they had."""
    path = REPORTS / "mutants.json"
    before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    asked = rooms or list(ROOMS)
    found = run(asked) + [one for one in before if one["room"] not in asked]
    lines, good = table(found, equivalent(found))
    (REPORTS / "mutants.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return int(not good)


if __name__ == "__main__":
    if unknown := set(sys.argv[1:]) - ROOMS.keys():
        raise SystemExit(f"no such room: {', '.join(unknown)}; there are {', '.join(ROOMS)}")
    sys.exit(main(sys.argv[1:]))
