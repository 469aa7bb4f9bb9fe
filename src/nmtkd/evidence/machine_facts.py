"""What a machine measured of each model: files in reports/machine/, which no stage depends on.

A model from a cache may have no file, or the file of an earlier model.
A fact counts only if it names the same model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nmtkd import files
from nmtkd.evidence.results import BEAM
from nmtkd.plan import layout
from nmtkd.plan.layout import DECODING, TRAINING

NOTHING = "-"  # shown if nothing was measured of these very models


def columns(models: Mapping[str, str], root: Path = Path()) -> dict[str, str]:
    """The two columns of a table's row, `sent/s` and `train s`: means over the runs that were measured here.

    `models` are the content hashes of the row's models by key. `root` holds `reports/`.
    """
    rates = [facts.get("sentences_per_second", {}).get(BEAM) for facts in _facts(DECODING, models, root)]
    seconds = [facts.get("seconds") for facts in _facts(TRAINING, models, root)]
    return {"sent/s": _mean(rates), "train s": _mean(seconds)}


def machines(models: Mapping[str, str], root: Path = Path()) -> str:
    """The machines that measured these models, as in "Xeon, 1 or 2 cores"; NOTHING if none did."""
    cores: dict[str, set[int]] = {}
    for kind in (TRAINING, DECODING):
        for facts in _facts(kind, models, root):
            host = facts.get("machine", {})
            name = host.get("processor", "?") + (
                "" if host.get("device") == "cpu" else f", {host.get('device')}"
            )
            cores.setdefault(name, set()).add(host.get("cores", 1))
    hosts = [
        f"{name}, {' or '.join(map(str, sorted(counts)))} cores" for name, counts in sorted(cores.items())
    ]
    return "; ".join(hosts) or NOTHING


def _facts(kind: str, models: Mapping[str, str], root: Path) -> list[dict[str, Any]]:
    """The facts of one kind that are about these very models."""
    facts = {key: files.read_script(root / layout.machine_file(kind, key)) for key in models}
    return [f for key, f in facts.items() if isinstance(f, dict) and f.get("model") == models[key]]


def _mean(values: list[float | None]) -> str:
    measured = [value for value in values if value is not None]
    return f"{math.fsum(measured) / len(measured):.0f}" if measured else NOTHING
