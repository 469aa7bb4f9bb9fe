"""Resident memory of each stage as the corpus grows: 10^5, 10^6 and 4.5 x 10^6 pairs, the size of WMT14.

    python bench/memory.py [--lines 100000,1000000] [--folder FOLDER]

With a FOLDER sizes can be measured one after another, by several calls: what is done there is not done again.

The stages run as they are, one process each, in a workspace of their own, on text that is made here: words by
Zipf's law, from a seed. A small teacher trains for some hundred updates. Of `decode` and `targets` the first
lines are measured, after the whole corpus was opened, sorted and given its place on the disk: what follows
needs no more. Memory is that of a stage and all its workers together, shared pages counted with each. Mapped
files count as resident while the system keeps their pages; memory of the stage's own is told beside it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import yaml
from made_text import MEAN_WORDS, make

LINES = (100_000, 1_000_000, 4_500_000)
KEPT = "measured.json"  # in FOLDER: the sizes that are done, which may be measured one by one
PART = 200  # lines of the whole that are translated and scored: the longest ones come first
MERGES = 32_000  # as for corpora of this size
UPDATES, CHECKPOINTS = 300, 100
TOP_K = 16
LIMIT_GB, GB = 4.0, 1e9
SAMPLE_S = 0.1  # between two looks at the memory
NOISE = "clean"
SHAPE = {"encoder_layers": 2, "decoder_layers": 2, "width": 64, "ffn": 128, "heads": 4}
LINKED = ("stages", "src", "manifests", "dvc.yaml", "requirements.lock")  # what a stage looks for
STAGES = (
    "corpus",
    "prepare",
    "bpe",
    f"noise {NOISE}",
    f"teacher {NOISE}",
    "decode, a part",
    "targets, a part",
)


def workspace(folder: Path, lines: int) -> None:
    """A folder in which stages run on a made-up corpus of so many pairs."""
    text = folder / "corpus"
    text.mkdir(parents=True)
    make(text, lines)
    for name in LINKED:
        (folder / name).symlink_to(harness.ROOT / name)
    params = yaml.safe_load((harness.ROOT / "params.yaml").read_text(encoding="utf-8"))
    params["corpus"] |= {
        "name": "made",
        "reader": "files",
        "tests": ["test"],
        "archives": [],
        "folder": str(text),
    }
    params["prepare"] |= {"overlap": "drop", "max_words": {"source": 200, "target": 200}}
    params["bpe"] |= {"merges": MERGES, "max_pieces": 250, "max_ratio": 1.5}  # as WMT14's recipe
    params["teacher"]["architecture"] = SHAPE
    recipe = {"updates": UPDATES, "checkpoint_every": CHECKPOINTS, "average": 2, "warmup": CHECKPOINTS}
    params["teacher"]["training"] |= recipe | {"max_tokens": 4096, "curve_pairs": 50}
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")


def part(folder: Path, what: str) -> None:
    """Decodes or scores the first PART lines of the whole training text, as the stage of this name does."""
    os.chdir(folder)
    from nmtkd import files
    from nmtkd.decoding import scoring, translate
    from nmtkd.decoding.search import Search
    from nmtkd.distil import hypotheses, targets
    from nmtkd.network.fairseq_bridge import token_counts
    from nmtkd.plan import layout
    from nmtkd.text.lines import open_pair

    text, model = layout.noise_dir(NOISE), layout.model_dir(layout.teacher_dir(NOISE))
    sources, gold = open_pair(text / "train.src", text / "train.tgt")
    with tempfile.TemporaryDirectory(dir=folder) as place:
        if what == "decode":
            search = Search(beam=5, nbest=5, length_penalty=1.0, max_length_factor=2.0, max_length_offset=10)
            written = hypotheses.Writer(Path(place), sources, gold)
            found = translate.translations(model, sources, search, "ctranslate2")
            for line, entries in itertools.islice(found, PART):
                written.put(line, [(entry.text, entry.score) for entry in entries])
            return
        digest = files.file_hash(layout.BPE / layout.DICTIONARY)
        header = targets.Header(
            top_k=TOP_K,
            temperature=1.0,
            vocabulary=scoring.vocabulary(model),
            prefix=layout.GOLD,
            prefix_hash=files.lines_hash(gold),
            dictionary_hash=digest,
            teacher_hash=digest,
        )
        writer = targets.Writer(Path(place), token_counts(gold), header)
        rows = scoring.distributions(model, sources, gold, TOP_K, 1.0, 8192)
        for row in itertools.islice(rows, PART):
            writer.put(*row)


def resident(root: int) -> tuple[int, int]:
    """Bytes of memory of a process and all below it, and those of them that are no file's."""
    parents, sizes = {}, {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                parents[int(path.name)] = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
                _, whole, shared, *_ = map(int, (path / "statm").read_text().split())
            except (OSError, IndexError):
                continue  # it ended meanwhile
            page = resource.getpagesize()
            sizes[int(path.name)] = whole * page, (whole - shared) * page
    found, waiting = [0, 0], [root]
    while waiting:
        process = waiting.pop()
        found = [total + more for total, more in zip(found, sizes.get(process, (0, 0)), strict=True)]
        waiting += [child for child, parent in parents.items() if parent == process]
    return found[0], found[1]


def measure(command: Sequence[str], folder: Path) -> dict[str, float]:
    """Seconds of a command and the peaks of its memory, in GB. Raises CalledProcessError if it fails."""
    log = folder / "log.txt"
    start, whole, own = time.perf_counter(), 0, 0
    with log.open("w") as output:
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=environment())
        while process.poll() is None:
            now, now_own = resident(process.pid)
            whole, own = max(whole, now), max(own, now_own)
            time.sleep(SAMPLE_S)
    if process.returncode:
        print(log.read_text(), file=sys.stderr)
        raise subprocess.CalledProcessError(process.returncode, list(command))
    return {"seconds": time.perf_counter() - start, "gb": whole / GB, "own_gb": own / GB}


