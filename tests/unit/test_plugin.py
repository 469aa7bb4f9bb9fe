"""nmtkd_fairseq: batches in which token targets follow their lines, and a criterion that is the stock one plus the teacher's share."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import tasks
from fairseq.criterions import CRITERION_REGISTRY
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.data import Dictionary, LanguagePairDataset
from omegaconf import open_dict
from torch import Tensor

from nmtkd.distil.losses import word_level
from nmtkd.distil.targets import Header, TargetsError, TokenTargets, Writer
from nmtkd.models import fairseq_bridge as bridge
from nmtkd_fairseq import distil
from nmtkd_fairseq.criterion import CRITERION, WordLevelConfig, WordLevelCriterion
from nmtkd_fairseq.dataset import TokenTargetsDataset
from nmtkd_fairseq.task import TASK
from tests.conftest import Tiny

WORDS = ["a", "b", "c", "d"]
SOURCES = ["a b c", "a", "b c"]  # a batch is sorted by the length of its sources: lines 0, 2, 1
TARGETS = ["b", "c d a b", "d"]
LENGTHS = [2, 5, 2]
TOP_K = 2


@pytest.fixture
def dictionary() -> Dictionary:
    found = Dictionary()
    for word in WORDS:
        found.add_symbol(word)
    return found


def encode(dictionary: Dictionary, lines: list[str]) -> tuple[list[Tensor], list[int]]:
    items = [dictionary.encode_line(line, add_if_not_exist=False).long() for line in lines]
    return items, [len(item) for item in items]


def pairs(dictionary: Dictionary) -> LanguagePairDataset:
    return LanguagePairDataset(*encode(dictionary, SOURCES), dictionary, *encode(dictionary, TARGETS), dictionary, shuffle=False)


def write_targets(folder: Path, lengths: list[int] = LENGTHS) -> TokenTargets:
    """Line i, position t, rank r: token 4 + (i + t + r) % 4 with probability (1 + i + t) / 16 / (1 + r)."""
    folder.mkdir(exist_ok=True)
    names = dict.fromkeys(("dictionary_hash", "teacher_hash", "prefix", "prefix_hash"), "x")
    writer = Writer(folder, lengths, Header(top_k=TOP_K, temperature=1.0, vocabulary=8, **names))
    for line, length in enumerate(lengths):
        writer.put(line, *rows(line, length))
    writer.close()
    return TokenTargets(folder)


def rows(line: int, length: int) -> tuple[Tensor, Tensor]:
    place, rank = torch.meshgrid(torch.arange(length), torch.arange(TOP_K), indexing="ij")
    return 4 + (line + place + rank) % 4, (1 + line + place) / 16 / (1 + rank)


# Batches


def test_targets_follow_their_lines_into_a_batch(dictionary: Dictionary, tmp_path: Path) -> None:
    dataset = TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "t"))
    batch = dataset.collater([dataset[index] for index in (1, 0, 2)])
    assert batch["id"].tolist() == [0, 2, 1]
    assert batch["teacher_ids"].shape == batch["teacher_probs"].shape == (3, 5, TOP_K)
    for row, line in enumerate([0, 2, 1]):
        ids, probs = rows(line, LENGTHS[line])
        assert torch.equal(batch["teacher_ids"][row, : LENGTHS[line]], ids)
        assert torch.equal(batch["teacher_probs"][row, : LENGTHS[line]], probs)
        assert batch["teacher_probs"][row, LENGTHS[line] :].eq(0).all()
        assert batch["teacher_ids"][row, LENGTHS[line] :].eq(0).all()
        assert batch["target"][row].ne(dictionary.pad()).sum() == LENGTHS[line]
    stock = pairs(dictionary).collater([dataset[index] for index in (1, 0, 2)])
    assert stock.keys() | {"teacher_ids", "teacher_probs"} == batch.keys()
    assert torch.equal(stock["target"], batch["target"])
    assert stock["ntokens"] == batch["ntokens"] == 9


def test_an_empty_batch_stays_empty(dictionary: Dictionary, tmp_path: Path) -> None:
    assert not TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "t")).collater([])


def test_targets_of_other_lines_are_refused(dictionary: Dictionary, tmp_path: Path) -> None:
    with pytest.raises(TargetsError, match="2 lines of token targets for 3 training pairs; run the score stage again"):
        TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "t", [2, 5]))
    dataset = TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "u", [2, 4, 3]))
    with pytest.raises(TargetsError, match="line 2 has 4 positions, the training target has 5; run the score stage again"):
        dataset.collater([dataset[1]])


def test_the_train_split_alone_carries_targets(tiny: Tiny, tmp_path: Path) -> None:
    bridge.write_data(
        tmp_path / "data",
        tiny.folder / "dict.tgt.txt",
        {"train": (["w1", "w2 w3", "w4"], ["w1", "w1 w2 w3 w4", "w5"]), "valid": (["w1"], ["w2"])},
    )
    write_targets(tmp_path / "t")
    cfg = bridge.configuration(tiny.command)
    cfg.task.data = str(tmp_path / "data")
    before = bridge.configuration(tiny.command)
    with open_dict(cfg):
        distil(tmp_path / "t", 0.25, 1.5)(cfg)
    assert (cfg.task._name, cfg.task.token_targets) == (TASK, str(tmp_path / "t"))
    assert (cfg.criterion._name, cfg.criterion.teacher_weight, cfg.criterion.temperature) == (CRITERION, 0.25, 1.5)
    assert cfg.criterion.label_smoothing == before.criterion.label_smoothing == 0.1
    task = tasks.setup_task(cfg.task)
    for split in ("train", "valid"):
        task.load_dataset(split)
    assert "teacher_ids" in task.dataset("train").collater([task.dataset("train")[0]])
    assert "teacher_ids" not in task.dataset("valid").collater([task.dataset("valid")[0]])
    criterion = task.build_criterion(cfg.criterion)
    assert isinstance(criterion, WordLevelCriterion)
    assert (criterion.teacher_weight, criterion.temperature, criterion.eps) == (0.25, 1.5, 0.1)
    assert CRITERION in CRITERION_REGISTRY


# The criterion


class Model(torch.nn.Module):
    """Free logits in the place of a network."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, **net_input: Any) -> tuple[Tensor, None]:
        return self.logits, None

    def get_normalized_probs(self, net_output: tuple[Tensor, None], log_probs: bool, sample: Any = None) -> Tensor:
        return torch.log_softmax(net_output[0].float(), -1) if log_probs else torch.softmax(net_output[0].float(), -1)

    def get_targets(self, sample: dict[str, Any], net_output: Any) -> Tensor:
        target: Tensor = sample["target"]
        return target


