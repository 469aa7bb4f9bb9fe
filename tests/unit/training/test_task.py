"""nmtkd.training.task: what the training split carries."""

from pathlib import Path
from typing import Any

from fairseq import tasks
from omegaconf import open_dict

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.methods import Method
from nmtkd.training.criterions import distillation
from nmtkd.training.criterions.distillation import DistillationCriterion
from nmtkd.training.options import distil
from nmtkd.training.task import TASK
from tests.conftest import Tiny
from tests.unit.distil.helpers import method
from tests.unit.network.building import PLAIN
from tests.unit.training.four_words import write_targets


def test_train_split_alone_carries_what_the_teacher_says(tiny: Tiny, tmp_path: Path) -> None:
    sides = ["w1", "w2 w3", "w4"], ["w1", "w1 w2 w3 w4", "w5"]
    splits: Any = {"train": sides, "valid": (["w1"], ["w2"]), "hypotheses": (sides[0], ["w6", "w7", "w8 w9"])}
    bridge.write_data(tmp_path / "data", (tiny.folder / "dict.tgt.txt",) * 2, splits)
    write_targets(tmp_path / "t")
    asked = method(teacher_weight=0.25)
    adapt, cfg, before = (
        distil("word", asked, PLAIN, targets=tmp_path / "t", temperature=1.5),
        *map(bridge.configuration, [tiny.command] * 2),
    )
    with open_dict(cfg):
        adapt(cfg)
        cfg.task.data, cfg.task.hypotheses = str(tmp_path / "data"), True
    assert (cfg.task._name, cfg.task.token_targets) == (TASK, str(tmp_path / "t"))
    assert (
        cfg.criterion._name,
        Method.model_validate_json(cfg.criterion.method),
        cfg.criterion.temperature,
    ) == (distillation.CRITERION, asked, 1.5)
    assert cfg.criterion.label_smoothing == before.criterion.label_smoothing == 0.1
    task = tasks.setup_task(cfg.task)
    for split in ("train", "valid"):
        task.load_dataset(split)
    found = task.dataset("train").collater([task.dataset("train")[2]])
    assert "teacher_ids" in found
    assert found["hypothesis"]["target"].tolist() == [
        [task.target_dictionary.index(word) for word in ("w8", "w9", "</s>")]
    ]
    valid = task.dataset("valid").collater([task.dataset("valid")[0]])
    assert "teacher_ids" not in valid and "hypothesis" not in valid
    assert "hypotheses" not in task.datasets
    criterion = task.build_criterion(cfg.criterion)
    assert isinstance(criterion, DistillationCriterion)
    assert (criterion.method.teacher_weight, criterion.term.temperature, criterion.eps) == (0.25, 1.5, 0.1)
