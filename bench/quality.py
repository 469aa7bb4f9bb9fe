"""What precision and int8 cost in BLEU and what int8 saves, by three seeds.

    python bench/quality.py [--source FOLDER] [--folder FOLDER] [--jobs N] [--lines N] [--rounds N]

--source is the folder of a finished experiment that has the teacher of clean text, the decoding `beam` and
the capacities `tiny` and `small` (`make repro`); its own data, models and params are left as they are.
Experiments beside it run in a workspace, --folder, by the real pipeline and with the cache of the source: its
teacher, and what else is the same, is not trained again. A run that is stopped goes on where it was.

- int8: sentences a second of the teacher's decoding of training lines, and the share of equal hypotheses, on
  one thread and on all cores.
- int8 hypotheses: students `seq` learnt from `beam` and from `beam_int8`, scored in float32.
- int8 scores: plain and `seq` students scored in int8 and in float32.
- bfloat16: `plain` and `both` trained in either precision, and the largest norm of a gradient. Left out where
  the processor has no bfloat16.

Differences are paired by seed. Intervals are Student's t.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import harness
import teacher
import yaml

SEEDS = [1, 2, 3]  # as in conf/study/
CAPACITIES = ["tiny", "small"]
CLEAN = "clean"
BEAM, INT8 = "beam", "beam_int8"
LEVEL = 0.95  # of intervals
LEAST = 0.01  # BLEU: nothing has a ratio to 0
BEAMS = {5: "beam 5", 1: "greedy"}
THREADS = {"one thread": {"NMTKD_THREADS": "1", "OMP_NUM_THREADS": "1"}, "all cores": {"NMTKD_THREADS": ""}}
# In the workspace: what took so long is measured once; and norms by a model's hash, since reports/machine/
# has a run's last model alone.
RATES, NORMS = "rates.json", "norms.json"
IGNORED = ("reports", "docs", "tests", "bench", ".github")
FAMILIES = ("plain", "word", "seq", "both", "hybrid", "online")
# The experiments of the workspace: methods, decodings, and what else params.yaml says there.
EXPERIMENTS: dict[str, dict[str, Any]] = {
    "int8 hypotheses": {"methods": ["plain", "seq"], "decodings": [BEAM, INT8]},
    "int8 scores": {"methods": ["plain", "seq"], "decodings": [BEAM], "compute": "int8"},
    "float32": {"methods": ["plain", "both"], "decodings": [BEAM]},
    "bfloat16": {"methods": ["plain", "both"], "decodings": [BEAM], "precision": "bfloat16"},
}
Found = dict[str, dict[str, Any]]  # by a run's key: bleu, updates, norm


def say(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)


# The workspace


def prepared(source: Path, folder: Path) -> None:
    """Makes the workspace, or renews its code: the tracked files of the source, and its cache."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ".gitignore").touch()
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=source, capture_output=True, check=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        is_new = not (folder / name).exists()
        # What the workspace has recorded and written since is its own.
        if name.split("/")[0] in IGNORED or (name.startswith(("dvc.lock", "manifests/")) and not is_new):
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if not (folder / ".git").exists():
        subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    cache = dvc(source, "cache", "dir").strip()
    dvc(folder, "cache", "dir", "--local", str((source / cache).resolve()))


def dvc(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"dvc {' '.join(arguments)} in {folder}: {done.stderr}")
    return done.stdout


def asked_for(raw: Mapping[str, Any], asked: Mapping[str, Any]) -> dict[str, Any]:
    """The source's params with another grid."""
    grid = {
        "methods": {family: [family] if family in asked["methods"] else [] for family in FAMILIES},
        "capacities": CAPACITIES,
        "noises": [CLEAN],
        "decodings": asked["decodings"],
        "seeds": SEEDS,
    }
    decodings = {**raw["decodings"], INT8: {**raw["decodings"][BEAM], "compute": "int8"}}
    return {
        **raw,
        "grid": grid,
        "decodings": decodings,
        "training": {**raw["training"], "precision": asked.get("precision", "float32")},
        "evaluate": {**raw["evaluate"], "compute": asked.get("compute", "float32")},
        "report": {**raw["report"], "study": "quality"},
    }


