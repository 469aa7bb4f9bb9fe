"""How corpus, prepare, bpe and noise grow from 10^4 to 10^6 pairs: time, memory and use of the cores.

Each measurement is the stage's own function in a process of its own, on text that is made here: words by
Zipf's law, from a seed. `--lines 10000,100000` measures fewer; `--code FOLDER` measures another checkout of
these rooms, and then saves nothing.
"""

from __future__ import annotations

import argparse
import math
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import harness
from made_text import MEAN_WORDS, WORDS, make

LINES = (10_000, 100_000, 1_000_000)
STAGES = ("corpus", "prepare", "bpe", "noise")
MERGES = 10_000  # as for corpora of 10^5 to 10^6 sentences in the literature
SAMPLE_S = 0.05  # between two looks at the memory
# Ten times the lines may take a tenth more than ten times as long. Over two decades that is a slope of 1.05.
TIME_GOAL, SLOPE_GOAL, MEMORY_GOAL = "<= 11", "<= 1.05", "<= 1"
GB = 1e9


def head(whole: Path, folder: Path, lines: int) -> None:
    """The same corpus with fewer lines of train."""
    folder.mkdir()
    for side in ("src", "tgt"):
        for name in ("valid", "test"):
            (folder / f"{name}.{side}").write_bytes((whole / f"{name}.{side}").read_bytes())
        with open(folder / f"train.{side}", "wb") as file:
            subprocess.run(["head", "-n", str(lines), whole / f"train.{side}"], stdout=file, check=True)


def stage(name: str, folder: Path) -> Callable[[], Any]:
    """The call that does a stage's work on the corpus in `folder`, whose data lies beside it."""
    from nmtkd.plan import data

    corpus = data.Corpus.model_validate(
        {
            "name": "made",
            "reader": "files",
            "source": "en",
            "target": "de",
            "tests": ["test"],
            "archives": [],
            "folder": str(folder),
            "license": "",
        }
    )
    settings = data.Prepare.model_validate(
        {
            "tokeniser": "reversible",
            "normalise": [],
            "seed": 1,
            "valid_pairs": 0,
            "test_pairs": 0,
            "max_words": {"source": 100, "target": 100},
            "max_ratio": 3.0,
            "ratio_slack": 24,
            "overlap": "drop",
        }
        | {"near_duplicate": 0.8, "normalise_tests": [], "lowercase": False, "placeholders": True}
        | {
            "duplicates": "drop",
            "ratio_of": "characters",
            "valid_every": 0,
            "train_pairs": 0,
            "expected": None,
        }
    )
    noise = data.Noise.model_validate(
        {
            "kind": "mixed",
            "rates": {"deletion": 0.1, "substitution": 0.1, "swap": 0.1},
            "side": "both",
            "seed": 1,
        }
    )
    outs = {one: folder.parent / f"{folder.name}-{one}" for one in STAGES}
    outs[name].mkdir()
    # Imported for the one that is measured: it then has the memory of its own stage.
    if name == "corpus":
        from nmtkd.text.corpora.readers import extract

        return lambda: extract(corpus, {}, outs["corpus"])
    if name == "prepare":
        from nmtkd.text.preparation import prepare

        return lambda: prepare(outs["corpus"], outs["prepare"], corpus, settings)
    if name == "bpe":
        from nmtkd.text.subwords import encode

        return lambda: encode(
            outs["prepare"], outs["bpe"], ["valid", "test"], data.Bpe(merges=MERGES, min_frequency=2)
        )
    from nmtkd.text.noise import apply

    return lambda: apply(outs["prepare"], outs["bpe"], outs["noise"], noise, {})


