"""nmtkd.training.criterions.distillation: the stock criterion plus the teacher's share."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.data import Dictionary
from fairseq.logging import metrics
from torch import Tensor

from nmtkd.distil.token_loss import TeacherTerm, hardest, token_level
from nmtkd.training.criterions.distillation import DistillationConfig, DistillationCriterion
from nmtkd.training.dataset import TokenTargetsDataset
from tests.unit.distil.helpers import method, teacher_term
from tests.unit.training.four_words import LENGTHS, pairs, write_targets
from tests.unit.training.helpers import FreeLogits, Task

OPTIONS: dict[str, dict[str, Any]] = {
    "forward": {},
    "reverse": {"divergence": "reverse_kl"},
    "mixed": {"divergence": "jensen_shannon", "beta": 0.3},
    "variation": {"divergence": "total_variation"},
    "ranking": {"ranking": {"weight": 0.5, "tokens": 3}},
    "hardest": {"hardest": 0.5},
    "all": {"divergence": "jensen_shannon", "hardest": 0.4, "ranking": {"weight": 0.5, "tokens": 2}},
}


def batch(dictionary: Dictionary, folder: Path) -> dict[str, Any]:
    dataset = TokenTargetsDataset(pairs(dictionary), write_targets(folder))
    return dataset.collater([dataset[index] for index in range(3)])


def random_logits(sample: dict[str, Any], seed: int = 0) -> Tensor:
    return torch.randn(*sample["target"].shape, 8, generator=torch.Generator().manual_seed(seed))


def stock_criterion(dictionary: Dictionary) -> LabelSmoothedCrossEntropyCriterion:
    return LabelSmoothedCrossEntropyCriterion(Task(dictionary), sentence_avg=False, label_smoothing=0.1)


def ours(
    dictionary: Dictionary, weight: float, temperature: float = 1.0, smoothing: float = 0.1, **changes: Any
) -> DistillationCriterion:
    """At weight 0.0 too the options stand there, which plan/ would refuse."""
    asked = method(teacher_weight=weight or 0.5, **changes).model_dump_json()
    cfg = DistillationConfig(
        sentence_avg=False, label_smoothing=smoothing, temperature=temperature, method=asked
    )
    criterion = DistillationCriterion(Task(dictionary), cfg)
    criterion.method = criterion.method.model_copy(update={"teacher_weight": weight})
    return criterion


def loss_and_gradient(
    criterion: Any, logits: Tensor, sample: dict[str, Any]
) -> tuple[Tensor, Tensor, dict[str, Any]]:
    """Loss, gradient and log."""
    model = FreeLogits(logits.clone())
    loss, size, log = criterion(model, sample)
    loss.backward()
    assert size == sample["ntokens"]
    assert model.logits.grad is not None
    return loss.detach(), model.logits.grad, log


@pytest.mark.parametrize("option", OPTIONS)
def test_distillation_without_weight_is_the_stock_criterion_bit_for_bit(
    dictionary: Dictionary, tmp_path: Path, option: str
) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    wanted, found = (
        loss_and_gradient(stock_criterion(dictionary), logits, sample),
        loss_and_gradient(ours(dictionary, 0.0, **OPTIONS[option]), logits, sample),
    )
    assert torch.equal(wanted[0], found[0])
    assert torch.equal(wanted[1], found[1])
    assert wanted[2] == found[2]
    bare = {name: value for name, value in sample.items() if not name.startswith("teacher")}
    assert torch.equal(loss_and_gradient(ours(dictionary, 0.0), logits, bare)[0], wanted[0])


def test_validation_has_no_teacher_term(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    wanted = loss_and_gradient(stock_criterion(dictionary), logits, sample)
    for data in (sample, {name: value for name, value in sample.items() if not name.startswith("teacher")}):
        found = loss_and_gradient(ours(dictionary, 0.7).eval(), logits, data)
        assert torch.equal(wanted[0], found[0])
        assert torch.equal(wanted[1], found[1])
        assert wanted[2] == found[2]
    assert not torch.equal(loss_and_gradient(ours(dictionary, 0.7), logits, sample)[0], wanted[0])


def test_validation_by_token_adds_up(dictionary: Dictionary, tmp_path: Path) -> None:
    """fairseq asks for sums, or for a loss at each position."""
    sample = batch(dictionary, tmp_path / "t")
    model, criterion = FreeLogits(random_logits(sample)), ours(dictionary, 0.7).eval()
    output = model(**sample["net_input"])
    losses, nll = criterion.compute_loss(model, output, sample, reduce=False)
    total, nll_total = criterion.compute_loss(model, output, sample)
    assert losses.numel() == nll.numel() == sample["target"].numel()
    assert losses.sum().item() == pytest.approx(total.item(), rel=1e-5)
    assert nll.sum().item() == pytest.approx(nll_total.item(), rel=1e-5)


def test_distillation_loss_by_hand(dictionary: Dictionary) -> None:
    """One line of one word and its end; student probabilities (1/2, 1/4, 1/8, 1/8) and (1/4, 1/4, 1/4,
    1/4) of a vocabulary of four."""
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
    loss, _, log = loss_and_gradient(ours(dictionary, 0.25, smoothing=0.0), student, sample)
    assert loss.item() == pytest.approx(0.75 * cross_entropy + 0.25 * (first + second))
    assert float(log["nll_loss"]) == pytest.approx(cross_entropy)
    # At T = 2 the student's probabilities are the square roots, normalised; and the KL counts four times.
    roots = [math.sqrt(p) for p in (0.5, 0.25, 0.125, 0.125)]
    q = [root / sum(roots) for root in roots]
    first = 0.25 * math.log(0.25 / q[0]) + 0.5 * math.log(0.5 / q[3]) + 0.25 * math.log(0.25 / (q[1] + q[2]))
    loss, _, log = loss_and_gradient(ours(dictionary, 0.25, temperature=2.0, smoothing=0.0), student, sample)
    assert loss.item() == pytest.approx(0.75 * cross_entropy + 0.25 * 4 * (first + second))
    assert float(log["nll_loss"]) == pytest.approx(cross_entropy)


def test_distillations_gradient_is_that_of_both_parts(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    free = logits.clone().requires_grad_()
    ids, probs = (sample[name].flatten(0, 1) for name in ("teacher_ids", "teacher_probs"))
    padding = sample["target"].flatten().eq(dictionary.pad())
    kl = token_level(free.flatten(0, 1), ids, probs, padding, teacher_term(2.0)).sum()
    wanted = (
        0.7 * loss_and_gradient(stock_criterion(dictionary), logits, sample)[1]
        + 0.3 * torch.autograd.grad(kl, free)[0]
    )
    found = loss_and_gradient(ours(dictionary, 0.3, 2.0), logits, sample)[1]
    assert torch.allclose(found, wanted, atol=1e-6)
    assert found.abs().max() > 0.1


def test_distillation_of_whole_weight_leaves_no_cross_entropy(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    loss, _, log = loss_and_gradient(ours(dictionary, 1.0), logits, sample)
    sample["target"][sample["target"].eq(dictionary.index("a"))] = dictionary.index("d")
    other, _, other_log = loss_and_gradient(ours(dictionary, 1.0), logits, sample)
    assert torch.equal(loss, other)
    assert log["nll_loss"] != other_log["nll_loss"]


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("option", OPTIONS)
def test_padding_changes_neither_distillation_nor_its_gradient(
    dictionary: Dictionary, tmp_path: Path, option: str, weight: float
) -> None:
    sample = batch(dictionary, tmp_path / "t")
    logits, criterion = random_logits(sample), ours(dictionary, weight, 2.0, **OPTIONS[option])
    alone = loss_and_gradient(criterion, logits, sample)
    pad, length = torch.nn.functional.pad, sample["target"].size(1)
    wide: dict[str, Any] = {**sample, "target": pad(sample["target"], (0, 3), value=dictionary.pad())}
    # Junk at padding, where the dataset writes zeros: nothing there may count.
    wide["teacher_ids"] = pad(sample["teacher_ids"], (0, 0, 0, 3), value=5)
    wide["teacher_probs"] = pad(sample["teacher_probs"], (0, 0, 0, 3), value=0.5)
    wide["teacher_probs"][wide["target"].eq(dictionary.pad())] = 0.5
    wide_logits = pad(logits, (0, 0, 0, 3), value=30.0)
    wide_logits[
        :, length:, dictionary.pad()
    ] = -30.0  # what stands in padding's place is as unlikely as can be: the hardest of all
    padded = loss_and_gradient(criterion, wide_logits, wide)
    assert padded[0].item() == pytest.approx(alone[0].item(), rel=1e-6)
    assert torch.allclose(padded[1][:, :length], alone[1], atol=1e-7)
    assert padded[1][wide["target"].eq(dictionary.pad())].eq(0).all()


@pytest.mark.parametrize(
    "option", [name for name, term in OPTIONS.items() if "hardest" not in term]
)  # which is a batch's affair
def test_distillation_is_a_sum_over_lines(dictionary: Dictionary, tmp_path: Path, option: str) -> None:
    """Whatever their order, and how many stand in a batch."""
    dataset, criterion = (
        TokenTargetsDataset(pairs(dictionary), write_targets(tmp_path / "t")),
        ours(dictionary, 0.5, **OPTIONS[option]),
    )
    together = dataset.collater([dataset[index] for index in range(3)])
    logits = random_logits(together)
    whole = loss_and_gradient(criterion, logits, together)[0]
    parts = 0.0
    for row, line in enumerate(together["id"].tolist()):
        sample = dataset.collater([dataset[line]])
        parts += loss_and_gradient(criterion, logits[row : row + 1, : LENGTHS[line]], sample)[0].item()
    assert whole.item() == pytest.approx(parts, rel=1e-6)
    back = {name: together[name].flip(0) for name in ("target", "teacher_ids", "teacher_probs")}
    assert loss_and_gradient(criterion, logits.flip(0), {**together, **back})[0].item() == pytest.approx(
        parts, rel=1e-6
    )


def test_hardest_tokens_alone_learn_from_the_teacher(dictionary: Dictionary, tmp_path: Path) -> None:
    """Nine tokens, a share of 0.4: four pay both, the other five the stock loss alone."""
    sample = batch(dictionary, tmp_path / "t")
    logits = random_logits(sample)
    flat, padding = logits.flatten(0, 1), sample["target"].flatten().eq(dictionary.pad())
    nll = -torch.log_softmax(flat, -1).gather(-1, sample["target"].flatten().unsqueeze(-1)).squeeze(-1)
    four = nll.masked_fill(padding, -1.0).argsort(descending=True)[:4]
    assert torch.equal(hardest(nll, padding, 0.4).nonzero().flatten(), four.sort().values)
    ce, _ = stock_criterion(dictionary).compute_loss(FreeLogits(logits), (logits, None), sample, reduce=False)
    term = token_level(
        flat,
        sample["teacher_ids"].flatten(0, 1),
        sample["teacher_probs"].flatten(0, 1),
        padding,
        teacher_term(),
    )
    wanted = ce.sum() + 0.7 * (term[four] - ce.flatten()[four]).sum()
    assert loss_and_gradient(ours(dictionary, 0.7, hardest=0.4), logits, sample)[0].item() == pytest.approx(
        wanted.item(), rel=1e-6
    )
    every = [
        loss_and_gradient(ours(dictionary, 0.7, **share), logits, sample)[0]
        for share in ({}, {"hardest": 1.0})
    ]
    assert torch.equal(*every)


def test_distillation_without_gradients_has_none(dictionary: Dictionary, tmp_path: Path) -> None:
    sample = batch(dictionary, tmp_path / "t")
    with torch.no_grad():
        loss, _, _ = ours(dictionary, 0.5)(FreeLogits(random_logits(sample)), sample)
    assert not loss.requires_grad


def test_distillation_is_built_from_fairseqs_configuration(dictionary: Dictionary) -> None:
    asked = method(teacher_weight=0.3, ranking={"weight": 0.5, "tokens": 2})
    config = DistillationConfig(
        label_smoothing=0.2, sentence_avg=True, temperature=4.0, method=asked.model_dump_json()
    )
    found = DistillationCriterion.build_criterion(config, Task(dictionary))
    assert (found.eps, found.sentence_avg, found.method.teacher_weight) == (0.2, True, 0.3)
    assert found.term == TeacherTerm(method=asked, temperature=4.0)
    assert found.padding_idx == dictionary.pad()


def test_log_holds_means_over_sentences() -> None:
    losses: dict[str, Any] = {"loss": 1.0, "nll_loss": 1.0, "ntokens": 5, "sample_size": 5}
    with metrics.aggregate() as found:
        DistillationCriterion.reduce_metrics(
            [{**losses, "nsentences": 3, "gate": 0.6}, {**losses, "nsentences": 1, "gate": 0.6}]
        )
    assert found["gate"].avg == pytest.approx(0.3)
    assert "openness" not in found
