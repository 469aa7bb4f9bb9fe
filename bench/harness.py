"""Ratios measured side by side, and the table of all of them.

Each side runs in a process of its own, in turn, as many rounds as asked for. A script of this folder that is
run with `--side NAME` measures that side and ends with `harness.result(value=...)`. Run without, it calls
`pairs` for all its sides and `save` for its rows. `python bench/harness.py` joins what the scripts saved into
reports/bench.md.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

BEGUN = time.monotonic()  # of this process, but for what Python itself needs
ROOT = Path(__file__).resolve().parent.parent
ROWS = ROOT / "reports" / "bench"
TABLE = ROOT / "reports" / "bench.md"
MARK = "RESULT "
INTRODUCTION = (
    "Ratios of two sides measured in turn in one run: median (least to largest, rounds). "
    "Written by `make bench`; absolute figures belong to the machine and its other work."
)
PACKAGES = ("torch", "fairseq-fixed", "ctranslate2", "dvc", "numpy")
sys.path[:0] = [str(ROOT), str(ROOT / "src")]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: `ratios`, one a round, of `ours` over `against` or the inverse."""

    what: str
    against: str
    goal: str  # as in ">= 1.7" or "<= 1.05"; empty for a figure without a goal
    ratios: list[float]
    ours: float  # medians, in `unit`
    other: float
    unit: str
    note: str = ""

    def met(self) -> str:
        """Whether the median ratio keeps the goal."""
        if not self.goal:
            return ""
        sign, bound = self.goal.split()
        ratio = statistics.median(self.ratios)
        return "yes" if (ratio >= float(bound) if sign == ">=" else ratio <= float(bound)) else "no"


def result(**values: Any) -> None:
    """What a side found, for `measure`."""
    print(MARK + json.dumps(values), flush=True)


def measure(command: Sequence[str], environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What a command gave to `result`. Where it fails: prints its output, and raises CalledProcessError."""
    done = subprocess.run(
        list(command),
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        print(done.stdout, file=sys.stderr)
        done.check_returncode()
    found: dict[str, Any] = json.loads(done.stdout.rsplit(MARK, 1)[1].splitlines()[0])
    return found


def side(script: str, name: str, *more: str) -> list[str]:
    """The command that measures one side of a script."""
    return [sys.executable, script, "--side", name, *more]


def pairs(
    sides: Mapping[str, Sequence[str]],
    rounds: int,
    environments: Mapping[str, Mapping[str, str]] | None = None,
    *,
    quiet: bool = False,
) -> dict[str, list[dict[str, Any]]]:
    """Measures all sides in turn, `rounds` times; what each found, by round. `quiet` shows numbers only."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for number in range(1, rounds + 1):
        for name, command in sides.items():
            found[name].append(measure(command, (environments or {}).get(name)))
            shown = {
                key: value
                for key, value in found[name][-1].items()
                if not quiet or isinstance(value, int | float)
            }
            print(f"{time.strftime('%H:%M:%S')} round {number}/{rounds} {name}: {shown}", flush=True)
    return found


def seconds(action: Callable[[], object]) -> float:
    """How long `action` takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def row(
    what: str,
    against: str,
    goal: str,
    ours: Sequence[float],
    other: Sequence[float],
    unit: str,
    *,
    inverse: bool = False,
    note: str = "",
) -> Row:
    """A row from the values of both sides, one a round: ours / other, or the inverse."""
    ratios = [(b / a if inverse else a / b) for a, b in zip(ours, other, strict=True)]
    return Row(
        what=what,
        against=against,
        goal=goal,
        ratios=ratios,
        ours=statistics.median(ours),
        other=statistics.median(other),
        unit=unit,
        note=note,
    )


def save(name: str, rows: Sequence[Row], facts: Mapping[str, Any] | None = None) -> None:
    """Keeps a script's rows, and facts about its set-up, for the table; and prints them."""
    ROWS.mkdir(parents=True, exist_ok=True)
    told = {"rows": [asdict(one) for one in rows], "facts": dict(facts or {}), "machine": machine()}
    (ROWS / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for one in rows:
        print(_line(one))


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    model = next(
        (line.split(":")[1].strip() for line in _cpuinfo() if line.startswith("model name")),
        platform.processor(),
    )
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        **versions,
    }


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def _line(one: Row) -> str:
    low, mid, high = min(one.ratios), statistics.median(one.ratios), max(one.ratios)
    cells = [
        one.what,
        one.against,
        one.goal,
        f"**{mid:.2f}** ({low:.2f} to {high:.2f}, {len(one.ratios)})",
        one.met(),
    ]
    return "| " + " | ".join([*cells, f"{one.ours:,.4g}", f"{one.other:,.4g}", one.unit, one.note]) + " |"


def main() -> None:
    """Writes reports/bench.md from all saved rows."""
    lines = ["# Measured side by side", ""]
    lines += [
        INTRODUCTION,
        "",
    ]
    for path in sorted(ROWS.glob("*.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        lines += [
            f"## {path.stem}",
            "",
            "| what | against | goal | ratio | met | ours | other | unit | |",
            "| --- | --- | --- | ---: | --- | ---: | ---: | --- | --- |",
        ]
        lines += [_line(Row(**one)) for one in told["rows"]]
        lines += [
            "",
            "; ".join(f"{key}: {value}" for key, value in {**told["facts"], **told["machine"]}.items()),
            "",
        ]
    TABLE.write_text("\n".join(lines), encoding="utf-8")
    print(TABLE)


if __name__ == "__main__":
    main()
