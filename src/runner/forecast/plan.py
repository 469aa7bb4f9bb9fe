"""A forecast: what an experiment has to do, what of it is done, what the rest costs."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmtkd import machine
from nmtkd.plan import params as reading
from nmtkd.plan.schema import Params
from runner import schedule
from runner.forecast import text
from runner.forecast.assumptions import Assumptions, Sizes
from runner.forecast.cost import Measured, Named, Price, Range, makespan
from runner.forecast.sizes import Model
from runner.forecast.work import Planner, Work

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked: choices of conf/ (none: params.yaml), stages at once, a card that is not here."""

    choices: Sequence[str]
    jobs: int
    card: str | None
    cards: int


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """The answer. `work` and `seconds` are those of each stage, done or not."""

    question: Question
    params: Params
    text: Sizes
    known: bool  # whether the text was counted, or assumed
    linked: bool  # whether the workspace is linked to the cache
    remarks: Sequence[str]
    depends: Mapping[str, Sequence[str]]
    done: Collection[str]
    work: Mapping[str, Work]
    seconds: Mapping[str, Range]
    total: Range
    models: Mapping[str, Model]  # that train, by name
    assumed: Assumptions

    @property
    def left(self) -> list[str]:
        """Stages that are not done."""
        return [stage for stage in self.depends if stage not in self.done]


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What is there of an experiment: stages, those that are done, and its text where that was counted."""

    params: Params
    depends: Mapping[str, Sequence[str]]
    done: Collection[str]
    counted: text.Counted | None
    linked: bool = False  # whether the workspace is linked to the cache


def look(choices: Sequence[str], compose: Callable[[Sequence[str], Path], None]) -> Looked:
    """What is there of an experiment. `compose` writes the params of some choices into a file."""
    from runner.forecast import there

    with tempfile.TemporaryDirectory(prefix="plan-") as place:
        folder, origin = Path(place), Path.cwd()
        path = Path("params.yaml")
        if choices:
            path = folder / "composed.yaml"
            compose(choices, path)
        params = reading.validate(reading.read_yaml(path), path)
        there.workspace(folder, path)
        with there.opened(folder) as repo:
            depends, done = there.graph(repo), there.Done(repo, origin)
            counted = text.found(done.file, params)
    return Looked(params=params, depends=depends, done=done.stages, counted=counted, linked=there.linked())


def planner_of(looked: Looked, assumed: Assumptions) -> tuple[Planner, Sequence[str]]:
    """What finds the work of stages, and remarks on what it assumes."""
    if looked.counted:
        sizes, vocabulary = looked.counted
        remarks: Sequence[str] = []
    else:
        sizes, vocabulary, remarks = text.expected(looked.params, assumed)
    found = Planner(params=looked.params, text=sizes, assumed=assumed, vocabulary=vocabulary)
    return found, remarks


def forecast(asked: Question, looked: Looked, assumed: Assumptions, tell: Tell) -> Forecast:
    """Answers a question."""
    planner, remarks = planner_of(looked, assumed)
    depends = looked.depends
    work = {stage: planner.work(stage) for stage in depends}
    plan = schedule.Plan(depends, [stage for stage in depends if stage not in looked.done])
    left = {stage: work[stage] for stage in plan.left}
    price, jobs, alone = _price(asked, left, planner, tell)
    seconds = {stage: price(stage, one) for stage, one in left.items()}
    best, worst = (
        makespan(
            schedule.Plan(depends, list(left)),
            {stage: one[end] for stage, one in seconds.items()},
            jobs,
            alone=alone,
        )
        for end in (0, 1)
    )
    return Forecast(
        question=asked,
        params=looked.params,
        text=planner.text,
        known=looked.counted is not None,
        linked=looked.linked,
        remarks=remarks,
        depends=depends,
        done={stage for stage in depends if stage not in left},
        work=work,
        seconds=seconds,
        total=(best, worst),
        models=_models(work),
        assumed=assumed,
    )


def _price(
    asked: Question, left: Mapping[str, Work], planner: Planner, tell: Tell
) -> tuple[Price, int, bool]:
    """What stages cost, how many run at once, and whether a teacher runs alone."""
    if asked.card:
        card = planner.assumed.cards[asked.card]
        named = Named(card, asked.cards, planner.text, planner.teacher(), planner.assumed)
        return named, asked.cards, False
    from runner.forecast import speed  # it imports torch

    every = machine.threads()
    each = max(1, every // asked.jobs)
    beams: dict[Model, set[int]] = {}
    for one in left.values():
        if one.model:
            beams.setdefault(one.model, set()).update(one.translated)
    teacher = planner.teacher()
    if any(one.asked for one in left.values()):
        beams.setdefault(teacher, set())
    speeds = {}
    for number, (model, widths) in enumerate(beams.items(), start=1):
        tell(f"measuring a model of {model.parameters:,} parameters here, {number} of {len(beams)}")
        scored = any(one.scored for one in left.values() if one.model == model)
        learnt = (
            speed.Online(one.method, teacher) if one.method else None
            for one in left.values()
            if one.model == model
        )
        speeds[model] = speed.measure(
            model,
            planner.text,
            beams=sorted(widths),
            top_k=planner.params.targets.top_k if scored else 0,
            online=next((one for one in learnt if one), None),
            training=every if model == teacher else each,
            other=each,
            beside=asked.jobs - 1,
        )
    return Measured(speeds, speeds.get(teacher), planner.assumed), asked.jobs, True


def _models(work: Mapping[str, Work]) -> dict[str, Model]:
    """Models that train: the teacher's, and the students' by capacity."""
    found: dict[str, Model] = {}
    for stage, one in work.items():
        if one.model and one.updates:
            name = "teacher" if schedule.exclusive(stage) else stage.split("@")[1].split("-")[1]
            found[name] = one.model
    return found
