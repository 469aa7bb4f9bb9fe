"""From work to seconds: by the measured speed of this machine, or by the published peak of a card."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from runner import schedule
from runner.forecast.assumptions import Assumptions, Card, Reach, Sizes
from runner.forecast.sizes import LONGER, PASSES, Model
from runner.forecast.work import Work

PAIRS = 1e5  # for which the seconds of data stages are given
TERA = 1e12

Range = tuple[float, float]  # seconds at best and at worst
Price = Callable[[str, Work], Range]  # of a stage


@dataclass(frozen=True, kw_only=True)
class Speed:
    """Seconds of a model on this machine."""

    step: float  # of a batch of max_tokens
    line: dict[int, float] = field(default_factory=dict)  # translated, by beam
    conversion: float = 0.0  # of the model for CTranslate2, and what a translation takes beside its lines
    scored: float = 0.0  # a line
    asking: float = 0.0  # of a batch of max_tokens along which a teacher is asked
    sample: float = 0.0  # of one that is sampled token by token, beside that


@dataclass(frozen=True)
class Measured:
    """Seconds of stages on this machine, by the speeds of their models."""

    speeds: Mapping[Model, Speed]
    teacher: Speed | None
    assumed: Assumptions

    def __call__(self, stage: str, work: Work) -> Range:
        """Of a stage."""
        seconds = beside(stage, work, self.assumed)
        if work.model:
            speed = self.speeds[work.model]
            seconds += (
                work.steps * speed.step + work.conversions * speed.conversion + work.scored * speed.scored
            )
            seconds += sum(lines * speed.line[beam] for beam, lines in work.translated.items())
            if work.asked and self.teacher:
                seconds += work.updates * (speed.asking - speed.step) + work.sampled * speed.sample
                more = work.asked - work.updates  # by other members of an ensemble
                seconds += more * self.assumed.forward * self.teacher.step
        return seconds, seconds


@dataclass(frozen=True)
class Named:
    """Seconds of stages on cards that are not at hand, one card a stage.

    A teacher's batches of an update are shared among as many of the `cards` as divide them.
    """

    card: Card
    cards: int
    text: Sizes
    teacher: Model
    assumed: Assumptions

    def __call__(self, stage: str, work: Work) -> Range:
        """Of a stage."""
        base = beside(stage, work, self.assumed)
        if not work.model:
            return base, base
        trained = work.steps * work.model.step_flops(self.text)
        trained += work.asked * self.assumed.forward * self.teacher.step_flops(self.text)
        trained += work.sampled * self.assumed.forward * work.model.step_flops(self.text)
        shared = math.gcd(work.model.training.accumulate or 1, self.cards) if schedule.exclusive(stage) else 1
        decoded = work.scored * work.model.line_flops(self.text)
        decoded += sum(
            lines * work.model.line_flops(self.text, beam) for beam, lines in work.translated.items()
        )
        peak = self.card.tflops * TERA

        def seconds(flops: float, reach: Reach) -> Range:
            return flops / (peak * reach.most), flops / (peak * reach.least)

        layers = work.model.architecture.encoder_layers + work.model.architecture.decoder_layers
        launch = self.assumed.launch
        # Samples take a pass of the decoder for each of their tokens.
        tokens = work.sampled * LONGER * self.text.target * work.model.architecture.decoder_layers
        started = work.steps * layers + tokens / PASSES
        floor = started * launch.least, started * launch.most
        training = [
            max(each) / shared for each in zip(seconds(trained, self.assumed.share), floor, strict=True)
        ]
        decoding = seconds(decoded, self.assumed.decoding_share)
        return base + training[0] + decoding[0], base + training[1] + decoding[1]


def beside(stage: str, work: Work, assumed: Assumptions) -> float:
    """Seconds that no model takes."""
    entry = schedule.entry(stage)
    rates = dict(assumed.data_seconds)
    return (
        assumed.start_seconds
        + work.pairs / PAIRS * rates.get(entry, 0.0)
        + work.models * assumed.report_seconds
    )


def makespan(plan: schedule.Plan, seconds: Mapping[str, float], jobs: int, *, alone: bool) -> float:
    """Seconds until all stages of a plan are done, `jobs` at once; a teacher runs `alone`, or beside others.

    Of the stages that may start those before the longest chain start first, as in a run.
    """
    now, running = 0.0, list[tuple[float, str]]()
    while plan.left or running:
        for stage in plan.ready():
            waits = alone and running and (schedule.exclusive(stage) or schedule.exclusive(running[0][1]))
            if len(running) < jobs and not waits:
                plan.start(stage)
                heapq.heappush(running, (now + seconds[stage], stage))
        now, stage = heapq.heappop(running)
        plan.done(stage)
    return now
