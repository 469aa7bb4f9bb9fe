"""How numbers are written in tables, figures and sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nmtkd.evidence.statistics import Spread

SMALLEST_P = 0.001  # that is printed as a number
UNITS = (("G", 1e9), ("M", 1e6), ("k", 1e3))  # SI prefixes of counts


def count(number: int) -> str:
    """A number of parameters in three digits: 79.4k, 2.61M."""
    for unit, size in UNITS:
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def sizes(parameters: Iterable[int]) -> str:
    """Parameters of models of one capacity: a range if gated models kept different numbers of units."""
    ordered = sorted(set(parameters))
    return count(ordered[0]) if len(ordered) == 1 else f"{count(ordered[0])} to {count(ordered[-1])}"


def signed(number: float) -> str:
    """One decimal and a sign. A number that rounds to zero is +0.0, never -0.0."""
    return f"{round(number, 1) + 0.0:+.1f}"


def show(spread: Spread | None) -> str:
    """A mean with its standard deviation, if there are several seeds. Empty if there is no score."""
    if spread is None:
        return ""
    return f"{spread.mean:.1f}" if spread.sd is None else f"{spread.mean:.1f} ±{spread.sd:.1f}"


def span(numbers: Sequence[float]) -> str:
    """Numbers of several seeds: one if they are equal, else the smallest and the largest: 0.6-1.4."""
    low, high = min(numbers), max(numbers)
    return f"{low:g}" if low == high else f"{low:g}-{high:g}"


def show_p(p_value: float) -> str:
    """Three decimals; "<0.001" below: a thousand resamples cannot bear more digits."""
    return f"{p_value:.3f}" if p_value >= SMALLEST_P else f"<{SMALLEST_P}"