def resident(root: int) -> int:
    """Bytes of memory of a process and all below it, shared pages counted with each."""
    parents, sizes = {}, {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
                sizes[int(path.name)] = int((path / "statm").read_text().split()[1]) * resource.getpagesize()
            except (OSError, IndexError):
                continue  # it ended meanwhile
    found, waiting = 0, [root]
    while waiting:
        process = waiting.pop()
        found += sizes.get(process, 0)
        waiting += [child for child, parent in parents.items() if parent == process]
    return found


def measure(name: str, folder: Path) -> None:
    """One side: runs a stage and tells seconds, CPU seconds and the peak of the memory of its processes."""
    work = stage(name, folder)
    peak, ended = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(SAMPLE_S):
            peak = max(peak, resident(os.getpid()))

    def cpu() -> float:
        return sum(
            one.ru_utime + one.ru_stime
            for one in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )

    watching = threading.Thread(target=watch)
    watching.start()
    start, cpu_start = time.perf_counter(), cpu()
    try:
        work()
    finally:
        seconds, cpu_seconds = time.perf_counter() - start, cpu() - cpu_start
        ended.set()
        watching.join()
    harness.result(seconds=seconds, cpu=cpu_seconds, gb=peak / GB)


def slope(times: dict[int, float]) -> float:
    """Of log time over log lines, from the fewest lines to the most."""
    low, high = min(times), max(times)
    return math.log(times[high] / times[low]) / math.log(high / low)


def rows(found: dict[tuple[str, int], dict[str, Any]], cores: int) -> list[harness.Row]:
    """Compares the largest corpus with one of a tenth, and with the goals; also by CPU seconds."""
    sizes = sorted({lines for _, lines in found})
    few, some, many = sizes[0], sizes[-2], sizes[-1]
    table = []
    for name in STAGES:
        most, less = found[name, many], found[name, some]
        busy = most["cpu"] / most["seconds"] / cores
        speed = f"{many / most['seconds']:,.0f} lines/s at {many:,} lines; {busy:.0%} of {cores} cores"
        growth = f"{less['gb']:.2f} GB at {some:,} lines, {found[name, few]['gb']:.2f} GB at {few:,}"
        for kind, unit, note in (("seconds", "s", speed), ("cpu", "CPU s", "")):
            what = f"{name}: {unit} for {many // some} times the lines"
            table.append(
                harness.row(what, f"{some:,} lines", TIME_GOAL, [most[kind]], [less[kind]], unit, note=note)
            )
        steep = slope({lines: found[name, lines]["seconds"] for lines in sizes})
        table.append(
            harness.row(
                f"{name}: slope of log time over log lines, {few:,} to {many:,}",
                "linear",
                SLOPE_GOAL,
                [steep],
                [1.0],
                "",
            )
        )
        table.append(
            harness.row(
                f"{name}: peak memory at {many:,} lines",
                "1 GB",
                MEMORY_GOAL,
                [most["gb"]],
                [1.0],
                "GB",
                note=growth,
            )
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", default=",".join(map(str, LINES)))
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--code", type=Path, default=harness.ROOT)
    parser.add_argument("--side")
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.side:
        sys.path.insert(0, str(asked.code / "src"))
        measure(asked.side, asked.folder)
        return
    sizes = [int(lines) for lines in asked.lines.split(",")]
    found = {}
    with tempfile.TemporaryDirectory(prefix="data-stages-") as place:
        whole = Path(place) / "whole"
        whole.mkdir()
        make(whole, max(sizes))
        for lines in sizes:
            folder = Path(place) / str(lines)
            head(whole, folder, lines)
            for name in asked.stages.split(","):
                more = ("--folder", str(folder), "--code", str(asked.code))
                found[name, lines] = one = harness.measure(harness.side(__file__, name, *more))
                print(
                    f"{time.strftime('%H:%M:%S')} {name} {lines:,}: {one['seconds']:.2f} s, "
                    f"{one['cpu']:.2f} s CPU, {one['gb']:.3f} GB",
                    flush=True,
                )
    if asked.code == harness.ROOT and asked.stages == ",".join(STAGES) and len(sizes) > 1:
        tell(found)


def tell(found: dict[tuple[str, int], dict[str, Any]]) -> None:
    """Saves the rows, and the figures behind them as facts."""
    law = f"Zipf's law over {WORDS['src']:,} and {WORDS['tgt']:,} words"
    text = {"text": f"{MEAN_WORDS} words a line in the middle, {law}; {MERGES:,} merges"}
    figures = {
        f"{name} at {lines:,} lines": f"{one['seconds']:.1f} s, {one['cpu']:.1f} CPU s, {one['gb']:.2f} GB"
        for (name, lines), one in found.items()
    }
    harness.save(
        "data_stages",
        rows(found, len(os.sched_getaffinity(0))),
        {**text, **figures, "load at the end": round(os.getloadavg()[0], 1)},
    )


if __name__ == "__main__":
    main()
