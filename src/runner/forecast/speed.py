"""How fast this machine trains, translates and scores: made-up text, by the code that will run.

A model of the same shape with random weights costs what a trained one does. Its translations never end by
themselves: they get the mean length of a line.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nmtkd import machine
from nmtkd.decoding import scoring, translate, with_ctranslate2, with_fairseq
from nmtkd.decoding.search import Search
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.plan.decoding import Sampling
from nmtkd.plan.methods import Method, OnPolicy
from nmtkd.text.text_form import TextForm
from nmtkd.training import loop, options
from nmtkd.training.criterions.cross_entropy import use_chunked_cross_entropy
from nmtkd.training.texts import Data
from runner.forecast.assumptions import Sizes
from runner.forecast.cost import Speed
from runner.forecast.sizes import LONGER, SPECIAL, Model

# A batch of at most so many FLOPs is timed: a second or less on the slowest of machines that train at all.
MOST_FLOPS = 4e10
LEAST_TOKENS = 256
STEPS = 5  # timed, after some that are not: memory is got from the system by the first ones
UNTIMED = 2
SAMPLES = 3  # batches, after one that is not timed
GOLD_ONLY = OnPolicy(share=0.0, temperature=1.0, from_update=0, max_length_offset=0)
LEAST_SECONDS = 0.3  # that a translation or a scoring is timed for
FIRST_LINES = 16
MOST_LINES = 4096
SCORED_TOKENS = 1024  # of a batch
MULTIPLY = """
import os, sys, numpy
matrix = numpy.ones((512, 512), numpy.float32)
while os.getppid() == int(sys.argv[1]):
    matrix @ matrix
