"""nmtkd.training.criterions.online: the teacher in memory, along gold and along samples."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nmtkd.distil.token_loss import token_level
from nmtkd.network import fairseq_bridge as bridge
from tests.conftest import Tiny
from tests.unit.distil.helpers import teacher_term
from tests.unit.network.building import PLAIN, built
from tests.unit.training.helpers import bare, online, paid, same, word


@pytest.mark.parametrize(
    "term", [{}, {"divergence": "reverse_kl"}, {"ranking": {"weight": 0.5, "tokens": 3}}, {"hardest": 0.5}]
)
def test_teacher_in_memory_says_what_it_said_to_the_disk(
    tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any], term: dict[str, Any]
) -> None:
    """k = V and float32. No random number is drawn, though the first step reads the teacher's file."""
    before = torch.get_rng_state()
    found = paid(online(tiny, student, **term), student.model, bare(sample))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(found, paid(word(student, **term), student.model, sample))


def test_teacher_is_asked_without_dropout_and_without_gradient(
    tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any]
) -> None:
    criterion = online(tiny, student)
    one, two = (criterion.train().asked(sample)["teacher_probs"] for _ in range(2))
    assert torch.equal(one, two)
    wanted = torch.zeros_like(one).scatter(-1, sample["teacher_ids"], sample["teacher_probs"])
    real = sample["target"].ne(1)
    assert torch.allclose(one[real], wanted[real], atol=1e-6)
    paid(criterion, student.model, sample)
    (teacher,) = criterion.teachers(torch.device("cpu"))
    assert teacher.cfg.dropout == 0.3 and not teacher.training
    assert all(weight.grad is None and not weight.requires_grad for weight in teacher.parameters())
    assert not list(criterion.parameters()) and not criterion.state_dict()


def test_several_teachers_are_asked_for_their_mean(
    tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any], tmp_path: Path
) -> None:
    bridge.save_model(tmp_path / "b.pt", built(tiny, architecture=PLAIN)[1], student.model.state_dict(), 1)
    both = online(tiny, student)
    both.cfg.teachers += f":{tmp_path / 'b.pt'}"
    other = online(tiny, student)
    other.cfg.teachers = str(tmp_path / "b.pt")
    mean, one, two = (each.asked(sample)["teacher_probs"] for each in (both, online(tiny, student), other))
    assert torch.allclose(mean, (one + two) / 2, atol=1e-6)
    assert (one - two).abs().max() > 0.1


def test_teachers_term_is_all_along_samples(
    tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any]
) -> None:
    """No CE; tokens are counted along the samples, which end soon after the gold texts. The model is in
    train mode again."""
    criterion, length = online(tiny, student, share=1.0, max_length_offset=2), sample["target"].size(1)
    torch.manual_seed(4)
    said = criterion.sampled(student.model, sample)
    assert student.model.training
    torch.manual_seed(4)
    found = paid(criterion, student.model, bare(sample))
    assert said["target"].shape != sample["target"].shape or not torch.equal(said["target"], sample["target"])
    pad, eos = student.dictionary.pad(), student.dictionary.eos()
    for target, prefix in zip(
        said["target"].tolist(), said["net_input"]["prev_output_tokens"].tolist(), strict=True
    ):
        words = target[: target.index(eos)]
        assert 1 <= len(words) <= length + 2 and pad not in words
        assert target[len(words) + 1 :] == [pad] * (len(target) - len(words) - 1)
        assert prefix[: len(words) + 1] == [eos, *words]
    tokens = int(said["target"].ne(pad).sum())
    assert found[2]["ntokens"] == found[2]["sample_size"] == said["ntokens"] == tokens != sample["ntokens"]
    asked = {name: value.flatten(0, 1) for name, value in criterion.asked(said).items()}
    logits = student.model(**said["net_input"])[0].flatten(0, 1)
    term = token_level(
        logits,
        asked["teacher_ids"],
        asked["teacher_probs"],
        said["target"].flatten().eq(pad),
        teacher_term(2.0),
    )
    assert found[0] == pytest.approx(0.5 * term.sum().item(), rel=1e-5)
    assert torch.equal(said["net_input"]["src_tokens"], sample["net_input"]["src_tokens"])


def test_sampled_batches_are_a_share_from_an_update_on(
    tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any]
) -> None:
    """All parts of an update's batch are, or none: the draw follows from the update's seed, and a batch of
    gold text has the random numbers that it has without samples."""
    criterion = online(tiny, student, share=0.3, from_update=5)
    drawn = {4: 0, 5: 0}
    for update in drawn:
        criterion.num_updates = update
        for seed in range(60):
            torch.manual_seed(seed)
            before = torch.get_rng_state()
            one, two = (criterion(student.model, sample)[2]["ntokens"] != sample["ntokens"] for _ in range(2))
            assert one == two
            assert one or torch.equal(before, torch.get_rng_state())
            drawn[update] += one
    assert drawn[4] == 0
    assert 8 <= drawn[5] <= 28  # 18 expected, standard deviation 3.5


def test_samples_are_drawn_at_a_temperature_of_their_own(
    tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any]
) -> None:
    """Which is not that of the teacher's distributions: in the cold a sample is the likeliest text."""
    texts: dict[float, list[Any]] = {0.001: [], 1.0: []}
    for temperature, found in texts.items():
        criterion = online(tiny, student, share=1.0, max_length_offset=2, sampled_at=temperature)
        for seed in (4, 5):
            torch.manual_seed(seed)
            found.append(criterion.sampled(student.model, sample))
    cold, warm = ([one["target"].tolist() for one in found] for found in texts.values())
    assert cold[0] == cold[1] and warm[0] != warm[1]
    (said, _), pad = texts[0.001], student.dictionary.pad()
    logits = student.model.eval()(**said["net_input"])[0]
    likeliest = logits.index_fill(-1, torch.tensor([pad]), -torch.inf).argmax(-1)
    real = said["target"].ne(pad)
    real[:, 0] = False  # no sample is empty: where the end was likeliest, the second best stands
    last = real & said["target"].eq(student.dictionary.eos())  # which the limit may have forced
    assert real.sum() > last.sum() and torch.equal(likeliest[real & ~last], said["target"][real & ~last])


def test_hardest_of_the_sampled_tokens_alone_learn(
    tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any]
) -> None:
    """Along a sample the others have no loss at all."""
    criterion = online(tiny, student, share=1.0, max_length_offset=2, hardest=0.25)
    torch.manual_seed(4)
    said = criterion.sampled(student.model, sample)
    torch.manual_seed(4)
    found = paid(criterion, student.model, bare(sample))
    asked = {name: value.flatten(0, 1) for name, value in criterion.asked(said).items()}
    logits = student.model(**said["net_input"])[0].flatten(0, 1)
    target, padding = said["target"].flatten(), said["target"].flatten().eq(student.dictionary.pad())
    term = token_level(logits, asked["teacher_ids"], asked["teacher_probs"], padding, teacher_term(2.0))
    nll = -torch.log_softmax(logits, -1).gather(-1, target.unsqueeze(-1)).squeeze(-1)
    count = -(-int((~padding).sum()) // 4)
    chosen = nll.masked_fill(padding, -1.0).argsort(descending=True)[:count]
    assert found[0] == pytest.approx(0.5 * term[chosen].sum().item(), rel=1e-5)
    assert found[0] < 0.5 * term.sum().item() - 0.01
