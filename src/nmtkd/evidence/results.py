"""What the runs scored: read cell by cell as the grid enumerates them, checked, and written as tidy rows.

Files are never globbed: what the grid does not name is an orphan of an earlier study, and what it names must be there.
"""

from __future__ import annotations

import csv
import io
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from nmtkd import grid as cells
from nmtkd.evidence.metrics import HEADLINE
from nmtkd.params import Grid

TEACHER = "teacher"  # in results: the teacher's method and capacity
LONG = "_long"  # the segments of prepare.long_words words and more of a test set
SEARCHES = ("beam", "greedy")  # test-time decoding, in the order of the report

RESULTS_HEADER = "corpus,pair,method,capacity,noise,decoding,seed,split,search,metric,value,signature"
SPEED_HEADER = "key,role,parameters,model_bytes,search,sentences_per_second,training_seconds,target_tokens_per_second"
ADAPTED_HEADER = "key,fact,value"
BLEU_HEADER = "capacity,parameters,method,noise,decoding,seed,search,bleu"


class ResultsError(ValueError):
    """Results that are missing or do not fit together, one line a problem."""


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True)  # further fields are for other readers


class Score(_Part):
    """One number and how it was computed."""

    split: str
    search: str
    metric: str
    value: float
    signature: str


class Training(_Part):
    """What training cost."""

    updates: int
    seconds: float
    target_tokens_per_second: float


class Speed(_Part):
    """How fast one search translates."""

    search: str
    sentences_per_second: float


class Gates(_Part):
    """What a gated student kept of its feed-forward units, and what cutting the others cost; BLEU is greedy, on validation."""

    units: int
    kept: int
    effective_capacity: float
    parameters_before: int
    valid_bleu_before: float
    valid_bleu_closed: float
    valid_bleu_end: float


class Result(_Part):
    """One model's scores: a file of reports/runs."""

    key: str
    role: str  # teacher or student
    corpus: str
    pair: str
    method: str
    capacity: str
    noise: str
    decoding: str
    seed: int
    parameters: int
    model_bytes: int
    training: Training
    scores: list[Score]
    speed: list[Speed]
    gate: float | None = None  # what a hybrid student with a validated gate took, and its validation BLEU at each value tried
    tried: dict[str, float] = {}
    gates: Gates | None = None

    def score(self, split: str, search: str, metric: str) -> float | None:
        """The value of one score, None where it was not computed."""
        return next((one.value for one in self.scores if (one.split, one.search, one.metric) == (split, search, metric)), None)

    def rate(self, search: str) -> float | None:
        """Sentences per second, None where it was not measured."""
        return next((one.sentences_per_second for one in self.speed if one.search == search), None)


def read(grid: Grid, tests: Sequence[str], root: Path = Path()) -> list[Result]:
    """The results of every cell: teachers by noise condition, then students in the grid's order. `root` holds `reports/`.

    A student that reads nothing of a teacher's still has one beside it, for comparison.
    Raises ResultsError that names all cells that are missing, unreadable, of another run, or scored in another way.
    """
    wanted: dict[str, tuple[object, ...]] = {cells.teacher_key(noise): (TEACHER, TEACHER, noise) for noise in grid.noises}
    wanted |= {run.key: (run.method, run.capacity, run.noise, run.decoding, run.seed) for run in cells.runs(grid)}
    missing, wrong, found = [], [], []
    for key, identity in wanted.items():
        path = root / cells.result_file(key)
        if not path.is_file():
            missing.append(f"{key}: missing; {path} is not there")
            continue
        try:
            result = Result.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"]) or "(the whole file)"
            wrong.append(f"{key}: unreadable; {path}: {place}: {first['msg']}; evaluate this cell again")
            continue
        got = (result.method, result.capacity, result.noise, result.decoding, result.seed)[: len(identity)]
        if (result.key, got) != (key, identity):
            wrong.append(f"{key}: of another run; {path} says {result.key}, {', '.join(map(str, got))}; evaluate this cell again")
            continue
        found.append(result)
    wrong += _differences(found, tests[0])
    if missing:
        wrong.append(f"{len(missing)} of {len(wanted)} cells of the grid are missing: finish the pipeline, or name fewer in `grid:`")
    if wrong:
        raise ResultsError("results do not make a report:\n" + "\n".join(f"  {line}" for line in missing + wrong))
    return found