def environment() -> dict[str, str]:
    """That of a stage in a workspace."""
    return {**os.environ, "PYTHONPATH": str(harness.ROOT / "src"), "NMTKD_DEVICE": "cpu"}


def command_of(stage: str, folder: Path) -> list[str]:
    """What runs a stage, or a part of it."""
    name, comma, _ = stage.partition(",")
    if comma:
        return [sys.executable, __file__, "--side", name, "--folder", str(folder)]
    return [sys.executable, "-m", *f"stages.{stage}".split()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", default=",".join(map(str, LINES)))
    parser.add_argument("--side")
    parser.add_argument("--folder", type=Path, help="where workspaces go, and results of sizes that are done")
    asked = parser.parse_args()
    if asked.side:
        part(asked.folder, asked.side)
        return
    sizes = [int(lines) for lines in asked.lines.split(",")]
    kept = asked.folder / KEPT if asked.folder else None
    found = read(kept) if kept and kept.exists() else {}
    for lines in [lines for lines in sizes if (STAGES[-1], lines) not in found]:
        with tempfile.TemporaryDirectory(prefix="memory-", dir=asked.folder) as place:
            folder = Path(place) / "workspace"
            workspace(folder, lines)
            for stage in STAGES:
                found[stage, lines] = one = measure(command_of(stage, folder), folder)
                told = ", ".join(f"{name} {value:.2f}" for name, value in one.items())
                print(f"{time.strftime('%H:%M:%S')} {stage}, {lines:,} lines: {told}", flush=True)
        if kept:
            kept.write_text(json.dumps([[*key, one] for key, one in found.items()]), encoding="utf-8")
    if all((STAGES[-1], lines) in found for lines in LINES):
        harness.save("memory", rows(found, LINES), facts(found))


def read(path: Path) -> dict[tuple[str, int], dict[str, float]]:
    """What an earlier run measured of some sizes, whole ones alone."""
    return {(stage, lines): one for stage, lines, one in json.loads(path.read_text(encoding="utf-8"))}


def rows(found: dict[tuple[str, int], dict[str, float]], sizes: Sequence[int]) -> list[harness.Row]:
    """Peak memory at the largest size beside the limit, the smaller sizes in the note."""
    most = sizes[-1]
    return [
        harness.row(
            f"{stage}: peak resident memory at {most:,} lines",
            f"{LIMIT_GB:g} GB",
            "<= 1",
            [found[stage, most]["gb"]],
            [LIMIT_GB],
            "GB",
            note=", ".join(f"{found[stage, lines]['gb']:.2f} GB at {lines:,}" for lines in sizes[:-1])
            + f"; no file's: {found[stage, most]['own_gb']:.2f} GB",
        )
        for stage in STAGES
    ]


def facts(found: dict[tuple[str, int], dict[str, float]]) -> dict[str, Any]:
    """What was run, and the figures behind the rows."""
    return {
        "text": f"{MEAN_WORDS} words a line in the middle; {MERGES:,} merges; at most 250 pieces, ratio 1.5",
        "teacher": f"{UPDATES} updates of {SHAPE}",
        "part": f"{PART:,} lines, top {TOP_K}",
        "cores": len(os.sched_getaffinity(0)),
        **{
            f"{stage} at {lines:,} lines": f"{one['gb']:.2f} GB, no file's {one['own_gb']:.2f} GB, "
            f"{one['seconds']:.0f} s"
            for (stage, lines), one in found.items()
        },
    }


if __name__ == "__main__":
    main()
