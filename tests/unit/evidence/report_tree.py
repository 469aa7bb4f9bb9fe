"""A tiny results tree on invented text: by default one teacher, plain and seq at two capacities.

The validation set is the first half of the test set. Length penalty 1 is the one that was chosen but for
`seq` at `small`, whose translations at 1 are the plain student's.

Students at `gated` have openness, and their size depends on the seed.
Students of `hybrid_best` have a gate and the values that were tried for it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from nmtkd import files
from nmtkd.evidence import canvas, curves, metrics, results
from nmtkd.evidence.headline import Headline
from nmtkd.evidence.results import Result
from nmtkd.evidence.summaries import Summary
from nmtkd.evidence.summaries import summarise as summaries_of
from nmtkd.plan import layout
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.runs import methods as grid_methods
from nmtkd.plan.runs import runs
from nmtkd.plan.schema import Grid, Report
from nmtkd.text import provenance
from nmtkd.text.yardstick import TOKENISED

REFERENCES = [
    "Die rote Lampe im Flur ist aus .",
    "Öffne das Fenster in der Küche bitte sofort .",
    "Der kleine Motor läuft seit zwei Stunden ohne Pause .",
    "Bitte das Tor schließen",
    "Heute bleibt es bis zum Abend warm und trocken .",
    "Der neue Sensor meldet keine Daten mehr .",
    "Stelle die Heizung im Bad auf zwanzig Grad .",
    "Alle Türen sind zu",
    "Das Licht im Garten geht um neun Uhr an .",
    "Die Pumpe braucht frisches Wasser und neuen Strom .",
    "Sende mir morgen eine kurze Nachricht .",
    "Der Akku ist fast leer und muss geladen werden .",
]
SCALE = {"tiny": 51_234, "gated": 60_000, "small": 264_500, "teacher": 2_614_784}
WRONG = {
    "teacher": 6,
    "hybrid_best": 5,
    "seq": 4,
    "word": 3,
    "plain": 2,
}  # every n-th word of a model's output is another: the higher, the better
CURVE = ("100,1,5.0,4.5,,9000", "180,2,4.2,3.85,12.25,16200", "200,2,4.0,3.75,12.5,18000")
# A verdict takes as many segments as there are: most tests are about verdicts.
REPORT = Report(
    bootstrap_samples=200,
    bootstrap_seed=12345,
    confidence=0.95,
    min_segments=len(REFERENCES),
    max_climb=1.0,
    study="lamps",
)
GROUPS = [f"segment {number}" for number in range(len(REFERENCES))]
HEADLINE = Headline("test", REFERENCES, GROUPS, "13a", REPORT.min_segments, 100.0)
SMALL = replace(HEADLINE, min_segments=len(REFERENCES) + 1)
CARD = {
    "corpus": "lamps",
    "license": "CC0",
    "raw_pairs": 1400,
    "dropped": {"exact duplicates": 25, "sides too uneven": 3},
    "splits": {
        "train": {"pairs": 1360, "source_tokens": 9000, "target_tokens": 8800},
        "test": {"pairs": 12, "source_tokens": 80, "target_tokens": 81},
    },
    "near_duplicates": {"threshold": 0.8, "test": 3},
    "normalised": {},
    "ceiling": {"test": {"BLEU": 100.0, "lines": 12, "to the letter": 12, "spaces": 0}},
}


def methods(**families: list[str]) -> dict[str, list[str]]:
    """These methods and no others."""
    return {family: families.get(family, []) for family in FAMILIES}


ADAPTIVE: dict[str, Any] = {
    "methods": methods(plain=["plain"], seq=["seq"], hybrid=["hybrid_best"]),
    "capacities": ["tiny", "gated"],
}


def grid(**changes: Any) -> Grid:
    """plain and seq at tiny and small, one noise, decoding and seed; `changes` replace whole axes."""
    axes: dict[str, Any] = {
        "methods": methods(plain=["plain"], seq=["seq"]),
        "capacities": ["tiny", "small"],
        "noises": ["clean"],
        "decodings": ["beam"],
        "seeds": [1],
    }
    return Grid.model_validate(axes | changes)


def translate(
    method: str, capacity: str, search: str, seed: int = 1, noise: str = "clean", decoding: str = "beam"
) -> list[str]:
    """The references with every n-th word replaced; small is better than tiny, beam better than greedy.

    Noise costs the second word of every n-th line too, and a teacher's greedy decoding the third one.
    """
    if (method, capacity, search) == ("seq", "small", "beam_at_1"):
        method, search = "plain", "beam"
    every = WRONG[method] + (capacity == "small") + (search != "greedy")
    lines = []
    for number, line in enumerate(REFERENCES):
        words = line.split()
        if noise != "clean" and number % WRONG[method] == 0:
            words[1] = "kaputt"
        if decoding == "greedy" and number % WRONG[method] == 0:
            words[2] = "kaputt"
        lines.append(
            " ".join(
                "etwas" if (place + number * seed) % every == 0 else word for place, word in enumerate(words)
            )
        )
    return lines


def write(root: Path, study: Grid) -> None:
    """Everything that the report of `study` reads, below `root`."""
    prepared = root / layout.PREPARED
    prepared.mkdir(parents=True)
    for name, lines in (("ref", REFERENCES), ("tgt", REFERENCES), ("groups", GROUPS)):
        (prepared / f"test.{name}").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (prepared / "card.json").write_text(json.dumps(CARD), encoding="utf-8")
    for noise in study.noises:
        (root / layout.noise_dir(noise)).mkdir(parents=True)
        hits = {"source": {"words": 9000, "hit": 901}, "target": {"words": 8800, "hit": 882}}
        (root / layout.noise_dir(noise) / "card.json").write_text(json.dumps(hits), encoding="utf-8")
        _cell(root, layout.teacher_key(noise), ("teacher", "teacher", noise, "none", 7))
    for run in runs(study):
        _cell(root, run.key, (run.method, run.capacity, run.noise, run.decoding, run.seed))
    stamp(root)


def same_text(root: Path, study: Grid, primary: str) -> None:
    """All students write the text of the plain one of their size; their tokens are as they were."""
    for run in runs(study):
        folder, scores = root / layout.translations_dir(run.key), list[dict[str, Any]]()
        for search in ("beam", "beam_at_1", "greedy"):
            tokens = translate(run.method, run.capacity, search, run.seed, run.noise, run.decoding)
            text_search = "beam" if search != "greedy" else search
            text = translate("plain", run.capacity, text_search, run.seed, run.noise)
            files.write_text(folder / f"test.{search}", "".join(f"{line}\n" for line in text))
            if primary == TOKENISED:
                lines = "".join(f"{line}\n" for line in tokens)
                files.write_text(folder / f"test.{search}{metrics.TOKENS}", lines)
            for split, size in (("valid", len(text) // 2), ("test", len(text))):
                sides = [side[:size] for side in (text, REFERENCES, tokens, REFERENCES)]
                found = metrics.score(
                    sides[0],
                    sides[1],
                    tokeniser="13a",
                    tokenised_hypotheses=sides[2],
                    tokenised_references=sides[3],
                    primary=primary,
                )
                scores += [{"split": split, "search": search, **one} for one in found]
        edit(root, run.key, {"scores": scores})
    if primary == TOKENISED:
        for noise in study.noises:
            folder = root / layout.translations_dir(layout.teacher_key(noise))
            for search in ("beam", "beam_at_1", "greedy"):
                text_file = folder / f"test.{search}"
                files.write_text(folder / f"{text_file.name}{metrics.TOKENS}", files.read_text(text_file))
    for noise in study.noises:
        path = root / layout.scores_file(layout.teacher_key(noise))
        raw = json.loads(path.read_text(encoding="utf-8"))["scores"]
        edit(root, layout.teacher_key(noise), {"scores": [one for one in raw if one["split"] != "test_long"]})
    if primary == TOKENISED:
        _sign_by_tokens(root, study)
    stamp(root)


def _sign_by_tokens(root: Path, study: Grid) -> None:
    """The teacher's length counts tokens, as that of the students does."""
    for noise in study.noises:
        key = layout.teacher_key(noise)
        raw = json.loads((root / layout.scores_file(key)).read_text(encoding="utf-8"))["scores"]
        signature = next(one["signature"] for one in raw if one["metric"] == TOKENISED)
        length = (metrics.BREVITY, metrics.LENGTH_RATIO)
        changed = [one | ({"signature": signature} if one["metric"] in length else {}) for one in raw]
        edit(root, key, {"scores": changed})


