"""Runs, the product of the grid's axes, and their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nmtkd.plan.layout import GOLD, NONE, STUDENT
from nmtkd.plan.methods import FAMILIES, Family
from nmtkd.plan.schema import Grid

SEED = re.compile("0|[1-9][0-9]{0,9}")  # as DVC writes it into a key: no leading zero, ten digits at most


def prefix(family: Family) -> str:
    """Value of the `decoding` column for families that have no decoding axis."""
    return STUDENT if family.teacher else GOLD if family.targets else NONE


@dataclass(frozen=True, kw_only=True)
class Run:
    """A student: method x capacity x noise x decoding x seed. `family` decides what it reads."""

    family: str
    method: str
    capacity: str
    noise: str
    decoding: str  # "none" for plain, "gold" for word, "student" for online
    seed: int

    @property
    def key(self) -> str:
        """The run's name, as in DVC's ${key}: matrix values joined by a hyphen."""
        parts = [self.method, self.capacity, self.noise]
        if FAMILIES[self.family].hypotheses:
            parts.append(self.decoding)
        return "-".join([*parts, str(self.seed)])

    @classmethod
    def from_key(cls, family: str, key: str) -> Run:
        """The run of a key METHOD-CAPACITY-NOISE[-DECODING]-SEED; DECODING is for families with that axis.

        Raises ValueError for too few or too many names, or a seed that is not a number as params.yaml has it.
        """
        axes = ["method", "capacity", "noise", *(["decoding"] if FAMILIES[family].hypotheses else []), "seed"]
        names = key.split("-")
        if len(names) != len(axes) or not SEED.fullmatch(names[-1]):
            raise ValueError(
                f"family {family} takes {'-'.join(axes).upper()}, the seed being a whole number; got {key}"
            )
        values = {"decoding": prefix(FAMILIES[family]), **dict(zip(axes[:-1], names[:-1], strict=True))}
        return cls(family=family, seed=int(names[-1]), **values)

    def axes(self) -> dict[str, str | int]:
        """Its values on the axes, for a result."""
        return {name: getattr(self, name) for name in ("method", "capacity", "noise", "decoding", "seed")}


def runs(grid: Grid) -> list[Run]:
    """All students of the grid, in the order of dvc.yaml's matrices."""
    students = []
    for name, family in FAMILIES.items():
        decodings: Sequence[str] = grid.decodings if family.hypotheses else [prefix(family)]
        students += [
            Run(family=name, method=method, capacity=capacity, noise=noise, decoding=decoding, seed=seed)
            for method in getattr(grid.methods, name)
            for capacity in grid.capacities
            for noise in grid.noises
            for decoding in decodings
            for seed in grid.seeds
        ]
    return students


def methods(grid: Grid) -> list[str]:
    """The grid's methods in the order of its families, the plain one first."""
    return list(dict.fromkeys(run.method for run in runs(grid)))
