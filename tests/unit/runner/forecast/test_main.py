"""`python -m runner.forecast`: what is asked for by its options, and in which form the answer comes."""

from __future__ import annotations

import json

import pytest

from runner import schedule
from runner.forecast import __main__ as command
from runner.forecast import assumptions, plan
from runner.forecast.plan import Looked, Question
from tests.unit.runner.forecast.helpers import ASSUMED, TEXT, experiment

DEPENDS = {"corpus": [], "report": ["corpus"]}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Question]:
    """What is asked of an experiment of two stages, the second of which is left, on three cores."""
    questions: list[Question] = []
    forecast = plan.forecast

    def noted(question: Question, *looked: object) -> plan.Forecast:
        questions.append(question)
        return forecast(question, *looked)  # type: ignore[arg-type]

    looked = Looked(params=experiment(), depends=DEPENDS, done=["corpus"], counted=(TEXT, 500))
    monkeypatch.setattr(plan, "look", lambda *_: looked)
    monkeypatch.setattr(plan, "forecast", noted)
    monkeypatch.setattr(assumptions, "read", lambda: ASSUMED)
    monkeypatch.setattr(schedule, "at_once", lambda: 3)
    return questions


def told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr("sys.argv", ["plan", *arguments])
    command.main()
    return capsys.readouterr().out


def test_the_answer_comes_as_a_screen_a_line_or_figures(
    asked: list[Question], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report of nine models takes half a second each, and two to begin."""
    line = "1 of 2 stages: about 6 s, 0 bytes of disk (`make plan` tells more)\n"
    assert told(monkeypatch, capsys, "--card", "small", "--brief") == line
    screen = told(monkeypatch, capsys, "--card", "small").splitlines()
    assert screen[0].startswith("homeassistant en-de, study default: ") and screen[-1] == "Missing: nothing."
    figures = {"stages": 2, "left": 1, "flops": 0, "seconds": [6.5, 6.5], "bytes": 0, "scratch_bytes": 0}
    assert json.loads(told(monkeypatch, capsys, "--card", "small", "--json")) == figures


@pytest.mark.parametrize(
    ("arguments", "question"),
    [
        ([], Question(choices=[], jobs=3, card=None, cards=1)),
        (["a=b", "--jobs", "2"], Question(choices=["a=b"], jobs=2, card=None, cards=1)),
        (["--card", "small", "--cards", "8"], Question(choices=[], jobs=3, card="small", cards=8)),
    ],
)
def test_options_are_what_is_asked(
    asked: list[Question],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    question: Question,
) -> None:
    told(monkeypatch, capsys, *arguments)
    assert asked == [question]


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--card", "large"], "CARD must be one of small; got large"),
        (["--jobs", "0"], "JOBS and CARDS must be 1 or more; got 0 and 1"),
        (["--card", "small", "--cards", "0"], "JOBS and CARDS must be 1 or more; got 3 and 0"),
    ],
)
def test_wrong_options_are_told(
    asked: list[Question],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    why: str,
) -> None:
    monkeypatch.setattr("sys.argv", ["plan", *arguments])
    with pytest.raises(SystemExit):
        command.main()
    assert why in capsys.readouterr().err and not asked