def stamp(root: Path) -> None:
    """Puts the hashes of the files as they are onto the data card and into all results."""
    prepared = root / layout.PREPARED
    card = json.loads((prepared / "card.json").read_text(encoding="utf-8"))
    card |= provenance.written(prepared, ["test.ref", "test.tgt", "test.groups"])
    (prepared / "card.json").write_text(json.dumps(card), encoding="utf-8")
    references = {"test": files.file_hash(prepared / "test.ref")}
    for folder in sorted((root / layout.translations_dir("")).iterdir()):
        beside = files.hashes(path for path in sorted(folder.iterdir()) if path.name != "scores.json")
        edit(root, folder.name, {"sha256": beside, "references": references})


def _cell(root: Path, key: str, identity: tuple[str, str, str, str, int]) -> None:
    method, capacity, noise, decoding, seed = identity
    scores: list[dict[str, Any]] = []
    (root / layout.translations_dir(key)).mkdir(parents=True)
    for search in ("beam", "beam_at_1", "greedy"):
        lines = translate(method, capacity, search, seed, noise, decoding)
        (root / layout.translations_dir(key) / f"test.{search}").write_text(
            "\n".join(lines) + "\n", encoding="utf-8"
        )
        chosen = [i for i, line in enumerate(REFERENCES) if len(line.split()) >= 5]
        half = range(len(lines) // 2)
        sets = {"valid": half, "test": range(len(lines)), "test_long": chosen}
        for split, wanted in ((split, wanted) for split, wanted in sets.items() if wanted):
            ours, gold = [lines[i] for i in wanted], [REFERENCES[i] for i in wanted]
            found = metrics.score(
                ours, gold, tokeniser="13a", tokenised_hypotheses=ours, tokenised_references=gold
            )
            scores += [{"split": split, "search": search, **one} for one in found]
    size = SCALE[capacity] + (1000 * seed if capacity == "gated" else 0)
    result: dict[str, Any] = {
        "key": key,
        "role": "teacher" if method == "teacher" else "student",
        "corpus": "lamps",
        "pair": "en-de",
        "method": method,
        "capacity": capacity,
        "noise": noise,
        "decoding": decoding,
        "seed": seed,
        "parameters": size,
        "model_bytes": 4 * size,
        "model": model_hash(key),
        "updates": 300,
        "precision": "float32",
        "compute": "float32",
        "data": {
            "updates": 300,
            "sentences": 2720,
            "passes": 2.0,
            "source_tokens": 18000,
            "target_tokens": 17600,
            "trainings": 1,
        },
        "length_penalty": 1.4 if (method, capacity) == ("seq", "small") else 1.0,
        "length_penalties": {"1.0": 10.25, "1.4": 9.5},
        "scores": scores,
    }
    if method == "teacher":
        result["data"] |= {"sentences": 6800, "passes": 5.0}
    if method == "hybrid_best":
        result |= {"gate": 0.25, "tried": {"0.25": 12.5, "0.75": 11.0}}
        result["data"] |= {"sentences": 5440, "passes": 4.0, "trainings": 2}
    if capacity == "gated":
        shape: dict[str, Any] = {
            "units": 64,
            "kept": 37,
            "effective_capacity": 0.5781,
            "encoder": [16],
            "decoder": [21],
        }
        result["gates"] = {
            **shape,
            "parameters_before": 70_000,
            "valid_bleu_before": 12.75,
            "valid_bleu_closed": 12.5,
            "valid_bleu_end": 12.625,
        }
    gates = ["0.5", "0.3", "0.25"] if method == "hybrid_best" else [""] * 3
    opened = ["0.75", "0.6", f"0.5{seed}"] if capacity == "gated" else [""] * 3
    rows = [f"{start},{gate},{open_}\n" for start, gate, open_ in zip(CURVE, gates, opened, strict=True)]
    curve = "update,epoch,train_loss,valid_loss,valid_bleu,target_tokens,gate,openness\n" + "".join(rows)
    (root / layout.translations_dir(key) / "curve.csv").write_text(curve, encoding="utf-8")
    _write_result(root, key, json.dumps(result))


def model_hash(key: str) -> str:
    """What a run's model is called."""
    return hashlib.sha256(key.encode()).hexdigest()


def write_machine(root: Path, key: str, beam: float, seconds: float, model: str | None = None) -> None:
    """What a machine measured of a run: of its model, if no other one is named."""
    facts: dict[str, Any] = {"key": key, "model": model or model_hash(key)}
    facts |= {"machine": {"processor": "Abacus <9>", "device": "cpu", "cores": 2}}
    for kind, measured in (
        ("training", {"seconds": seconds, "target_tokens_per_second": 40123.4}),
        ("decoding", {"sentences_per_second": {"beam": beam, "greedy": 2 * beam}}),
    ):
        path = root / layout.machine_file(kind, key)
        files.write_script(path, layout.MEASURED, facts | {"kind": kind} | measured)


def edit(root: Path, key: str, change: dict[str, Any]) -> None:
    """Replaces fields of one result."""
    path = root / layout.scores_file(key)
    _write_result(root, key, json.dumps(json.loads(path.read_text(encoding="utf-8")) | change))


def summarise(
    root: Path, study: Grid, headline: Headline = HEADLINE, settings: Report = REPORT
) -> tuple[list[Result], list[Summary]]:
    """Results and summaries of a tree."""
    found = results.read(study, ["test"], root)

    def hypotheses(key: str, search: str) -> list[str]:
        return results.read_lines(root / layout.translations_dir(key) / f"test.{search}")

    climbs = {key: curves.climb(curve) for key, curve in points(root, found).items()}
    return found, summaries_of(found, study, settings, headline, hypotheses, climbs)


def points(root: Path, found: list[Result]) -> dict[str, list[canvas.Point]]:
    """Learning curves by key."""
    return {
        one.key: curves.read_curve(root / layout.translations_dir(one.key) / "curve.csv") for one in found
    }


def figure_data(root: Path, study: Grid, headline: Headline = HEADLINE) -> canvas.FigureData:
    """What figures read."""
    found, summaries = summarise(root, study, headline)
    return canvas.FigureData(
        summaries,
        curves.mean_curves(found, points(root, found)),
        study,
        "95%",
        headline,
        canvas.method_styles(grid_methods(study)),
    )


def _write_result(root: Path, key: str, text: str) -> None:
    """As `evaluate` leaves it beside the translations, and as `report` copies it for git."""
    for path in (root / layout.scores_file(key), root / layout.result_file(key)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