def _differences(found: Sequence[Result], headline: str) -> list[str]:
    """What keeps cells from being compared: other test sets, other scores, other signatures."""
    lines = []
    for name, of in (("corpus", lambda one: one.corpus), ("pair", lambda one: one.pair), ("scores", _names)):
        lines += _groups(found, of, f"{name} differ between cells; they must be the same to be compared")
    for metric in dict.fromkeys(score.metric for result in found for score in result.scores):
        signatures: dict[str, list[str]] = defaultdict(list)
        for result in found:
            for signature in sorted({score.signature for score in result.scores if score.metric == metric}):
                signatures[signature].append(result.key)
        lines += _told(signatures, f"{metric}: computed in several ways; evaluate the cells again with one version of the metric")
    for result in found:
        for search in SEARCHES:
            if result.score(headline, search, HEADLINE) is None:
                lines.append(f"{result.key}: no {HEADLINE} of {headline} by {search}; evaluate this cell again")
    return lines


def _names(result: Result) -> str:
    return " ".join(f"{score.split}/{score.search}/{score.metric}" for score in result.scores)


def _groups(found: Sequence[Result], of: Callable[[Result], str], problem: str) -> list[str]:
    groups: dict[str, list[str]] = defaultdict(list)
    for result in found:
        groups[of(result)].append(result.key)
    return _told(groups, problem)


def _told(groups: dict[str, list[str]], problem: str) -> list[str]:
    if len(groups) < 2:
        return []
    return [problem] + [f"  {value}: {', '.join(keys)}" for value, keys in groups.items()]


def _axes(one: Result) -> list[str]:
    return [one.method, one.capacity, one.noise, one.decoding, str(one.seed)]


def tidy_rows(results: Iterable[Result]) -> list[list[str]]:
    """results.csv without its header: one score a row, nothing that depends on the machine."""
    return [
        [one.corpus, one.pair, *_axes(one), score.split, score.search, score.metric, f"{score.value:.4f}", score.signature]
        for one in results
        for score in one.scores
    ]


def speed_rows(results: Iterable[Result]) -> list[list[str]]:
    """speed.csv without its header: numbers of the machine that measured them."""
    rows = []
    for one in results:
        facts = [one.key, one.role, str(one.parameters), str(one.model_bytes)]
        training = [f"{one.training.seconds:.1f}", f"{one.training.target_tokens_per_second:.1f}"]
        rows += [[*facts, speed.search, f"{speed.sentences_per_second:.1f}", *training] for speed in one.speed]
    return rows


def adapted_rows(results: Iterable[Result]) -> list[list[str]]:
    """adapted.csv without its header: what students chose for themselves, a fact a row. Empty where none had a choice."""
    rows = []
    for one in results:
        facts: dict[str, float] = {f"valid_bleu_at_gate_{value}": bleu for value, bleu in one.tried.items()}
        facts |= {"gate": one.gate} if one.gate is not None else {}
        facts |= one.gates.model_dump() if one.gates else {}
        rows += [[one.key, name, f"{value:.4f}" if isinstance(value, float) else str(value)] for name, value in facts.items()]
    return rows


def bleu_rows(results: Iterable[Result], headline: str) -> list[list[str]]:
    """bleu.csv without its header: the headline score, for plots."""
    rows = []
    for one in results:
        method, capacity, *others = _axes(one)
        facts = [capacity, str(one.parameters), method, *others]
        rows += [[*facts, search, f"{one.score(headline, search, HEADLINE):.4f}"] for search in SEARCHES]
    return rows


def read_lines(path: Path) -> list[str]:
    """One segment a line. Raises ResultsError where the file is missing."""
    try:
        return path.read_bytes().decode().removesuffix("\n").split("\n")
    except FileNotFoundError:
        raise ResultsError(f"{path}: missing; run `dvc checkout`, or evaluate this cell again") from None


def write_csv(path: Path, header: str, rows: Iterable[Sequence[str]]) -> None:
    """A CSV file with LF line ends, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header.split(","), *rows])
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """A text file, whole or not at all."""
    part = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    part.write_text(text, encoding="utf-8", newline="\n")
    os.replace(part, path)
