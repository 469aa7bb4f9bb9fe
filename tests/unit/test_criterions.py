"""nmtkd_fairseq beyond stored targets: hybrid and online criterions, and the trainings that methods become."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from torch import Tensor, nn

from nmtkd.distil.gates import SentenceGate
from nmtkd.distil.losses import Term, token_level
from nmtkd.distil.targets import Header, TokenTargets, Writer
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.models import training
from nmtkd.models.scoring import distributions
from nmtkd.params import Architecture, Gate, Method, OnPolicy
from nmtkd_fairseq import distil
from nmtkd_fairseq import gated as gating
from nmtkd_fairseq.criterion import DistillationConfig, DistillationCriterion
from nmtkd_fairseq.dataset import HypothesesDataset, TokenTargetsDataset
from nmtkd_fairseq.hybrid import HybridConfig, HybridCriterion
from nmtkd_fairseq.online import OnlineConfig, OnlineCriterion
from tests.conftest import Tiny
from tests.unit import test_gates as gated

SMALL = Architecture(encoder_layers=1, decoder_layers=1, width=16, ffn=24, heads=2)
LINES = (3, 0, 7, 12)
OPTIONS: dict[str, Any] = {"sentence_avg": False, "label_smoothing": 0.1, "teacher_weight": 0.5, "temperature": 2.0}
V = 24
Row = tuple[Tensor, Tensor]


class Memory(TokenTargets):
    """Token targets that never were on disk: in float32."""

    def __init__(self, rows: list[Row]) -> None:
        self.folder, self.rows = Path("memory"), rows
        self.header = Header(top_k=V, temperature=1.0, vocabulary=V, dictionary_hash="", teacher_hash="", prefix="", prefix_hash="")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, line: int) -> Row:
        return self.rows[line]


@pytest.fixture(scope="module")
def rows(tiny: Tiny) -> list[Row]:
    """The tiny model's whole distributions along gold, by line."""
    found = {line: row for line, *row in distributions(tiny.folder, tiny.sources, tiny.targets, V, 2.0, 1000)}
    return [(found[line][0], found[line][1]) for line in range(40)]


@pytest.fixture
def student(tiny: Tiny) -> bridge.Loaded:
    """A new model without dropout, in train mode."""
    loaded, _ = gated.built(tiny, architecture=SMALL)
    loaded.model.train()
    return loaded


@pytest.fixture
def dataset(tiny: Tiny, student: bridge.Loaded, rows: list[Row]) -> TokenTargetsDataset:
    """Gold, and as hypotheses the gold texts of other lines."""
    gold, said = (bridge.pairs(student, tiny.sources, side) for side in (tiny.targets, tiny.targets[::-1]))
    return TokenTargetsDataset(HypothesesDataset(gold, said), Memory(rows))


@pytest.fixture
def sample(dataset: TokenTargetsDataset) -> dict[str, Any]:
    return dataset.collater([dataset[line] for line in LINES])


def stock(student: bridge.Loaded) -> LabelSmoothedCrossEntropyCriterion:
    return LabelSmoothedCrossEntropyCriterion(student.task, sentence_avg=False, label_smoothing=0.1)


def word(student: bridge.Loaded, **changes: Any) -> DistillationCriterion:
    return DistillationCriterion(student.task, DistillationConfig(**OPTIONS | changes))


def mixed(student: bridge.Loaded, **changes: Any) -> HybridCriterion:
    return HybridCriterion(student.task, HybridConfig(**OPTIONS | {"width": 16} | changes))


def paid(criterion: Any, model: Any, sample: dict[str, Any]) -> tuple[float, list[Tensor], dict[str, Any]]:
    """Loss, the model's gradients and the log."""
    model.zero_grad()
    loss, size, log = criterion(model, sample)
    loss.backward()
    assert size == log["sample_size"]
    return loss.item(), [one.grad.clone() for one in model.parameters() if one.grad is not None], log


def same(one: tuple[float, list[Tensor], Any], other: tuple[float, list[Tensor], Any]) -> bool:
    """Equal up to the order in which float32 numbers are added."""
    near = len(one[1]) == len(other[1]) and all(torch.allclose(a, b, atol=1e-5) for a, b in zip(one[1], other[1], strict=True))
    return near and one[0] == pytest.approx(other[0], rel=1e-5)


