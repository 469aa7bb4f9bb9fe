"""runner.forecast.screen: what is read, of a forecast with round numbers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from nmtkd import machine
from runner.forecast import missing, screen
from runner.forecast.plan import Forecast, Looked, Question, forecast
from runner.forecast.work import CHECKPOINTS, HYPOTHESES, MODELS, TARGETS
from runner.forecast.work import TEXT as TEXT_BYTES
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


# Two students of a size, of which the second takes three times as long. The smallest is done.
TINY, SMALL = "student_plain@plain-tiny-clean-1", "student_plain@plain-small-clean-1"
SECOND, EVALUATION = "student_plain@plain-small-clean-2", "evaluate_plain@plain-tiny-clean-1"
DONE = ["manifests", "corpus", TINY]
GIB = 2**30
DISK = {
    "corpus": {TEXT_BYTES: GIB // 4},
    "teacher@clean": {MODELS: 2 * GIB, CHECKPOINTS: 8 * GIB},
    "decode@clean-beam": {HYPOTHESES: 4 * GIB},
    "targets_gold@clean": {TARGETS: 8 * GIB},
    TINY: {MODELS: GIB // 2, CHECKPOINTS: 32 * GIB},
    SMALL: {MODELS: GIB, CHECKPOINTS: 4 * GIB},
    SECOND: {MODELS: GIB, CHECKPOINTS: 4 * GIB},
    EVALUATION: {TEXT_BYTES: GIB // 4},
}
SECONDS = {SMALL: (30.0, 600.0), SECOND: (90.0, 1800.0), "report": (50.0, 50.0)}


def by_hand(**changes: Any) -> Forecast:
    """A forecast of round bytes, seconds and updates. A model takes a gigabyte of memory beside its own."""
    depends = {**DEPENDS, "targets_gold@clean": ["teacher@clean"], SECOND: ["corpus"]}
    params = experiment(teacher__training__max_tokens=2048, training__max_tokens=2048)
    one = found(depends=depends, done=DONE, params=params)
    updates = {"teacher@clean": 10**6, TINY: 10**9, SMALL: 10**6, SECOND: 10**6}
    work = {
        stage: replace(one, disk=DISK.get(stage, {}), updates=updates.get(stage, 0))
        for stage, one in one.work.items()
    }
    seconds = {stage: SECONDS.get(stage, (10.0, 90.0)) for stage in one.left}
    memory = ASSUMED.memory.model_copy(update={"base": 10**9})
    known: dict[str, Any] = {"work": work, "seconds": seconds, "total": (3 * 3600.0, 4 * 86400.0)}
    return replace(one, **known, assumed=ASSUMED.model_copy(update={"memory": memory}), **changes)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for scratch on a full disk."""
    monkeypatch.setenv("NMTKD_SCRATCH", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    return tmp_path


TABLE = """
               stages  done  parameters    to train     time of one        disk
data                2     2                                          256.00 MiB
teacher             1     0   1,453,056  16.8 PFLOP    10 s to 90 s    2.00 GiB
decode              1     0                            10 s to 90 s    4.00 GiB
targets             1     0                            10 s to 90 s    8.00 GiB
student tiny        1     1      71,616                              512.00 MiB
student small       2     0     199,680   4.6 PFLOP  60 s to 20 min    2.00 GiB
evaluate            1     0                            10 s to 90 s  256.00 MiB
report              1     0                                    50 s     0 bytes
all                10     3              21.3 PFLOP                   17.00 GiB
"""
LEFT = (
    "Disk: 16.25 GiB more in the cache (text 256.00 MiB, hypotheses 4.00 GiB, targets 8.00 GiB, models 4.00 "
    "GiB), "
)


def test_the_whole_screen(full: Path) -> None:
    """On two cards the two largest trainings that are left have checkpoints at once."""
    assert screen.lines(by_hand(remarks=["a guess"])) == [
        "homeassistant en-de, study default: teachers 1, students 3, capacities 2; 1,000 pairs of train "
        "(counted)",
        *TABLE.splitlines(),
        "",
        "Time: 3.0 h to 4.0 days on 2 x small, a stage on each: not measured, and so a range. Training is "
        "assumed to reach 10% to 50% of the card's peak, and to wait for launches where models are small "
        "(conf/forecast.yaml).",
        f"{LEFT}as much in the workspace (`dvc config --local cache.type hardlink,copy` links them), 12.00 "
        "GiB of scratch meanwhile.",
        "Memory in training (small), GB, about: teacher 1.2, small 1.1.",
        "Assumed: a guess",
        f"Missing: disk: 44.50 GiB are needed, 0 bytes are free on that of {full}",
        "Missing: memory: teacher takes about 1 GB in training, small has 1; lower its max_tokens and raise "
        "accumulate as much",
        "Missing: memory: small takes about 1 GB in training, small has 1; lower its max_tokens and raise "
        "accumulate as much",
    ]


def test_this_machines_screen(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three trainings at once by float32, in a workspace that is linked to the cache."""
    monkeypatch.setenv("NMTKD_DEVICE", "cpu")
    monkeypatch.setattr(machine, "description", lambda: {"processor": "P", "cores": 2, "device": "cpu"})
    monkeypatch.setattr(machine, "memory_bytes", lambda: 1_150_000_000)
    here = Question(choices=[], jobs=3, card=None, cards=1)
    told = screen.lines(by_hand(question=here, linked=True))
    assert told[1:12] == TABLE.splitlines()
    assert told[13:] == [
        "Time: 3.0 h to 4.0 days here, JOBS=3, by speeds just measured (P, 2 cores, cpu).",
        f"{LEFT}none in the workspace, which is linked, 16.00 GiB of scratch meanwhile.",
        "Memory in training (cpu), GB, about: teacher 1.2, small 1.1.",
        f"Missing: disk: 32.25 GiB are needed, 0 bytes are free on that of {full}",
        "Missing: memory: teacher takes about 1 GB in training, this machine has 1; lower its max_tokens and "
        "raise accumulate as much",
    ]


def test_what_is_done_costs_nothing() -> None:
    told = screen.lines(found(done=list(DEPENDS)))
    assert "Time: none; all is done." in told
    assert not any(line.startswith(("Disk:", "Memory in")) for line in told)


def test_what_is_lacking_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Archives only of a corpus that is not there yet."""
    monkeypatch.setattr(missing, "archives", lambda _: ["an archive"])
    monkeypatch.setenv("NMTKD_LAUNCH", "srun")
    launched = "Missing: NMTKD_LAUNCH is set: times are those of this host, not of a cluster's nodes"
    assert screen.lines(found())[-2:] == ["Missing: an archive", launched]
    monkeypatch.delenv("NMTKD_LAUNCH")
    assert screen.lines(found(done=["manifests", "corpus"]))[-1] == "Missing: nothing."


def test_a_stage_after_one_to_run_is_to_run_too() -> None:
    one = found(done=[stage for stage in DEPENDS if stage != "teacher@clean"])
    assert one.left == ["teacher@clean", "decode@clean-beam"]


def test_a_line_before_a_run() -> None:
    assert screen.brief(by_hand()) == (
        "7 of 10 stages: 21.3 PFLOP of training, about 3.0 h to 4.0 days, 16.25 GiB of disk (`make plan` "
        "tells more)"
    )
    one = found(done=[stage for stage in DEPENDS if stage != "report"])
    assert screen.brief(one) == "1 of 8 stages: about 6 s, 0 bytes of disk (`make plan` tells more)"


def test_figures_for_a_program_are_of_what_is_left() -> None:
    one = by_hand()
    teacher, small = (one.models[name].step_flops(TEXT) for name in ("teacher", "small"))
    assert screen.figures(one) == {
        "stages": 10,
        "left": 7,
        "flops": pytest.approx(10**6 * (teacher + 2 * small)),
        "seconds": [3 * 3600.0, 4 * 86400.0],
        "bytes": 16.25 * GIB,
        "scratch_bytes": 12 * GIB,
    }


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (59.0, "59 s"),
        (600.0, "10 min"),
        (7140.0, "119 min"),
        (3 * 3600.0, "3.0 h"),
        (47 * 3600.0, "47.0 h"),
        (72 * 3600.0, "3.0 days"),
    ],
)
def test_durations(seconds: float, told: str) -> None:
    assert screen._clock(seconds) == told