"""


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Within it stages find so many cores."""
    before = {name: os.environ.get(name) for name in ("NMTKD_THREADS", "NMTKD_PROCESSES")}
    os.environ.update(NMTKD_THREADS=str(count), NMTKD_PROCESSES="1")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def company(count: int, threads: int) -> Iterator[None]:
    """Within it so many other processes multiply on so many threads each, as stages beside this one would."""
    each = {name: str(threads) for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, "-c", MULTIPLY, str(os.getpid())]
    others = [subprocess.Popen(command, env={**os.environ, **each}) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


@dataclass(frozen=True)
class Online:
    """What a student of the family `online` learns by, and from."""

    method: Method
    teacher: Model


class Bench:
    """A model of random weights on made-up text, in a folder of its own."""

    def __init__(self, model: Model, text: Sizes, folder: Path) -> None:
        self._model, self._text, self._folder = model, text, folder
        fit = model.training.max_tokens * MOST_FLOPS / model.step_flops(text)
        self._tokens = max(LEAST_TOKENS, min(model.training.max_tokens, int(fit)))
        self._rng = np.random.default_rng(1)
        names = [f"t{number}" for number in range(model.vocabulary - SPECIAL)]
        self._names = np.array(names)
        dictionary = folder / layout.DICTIONARY
        dictionary.write_text("".join(f"{name} 1\n" for name in names), encoding="utf-8")

    def _lines(self, count: int, length: float) -> list[str]:
        """Made-up text."""
        words = self._rng.choice(self._names, (count, max(1, round(length))))
        return [" ".join(line) for line in words]

    def _data(self) -> Data:
        text = self._text
        longer = max(text.source, text.target)
        length = min(LONGER * longer, self._tokens / 2)
        batch = max(1, int(self._tokens // (length + 1)))
        count = batch * (UNTIMED + STEPS)
        sides = [self._lines(count, length * side / longer) for side in (text.source, text.target)]
        lengths = np.stack([bridge.token_counts(side) for side in sides], 1)
        path = self._folder / layout.DICTIONARY
        return Data(
            dictionaries=(path, path),
            form=TextForm(target="de", tokeniser="reversible", longest=int(lengths.max())),
            train=(sides[0], sides[1]),
            valid=(sides[0][:1], sides[1][:1]),
            lengths=lengths,
        )

    def begun(self, adapt: loop.Adapt = use_chunked_cross_entropy) -> loop.Run:
        """A training that has done nothing yet. Leaves its model's files."""
        few = {"max_tokens": self._tokens, "accumulate": None, "curve_pairs": 0, "init": None, "average": 1}
        training = self._model.training.model_copy(update=few)
        scratch = Path(tempfile.mkdtemp(dir=self._folder))
        shape = self._model.architecture
        run = loop.begin(self._data(), shape, training, 1, scratch, stage="plan", adapt=adapt)
        weights = run.trainer.get_model().state_dict()
        bridge.save_model(self._folder / layout.MODEL, run.command, weights, 1)
        for side in (bridge.SOURCE, bridge.TARGET):
            shutil.copyfile(self._folder / layout.DICTIONARY, bridge.dictionary_of(self._folder, side))
        return run

    def step(self, adapt: loop.Adapt = use_chunked_cross_entropy) -> float:
        """Seconds of an update on a batch of max_tokens."""
        run, seconds = self.begun(adapt), []
        with bridge.quiet():
            for group in loop.grouped(run.epochs.next_epoch_itr(shuffle=False), 1):
                start = time.perf_counter()
                run.stepper.step(group)
                seconds.append(time.perf_counter() - start)
        return statistics.median(seconds[UNTIMED:]) * self._model.training.max_tokens / self._tokens

    def asking(self, online: Online) -> float:
        """Seconds of a step along whose text a teacher of random weights is asked."""
        folder = self._folder / "teacher"
        folder.mkdir()
        teacher = Bench(online.teacher, self._text, folder)
        teacher.begun()
        method = online.method.model_copy(update={"on_policy": GOLD_ONLY})
        models = [folder / layout.MODEL]
        return self.step(options.distil("online", method, self._model.architecture, teachers=models))

    def line(self, beam: int) -> tuple[float, float]:
        """Seconds of a line's translation, and of what precedes it: the model's conversion."""
        factor = self._text.target / self._text.source
        search = Search(beam=beam, nbest=1, length_penalty=1.0, max_length_factor=factor, max_length_offset=0)

        def work(lines: list[str]) -> None:
            with_ctranslate2.forget()
            translate.translate(self._folder, lines, search, "ctranslate2")

        return self._a_line(work)

    def sample(self) -> float:
        """Seconds of sampling a batch of max_tokens, in lines as long as a step's."""
        loaded = bridge.load_model(self._folder, machine.device())
        source, target = (max(1, round(LONGER * length)) for length in (self._text.source, self._text.target))
        tokens = self._model.training.max_tokens
        lines = self._lines(max(1, tokens // (max(source, target) + 1)), source)
        drawn = Sampling(temperature=1.0, top_p=1.0, seed=1)
        search = Search(
            beam=1, length_penalty=1.0, max_length_factor=1.0, max_length_offset=0, sampling=drawn
        )
        seconds = []
        for _ in range(1 + SAMPLES):
            start = time.perf_counter()
            for _ in with_fairseq.generate([loaded], lines, search, target):
                pass
            seconds.append(time.perf_counter() - start)
        return statistics.median(seconds[1:])

    def scored(self, top_k: int) -> float:
        """Seconds of a line's distributions."""

        def work(lines: list[str]) -> None:
            targets = self._lines(len(lines), self._text.target)
            kept = min(top_k, self._model.vocabulary)
            for _ in scoring.distributions(self._folder, lines, targets, kept, 1.0, SCORED_TOKENS):
                pass

        return self._a_line(work)[0]

    def _a_line(self, work: Callable[[list[str]], None]) -> tuple[float, float]:
        """Seconds a line and beside lines: of two amounts of text that take different times."""
        work(self._lines(FIRST_LINES, self._text.source))
        few = self._timed(work, FIRST_LINES)
        count = FIRST_LINES
        while True:
            count *= 4
            many = self._timed(work, count)
            if many > few + LEAST_SECONDS or count >= MOST_LINES:
                break
        line = max(many - few, 0.0) / (count - FIRST_LINES)
        return line, max(0.0, few - line * FIRST_LINES)

    def _timed(self, work: Callable[[list[str]], None], count: int) -> float:
        lines = self._lines(count, self._text.source)
        start = time.perf_counter()
        work(lines)
        return time.perf_counter() - start


def measure(
    model: Model,
    text: Sizes,
    *,
    beams: Sequence[int],
    top_k: int,
    online: Online | None,
    training: int,
    other: int,
    beside: int,
) -> Speed:
    """The speed of a model that trains on `training` cores, and translates and scores on `other`.

    It translates with each of `beams`, scores where there is a `top_k`, and learns `online` too.
    `beside` it as many stages run, but where it trains on more cores than `other`: then it is alone.
    """
    with tempfile.TemporaryDirectory(prefix="plan-") as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's data loader, as in a stage
        bench = Bench(model, text, Path(place))
        with cores(training), company(beside if training == other else 0, other):
            step = bench.step()
            asking, sample = (bench.asking(online), bench.sample()) if online else (0.0, 0.0)
        with cores(other), company(beside, other):
            found = {beam: bench.line(beam) for beam in beams}
            scored = bench.scored(top_k) if top_k else 0.0
    return Speed(
        step=step,
        line={beam: line for beam, (line, _) in found.items()},
        conversion=max((conversion for _, conversion in found.values()), default=0.0),
        scored=scored,
        asking=asking,
        sample=sample,
    )