def bare(sample: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in sample.items() if name not in ("teacher_ids", "teacher_probs", "hypothesis")}


def translated(sample: dict[str, Any]) -> dict[str, Any]:
    """The batch with its hypotheses in the place of gold."""
    taught = sample["hypothesis"]
    inputs = {**sample["net_input"], "prev_output_tokens": taught["prev_output_tokens"]}
    return {**sample, "target": taught["target"], "net_input": inputs}


# Hybrid


def test_a_fixed_gate_chooses_and_mixes_the_two_levels(student: bridge.Loaded, sample: dict[str, Any]) -> None:
    token, sentence = paid(word(student), student.model, sample), paid(stock(student), student.model, translated(sample))
    assert abs(token[0] - sentence[0]) > 1
    assert same(paid(mixed(student, gate=1.0), student.model, sample), token)
    found = paid(mixed(student, gate=0.0), student.model, sample)
    assert same(found, sentence)
    assert found[2]["sample_size"] == found[2]["ntokens"] == sample["ntokens"] != int(sample["hypothesis"]["target"].ne(1).sum())
    quarter = paid(mixed(student, gate=0.25), student.model, sample)
    assert quarter[0] == pytest.approx(0.25 * token[0] + 0.75 * sentence[0], rel=1e-5)
    assert (quarter[2]["gate"], quarter[2]["nll_loss"].item()) == (1.0, pytest.approx(token[2]["nll_loss"].item(), rel=1e-5))


def test_a_learned_gate_is_a_parameter_whose_gradient_is_the_difference(
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
    gaps = [paid(word(student), student.model, one)[0] - paid(stock(student), student.model, translated(one))[0] for one in ones]
    assert criterion.gate is not None and criterion.gate.score.bias.grad is not None
    assert criterion.gate.score.bias.grad.item() == pytest.approx(sum(gaps) / 4, rel=1e-4)


def test_the_encoder_learns_nothing_through_the_gate(
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
def test_the_gate_alone_drifts_to_the_smaller_loss(student: bridge.Loaded, sample: dict[str, Any], rises: bool) -> None:
    """The model is frozen, y^ is y*; the teacher is the student itself (L_word = 0), or bets on what the student finds least likely."""
    criterion, model = mixed(student, teacher_weight=1.0, temperature=1.0), student.model.requires_grad_(False)
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


def test_a_hybrid_batch_is_the_sum_of_its_sentences(student: bridge.Loaded, dataset: TokenTargetsDataset, sample: dict[str, Any]) -> None:
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


# Online


def online(tiny: Tiny, student: bridge.Loaded, **changes: Any) -> OnlineCriterion:
    return OnlineCriterion(student.task, OnlineConfig(**OPTIONS | {"teachers": str(tiny.folder / bridge.MODEL)} | changes))


@pytest.mark.parametrize("term", [{}, {"divergence": "reverse_kl"}, {"ranking": 0.5, "ranked": 3}, {"hardest": 0.5}])
def test_a_teacher_in_memory_says_what_it_said_to_the_disk(
    tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any], term: dict[str, Any]
) -> None:
    """k = V and float32. No random number is drawn, though the first step reads the teacher's file."""
    before = torch.get_rng_state()
    found = paid(online(tiny, student, **term), student.model, bare(sample))
    assert torch.equal(torch.get_rng_state(), before)
    assert same(found, paid(word(student, **term), student.model, sample))


def test_the_teacher_is_asked_without_dropout_and_without_gradient(tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any]) -> None:
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


def test_several_teachers_are_asked_for_their_mean(tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any], tmp_path: Path) -> None:
    bridge.save_model(tmp_path / "b.pt", gated.built(tiny, architecture=SMALL)[1], student.model.state_dict(), 1)
    both = online(tiny, student)
    both.cfg.teachers += f":{tmp_path / 'b.pt'}"
    other = online(tiny, student)
    other.cfg.teachers = str(tmp_path / "b.pt")
    mean, one, two = (each.asked(sample)["teacher_probs"] for each in (both, online(tiny, student), other))
    assert torch.allclose(mean, (one + two) / 2, atol=1e-6)
    assert (one - two).abs().max() > 0.1


