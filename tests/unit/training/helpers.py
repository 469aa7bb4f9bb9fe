"""What tests of trainings share: text, models, values of every parameter, criterions and what they pay."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.data import Dictionary
from omegaconf import DictConfig, open_dict
from torch import Tensor

from nmtkd import files
from nmtkd.distil.targets import Header, TokenTargets, Writer
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.outputs import Output
from nmtkd.plan import layout
from nmtkd.plan.methods import Gate, OnPolicy, Ranking
from nmtkd.plan.models import Consistency
from nmtkd.text import provenance
from nmtkd.text.parallel import write_lines, write_pair
from nmtkd.text.text_form import TextForm
from nmtkd.training.criterions import hybrid
from nmtkd.training.criterions.distillation import DistillationConfig, DistillationCriterion
from nmtkd.training.criterions.hybrid import HybridConfig, HybridCriterion
from nmtkd.training.criterions.online import OnlineConfig, OnlineCriterion
from nmtkd.training.texts import Data
from tests.conftest import Tiny
from tests.unit.distil.helpers import method
from tests.unit.network.building import GATES

DRAWN = {"share": 0.25, "temperature": 0.5, "from_update": 7, "max_length_offset": 3}
HYBRID = {"sequence": "gold_and_hypothesis", "gate": {"kind": "learned", "values": []}}
# A method of each family.
METHODS = {
    "plain": method(teacher_weight=0.0),
    "word": method(
        divergence="jensen_shannon", beta=0.25, hardest=0.75, ranking={"weight": 0.5, "tokens": 3}
    ),
    "seq": method(sequence="closest", teacher_weight=0.0),
    "both": method(sequence="hypothesis", divergence="total_variation"),
    "hybrid": method(**HYBRID),
    "online": method(on_policy=DRAWN),
}
# Of every parameter a value that neither these methods nor the recipe and the size of tests have.
OTHER_METHOD: dict[str, Any] = {
    "sequence": "closest",
    "teacher_weight": 0.75,
    "divergence": "reverse_kl",
    "beta": 0.75,
    "hardest": 0.5,
    "ranking": Ranking(weight=0.25, tokens=2),
    "gate": Gate(kind="fixed", values=[0.25]),
    "on_policy": OnPolicy(share=0.75, temperature=1.5, from_update=8, max_length_offset=4),
}
OTHER_SIZE: dict[str, Any] = {
    "encoder_layers": 2,
    "decoder_layers": 2,
    "width": 32,
    "ffn": 25,
    "heads": 1,
    "gates": GATES,
}
OTHER_RECIPE: dict[str, Any] = {
    "precision": "bfloat16",
    "updates": 8,
    "max_tokens": 99,
    "accumulate": 2,
    "lr": 0.002,
    "warmup": 3,
    "adam_betas": [0.9, 0.99],
    "dropout": 0.1,
    "label_smoothing": 0.2,
    "clip_norm": 2.0,
    "weight_decay": 0.1,
    "pre_norm": False,
    "checkpoint_every": 4,
    "average": 2,
    "curve_pairs": 1,
    "consistency": Consistency(kind="rdrop", weight=2.0),
}
JOINT = layout.DICTIONARIES["joint"]
FORM = TextForm(target="de", tokeniser="reversible", longest=1)
LINES = (3, 0, 7, 12)
V = 24
Row = tuple[Tensor, Tensor]


class Memory(TokenTargets):
    """Token targets that never were on disk: in float32."""

    def __init__(self, rows: list[Row], kept: int = V) -> None:
        self.folder, self.rows = Path("memory"), rows
        self.header = Header(
            top_k=kept,
            temperature=1.0,
            vocabulary=V,
            dictionary_hash="",
            teacher_hash="",
            prefix="",
            prefix_hash="",
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, line: int) -> Row:
        return self.rows[line]


@contextmanager
def unfinished(folder: Path) -> Iterator[Output]:
    """An output that is being written into `folder`, and never gets to another place."""
    folder.mkdir(parents=True)
    with ExitStack() as held:
        yield Output(folder, folder.name, held)


def write_corpus(
    noise: str, sources: Sequence[str], targets: Sequence[str], target: str = "de", longest: int = 9
) -> None:
    """BPE text of a condition, which is its validation set too, where stages look for it: below the current
    folder."""
    for folder, name in ((layout.noise_dir(noise), "train"), (layout.BPE, "valid")):
        write_pair(folder, name, zip(sources, targets, strict=True))
    pieces = dict.fromkeys(" ".join([*sources, *targets]).split())
    write_lines(layout.BPE / layout.DICTIONARY, [f"{piece} 1" for piece in pieces])
    for side, text in (("src", sources), ("tgt", targets)):
        own = dict.fromkeys(" ".join(text).split())
        write_lines(layout.BPE / layout.SIDE_DICTIONARIES[side], [f"{piece} 1" for piece in own])
    form = {"target": target, "tokeniser": "reversible", "longest": longest}
    files.write_json(layout.BPE / layout.TEXT, form)
    np.save(layout.BPE / layout.LENGTHS, lengths(sources, targets))
    write_lines(layout.BPE / layout.CODES, ["#version: 0.2"])
    read = [layout.CODES, *layout.DICTIONARY_FILES, layout.LENGTHS, *provenance.sides(["valid"])]
    files.write_json(layout.BPE / layout.CARD, provenance.written(layout.BPE, read))
    folder = layout.noise_dir(noise)
    files.write_json(folder / layout.CARD, provenance.cut(folder, layout.BPE))


def write_model(folder: Path, *members: str) -> Path:
    """What stands for a trained model of the text at hand, which nobody can load. Gives its first file."""
    folder.mkdir(parents=True)
    for number, content in enumerate(members, start=1):
        files.write_text(folder / bridge.member_name(number), content)
    for side in (bridge.SOURCE, bridge.TARGET):
        shutil.copy(layout.BPE / layout.DICTIONARY, bridge.dictionary_of(folder, side))
    files.write_text(folder / layout.HASH, bridge.model_hash(folder))
    return folder / layout.MODEL


def configured_by(tiny: Tiny, adapt: Callable[[DictConfig], None]) -> Any:
    """fairseq's configuration after a method's adaptation."""
    cfg = bridge.configuration(tiny.command)
    with open_dict(cfg):
        adapt(cfg)
    return cfg


def lengths(sources: Sequence[str], targets: Sequence[str]) -> Any:
    """BPE tokens of each pair [N, 2], EOS included."""
    return np.array([[len(side.split()) + 1 for side in pair] for pair in zip(sources, targets, strict=True)])


def data(
    tiny: Tiny,
    train: tuple[Sequence[str], Sequence[str]],
    valid: tuple[Sequence[str], Sequence[str]],
    **changes: Any,
) -> Data:
    """A training's text in the tiny model's words, in batches by its own lengths."""
    given = {"form": FORM, "lengths": lengths(*train)} | changes
    return Data(dictionaries=(tiny.folder / "dict.src.txt",) * 2, train=train, valid=valid, **given)


def on_disk(rows: list[Row], folder: Path, kept: int = V) -> Path:
    names = dict.fromkeys(("dictionary_hash", "teacher_hash", "prefix", "prefix_hash"), "x")
    folder.mkdir()
    writer = Writer(
        folder, [len(ids) for ids, _ in rows], Header(top_k=kept, temperature=2.0, vocabulary=V, **names)
    )
    for line, row in enumerate(rows):
        writer.put(line, *row)
    writer.close()
    return folder


def stock(student: bridge.Loaded) -> LabelSmoothedCrossEntropyCriterion:
    return LabelSmoothedCrossEntropyCriterion(student.task, sentence_avg=False, label_smoothing=0.1)


def word(student: bridge.Loaded, temperature: float = 2.0, **changes: Any) -> DistillationCriterion:
    cfg = DistillationConfig(**options(temperature), method=method(**changes).model_dump_json())
    return DistillationCriterion(student.task, cfg)


def mixed(
    student: bridge.Loaded, temperature: float = 2.0, gate: float = hybrid.LEARNED, **changes: Any
) -> HybridCriterion:
    asked = {"sequence": "gold_and_hypothesis", "gate": {"kind": "learned", "values": []}} | changes
    cfg = HybridConfig(**options(temperature), method=method(**asked).model_dump_json(), gate=gate, width=16)
    return HybridCriterion(student.task, cfg)


def online(
    tiny: Tiny,
    student: bridge.Loaded,
    share: float = 0.0,
    from_update: int = 0,
    max_length_offset: int = 0,
    sampled_at: float = 1.0,
    **changes: Any,
) -> OnlineCriterion:
    policy = {
        "share": share,
        "temperature": sampled_at,
        "from_update": from_update,
        "max_length_offset": max_length_offset,
    }
    asked = method(on_policy=policy, **changes).model_dump_json()
    return OnlineCriterion(
        student.task, OnlineConfig(**options(2.0), method=asked, teachers=str(tiny.folder / layout.MODEL))
    )


def options(temperature: float) -> dict[str, Any]:
    return {"sentence_avg": False, "label_smoothing": 0.1, "temperature": temperature}


def paid(criterion: Any, model: Any, sample: dict[str, Any]) -> tuple[float, list[Tensor], dict[str, Any]]:
    """Loss, the model's gradients and the log."""
    model.zero_grad()
    loss, size, log = criterion(model, sample)
    loss.backward()
    assert size == log["sample_size"]
    return loss.item(), [one.grad.clone() for one in model.parameters() if one.grad is not None], log


