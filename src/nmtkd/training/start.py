"""A warm start: a training whose weights begin as another run's model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmtkd import files
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network.stamps import stamped_hash
from nmtkd.plan import layout
from nmtkd.plan.models import Training

NAMED = 3  # differences of shape that a message lists


class StartError(ValueError):
    """A model that a training cannot start from."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """The model that a training starts from: its averaged weights, in the files of a folder."""

    models: list[Path]
    digest: str
    card: dict[str, Any]  # what this training's card says of it

    def of_member(self, number: int, members: int, section: str) -> Path:
        """The model file for a member (from 1) of an ensemble of `members`.

        One model starts all of them, as many start one each. Raises StartError for other numbers.
        """
        if len(self.models) not in (1, members):
            raise StartError(
                f"{section}.init: {self.models[0].parent} is an ensemble of {len(self.models)} models, which "
                f"cannot start {members}; name a single model, or as many seeds as it has models"
            )
        return self.models[min(number, len(self.models)) - 1]


def find(training: Training, dictionaries: bridge.Dictionaries, section: str) -> Start | None:
    """The start that a recipe names, or None for random weights.

    Raises StartError if there is no model, or if it has other pieces than `dictionaries`; bridge.ModelError
    if it is not the model that its hash names.
    """
    if training.init is None or training.init == layout.RANDOM_WEIGHTS:
        return None
    run = Path(training.init)
    folder = next((place for place in (layout.model_dir(run), run) if (place / layout.MODEL).is_file()), None)
    if folder is None:
        raise StartError(
            f"{section}.init: {run} holds no {layout.MODEL}; name the folder of a trained run, as in "
            f"models/student/KEY, or {layout.RANDOM_WEIGHTS}"
        )
    digest = stamped_hash(folder) if (folder / layout.HASH).exists() else bridge.model_hash(folder)
    for side, dictionary in zip((bridge.SOURCE, bridge.TARGET), dictionaries, strict=True):
        found = bridge.read_dictionary(bridge.dictionary_of(folder, side))
        if found.symbols != bridge.read_dictionary(dictionary).symbols:
            raise StartError(
                f"{section}.init: dict.{side}.txt of {folder} has other pieces than {dictionary}, so that "
                "its weights mean nothing here; start from a model of this corpus, these codes and the same "
                "architecture.embeddings"
            )
    card: dict[str, Any] = {"run": run.name, "model": digest}
    if (run / layout.CARD).is_file():
        found = files.read_object(run / layout.CARD)
        if found.get("model", digest) != digest:
            raise files.damaged(run / layout.CARD, "of another model than the one beside it")
        card |= {"data": data} if (data := found.get("data")) else {}
    return Start(models=bridge.members(folder), digest=digest, card=card)


def load(model: Any, path: Path, section: str) -> None:
    """Sets a new model's weights to those of a file. Raises StartError unless both have one shape."""
    found = bridge.load_model(path.parent, "cpu", path.name).model
    wanted, given = _shape(model), _shape(found)
    if wanted != given:
        lines = [
            f"{name}: {wanted.get(name, 'none')} here, {given.get(name, 'none')} there"
            for name in [*wanted, *(name for name in given if name not in wanted)]
            if wanted.get(name) != given.get(name)
        ]
        more = f", and {len(lines) - NAMED} more" if len(lines) > NAMED else ""
        raise StartError(
            f"{section}.init: {path.parent} has another shape than the model to train: "
            f"{'; '.join(lines[:NAMED])}{more}; start from a model of the same architecture "
            "(a gated one was trimmed after its training)"
        )
    model.load_state_dict(found.state_dict())


def _shape(model: Any) -> dict[str, Any]:
    """The sizes of all weights, and what no size tells: heads, and where layers normalise."""
    facts: dict[str, Any] = {}
    for side in ("encoder", "decoder"):
        for number, layer in enumerate(getattr(model, side).layers):
            facts[f"{side}.{number} heads"] = layer.self_attn.num_heads
            facts[f"{side}.{number} pre_norm"] = layer.normalize_before
    return facts | {name: list(weight.shape) for name, weight in model.named_parameters()}
