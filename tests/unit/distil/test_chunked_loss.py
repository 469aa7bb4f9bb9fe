"""nmtkd.distil.chunked_loss: the loss from features is the loss from logits, in value and in every
gradient."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from nmtkd.distil.chunked_loss import Positions, chunked_loss
from nmtkd.distil.token_loss import TeacherTerm, token_level
from tests.unit.distil.helpers import KINDS, teacher_term

N, C, V, K = 11, 6, 13, 4
TERMS = {
    **{kind: teacher_term(divergence=kind) for kind in KINDS},
    "forward": teacher_term(),
    "mixed": teacher_term(divergence="jensen_shannon", beta=0.3),
    "soft": teacher_term(2.5),
    "sharp": teacher_term(0.5, divergence="reverse_kl"),
}


@pytest.fixture(autouse=True, params=[3, 1000], ids=["chunks of 3", "one chunk"])
def chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eleven positions in chunks of three, the last one smaller; and all in one."""
    monkeypatch.setattr("nmtkd.distil.chunked_loss.CHUNK_BYTES", request.param * V * 8)


def drawn(seed: int = 1, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=dtype)

    probs, ids = torch.softmax(2 * normal(N, V), -1).topk(K)
    found = {
        "features": scale * normal(N, C),
        "output": normal(V, C),
        "label": normal(N).abs(),
        "taught": normal(N).abs(),
    }
    found = {name: value.requires_grad_() for name, value in found.items()}
    return found | {"target": torch.randint(V, (N,), generator=generator), "ids": ids, "probs": probs}


def from_logits(given: dict[str, Tensor], term: TeacherTerm | None, smoothing: float) -> Tensor:
    """The same loss as its parts are written: log-softmax, fairseq's smoothing, token_level."""
    logits = given["features"] @ given["output"].t()
    lprobs = torch.log_softmax(logits, -1)
    nll, every, other = (
        -lprobs.gather(-1, given["target"].unsqueeze(-1)).squeeze(-1),
        -lprobs.sum(-1),
        smoothing / (V - 1),
    )
    total = (given["label"] * ((1 - smoothing - other) * nll + other * every)).sum()
    if term:
        total = (
            total
            + (
                given["taught"]
                * token_level(logits, given["ids"], given["probs"], torch.zeros(N, dtype=torch.bool), term)
            ).sum()
        )
    return total


def learnt_positions(given: dict[str, Tensor], term: TeacherTerm | None, smoothing: float = 0.1) -> Positions:
    taught: dict[str, Any] = (
        {
            "ids_NK": given["ids"],
            "probs_NK": given["probs"],
            "teacher_weight_N": given["taught"],
            "term": term,
        }
        if term
        else {}
    )
    return Positions(target_N=given["target"], label_weight_N=given["label"], smoothing=smoothing, **taught)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("name", [*TERMS, None])
@pytest.mark.parametrize("scale", [1.0, 300.0], ids=["small logits", "logits that no exp takes as they are"])
def test_chunked_loss_is_the_loss_from_logits_with_all_its_gradients(
    name: str | None, smoothing: float, scale: float
) -> None:
    term, given = TERMS[name] if name else None, drawn(scale=scale)
    learnt = [given[one] for one in ("features", "output", "label", *(["taught"] if term else []))]
    wanted = from_logits(given, term, smoothing)
    found = chunked_loss(given["features"], given["output"], learnt_positions(given, term, smoothing)).total
    assert found.item() == pytest.approx(wanted.item(), rel=1e-12)
    for one, other in zip(
        torch.autograd.grad(3 * found, learnt), torch.autograd.grad(3 * wanted, learnt), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-11 * scale)


def test_chunked_loss_in_float32_is_near_float64() -> None:
    term = TERMS["forward"]
    exact = chunked_loss(drawn()["features"], drawn()["output"], learnt_positions(drawn(), term)).total
    given = {
        name: value.detach().float() if value.is_floating_point() else value
        for name, value in drawn().items()
    }
    features = given["features"].requires_grad_()
    found = chunked_loss(features, given["output"], learnt_positions(given, term)).total
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(exact.item(), rel=1e-6)
    (gradient,) = torch.autograd.grad(found, features)
    assert gradient.dtype == torch.float32


