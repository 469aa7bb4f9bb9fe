"""nmtkd_fairseq: batches in which the teacher's words follow their lines; a criterion that is the stock one plus the teacher's share."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import tasks
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.data import Dictionary, LanguagePairDataset
from fairseq.logging import metrics
from omegaconf import open_dict
from torch import Tensor

from nmtkd.distil.losses import Term, hardest, token_level
from nmtkd.distil.targets import Header, TargetsError, TokenTargets, Writer
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.params import Architecture, Method
from nmtkd_fairseq import distil
from nmtkd_fairseq.criterion import CRITERION, DistillationConfig, DistillationCriterion
from nmtkd_fairseq.dataset import HypothesesDataset, TokenTargetsDataset
from nmtkd_fairseq.task import TASK
from tests.conftest import Tiny

WORDS = ["a", "b", "c", "d"]
SOURCES = ["a b c", "a", "b c"]  # a batch is sorted by the length of its sources: lines 0, 2, 1
TARGETS = ["b", "c d a b", "d"]
LENGTHS = [2, 5, 2]
TOP_K = 2
SMALL = Architecture(encoder_layers=1, decoder_layers=2, width=16, ffn=24, heads=2)
WORD = Method(sequence="gold", teacher_weight=0.25)
OPTIONS: dict[str, dict[str, Any]] = {
    "forward": {},
    "reverse": {"divergence": "reverse_kl"},
    "mixed": {"divergence": "jensen_shannon", "beta": 0.3},
    "variation": {"divergence": "total_variation"},
    "ranking": {"ranking": 0.5, "ranked": 3},
    "hardest": {"hardest": 0.5},
    "all": {"divergence": "jensen_shannon", "hardest": 0.4, "ranking": 0.5, "ranked": 2},
}


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
    assert not dataset.collater([])  # an empty batch stays empty


def test_targets_of_other_lines_are_refused(dictionary: Dictionary, tmp_path: Path) -> None:
    with pytest.raises(TargetsError, match="2 lines of token targets for 3 training pairs; run the score stage again"):
        TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "t", [2, 5]))
    dataset = TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "u", [2, 4, 3]))
    with pytest.raises(TargetsError, match="line 2 has 4 positions, the training target has 5; run the score stage again"):
        dataset.collater([dataset[1]])


def test_hypotheses_follow_their_lines_into_a_batch(dictionary: Dictionary, tmp_path: Path) -> None:
    said = LanguagePairDataset(*encode(dictionary, SOURCES), dictionary, *encode(dictionary, ["d d", "a", ""]), dictionary, shuffle=False)
    dataset = TokenTargetsDataset(HypothesesDataset(pairs(dictionary), said), write_targets(tmp_path / "t"))
    found = dataset.collater([dataset[index] for index in (1, 0, 2)])
    a, d, eos, pad = dictionary.index("a"), dictionary.index("d"), dictionary.eos(), dictionary.pad()
    assert found["id"].tolist() == [0, 2, 1]
    assert found["hypothesis"]["target"].tolist() == [[d, d, eos], [eos, pad, pad], [a, eos, pad]]
    assert found["hypothesis"]["prev_output_tokens"].tolist() == [[eos, d, d], [eos, pad, pad], [eos, a, pad]]
    assert torch.equal(found["target"], pairs(dictionary).collater([dataset[index] for index in (1, 0, 2)])["target"])
    assert torch.equal(found["teacher_ids"][2], rows(1, 5)[0])
    assert not dataset.collater([])
    few = LanguagePairDataset(*encode(dictionary, SOURCES[:2]), dictionary, *encode(dictionary, ["d", "a"]), dictionary)
    with pytest.raises(TargetsError, match="2 hypotheses for 3 training pairs; run the decode stage again"):
        HypothesesDataset(pairs(dictionary), few)


def test_the_train_split_alone_carries_what_the_teacher_says(tiny: Tiny, tmp_path: Path) -> None:
    sides = ["w1", "w2 w3", "w4"], ["w1", "w1 w2 w3 w4", "w5"]
    splits: Any = {"train": sides, "valid": (["w1"], ["w2"]), "hypotheses": (sides[0], ["w6", "w7", "w8 w9"])}
    bridge.write_data(tmp_path / "data", tiny.folder / "dict.tgt.txt", splits)
    write_targets(tmp_path / "t")
    adapt, cfg, before = distil(WORD, SMALL, targets=tmp_path / "t", temperature=1.5), *map(bridge.configuration, [tiny.command] * 2)
    assert adapt is not None
    with open_dict(cfg):
        adapt(cfg)
        cfg.task.data, cfg.task.hypotheses = str(tmp_path / "data"), True
    assert (cfg.task._name, cfg.task.token_targets) == (TASK, str(tmp_path / "t"))
    assert (cfg.criterion._name, cfg.criterion.teacher_weight, cfg.criterion.temperature) == (CRITERION, 0.25, 1.5)
    assert cfg.criterion.label_smoothing == before.criterion.label_smoothing == 0.1
    task = tasks.setup_task(cfg.task)
    for split in ("train", "valid"):
        task.load_dataset(split)
    found = task.dataset("train").collater([task.dataset("train")[2]])
    assert "teacher_ids" in found
    assert found["hypothesis"]["target"].tolist() == [[task.target_dictionary.index(word) for word in ("w8", "w9", "</s>")]]
    valid = task.dataset("valid").collater([task.dataset("valid")[0]])
    assert "teacher_ids" not in valid and "hypothesis" not in valid
    assert "hypotheses" not in task.datasets
    criterion = task.build_criterion(cfg.criterion)
    assert isinstance(criterion, DistillationCriterion)
    assert (criterion.cfg.teacher_weight, criterion.term.temperature, criterion.eps) == (0.25, 1.5, 0.1)


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

    def get_targets(self, sample: dict[str, Any], net_output: Any) -> Any:
        return sample["target"]


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


def ours(dictionary: Dictionary, weight: float, temperature: float = 1.0, smoothing: float = 0.1, **term: Any) -> DistillationCriterion:
    config = DistillationConfig(sentence_avg=False, label_smoothing=smoothing, teacher_weight=weight, temperature=temperature, **term)
    return DistillationCriterion(Task(dictionary), config)


def paid(criterion: Any, logits: Tensor, sample: dict[str, Any]) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Loss, gradient and log."""
    model = Model(logits.clone())
    loss, size, log = criterion(model, sample)
    loss.backward()
    assert size == sample["ntokens"]
    assert model.logits.grad is not None
    return loss.detach(), model.logits.grad, log