def test_along_samples_the_teachers_term_is_all(tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any]) -> None:
    """No CE; tokens are counted along the samples, which end soon after the gold texts. The model is in train mode again."""
    criterion, length = online(tiny, student, share=1.0, max_length_offset=2), sample["target"].size(1)
    torch.manual_seed(4)
    float(torch.rand(()))  # the draw of whether
    said = criterion.sampled(student.model, sample)
    assert student.model.training
    torch.manual_seed(4)
    found = paid(criterion, student.model, bare(sample))
    assert said["target"].shape != sample["target"].shape or not torch.equal(said["target"], sample["target"])
    pad, eos = student.dictionary.pad(), student.dictionary.eos()
    for target, prefix in zip(said["target"].tolist(), said["net_input"]["prev_output_tokens"].tolist(), strict=True):
        words = target[: target.index(eos)]
        assert 1 <= len(words) <= length + 2 and pad not in words
        assert target[len(words) + 1 :] == [pad] * (len(target) - len(words) - 1)
        assert prefix[: len(words) + 1] == [eos, *words]
    tokens = int(said["target"].ne(pad).sum())
    assert found[2]["ntokens"] == found[2]["sample_size"] == said["ntokens"] == tokens != sample["ntokens"]
    asked = {name: value.flatten(0, 1) for name, value in criterion.asked(said).items()}
    logits = student.model(**said["net_input"])[0].flatten(0, 1)
    term = token_level(logits, asked["teacher_ids"], asked["teacher_probs"], said["target"].flatten().eq(pad), Term(temperature=2.0))
    assert found[0] == pytest.approx(0.5 * term.sum().item(), rel=1e-5)
    assert torch.equal(said["net_input"]["src_tokens"], sample["net_input"]["src_tokens"])


def test_how_many_batches_are_sampled_and_from_when(tiny: Tiny, student: bridge.Loaded, sample: dict[str, Any]) -> None:
    criterion = online(tiny, student, share=0.3, from_update=5)
    torch.manual_seed(1)
    drawn = {4: 0, 5: 0}
    for update in drawn:
        criterion.num_updates = update
        drawn[update] = sum(criterion(student.model, sample)[2]["ntokens"] != sample["ntokens"] for _ in range(60))
    assert drawn[4] == 0
    assert 8 <= drawn[5] <= 28  # 18 expected, standard deviation 3.5


# Trainings