def test_chunked_loss_by_hand() -> None:
    """One position, logits log 1, log 2, log 5 (probabilities 1/8, 1/4, 5/8), target 1, the teacher's half
    on token 2."""
    features, output = torch.tensor([[1.0]]), torch.tensor([[0.0], [math.log(2)], [math.log(5)]])
    paid = chunked_loss(
        features,
        output,
        Positions(
            target_N=torch.tensor([1]),
            label_weight_N=torch.tensor([1.0]),
            smoothing=0.2,
            ids_NK=torch.tensor([[2]]),
            probs_NK=torch.tensor([[0.5]]),
            teacher_weight_N=torch.tensor([10.0]),
            term=teacher_term(),
        ),
    )
    nll = math.log(4)
    ce = (1 - 0.2 - 0.1) * nll + 0.1 * (math.log(8) + math.log(4) + math.log(8 / 5))
    kl = 0.5 * math.log(0.5 / 0.625) + 0.5 * math.log(0.5 / 0.375)
    assert paid.nll_N.item() == pytest.approx(nll, rel=1e-6)
    assert paid.ce_N.item() == pytest.approx(ce, rel=1e-6)
    assert paid.term_N.item() == pytest.approx(kl, rel=1e-5)
    assert paid.total.item() == pytest.approx(ce + 10 * kl, rel=1e-6)


def test_rest_that_is_nearly_nothing_keeps_its_digits() -> None:
    """Kept tokens hold all but e^-30 of the student: 1 - sum would be 0 in float32, and the divergence
    infinite."""
    output = torch.tensor([[30.0], [0.0], [0.0]])
    given: dict[str, Any] = {
        "ids_NK": torch.tensor([[0]]),
        "probs_NK": torch.tensor([[0.5]]),
        "teacher_weight_N": torch.ones(1),
        "term": teacher_term(),
    }
    paid = chunked_loss(
        torch.ones(1, 1),
        output,
        Positions(target_N=torch.tensor([0]), label_weight_N=torch.zeros(1), smoothing=0.0, **given),
    )
    assert paid.term_N.item() == pytest.approx(math.log(0.5) + 0.5 * (30 - math.log(2)), rel=1e-5)


def test_chunked_loss_of_no_position_is_0() -> None:
    features, output = torch.zeros(0, C, requires_grad=True), torch.ones(V, C, requires_grad=True)
    none = torch.zeros(0)
    total = chunked_loss(
        features, output, Positions(target_N=none.long(), label_weight_N=none, smoothing=0.1)
    ).total
    total.backward()  # type: ignore[no-untyped-call]
    assert total.item() == 0.0 and output.grad is not None and output.grad.eq(0).all()


@pytest.mark.parametrize("name", ["soft", None])
def test_scale_at_which_gradients_are_kept_changes_none(name: str | None) -> None:
    """A power of two rounds nothing."""
    given = drawn(dtype=torch.float32)
    found = []
    for scale in (1.0, 1024.0):
        loss = chunked_loss(
            given["features"], given["output"], learnt_positions(given, TERMS[name] if name else None), scale
        ).total
        inputs = [given[one] for one in ("features", "output", "label", *["taught"] * bool(name))]
        found.append([loss, *torch.autograd.grad(loss, inputs)])
    assert all(map(torch.equal, *found))


def test_float16_loses_no_small_gradient_that_is_kept_at_a_scale() -> None:
    """Of a token with probability 1e-8, where float16 has no step below 6e-8."""
    target = torch.tensor([0])
    rows = Positions(target_N=target, label_weight_N=torch.ones(1), smoothing=0.0)
    output = torch.tensor([[math.log(1e8)], [0.0]]).requires_grad_()
    features = torch.ones(1, 1).requires_grad_()
    found = []
    for scale in (1.0, 1024.0):
        with torch.autocast("cpu", dtype=torch.float16):
            loss = chunked_loss(features, output, rows, scale).total
        (gradient,) = torch.autograd.grad(loss, output)
        found.append(float(gradient[1]))
    assert found == [0.0, pytest.approx(1e-8, rel=0.01)]


def test_chunked_loss_of_bfloat16_features_is_in_float32() -> None:
    """As under a GPU's autocast, which a CPU has too."""
    given = drawn(dtype=torch.float32)
    wanted = chunked_loss(given["features"], given["output"], learnt_positions(given, TERMS["forward"])).total
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = chunked_loss(
            given["features"], given["output"], learnt_positions(given, TERMS["forward"])
        ).total
    assert found.dtype == torch.float32 and found.item() == pytest.approx(wanted.item(), rel=0.02)
    gradients = [torch.autograd.grad(one, [given["features"], given["output"]]) for one in (found, wanted)]
    for one, other in zip(*gradients, strict=True):
        assert one.dtype == torch.float32 and torch.allclose(one, other, atol=0.05 * float(other.abs().max()))