@pytest.mark.parametrize("option", OPTIONS)
def test_without_weight_it_is_the_stock_criterion_bit_for_bit(dictionary: Dictionary, tmp_path: Path, option: str) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    wanted, found = paid(stock(dictionary), logits, sample), paid(ours(dictionary, 0.0, **OPTIONS[option]), logits, sample)
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
    padding = sample["target"].flatten().eq(dictionary.pad())
    kl = token_level(free.flatten(0, 1), ids, probs, padding, Term(temperature=2.0)).sum()
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
@pytest.mark.parametrize("option", OPTIONS)
def test_padding_changes_neither_loss_nor_gradient(dictionary: Dictionary, tmp_path: Path, option: str, weight: float) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits, criterion = random_logits(sample), ours(dictionary, weight, 2.0, **OPTIONS[option])
    alone = paid(criterion, logits, sample)
    pad, length = torch.nn.functional.pad, sample["target"].size(1)
    wide: dict[str, Any] = {**sample, "target": pad(sample["target"], (0, 3), value=dictionary.pad())}
    # Junk at padding, where the dataset writes zeros: nothing there may count.
    wide["teacher_ids"] = pad(sample["teacher_ids"], (0, 0, 0, 3), value=5)
    wide["teacher_probs"] = pad(sample["teacher_probs"], (0, 0, 0, 3), value=0.5)
    wide["teacher_probs"][wide["target"].eq(dictionary.pad())] = 0.5
    wide_logits = pad(logits, (0, 0, 0, 3), value=30.0)
    wide_logits[:, length:, dictionary.pad()] = -30.0  # what stands in padding's place is as unlikely as can be: the hardest of all
    padded = paid(criterion, wide_logits, wide)
    assert padded[0].item() == pytest.approx(alone[0].item(), rel=1e-6)
    assert torch.allclose(padded[1][:, :length], alone[1], atol=1e-7)
    assert padded[1][wide["target"].eq(dictionary.pad())].eq(0).all()


