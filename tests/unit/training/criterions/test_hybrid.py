"""nmtkd.training.criterions.hybrid: a gate between two levels."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nmtkd.distil.sentence_gate import SentenceGate
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.training.dataset import TokenTargetsDataset
from tests.conftest import Tiny
from tests.unit.training.helpers import LINES, V, bare, mixed, online, paid, same, stock, translated, word


def test_fixed_gate_chooses_and_mixes_the_two_levels(student: bridge.Loaded, sample: dict[str, Any]) -> None:
    token, sentence = (
        paid(word(student), student.model, sample),
        paid(stock(student), student.model, translated(sample)),
    )
    assert abs(token[0] - sentence[0]) > 1
    assert same(paid(mixed(student, gate=1.0), student.model, sample), token)
    found = paid(mixed(student, gate=0.0), student.model, sample)
    assert same(found, sentence)
    assert (
        found[2]["sample_size"]
        == found[2]["ntokens"]
        == sample["ntokens"]
        != int(sample["hypothesis"]["target"].ne(1).sum())
    )
    quarter = paid(mixed(student, gate=0.25), student.model, sample)
    assert quarter[0] == pytest.approx(0.25 * token[0] + 0.75 * sentence[0], rel=1e-5)
    assert (quarter[2]["gate"], quarter[2]["nll_loss"].item()) == (
        1.0,
        pytest.approx(token[2]["nll_loss"].item(), rel=1e-5),
    )


def test_gates_are_exact_where_products_are_in_bfloat16(
    student: bridge.Loaded, sample: dict[str, Any]
) -> None:
    """0.3 in eight bits is 0.3008: the weights of the two levels would not be those that were asked for."""
    sentences = sample["target"].size(0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        log = paid(mixed(student, gate=0.3), student.model, sample)[2]
        gate = SentenceGate(16)
        nn.init.constant_(gate.score.bias, 1.0)
        learnt_B = gate(torch.ones(2, 3, 16, dtype=torch.bfloat16), torch.zeros(3, 2, dtype=torch.bool))
    assert log["gate"] == pytest.approx(0.3 * sentences, rel=1e-6)
    assert learnt_B.tolist() == [pytest.approx(0.7310586, rel=1e-6)] * 3


def test_learned_gate_is_a_parameter_whose_gradient_is_the_difference(
    student: bridge.Loaded, dataset: TokenTargetsDataset, sample: dict[str, Any]
) -> None:
    """At g = 1/2: dL/db = sum of (L_word - L_seq) / 4, each sentence alone."""
    criterion = mixed(student)
    assert [name for name, _ in criterion.named_parameters()] == ["gate.score.weight", "gate.score.bias"]
    assert not list(mixed(student, gate=0.5).parameters())
    assert same(paid(criterion, student.model, sample), paid(mixed(student, gate=0.5), student.model, sample))
    criterion.zero_grad()
    paid(criterion, student.model, sample)
    ones = [dataset.collater([dataset[line]]) for line in LINES]
    gaps = [
        paid(word(student), student.model, one)[0] - paid(stock(student), student.model, translated(one))[0]
        for one in ones
    ]
    assert criterion.gate is not None and criterion.gate.score.bias.grad is not None
    assert criterion.gate.score.bias.grad.item() == pytest.approx(sum(gaps) / 4, rel=1e-4)


def test_encoder_learns_nothing_through_the_gate(
    student: bridge.Loaded, sample: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    criterion = mixed(student)
    assert criterion.gate is not None
    nn.init.normal_(criterion.gate.score.weight, generator=torch.Generator().manual_seed(1))
    found = paid(criterion, student.model, sample)
    seen: list[Tensor] = []
    criterion.gate.register_forward_hook(lambda _, __, gate: seen.append(gate.detach()))
    paid(criterion, student.model, sample)
    assert seen[0].std() > 1e-3
    monkeypatch.setattr(SentenceGate, "forward", lambda *_: seen[0])
    assert same(found, paid(mixed(student), student.model, sample))


@pytest.mark.parametrize("rises", [True, False])
def test_gate_alone_drifts_to_the_smaller_loss(
    student: bridge.Loaded, sample: dict[str, Any], rises: bool
) -> None:
    """The model is frozen, y^ is y*; the teacher is the student itself (L_word = 0), or bets on what the
    student finds least likely."""
    criterion, model = (
        mixed(student, teacher_weight=1.0, temperature=1.0),
        student.model.requires_grad_(False),
    )
    probs = model.get_normalized_probs(model(**sample["net_input"]), log_probs=False)
    every = torch.arange(V).expand_as(probs)
    odd = nn.functional.one_hot(probs.argmin(-1), V).float()
    taught = {"target": sample["target"], "prev_output_tokens": sample["net_input"]["prev_output_tokens"]}
    sample |= {"teacher_ids": every, "teacher_probs": probs if rises else odd, "hypothesis": taught}
    optimizer = torch.optim.Adam(criterion.parameters(), lr=0.1)
    seen = []
    for _ in range(50):
        optimizer.zero_grad()
        loss, _, log = criterion(model, sample)
        loss.backward()
        optimizer.step()
        seen.append(log["gate"] / 4)
    assert seen[0] == 0.5
    assert seen == sorted(seen, reverse=not rises)
    assert (seen[-1] > 0.95) if rises else (seen[-1] < 0.05)


def test_hybrid_batch_is_the_sum_of_its_sentences(
    student: bridge.Loaded, dataset: TokenTargetsDataset, sample: dict[str, Any]
) -> None:
    """In other words, padding of source, gold and hypothesis changes nothing."""
    criterion = mixed(student)
    assert criterion.gate is not None
    nn.init.normal_(criterion.gate.score.weight, generator=torch.Generator().manual_seed(1))
    alone = [paid(criterion, student.model, dataset.collater([dataset[line]]))[0] for line in LINES]
    assert paid(criterion, student.model, sample)[0] == pytest.approx(sum(alone), rel=1e-5)


def test_validation_is_the_stock_loss(tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any]) -> None:
    for criterion in (mixed(student), mixed(student, gate=0.5), online(tiny, student, share=1.0)):
        wanted, found = (paid(one.eval(), student.model, bare(sample)) for one in (stock(student), criterion))
        assert wanted[0] == found[0] and wanted[2] == found[2]
        assert all(torch.equal(a, b) for a, b in zip(wanted[1], found[1], strict=True))