def run(name: str, source: Path, folder: Path, jobs: int | None) -> Found:
    """Runs an experiment in the workspace; its scores by key. What was run before comes from the cache."""
    raw = yaml.safe_load((source / "params.yaml").read_text(encoding="utf-8"))
    params = asked_for(raw, EXPERIMENTS[name])
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    paths = [str(Path(sys.executable).parent), os.environ.get("PATH", "")]
    environment = {**os.environ, "PATH": os.pathsep.join(paths), "PYTHONPATH": "src"}
    environment.setdefault("NMTKD_ARCHIVE_CACHE", str((source / ".archives").resolve()))
    say(f"{name}: {', '.join(EXPERIMENTS[name]['methods'])}, seeds {SEEDS}")
    command = [sys.executable, "-m", "runner", *([str(jobs)] if jobs else [])]
    done = subprocess.run(command, cwd=folder, env=environment, stdout=sys.stderr, check=False)
    if done.returncode:
        raise SystemExit(f"{name}: the runner ended with {done.returncode}; run this again to go on")
    found, known = {}, norms(source, folder)
    for path in sorted((folder / "data" / "translations").glob("*/scores.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        if told["compute"] != params["evaluate"]["compute"]:
            continue  # of an earlier experiment, which this one has no part of
        wanted = [
            one["value"]
            for one in told["scores"]
            if (one["split"], one["search"], one["metric"])
            == (params["corpus"]["tests"][0], "beam", params["evaluate"]["primary"])
        ]
        found[told["key"]] = {
            "bleu": max(wanted[0], LEAST),
            "updates": (told["data"]["updates"], told["updates"] * told["data"]["trainings"]),
            "norm": known.get(told["model"]),
        }
    return found


def norms(source: Path, folder: Path) -> dict[str, float]:
    """The largest norm of a gradient by a model's hash, of models trained here: no result has it."""
    from nmtkd import files
    from nmtkd.plan import layout

    kept = folder / NORMS
    known: dict[str, float] = json.loads(kept.read_text(encoding="utf-8")) if kept.exists() else {}
    for place in (source, folder):
        for path in sorted((place / layout.MACHINE / layout.TRAINING).glob("*.js")):
            told = files.read_script(path)
            if "largest_gradient_norm" in told:
                known[told["model"]] = told["largest_gradient_norm"]
    kept.write_text(json.dumps(known), encoding="utf-8")
    return known


def equal_hypotheses(folder: Path) -> str:
    """How many best hypotheses of both decodings are the same, and by which penalties they were found."""
    from nmtkd import files
    from nmtkd.distil import hypotheses
    from nmtkd.plan import layout

    places = [folder / layout.hypotheses_dir(CLEAN, name) for name in (BEAM, INT8)]
    said = [list(hypotheses.Chosen(hypotheses.Records(place / hypotheses.RECORDS))) for place in places]
    same = sum(one == other for one, other in zip(*said, strict=True))
    penalties = [files.read_object(place / layout.CARD)["length_penalty"] for place in places]
    return (
        f"{100 * same / len(said[0]):.1f}% of {len(said[0]):,} hypotheses equal; length penalty "
        f"{penalties[0]} in float32, {penalties[1]} in int8"
    )


# Differences


def interval(differences: Sequence[float]) -> str:
    """Mean and t-interval of paired differences."""
    from nmtkd.evidence.statistics import t_quantile

    mean, freedom = statistics.fmean(differences), len(differences) - 1
    half = t_quantile(LEVEL, freedom) * statistics.stdev(differences) / len(differences) ** 0.5
    return (
        f"difference {mean:+.2f} ± {half:.2f} BLEU [{mean - half:+.2f}, {mean + half:+.2f}] "
        f"(t, {LEVEL:.0%}, {len(differences)} pairs)"
    )


def compared(
    what: str, against: str, ours: Found, other: Found, pairs: Sequence[tuple[str, str]], note: str = ""
) -> harness.Row:
    """A row of BLEU from pairs of keys, of ours and of the other."""
    values = [
        [found[key]["bleu"] for key in keys]
        for found, keys in zip((ours, other), zip(*pairs, strict=True), strict=True)
    ]
    told = interval([one - two for one, two in zip(*values, strict=True)])
    return harness.row(what, against, "", *values, "BLEU", note="; ".join(filter(None, [told, note])))


def keys(method: str, decoding: str = "", capacities: Sequence[str] = CAPACITIES) -> list[str]:
    """Of all seeds."""
    middle = "-".join(filter(None, [CLEAN, decoding]))
    return [f"{method}-{capacity}-{middle}-{seed}" for capacity in capacities for seed in SEEDS]


def distilled(found: Found, note: str) -> list[harness.Row]:
    """Students of hypotheses in int8 beside those of float32, by capacity and together."""
    rows = []
    for named, capacities in [*((f"`{one}`", [one]) for one in CAPACITIES), ("both sizes", CAPACITIES)]:
        pairs = list(zip(keys("seq", INT8, capacities), keys("seq", BEAM, capacities), strict=True))
        what = f"`seq` from hypotheses in int8, {named}"
        rows.append(compared(what, "in float32", found, found, pairs, note if len(capacities) > 1 else ""))
    return rows


def scored(ours: Found, other: Found) -> list[harness.Row]:
    """The same models scored in int8 and in float32."""
    students = [*keys("plain"), *keys("seq", BEAM)]
    rows = [
        compared(
            "the same 12 students scored in int8", "in float32", ours, other, [(key, key) for key in students]
        )
    ]
    key = f"teacher-{CLEAN}"
    values = [[found[key]["bleu"]] for found in (ours, other)]
    note = f"difference {values[0][0] - values[1][0]:+.2f} BLEU"
    return [
        *rows,
        harness.row("the same teacher scored in int8", "in float32", "", *values, "BLEU", note=note),
    ]


def trained(ours: Found, other: Found) -> list[harness.Row]:
    """Students trained in bfloat16 beside those of float32: BLEU, and how far gradients went."""
    students = [*keys("plain"), *keys("both", BEAM)]
    pairs = [(key, key) for key in students]
    skipped = sum(
        found[key]["updates"][1] - found[key]["updates"][0] for found in (ours, other) for key in students
    )
    rows = [
        compared("`plain` and `both` trained in bfloat16, 12 pairs", "in float32", ours, other, pairs),
        *(
            compared(f"`{method}` trained in bfloat16", "in float32", ours, other, some)
            for method, some in (("plain", pairs[:6]), ("both", pairs[6:]))
        ),
    ]
    known = [key for key in students if ours[key]["norm"] and other[key]["norm"]]
    if not known:
        say("no gradient norms: all of these trainings come from a cache")
        return rows
    largest = [[max(found[key]["norm"] for key in known)] for found in (ours, other)]
    note = f"of {len(known)} trainings of each; {skipped} updates skipped"
    what = "largest norm of a gradient in bfloat16"
    return [*rows, harness.row(what, "in float32", "", *largest, "", note=note)]


# Rates


def decoded(model: Path, data: Path, lines: int, beam: int, compute: str) -> dict[str, Any]:
    """Seconds of translating training lines, the model's conversion left out, and the best translations."""
    from nmtkd.decoding import translate
    from nmtkd.decoding.search import Search

    search = Search(
        beam=beam,
        nbest=beam,
        length_penalty=1.0,
        max_length_factor=teacher.FACTOR,
        max_length_offset=teacher.OFFSET,
        compute=compute,
    )
    sources, _ = teacher.text(data, lines)
    translate.load(model, "ctranslate2", compute)
    start = time.monotonic()
    found = translate.translate(model, sources, search, "ctranslate2")
    return {"seconds": time.monotonic() - start, "outputs": [entries[0].text for entries in found]}


def rates(asked: argparse.Namespace) -> list[harness.Row]:
    """Rows of the teacher's decoding, in int8 beside float32. Measured once for a model and these options."""
    model, data = asked.source / "models" / "teacher" / CLEAN / "model", asked.source / "data"
    text = (data / "noise" / CLEAN / "train.src").read_text(encoding="utf-8")
    lines = min(asked.lines, text.count("\n"))
    stamp = f"{(model / 'model.sha256').read_text(encoding='utf-8')} {lines} {asked.rounds}"
    identity, path = hashlib.sha256(stamp.encode()).hexdigest(), asked.folder / RATES
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if known.get("of") == identity:
        say("rates: measured before")
        return [harness.Row(**row) for row in known["rows"]]
    rows = []
    for threads, environment in THREADS.items():
        for beam, named in BEAMS.items():
            options = ["--model", str(model), "--data", str(data), "--lines", str(lines), "--beam", str(beam)]
            sides = {name: harness.side(__file__, name, *options) for name in ("int8", "float32")}
            found = harness.pairs(sides, asked.rounds, dict.fromkeys(sides, environment), quiet=True)
            outputs = [measured[0]["outputs"] for measured in found.values()]
            same = sum(one == other for one, other in zip(*outputs, strict=True))
            values = [[lines / one["seconds"] for one in found[name]] for name in sides]
            what = f"the teacher's decoding in int8, {named}, {threads}"
            note = f"{100 * same / lines:.1f}% of {lines:,} hypotheses equal"
            rows.append(harness.row(what, "float32", "", *values, "sentences/s", note=note))
    path.write_text(json.dumps({"of": identity, "rows": [vars(row) for row in rows]}), encoding="utf-8")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=harness.ROOT, help="a finished experiment")
    parser.add_argument("--folder", type=Path, default=harness.ROOT / ".scratch" / "quality")
    parser.add_argument("--jobs", type=int, help="stages at once; by default as many as make repro takes")
    parser.add_argument("--lines", type=int, default=teacher.LINES, help="of which rates are measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=["int8", "float32"])
    parser.add_argument("--model", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--beam", type=int, default=5)
    asked = parser.parse_args()
    if asked.side:
        harness.result(**decoded(asked.model, asked.data, asked.lines, asked.beam, asked.side))
        return
    asked.source, asked.folder = asked.source.resolve(), asked.folder.resolve()
    compare(asked)


def compare(asked: argparse.Namespace) -> None:
    """All rows."""
    from nmtkd import machine

    raw = yaml.safe_load((asked.source / "params.yaml").read_text(encoding="utf-8"))
    facts: dict[str, Any] = {
        "corpus": raw["corpus"]["name"],
        "seeds": SEEDS,
        "intervals": "over seeds, not over segments",
    }
    rows: list[harness.Row] = []

    def keep(more: Sequence[harness.Row]) -> None:
        rows.extend(more)
        harness.save("quality", rows, facts)

    def go(name: str) -> Found:
        return run(name, asked.source, asked.folder, asked.jobs)

    prepared(asked.source, asked.folder)
    keep(rates(asked))
    if machine.multiplies_bfloat16():
        other = go("float32")
        keep(trained(go("bfloat16"), other))
    else:
        facts["bfloat16"] = "left out: this processor has no instructions for it"
        say(f"bfloat16 {facts['bfloat16']}")
    found = go("int8 hypotheses")
    keep(distilled(found, equal_hypotheses(asked.folder)))
    keep(scored(go("int8 scores"), found))


if __name__ == "__main__":
    main()