def trained(tiny: Tiny, adapt: Any, folder: Path, architecture: Architecture = SMALL, **changes: Any) -> dict[str, Tensor]:
    """Weights after 12 updates on the tiny model's 40 lines, the same seed for all."""
    for name in ("scratch", "out"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    lines = tiny.sources, tiny.targets
    data = training.Data(
        dictionary=tiny.folder / "dict.src.txt", train=lines, valid=(lines[0][:9], lines[1][:9]), hypotheses=lines[1][::-1]
    )
    recipe = gated.training(updates=12, checkpoint_every=6, **changes)
    training.train(data, architecture, recipe, 1, folder / "scratch", folder / "out", stage="t", adapt=adapt, gating=gating)
    weights: dict[str, Tensor] = torch.load(folder / "out" / bridge.MODEL, weights_only=True)["model"]
    return weights


def on_disk(rows: list[Row], folder: Path) -> Path:
    names = dict.fromkeys(("dictionary_hash", "teacher_hash", "prefix", "prefix_hash"), "x")
    folder.mkdir()
    writer = Writer(folder, [len(ids) for ids, _ in rows], Header(top_k=V, temperature=2.0, vocabulary=V, **names))
    for line, row in enumerate(rows):
        writer.put(line, *row)
    writer.close()
    return folder


def test_a_teacher_in_memory_and_stored_targets_train_the_same_student(
    tiny: Tiny, rows: list[Row], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From float32 but for the order of sums; from float16 but for its eleven bits: a probability is off by 2^-11 of itself, and Adam
    divides a gradient by its own size, so that a weight is off by about that share of its way, which is 0.012 at most: 6e-6."""
    drawn = OnPolicy(share=0.0, temperature=1.0, from_update=0, max_length_offset=0)
    word = Method(sequence="gold", teacher_weight=0.5)
    adapt = distil(word.model_copy(update={"on_policy": drawn}), SMALL, teachers=[tiny.folder / bridge.MODEL], temperature=2.0)
    wanted = trained(tiny, adapt, tmp_path / "online")
    adapt = distil(word, SMALL, targets=on_disk(rows, tmp_path / "t"), temperature=2.0)
    half = trained(tiny, adapt, tmp_path / "half")
    monkeypatch.setattr("nmtkd_fairseq.task.TokenTargets", lambda _: Memory(rows))
    exact, plain = trained(tiny, adapt, tmp_path / "exact"), trained(tiny, None, tmp_path / "plain")
    # Keys' biases have no gradient (softmax does not see what is added to all): Adam makes steps of their rounding errors.
    names = [name for name in wanted if not name.endswith("k_proj.bias")]
    off = [max((found[name] - wanted[name]).abs().max().item() for name in names) for found in (exact, half, plain)]
    assert off[0] < 1e-6 < off[1] < 3e-5
    assert off[2] > 1e-3


def killed(*arguments: Any, **changes: Any) -> None:
    """A training that dies at its ninth update."""
    with pytest.MonkeyPatch.context() as patch:
        step, calls = training._Run._step, iter([*[False] * 8, True])
        patch.setattr(training._Run, "_step", lambda run, samples: 1 / 0 if next(calls) else step(run, samples))
        with pytest.raises(ZeroDivisionError):
            trained(*arguments, **changes)


def test_a_killed_hybrid_of_gated_units_goes_on_as_if_nothing_were(tiny: Tiny, rows: list[Row], tmp_path: Path) -> None:
    """The gate's weights and their moments are part of the state. Both means stand in the curve."""
    method = Method(sequence="gold_and_hypothesis", teacher_weight=0.5, gate=Gate(kind="learned", values=[]))
    adapt = distil(method, gated.SMALL, targets=on_disk(rows, tmp_path / "t"), temperature=2.0)
    whole = trained(tiny, adapt, tmp_path / "whole", gated.SMALL, dropout=0.1)
    killed(tiny, adapt, tmp_path / "killed", gated.SMALL, dropout=0.1)
    found = trained(tiny, adapt, tmp_path / "killed", gated.SMALL, dropout=0.1)
    assert all(torch.equal(found[name], weight) for name, weight in whole.items())
    with open(tmp_path / "whole/out/curve.csv", encoding="utf-8") as file:
        points = list(csv.DictReader(file))
    assert [point["update"] for point in points] == ["6", "12"]
    assert 0.0 < float(points[1]["gate"]) < 0.5 or 0.5 < float(points[1]["gate"]) < 1.0
    assert float(points[0]["openness"]) == pytest.approx(1 / (1 + math.exp(-2.0)), abs=0.05)  # where the gates' biases are 2 at first
    assert (tmp_path / "whole/out/curve.csv").read_bytes() == (tmp_path / "killed/out/curve.csv").read_bytes()
    assert bridge.load_model(tmp_path / "whole/out", "cpu").parameters() == gated.built(tiny)[0].parameters() - 48 * (2 * 17 + 16)
    cards = [json.loads((tmp_path / name / "out/card.json").read_text(encoding="utf-8"))["gates"] for name in ("whole", "killed")]
    assert cards[0] == cards[1] and (cards[0]["units"], cards[0]["kept"], cards[0]["effective_capacity"]) == (96, 48, 0.5)
    assert set(cards[0]) > {"valid_bleu_before", "valid_bleu_closed", "valid_bleu_end"}


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_killed_online_training_goes_on_as_if_nothing_were(tiny: Tiny, tmp_path: Path, share: float) -> None:
    """Its teacher is read once more on the way: training's random numbers must not notice."""
    drawn = OnPolicy(share=share, temperature=1.0, from_update=0, max_length_offset=0)
    method = Method(sequence="gold", teacher_weight=0.5, on_policy=drawn)
    adapt = distil(method, SMALL, teachers=[tiny.folder / bridge.MODEL], temperature=2.0)
    whole = trained(tiny, adapt, tmp_path / "whole", dropout=0.3)
    killed(tiny, adapt, tmp_path / "killed", dropout=0.3)
    found = trained(tiny, adapt, tmp_path / "killed", dropout=0.3)
    assert all(torch.equal(found[name], weight) for name, weight in whole.items())
