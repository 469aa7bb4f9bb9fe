"""runner.forecast.screen: what is read, of a forecast with round numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.forecast import missing, screen
from runner.forecast.plan import Forecast, Looked, Question, forecast
from tests.unit.runner.forecast.helpers import ASSUMED, TEXT, experiment

DEPENDS = {
    "manifests": [],
    "corpus": ["manifests"],
    "teacher@clean": ["corpus"],
    "decode@clean-beam": ["teacher@clean"],
    "student_plain@plain-tiny-clean-1": ["corpus"],
    "student_plain@plain-small-clean-1": ["corpus"],
    "evaluate_plain@plain-tiny-clean-1": ["student_plain@plain-tiny-clean-1"],
    "report": ["evaluate_plain@plain-tiny-clean-1"],
}
CARD = Question(choices=[], jobs=1, card="small", cards=2)
LOOKED = Looked(params=experiment(), depends=DEPENDS, done=[], counted=(TEXT, 500))


@pytest.fixture(autouse=True)
def _all_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(missing, "archives", lambda _: [])


def found(**changes: object) -> Forecast:
    return forecast(CARD, replace(LOOKED, **changes), ASSUMED, print)  # type: ignore[arg-type]


def test_the_whole_screen() -> None:
    told = screen.lines(found(done=["manifests", "corpus", "student_plain@plain-tiny-clean-1"]))
    assert told[0] == (
        "homeassistant en-de, study default: teachers 1, students 2, capacities 2; "
        "1,000 pairs of train (counted)"
    )
    assert [line.split()[0] for line in told[2:10]] == [
        "stages", "data", "teacher", "decode", "student", "student", "evaluate", "report",
    ]  # fmt: skip
    rows = {line[:14].strip(): line[14:].split() for line in told[3:11]}
    assert rows["data"][:2] == ["2", "2"]
    assert rows["teacher"][:3] == ["1", "0", "1,453,056"]
    assert rows["student tiny"][:2] == ["1", "1"]
    assert rows["student small"][:2] == ["1", "0"]
    assert rows["all"][:2] == ["8", "3"]
    assert any(line.startswith("Time: ") and "on 2 x small" in line for line in told)
    assert "Missing: nothing." in told


def test_what_is_done_costs_nothing() -> None:
    told = screen.lines(found(done=list(DEPENDS)))
    assert "Time: none; all is done." in told
    assert not any(line.startswith(("Disk:", "Memory in")) for line in told)


def test_what_is_lacking_is_told() -> None:
    small = ASSUMED.model_copy(
        update={"cards": {"small": ASSUMED.cards["small"].model_copy(update={"gb": 1})},
                "memory": ASSUMED.memory.model_copy(update={"base": 999_000_000})}
    )  # fmt: skip
    told = screen.lines(forecast(CARD, LOOKED, small, print))
    assert any(
        line.startswith("Missing: memory: teacher takes about 1 GB in training, small has 1") for line in told
    )
    assert "Missing: nothing." not in told


def test_a_stage_after_one_to_run_is_to_run_too() -> None:
    one = found(done=[stage for stage in DEPENDS if stage != "teacher@clean"])
    assert one.left == ["teacher@clean", "decode@clean-beam"]


def test_a_line_before_a_run() -> None:
    told = screen.brief(found(done=[stage for stage in DEPENDS if not stage.startswith("report")]))
    assert told == "1 of 8 stages: about 6 s, 0 bytes of disk (`make plan` tells more)"
    assert "7 of 8 stages" in screen.brief(found(done=["manifests"]))


def test_figures_for_a_program() -> None:
    one = found(done=[stage for stage in DEPENDS if stage != "student_plain@plain-small-clean-1"])
    told = screen.figures(one)
    work = one.work["student_plain@plain-small-clean-1"]
    assert (told["stages"], told["left"]) == (8, 1)
    assert told["flops"] == work.flops(TEXT)
    assert told["bytes"] == work.disk["models"]
    assert told["scratch_bytes"] == work.disk["checkpoints"]
    assert told["seconds"] == list(one.seconds["student_plain@plain-small-clean-1"])


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(59.0, "59 s"), (600.0, "10 min"), (3 * 3600.0, "3.0 h"), (72 * 3600.0, "3.0 days")],
)
def test_durations(seconds: float, told: str) -> None:
    assert screen._clock(seconds) == told