@pytest.mark.parametrize("option", [name for name, term in OPTIONS.items() if "hardest" not in term])  # which is a batch's affair
def test_the_loss_is_a_sum_over_lines(dictionary: Dictionary, tmp_path: Path, option: str) -> None:
    """Whatever their order, and how many stand in a batch."""
    dataset, criterion = TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "t")), ours(dictionary, 0.5, **OPTIONS[option])
    together = dataset.collater([dataset[index] for index in range(3)])
    logits = random_logits(together)
    whole = paid(criterion, logits, together)[0]
    parts = 0.0
    for row, line in enumerate(together["id"].tolist()):
        sample = dataset.collater([dataset[line]])
        parts += paid(criterion, logits[row : row + 1, : LENGTHS[line]], sample)[0].item()
    assert whole.item() == pytest.approx(parts, rel=1e-6)
    back = {name: together[name].flip(0) for name in ("target", "teacher_ids", "teacher_probs")}
    assert paid(criterion, logits.flip(0), {**together, **back})[0].item() == pytest.approx(parts, rel=1e-6)


def test_only_the_hardest_tokens_learn_from_the_teacher(dictionary: Dictionary, tmp_path: Path) -> None:
    """Nine tokens, a share of 0.4: four pay both, the other five the stock loss alone."""
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    flat, padding = logits.flatten(0, 1), sample["target"].flatten().eq(dictionary.pad())
    nll = -torch.log_softmax(flat, -1).gather(-1, sample["target"].flatten().unsqueeze(-1)).squeeze(-1)
    four = nll.masked_fill(padding, -1.0).argsort(descending=True)[:4]
    assert torch.equal(hardest(nll, padding, 0.4).nonzero().flatten(), four.sort().values)
    ce, _ = stock(dictionary).compute_loss(Model(logits), (logits, None), sample, reduce=False)
    term = token_level(flat, sample["teacher_ids"].flatten(0, 1), sample["teacher_probs"].flatten(0, 1), padding, Term())
    wanted = ce.sum() + 0.7 * (term[four] - ce.flatten()[four]).sum()
    assert paid(ours(dictionary, 0.7, hardest=0.4), logits, sample)[0].item() == pytest.approx(wanted.item(), rel=1e-6)
    every = [paid(ours(dictionary, 0.7, **share), logits, sample)[0] for share in ({}, {"hardest": 1.0})]
    assert torch.equal(*every)


def test_without_gradients_the_loss_has_none(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    with torch.no_grad():
        loss, _, _ = ours(dictionary, 0.5)(Model(random_logits(sample)), sample)
    assert not loss.requires_grad


def test_it_is_built_from_fairseqs_configuration(dictionary: Dictionary) -> None:
    config = DistillationConfig(label_smoothing=0.2, sentence_avg=True, teacher_weight=0.3, temperature=4.0, ranking=0.5, ranked=2)
    found = DistillationCriterion.build_criterion(config, Task(dictionary))
    assert (found.eps, found.sentence_avg, found.cfg.teacher_weight) == (0.2, True, 0.3)
    assert found.term == Term(temperature=4.0, divergence="forward_kl", beta=0.5, ranking=0.5, ranked=2)
    assert found.padding_idx == dictionary.pad()


def test_the_log_holds_means_over_sentences() -> None:
    losses: dict[str, Any] = {"loss": 1.0, "nll_loss": 1.0, "ntokens": 5, "sample_size": 5}
    with metrics.aggregate() as found:
        DistillationCriterion.reduce_metrics([{**losses, "nsentences": 3, "gate": 0.6}, {**losses, "nsentences": 1, "gate": 0.6}])
    assert found["gate"].avg == pytest.approx(0.3)
    assert "openness" not in found
