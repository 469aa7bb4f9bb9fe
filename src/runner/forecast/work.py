"""What each stage of a plan has to do: updates, lines to translate or score, disk. From params alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from nmtkd.plan import layout
from nmtkd.plan.decoding import Decoding, Evaluate
from nmtkd.plan.methods import FAMILIES, Method
from nmtkd.plan.models import Architecture, Training
from nmtkd.plan.runs import Run, runs
from nmtkd.plan.schema import Params
from runner import schedule
from runner.forecast.assumptions import Assumptions, Sizes
from runner.forecast.sizes import Model

# Bytes of a token target's probability, of its id, and of one beyond 16 bits (distil/targets.py).
PROBABILITY_BYTES = ID_BYTES = 2
LONG_ID_BYTES = 4
SHORT_IDS = 2**16
PIECE_BYTES = 4.5  # of text, the space with it
KINDS = ("text", "hypotheses", "targets", "models", "checkpoints")
TEXT, HYPOTHESES, TARGETS, MODELS, CHECKPOINTS = KINDS


@dataclass(frozen=True, kw_only=True)
class Work:
    """Of one stage. Bytes are those that stay, but for CHECKPOINTS, which go when it is done."""

    model: Model | None = None  # that trains, translates or scores
    steps: float = 0.0  # batches of max_tokens, as many as plain ones that take as long
    updates: int = 0  # trained: batches as they are, of all its trainings
    asked: float = 0.0  # batches that the teacher reads along
    sampled: float = 0.0  # batches whose text the model samples itself
    method: Method | None = None  # by which it learns from a teacher that it asks
    translated: Mapping[int, float] = field(default_factory=dict)  # lines by beam
    conversions: int = 0  # of the model for CTranslate2: one a stage, and one a checkpoint
    scored: float = 0.0  # lines whose distributions are asked for
    pairs: float = 0.0  # of a data stage
    models: int = 0  # whose scores a report resamples
    disk: Mapping[str, float] = field(default_factory=dict)  # bytes by KINDS

    def flops(self, text: Sizes) -> float:
        """Of its training."""
        return self.updates * self.model.step_flops(text) if self.model else 0.0


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Finds the work of stages of an experiment. `vocabulary` counts a dictionary's pieces."""

    params: Params
    text: Sizes
    assumed: Assumptions
    vocabulary: int

    def model(self, architecture: Architecture, training: Training) -> Model:
        """A model of this experiment."""
        rows = self.vocabulary * (1 if self.params.architecture.embeddings == "joint" else 2)
        return Model(architecture=architecture, training=training, rows=rows, vocabulary=self.vocabulary)

    def teacher(self) -> Model:
        """The teacher, one of an ensemble's."""
        return self.model(self.params.teacher.architecture, self.params.teacher.training)

    def work(self, stage: str) -> Work:
        """Of a stage by its name in DVC."""
        key, family = stage.partition("@")[2], schedule.block(stage).partition("_")[2]
        kinds: dict[str, Callable[[], Work]] = {
            "manifests": Work,
            "teacher": self._teacher,
            "student": lambda: self._student(family, key),
            "decode": lambda: self._decode(self.params.decodings[key.split("-")[1]]),
            "targets": self._targets,
            "evaluate": lambda: self._evaluate(self._evaluated(family, key)),
            "report": lambda: Work(models=len(self.params.grid.noises) + len(runs(self.params.grid))),
        }
        return kinds.get(schedule.entry(stage), self._data)()

    def _data(self) -> Work:
        pairs = self.text.train + self.text.valid + self.text.tests
        size = pairs * (self.text.source + self.text.target) * PIECE_BYTES
        return Work(pairs=pairs, disk={TEXT: size})

    def _teacher(self) -> Work:
        factor = self.assumed.consistency if self.params.teacher.training.consistency else 1.0
        return self._training(self.teacher(), len(self.params.teacher.seeds), factor)

    def _student(self, family: str, key: str) -> Work:
        run = Run.from_key(family, key)
        method = self.params.methods[run.method]
        gate = method.gate
        trainings = len(gate.values) if gate and gate.kind == "validated" else 1
        model = self.model(self.params.capacities[run.capacity], self.params.training)
        work = self._training(model, trainings, self.assumed.families[family])
        if not FAMILIES[family].teacher:
            return work
        recipe, policy = self.params.training, method.on_policy
        late = max(0, recipe.updates - policy.from_update) if policy else 0
        return replace(
            work,
            asked=float(len(self.params.teacher.seeds) * work.updates),
            method=method,
            sampled=policy.share * late * (recipe.accumulate or 1) if policy else 0.0,
        )

    def _training(self, model: Model, trainings: int, factor: float) -> Work:
        recipe = model.training
        batches = recipe.updates * (recipe.accumulate or 1)
        points = recipe.updates // recipe.checkpoint_every
        longer = max(self.text.source, self.text.target) + 1
        validated = points * self.text.valid * longer / recipe.max_tokens * self.assumed.forward
        curve = min(recipe.curve_pairs, self.text.valid)
        return Work(
            model=model,
            steps=trainings * (batches * factor + validated),
            updates=trainings * batches,
            translated={1: trainings * points * curve},
            conversions=trainings * points if curve else 0,
            disk={MODELS: trainings * model.model_bytes, CHECKPOINTS: model.checkpoint_bytes},
        )

    def _decode(self, decoding: Decoding) -> Work:
        text, members = self.text, len(self.params.teacher.seeds)
        size = {HYPOTHESES: text.train * text.target * PIECE_BYTES * decoding.nbest}
        if decoding.kind == "forced":
            return Work(model=self.teacher(), scored=members * text.train, disk=size)
        penalties = len(decoding.length_penalties)
        tried = penalties * text.valid if penalties > 1 else 0
        return Work(
            model=self.teacher(),
            translated={decoding.beam: members * (text.train + tried)},
            conversions=1,
            disk=size,
        )

    def _targets(self) -> Work:
        kept = min(self.params.targets.top_k, self.vocabulary)
        identity = ID_BYTES if self.vocabulary < SHORT_IDS else LONG_ID_BYTES
        positions = self.text.train * (self.text.target + 1)
        size = positions * kept * (PROBABILITY_BYTES + identity)
        lines = len(self.params.teacher.seeds) * self.text.train
        return Work(model=self.teacher(), scored=lines, disk={TARGETS: size})

    def _evaluated(self, family: str, key: str) -> Model:
        if family == layout.TEACHER:
            return self.teacher()
        return self.model(self.params.capacities[Run.from_key(family, key).capacity], self.params.training)

    def _evaluate(self, model: Model) -> Work:
        asked: Evaluate = self.params.evaluate
        valid, tests = self.text.valid, self.text.tests
        penalties = len(asked.length_penalties)
        translated = {1: float(valid + tests)}
        # The tests by the penalty that is chosen, and at 1.
        translated[asked.beam] = translated.get(asked.beam, 0.0) + penalties * valid + 2 * tests
        return Work(
            model=model,
            translated=translated,
            conversions=1,
            disk={TEXT: 3 * (valid + tests) * self.text.target * PIECE_BYTES},
        )