def same(one: tuple[float, list[Tensor], Any], other: tuple[float, list[Tensor], Any]) -> bool:
    """Equal up to the order in which float32 numbers are added."""
    near = len(one[1]) == len(other[1]) and all(
        torch.allclose(a, b, atol=1e-5) for a, b in zip(one[1], other[1], strict=True)
    )
    return near and one[0] == pytest.approx(other[0], rel=1e-5)


def bare(sample: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in sample.items()
        if name not in ("teacher_ids", "teacher_probs", "hypothesis")
    }


def translated(sample: dict[str, Any]) -> dict[str, Any]:
    """The batch with its hypotheses in the place of gold."""
    taught = sample["hypothesis"]
    inputs = {**sample["net_input"], "prev_output_tokens": taught["prev_output_tokens"]}
    return {**sample, "target": taught["target"], "net_input": inputs}


class FreeLogits(torch.nn.Module):
    """Free logits in the place of a network."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, **net_input: Any) -> tuple[Tensor, None]:
        return self.logits, None

    def get_normalized_probs(
        self, net_output: tuple[Tensor, None], log_probs: bool, sample: Any = None
    ) -> Tensor:
        return (
            torch.log_softmax(net_output[0].float(), -1)
            if log_probs
            else torch.softmax(net_output[0].float(), -1)
        )

    def get_targets(self, sample: dict[str, Any], net_output: Any) -> Any:
        return sample["target"]


class Task:
    """What a criterion asks of its task."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.target_dictionary = dictionary