class Task:
    """What a criterion asks of its task."""

    def __init__(self, dictionary: Dictionary) -> None:
        self.target_dictionary = dictionary


def batch(dictionary: Dictionary, folder: Path) -> dict[str, Any]:
    dataset = TokenTargetsDataset(pairs(dictionary), write_targets(folder))
    return dataset.collater([dataset[index] for index in range(3)])


def random_logits(sample: dict[str, Any], seed: int = 0) -> Tensor:
    return torch.randn(*sample["target"].shape, 8, generator=torch.Generator().manual_seed(seed))


def stock(dictionary: Dictionary) -> LabelSmoothedCrossEntropyCriterion:
    return LabelSmoothedCrossEntropyCriterion(Task(dictionary), sentence_avg=False, label_smoothing=0.1)


def ours(dictionary: Dictionary, weight: float, temperature: float = 1.0, smoothing: float = 0.1) -> WordLevelCriterion:
    return WordLevelCriterion(
        Task(dictionary), sentence_avg=False, label_smoothing=smoothing, teacher_weight=weight, temperature=temperature
    )


def paid(criterion: Any, logits: Tensor, sample: dict[str, Any]) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Loss, gradient and log."""
    model = Model(logits.clone())
    loss, size, log = criterion(model, sample)
    loss.backward()
    assert size == sample["ntokens"]
    assert model.logits.grad is not None
    return loss.detach(), model.logits.grad, log


def test_without_weight_it_is_the_stock_criterion_bit_for_bit(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    wanted, found = paid(stock(dictionary), logits, sample), paid(ours(dictionary, 0.0), logits, sample)
    assert torch.equal(wanted[0], found[0])
    assert torch.equal(wanted[1], found[1])
    assert wanted[2] == found[2]
    bare = {name: value for name, value in sample.items() if not name.startswith("teacher")}
    assert torch.equal(paid(ours(dictionary, 0.0), logits, bare)[0], wanted[0])


def test_validation_has_no_teacher_term(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    wanted = paid(stock(dictionary), logits, sample)
    for data in (sample, {name: value for name, value in sample.items() if not name.startswith("teacher")}):
        found = paid(ours(dictionary, 0.7).eval(), logits, data)
        assert torch.equal(wanted[0], found[0])
        assert torch.equal(wanted[1], found[1])
        assert wanted[2] == found[2]
    assert not torch.equal(paid(ours(dictionary, 0.7), logits, sample)[0], wanted[0])


def test_the_loss_by_hand(dictionary: Dictionary) -> None:
    """One line of one word and its end; student probabilities (1/2, 1/4, 1/8, 1/8) and (1/4, 1/4, 1/4, 1/4) of a vocabulary of four."""
    student = torch.tensor([[[0.5, 0.25, 0.125, 0.125], [0.25, 0.25, 0.25, 0.25]]]).log()
    sample = {
        "target": torch.tensor([[0, dictionary.eos()]]),
        "ntokens": 2,
        "net_input": {},
        "teacher_ids": torch.tensor([[[0, 3], [2, 0]]]),
        "teacher_probs": torch.tensor([[[0.25, 0.5], [1.0, 0.0]]]),
    }
    assert dictionary.eos() == 2
    cross_entropy = math.log(2) + math.log(4)
    first = 0.25 * math.log(0.25 / 0.5) + 0.5 * math.log(0.5 / 0.125) + 0.25 * math.log(0.25 / 0.375)
    second = math.log(1 / 0.25)
    loss, _, log = paid(ours(dictionary, 0.25, smoothing=0.0), student, sample)
    assert loss.item() == pytest.approx(0.75 * cross_entropy + 0.25 * (first + second))
    assert float(log["nll_loss"]) == pytest.approx(cross_entropy)
    # At T = 2 the student's probabilities are the square roots, normalised; and the KL counts four times.
    roots = [math.sqrt(p) for p in (0.5, 0.25, 0.125, 0.125)]
    q = [root / sum(roots) for root in roots]
    first = 0.25 * math.log(0.25 / q[0]) + 0.5 * math.log(0.5 / q[3]) + 0.25 * math.log(0.25 / (q[1] + q[2]))
    loss, _, log = paid(ours(dictionary, 0.25, temperature=2.0, smoothing=0.0), student, sample)
    assert loss.item() == pytest.approx(0.75 * cross_entropy + 0.25 * 4 * (first + second))
    assert float(log["nll_loss"]) == pytest.approx(cross_entropy)


def test_the_gradient_is_that_of_both_parts(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    free = logits.clone().requires_grad_()
    ids, probs = (sample[name].flatten(0, 1) for name in ("teacher_ids", "teacher_probs"))
    kl = word_level(free.flatten(0, 1), ids, probs, sample["target"].flatten().eq(dictionary.pad()), 2.0)
    wanted = 0.7 * paid(stock(dictionary), logits, sample)[1] + 0.3 * torch.autograd.grad(kl, free)[0]
    found = paid(ours(dictionary, 0.3, 2.0), logits, sample)[1]
    assert torch.allclose(found, wanted, atol=1e-6)
    assert found.abs().max() > 0.1


def test_the_whole_weight_leaves_no_cross_entropy(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    loss, _, log = paid(ours(dictionary, 1.0), logits, sample)
    sample["target"][sample["target"].eq(dictionary.index("a"))] = dictionary.index("d")
    other, _, other_log = paid(ours(dictionary, 1.0), logits, sample)
    assert torch.equal(loss, other)
    assert log["nll_loss"] != other_log["nll_loss"]


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_padding_changes_neither_loss_nor_gradient(dictionary: Dictionary, tmp_path: Path, weight: float) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    alone = paid(ours(dictionary, weight, 2.0), logits, sample)
    size, length = sample["target"].shape
    wide: dict[str, Any] = dict(sample)
    wide["target"] = torch.full((size, length + 3), dictionary.pad())
    wide["target"][:, :length] = sample["target"]
    # Junk at padding, where the dataset writes zeros: nothing there may count.
    wide["teacher_ids"] = torch.full((size, length + 3, TOP_K), 5)
    wide["teacher_ids"][:, :length] = sample["teacher_ids"]
    wide["teacher_probs"] = torch.full((size, length + 3, TOP_K), 0.5)
    wide["teacher_probs"][:, :length] = sample["teacher_probs"]
    wide["teacher_probs"][sample_padding(sample, dictionary, length + 3)] = 0.5
    wide_logits = torch.full((size, length + 3, 8), 30.0)
    wide_logits[:, :length] = logits
    padded = paid(ours(dictionary, weight, 2.0), wide_logits, wide)
    assert padded[0].item() == pytest.approx(alone[0].item(), rel=1e-6)
    assert torch.allclose(padded[1][:, :length], alone[1], atol=1e-7)
    assert padded[1][wide["target"].eq(dictionary.pad())].eq(0).all()


def sample_padding(sample: dict[str, Any], dictionary: Dictionary, length: int) -> Tensor:
    found = torch.ones(len(sample["target"]), length, dtype=torch.bool)
    found[:, : sample["target"].size(1)] = sample["target"].eq(dictionary.pad())
    return found


def test_the_loss_is_a_sum_over_lines(dictionary: Dictionary, tmp_path: Path) -> None:
    dataset = TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "t"))
    together = dataset.collater([dataset[index] for index in range(3)])
    logits = random_logits(together)
    whole = paid(ours(dictionary, 0.5), logits, together)[0]
    parts = 0.0
    for row, line in enumerate(together["id"].tolist()):
        sample = dataset.collater([dataset[line]])
        parts += paid(ours(dictionary, 0.5), logits[row : row + 1, : LENGTHS[line]], sample)[0].item()
    assert whole.item() == pytest.approx(parts, rel=1e-6)


def test_without_gradients_the_loss_has_none(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    with torch.no_grad():
        loss, _, _ = ours(dictionary, 0.5)(Model(random_logits(sample)), sample)
    assert not loss.requires_grad


def test_it_is_built_from_fairseqs_configuration(dictionary: Dictionary) -> None:
    config = WordLevelConfig(label_smoothing=0.2, sentence_avg=True, teacher_weight=0.3, temperature=4.0)
    found = WordLevelCriterion.build_criterion(config, Task(dictionary))
    assert (found.eps, found.sentence_avg, found.teacher_weight, found.temperature) == (0.2, True, 0.3, 4.0)
    assert found.padding_idx == dictionary.pad()
