"""The stage `report`: what it writes, that no byte depends on the machine, and its last screen."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import report

from nmtkd.plan.schema import Grid
from tests.unit.evidence import report_tree
from tests.unit.evidence.test_figures import ALWAYS

ROOT = Path(__file__).parent.parent.parent.parent
FILES = {"results.csv", "adapted.csv", "bleu.csv", "curves.csv", "metrics.json", "table.md", "index.html"}


def write(root: Path, study: Grid) -> None:
    """Everything that the stage reads."""
    report_tree.write(root, study)
    raw: dict[str, Any] = {}
    for name in ("config", "corpus/homeassistant", "scale/quick"):
        raw |= yaml.safe_load((ROOT / f"conf/{name}.yaml").read_text(encoding="utf-8"))
    del raw["defaults"]
    raw["report"]["bootstrap_samples"] = 50
    (root / "params.yaml").write_text(yaml.safe_dump(raw | {"grid": study.model_dump()}), encoding="utf-8")


def contents() -> dict[str, bytes]:
    """All that the stage wrote, by path."""
    paths = [path for path in Path("reports").rglob("*") if path.is_file()]
    return {
        str(path.relative_to("reports")): path.read_bytes()
        for path in paths
        if not {"runs", "machine"} & set(path.parts)
    }


def test_no_byte_depends_on_the_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A report without measurements, with those of a fast machine, and with those of a slow one."""
    write(tmp_path, report_tree.grid())
    monkeypatch.chdir(tmp_path)
    reports = []
    for rate in (None, 900.0, 3.5):
        if rate:
            report_tree.write_machine(Path(), "teacher-clean", rate, 1000.0 / rate)
            report_tree.write_machine(Path(), "seq-tiny-clean-beam-1", 2 * rate, 500.0 / rate)
        report.main([])
        reports.append(contents())
    assert reports[0] == reports[1] == reports[2]
    pngs = {"figures/bleu_by_capacity.png", "figures/learning_curves.png"}
    assert set(reports[0]) == FILES | {f"figures/{name}.svg" for name in ALWAYS} | pngs


def test_the_stage_ends_with_its_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--show` prints the same and writes nothing."""
    write(tmp_path, report_tree.grid())
    monkeypatch.chdir(tmp_path)
    report.main([])
    printed = capsys.readouterr().out
    assert "vs plain" in printed and str(tmp_path / "reports/index.html") in printed
    times = {path: path.stat().st_mtime_ns for path in Path().rglob("*")}
    report.main(["--show"])
    assert capsys.readouterr().out == printed
    assert {path: path.stat().st_mtime_ns for path in Path().rglob("*")} == times
