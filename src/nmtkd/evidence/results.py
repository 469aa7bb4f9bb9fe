"""What the runs scored: read run by run as the grid enumerates them, and checked.

The folder is never searched. A file that the grid does not name comes from an earlier study.
A file that the grid names must be there.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from nmtkd import files
from nmtkd.plan import layout
from nmtkd.plan.runs import runs
from nmtkd.plan.schema import Grid
from nmtkd.text.yardstick import HEADLINE

TEACHER, LONG, VALID = layout.TEACHER, layout.LONG, layout.VALID
STUDENT = "student"  # in results: a student's role
# Test-time decoding: a beam with the length penalty that is best on VALID, with penalty 1, and greedy.
BEAM, BEAM_AT_1, GREEDY = SEARCHES = ("beam", "beam_at_1", "greedy")
PLOTTED = (BEAM, GREEDY)  # of figures: the penalty's part is a column of the table

CellKey = tuple[
    str, str, str, str
]  # method, capacity, noise, decoding: the runs that differ in the seed alone


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


class Gates(_Part):
    """How many feed-forward units a gated student kept, and what closing the others cost.

    BLEU is by greedy search, on the validation set.
    """

    units: int
    kept: int
    effective_capacity: float
    parameters_before: int
    valid_bleu_before: float
    valid_bleu_closed: float
    valid_bleu_end: float


class Data(_Part):
    """What a model was trained on, all of its trainings together. Tokens are BPE tokens."""

    updates: int
    sentences: int
    passes: float  # sentences over those of the training set
    source_tokens: int
    target_tokens: int
    trainings: int


class Result(_Part):
    """One model's scores: scores.json beside its translations. Nothing in it depends on a machine's speed."""

    key: str
    role: str  # teacher or student
    corpus: str
    pair: str
    method: str
    capacity: str
    noise: str
    decoding: str
    seed: int
    model: str  # content hash: times and rates count for this model alone
    parameters: int
    model_bytes: int
    updates: int
    precision: str  # of products in training
    compute: str  # type of products in the translations that were scored
    data: Data
    length_penalty: float  # of the search BEAM
    length_penalties: dict[str, float]  # validation BLEU of each penalty that was tried
    scores: list[Score]
    sha256: dict[str, str]  # of the files beside it: translations and learning curve
    references: dict[str, str]  # SHA-256 of the references of each set that was scored
    gate: float | None = None  # the value that a hybrid student with a validated gate took
    tried: dict[str, float] = {}  # validation BLEU of each value that it tried
    gates: Gates | None = None

    @property
    def cell(self) -> CellKey:
        """What the runs of several seeds share."""
        return self.method, self.capacity, self.noise, self.decoding

    def score(self, split: str, search: str, metric: str) -> float | None:
        """The value of one score. None if it was not computed."""
        names = (split, search, metric)
        return next((s.value for s in self.scores if (s.split, s.search, s.metric) == names), None)


def teacher_axes(noise: str) -> dict[str, str | int]:
    """A teacher's place on the axes of the grid, as Run.axes() gives a student's."""
    return {"method": TEACHER, "capacity": TEACHER, "noise": noise, "decoding": layout.NONE, "seed": 0}


def read(grid: Grid, tests: Sequence[str], root: Path = Path(), metric: str = HEADLINE) -> list[Result]:
    """The results of all teachers, by noise condition, then of all students in the grid's order.

    `root` holds `data/`. All need `metric` of the validation set and the first test set.
    Raises ResultsError that names all missing, unreadable, mixed-up and incomparable results, and those whose
    translations, curve or references are not the files that were scored.
    """
    identities: dict[str, tuple[object, ...]] = {
        layout.teacher_key(noise): (TEACHER, TEACHER, noise) for noise in grid.noises
    }
    identities |= {run.key: tuple(run.axes().values()) for run in runs(grid)}
    missing, problems, results = [], [], []
    references = {
        name: files.hashes([path])[path.name]
        for name in (VALID, *tests)
        if (path := root / layout.PREPARED / f"{name}.ref").is_file()
    }
    for key, identity in identities.items():
        path = root / layout.scores_file(key)
        if not path.is_file():
            missing.append(f"{key}: missing; {path} is not there")
            continue
        try:
            result = Result.model_validate_json(path.read_bytes())
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "(the whole file)"
            problems.append(f"{key}: unreadable; {path}: {field}: {first['msg']}; evaluate this cell again")
            continue
        axes = (*result.cell, result.seed)[: len(identity)]
        if (result.key, axes) != (key, identity):
            content = f"{result.key}, {', '.join(map(str, axes))}"
            problems.append(f"{key}: of another run; {path} says {content}; evaluate this cell again")
            continue
        problems += [f"{key}: {fault}; evaluate this cell again" for fault in _other_files(result, path)]
        problems += [
            f"{key}: scored against other references of {name} than {layout.PREPARED / name}.ref; "
            "evaluate this cell again"
            for name, digest in references.items()
            if result.references.get(name) != digest
        ]
        results.append(result)
    problems += _differences(results, tests[0], metric)
    if missing:
        problems.append(
            f"{len(missing)} of {len(identities)} cells of the grid are missing: "
            "finish the pipeline, or name fewer in `grid:`"
        )
    if problems:
        lines = "\n".join(f"  {line}" for line in missing + problems)
        raise ResultsError(f"results do not make a report:\n{lines}")
    return results


def _other_files(result: Result, path: Path) -> list[str]:
    """What is missing or wrong beside the scores in `path`."""
    faults = []
    for name, digest in result.sha256.items():
        file = path.with_name(name)
        if not file.is_file():
            faults.append(f"missing; {file} is not there")
        elif files.file_hash(file) != digest:
            faults.append(f"{file} is not the file that was scored")
    return faults


def _differences(results: Sequence[Result], headline: str, primary: str) -> list[str]:
    """What makes results incomparable: other test sets, other scores, other signatures."""
    lines = []
    for name, value_of in (
        ("corpus", lambda r: r.corpus),
        ("pair", lambda r: r.pair),
        ("evaluate.compute", lambda r: r.compute),
        ("scores", _score_names),
    ):
        problem = f"{name} differ between cells; they must be the same to be compared"
        lines += _problem(problem, _keys_by_value(results, value_of))
    for metric in dict.fromkeys(score.metric for result in results for score in result.scores):
        signatures: dict[str, list[str]] = defaultdict(list)
        for result in results:
            for signature in sorted({score.signature for score in result.scores if score.metric == metric}):
                signatures[signature].append(result.key)
        problem = (
            f"{metric}: computed in several ways; evaluate the cells again with one version of the metric"
        )
        lines += _problem(problem, signatures)
    for result in results:
        for split, search in itertools.product((VALID, headline), SEARCHES):
            if result.score(split, search, primary) is None:
                lines.append(f"{result.key}: no {primary} of {split} by {search}; evaluate this cell again")
    return lines


def _score_names(result: Result) -> str:
    return " ".join(f"{score.split}/{score.search}/{score.metric}" for score in result.scores)


def _keys_by_value(results: Sequence[Result], value_of: Callable[[Result], str]) -> dict[str, list[str]]:
    keys: dict[str, list[str]] = defaultdict(list)
    for result in results:
        keys[value_of(result)].append(result.key)
    return keys


def _problem(problem: str, keys_by_value: dict[str, list[str]]) -> list[str]:
    """The problem and who has which value. Nothing if all have the same."""
    if len(keys_by_value) < 2:
        return []
    return [problem] + [f"  {value}: {', '.join(keys)}" for value, keys in keys_by_value.items()]


def read_lines(path: Path) -> list[str]:
    """The segments of a file, one a line. Raises files.DamagedError if it is missing or not UTF-8."""
    return files.read_text(path).removesuffix("\n").split("\n")
