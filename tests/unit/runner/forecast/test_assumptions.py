"""runner.forecast.assumptions: the committed file is whole, and a wrong one is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nmtkd.plan.methods import FAMILIES
from runner.forecast import assumptions
from tests.unit.runner.forecast.helpers import ROOT


def test_the_committed_file_knows_each_family_and_shipped_corpus() -> None:
    found = assumptions.read(ROOT / assumptions.FILE)
    assert set(found.families) == set(FAMILIES)
    shipped = {path.stem for path in (ROOT / "conf/corpus").glob("*.yaml")} - {"files", "mtdata"}
    assert set(found.corpora) == shipped


def test_a_wrong_entry_is_named(tmp_path: Path) -> None:
    raw = yaml.safe_load((ROOT / assumptions.FILE).read_text(encoding="utf-8"))
    raw["memory"].pop("ffn")
    raw["cards"]["h100"]["tflops"] = "many"
    (tmp_path / "forecast.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    with pytest.raises(ValueError, match=r"forecast\.yaml: correct these entries\n") as error:
        assumptions.read(tmp_path / "forecast.yaml")
    assert "\n  memory.ffn: Field required" in str(error.value)
    assert "\n  cards.h100.tflops: Input should be a valid integer" in str(error.value)
