"""What tests of forecasts share: params, a text, assumptions with round numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from nmtkd.plan import params
from nmtkd.plan.schema import Params
from runner.forecast.assumptions import Assumptions, Sizes
from runner.forecast.work import Planner

ROOT = Path(__file__).resolve().parents[4]
TEXT = Sizes(train=1000, valid=100, tests=50, source=8.0, target=9.0)
ASSUMED = Assumptions.model_validate(
    {
        "corpora": {"known": {"train": 5000, "valid": 10, "tests": 20, "source": 5.0, "target": 6.0}},
        "unknown": {"train": 7000, "valid": 30, "tests": 40, "source": 7.0, "target": 8.0},
        "start_seconds": 2.0,
        "data_seconds": {"corpus": 100.0, "prepare": 200.0, "bpe": 300.0, "noise": 400.0},
        "report_seconds": 0.5,
        "families": {"plain": 1.0, "word": 1.25, "seq": 0.5, "both": 1.0, "hybrid": 2.0, "online": 1.5},
        "consistency": 2.0,
        "forward": 0.25,
        "memory": {
            "base": 1000,
            "parameter": 18,
            "encoder": 24,
            "decoder": 40,
            "ffn": 2,
            "scores": 2,
            "ends": 36,
            "float32": 2,
        },
        "cards": {"small": {"tflops": 1, "gb": 1}},
        "share": {"least": 0.1, "most": 0.5},
        "launch": {"least": 0.001, "most": 0.01},
        "decoding_share": {"least": 0.01, "most": 0.1},
    }
)


def experiment(**changes: Any) -> Params:
    """The committed params with values by their dotted names, `__` for the dot."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for place, value in changes.items():
        *parents, last = place.split("__")
        target = raw
        for name in parents:
            target = target[name]
        target[last] = value
    return params.validate(raw)


def planner(**changes: Any) -> Planner:
    return Planner(params=experiment(**changes), text=TEXT, assumed=ASSUMED, vocabulary=500)
