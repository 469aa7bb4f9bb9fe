"""nmtkd.distil.sentence_gate by hand: how much a sentence learns of each level."""

import math

import pytest
import torch
from torch import nn

from nmtkd.distil.sentence_gate import SentenceGate, hybrid


def test_sentence_gate_by_hand() -> None:
    """Sentence 1 is (1, 3) and (3, 1); sentence 2 is (2, 0) and padding: the mean is (2, 2) and (2, 0)."""
    gate = SentenceGate(2)
    encoded = torch.tensor([[[1.0, 3.0], [2.0, 0.0]], [[3.0, 1.0], [99.0, 99.0]]])
    padding = torch.tensor([[False, False], [False, True]])
    assert gate(encoded, padding).tolist() == [0.5, 0.5]
    with torch.no_grad():
        gate.score.weight.copy_(torch.tensor([[0.5, 1.0]]))
        gate.score.bias.fill_(-1.0)
    assert gate(encoded, padding).tolist() == pytest.approx([1 / (1 + math.exp(-2.0)), 0.5])


def test_sentence_gate_reads_the_encoder_and_does_not_teach_it() -> None:
    gate = SentenceGate(4)
    nn.init.normal_(gate.score.weight)
    encoded = torch.randn(3, 2, 4, requires_grad=True)
    gate(encoded, torch.zeros(2, 3, dtype=torch.bool)).sum().backward()
    assert encoded.grad is None
    assert gate.score.weight.grad is not None and gate.score.weight.grad.abs().min() > 0


def test_hybrid_loss_by_hand() -> None:
    """0.25 * 3 + 0.75 * 2 + 0.5 * 1 + 0.5 * 4; a gate's gradient is L_word - L_seq."""
    word, seq = torch.tensor([3.0, 1.0], requires_grad=True), torch.tensor([2.0, 4.0], requires_grad=True)
    gate = torch.tensor([0.25, 0.5], requires_grad=True)
    loss = hybrid(word, seq, gate)
    assert loss.item() == 4.75
    loss.backward()  # type: ignore[no-untyped-call]
    assert [side.grad.tolist() for side in (gate, word, seq) if side.grad is not None] == [
        [1.0, -3.0],
        [0.25, 0.5],
        [0.75, 0.5],
    ]
    assert hybrid(word, seq, torch.ones(2)).item() == 4.0
    assert hybrid(word, seq, torch.zeros(2)).item() == 6.0


def test_learned_gate_drifts_to_the_smaller_loss_of_each_sentence() -> None:
    """Whatever that loss says of learning: a number that is small counts as good."""
    gate, padding = SentenceGate(2), torch.zeros(2, 1, dtype=torch.bool)
    optimizer = torch.optim.Adam(gate.parameters(), lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        loss = hybrid(
            torch.tensor([1.0, 4.0]), torch.tensor([2.0, 3.0]), gate(torch.eye(2).unsqueeze(0), padding)
        )
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    first, second = gate(torch.eye(2).unsqueeze(0), padding).tolist()
    assert first > 0.9 and second < 0.1
