"""Runs and their names: what the grid multiplies out to, and the folder that each result lives in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nmtkd.params import FAMILY_SHAPES, Grid, Shape

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
BPE = Path("data/bpe")
REPORTS = Path("reports")
RUNS = REPORTS / "runs"

GOLD = "gold"  # the prefix of word-level targets; no decoding strategy may have this name
NONE = "none"  # in results.csv: the decoding of a method that learns from no decoding
STUDENT = "student"  # in results.csv: prefixes are the student's own samples


def prefix(shape: Shape) -> str:
    """What stands for the decoding where it is no axis."""
    return STUDENT if shape.teacher else GOLD if shape.targets else NONE


@dataclass(frozen=True, kw_only=True)
class Run:
    """One student: method x capacity x noise x decoding x seed. `family` says what it reads (params.Families)."""

    family: str
    method: str
    capacity: str
    noise: str
    decoding: str  # "none" for plain, "gold" for word, "student" for online
    seed: int

    @property
    def key(self) -> str:
        """The run's name, as DVC's ${key} spells it: matrix values joined by a hyphen."""
        parts = [self.method, self.capacity, self.noise]
        if FAMILY_SHAPES[self.family].hypotheses:
            parts.append(self.decoding)
        return "-".join([*parts, str(self.seed)])

    @classmethod
    def named(cls, family: str, names: Sequence[str]) -> Run:
        """The run that a stage's command line names: METHOD CAPACITY NOISE [DECODING] SEED, DECODING where the family learns from one.

        Raises ValueError for too few or too many names, or a seed that is no number.
        """
        shape = FAMILY_SHAPES[family]
        wanted = ["method", "capacity", "noise", *(["decoding"] if shape.hypotheses else []), "seed"]
        if len(names) != len(wanted) or not (names[-1].isascii() and names[-1].isdigit()):
            raise ValueError(f"family {family} takes {' '.join(wanted).upper()}, the seed being a whole number; got {' '.join(names)}")
        found = {"decoding": prefix(shape), **dict(zip(wanted[:-1], names[:-1], strict=True))}
        return cls(family=family, seed=int(names[-1]), **found)

    def facts(self) -> dict[str, str | int]:
        """Its place on the axes, for a result."""
        return {name: getattr(self, name) for name in ("method", "capacity", "noise", "decoding", "seed")}


def runs(grid: Grid) -> list[Run]:
    """All students of the grid, in the order of dvc.yaml's matrices."""
    found = []
    for family, shape in FAMILY_SHAPES.items():
        decodings = grid.decodings if shape.hypotheses else [prefix(shape)]
        found += [
            Run(family=family, method=method, capacity=capacity, noise=noise, decoding=decoding, seed=seed)
            for method in getattr(grid.methods, family)
            for capacity in grid.capacities
            for noise in grid.noises
            for decoding in decodings
            for seed in grid.seeds
        ]
    return found


def noise_dir(noise: str) -> Path:
    """Training text under a noise condition."""
    return Path("data/noise") / noise


def teacher_dir(noise: str) -> Path:
    """The teacher that was trained under a noise condition."""
    return Path("models/teacher") / noise


def hypotheses_dir(noise: str, decoding: str) -> Path:
    """The teacher's translations of the training source."""
    return Path("data/hypotheses") / f"{noise}-{decoding}"


def targets_dir(noise: str, prefix: str) -> Path:
    """The teacher's distributions along a prefix: `gold`, or the name of a decoding."""
    return Path("data/targets") / f"{noise}-{prefix}"


def student_dir(key: str) -> Path:
    """A trained student."""
    return Path("models/student") / key


def translations_dir(key: str) -> Path:
    """A model's translations of the held-out sets. `key` is a run's key or `teacher-NOISE`."""
    return Path("data/translations") / key


def result_file(key: str) -> Path:
    """A model's scores: small, tracked by git."""
    return RUNS / f"{key}.json"


def teacher_key(noise: str) -> str:
    """The teacher's name among results."""
    return f"teacher-{noise}"
