"""The sizes of conf/scale/paper.yaml: what its comments and docs/methods.md say, by fairseq's own models."""

import re

import pytest
import torch
import yaml
from fairseq.data import Dictionary
from fairseq.models.transformer import TransformerModel

from nmtkd.network import command_line
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.models import Architecture, Training
from tests.structure.graph import ROOT

SCALE = ROOT / "conf/scale/paper.yaml"
# By capacity: parameters with one joint dictionary of 10,152 types, and with two of 8,848 and 6,632.
SIZES = {
    "tiny": (2_293_248, 2_975_232),
    "small": (6_552_576, 7_916_544),
    "medium": (13_658_112, 15_022_080),
    "half": (20_969_472, 23_697_408),
    "full": (36_741_120, 39_469_056),
    "large": (78_704_640, 82_796_544),
    "huge": (136_396_800, 141_852_672),
}


class Task:
    """The dictionaries of a task, which is all of it that a model asks for."""

    def __init__(self, source: int, target: int) -> None:
        self.source_dictionary = self.words(source)
        self.target_dictionary = self.source_dictionary if source == target else self.words(target)

    @staticmethod
    def words(count: int) -> Dictionary:
        found = Dictionary()
        for number in range(count - len(found)):
            found.add_symbol(f"w{number}")
        return found


def counted(capacity: str, source: int, target: int) -> int:
    """Parameters of fairseq's model, made without memory for its weights."""
    raw = yaml.safe_load(SCALE.read_text(encoding="utf-8"))
    architecture, training = Architecture(**raw["capacities"][capacity]), Training(**raw["training"])
    cfg = bridge.configuration(command_line.arguments(architecture, training, 1, joint=source == target))
    with torch.device("meta"):
        model = TransformerModel.build_model(cfg.model, Task(source, target))
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("capacity", SIZES)
def test_sizes_are_what_is_said_of_them(capacity: str) -> None:
    joint, separate = SIZES[capacity]
    assert counted(capacity, 10_152, 10_152) == joint
    assert counted(capacity, 8_848, 6_632) == separate
    (line,) = re.findall(rf"(?m)^  {capacity}: .*$", SCALE.read_text(encoding="utf-8"))
    assert f"# {joint:,}" in line
    table = (ROOT / "docs/methods.md").read_text(encoding="utf-8")
    assert re.search(rf"(?m)^\| `{capacity}` \|.*\| {joint:,} \| {separate:,} \|$", table)


def test_ladder_goes_from_small_to_large_through_all_of_them() -> None:
    ladder = yaml.safe_load(SCALE.read_text(encoding="utf-8"))["ladder"]
    assert ladder == list(SIZES) == sorted(SIZES, key=lambda name: SIZES[name])
