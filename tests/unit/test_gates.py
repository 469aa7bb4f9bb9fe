"""Gates by hand (nmtkd.distil.gates); and a gated Transformer that is trimmed, counted, written, read and converted."""

import copy
import functools
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ctranslate2
import pytest
import torch
from fairseq import checkpoint_utils, tasks
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from torch import Tensor, nn

from nmtkd.distil.gates import GatedLinear, SentenceGate, budget_penalty, cut, hybrid, most_open, openness
from nmtkd.models import checkpoints
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.models.conversion import Converter
from nmtkd.models.decoding import Search, translate
from nmtkd.params import Architecture, Gates, Training
from nmtkd_fairseq.criterion import DistillationConfig, DistillationCriterion
from nmtkd_fairseq.gated import GatedTransformerModel, blocks, close, open_units, trim
from nmtkd_fairseq.task import DistillationTask
from tests.conftest import Tiny

GATES = Gates(budget=0.5, weight=1.0, polarity=0.1, closing=6, opening=2.0)
SMALL = Architecture(encoder_layers=2, decoder_layers=2, width=16, ffn=24, heads=2, gates=GATES)
PADDED = {"src_tokens": (3, 0), "prev_output_tokens": (0, 2)}

# A gate a sentence


def test_a_sentence_gate_by_hand() -> None:
    """Sentence 1 is (1, 3) and (3, 1); sentence 2 is (2, 0) and padding: the mean is (2, 2) and (2, 0)."""
    gate = SentenceGate(2)
    encoded = torch.tensor([[[1.0, 3.0], [2.0, 0.0]], [[3.0, 1.0], [99.0, 99.0]]])
    padding = torch.tensor([[False, False], [False, True]])
    assert gate(encoded, padding).tolist() == [0.5, 0.5]
    with torch.no_grad():
        gate.score.weight.copy_(torch.tensor([[0.5, 1.0]]))
        gate.score.bias.fill_(-1.0)
    assert gate(encoded, padding).tolist() == pytest.approx([1 / (1 + math.exp(-2.0)), 0.5])


def test_the_encoder_is_read_and_not_taught() -> None:
    gate = SentenceGate(4)
    nn.init.normal_(gate.score.weight)
    encoded = torch.randn(3, 2, 4, requires_grad=True)
    gate(encoded, torch.zeros(2, 3, dtype=torch.bool)).sum().backward()
    assert encoded.grad is None
    assert gate.score.weight.grad is not None and gate.score.weight.grad.abs().min() > 0


def test_the_hybrid_loss_by_hand() -> None:
    """0.25 * 3 + 0.75 * 2 + 0.5 * 1 + 0.5 * 4; a gate's gradient is L_word - L_seq."""
    word, seq = torch.tensor([3.0, 1.0], requires_grad=True), torch.tensor([2.0, 4.0], requires_grad=True)
    gate = torch.tensor([0.25, 0.5], requires_grad=True)
    loss = hybrid(word, seq, gate)
    assert loss.item() == 4.75
    loss.backward()  # type: ignore[no-untyped-call]
    assert [side.grad.tolist() for side in (gate, word, seq) if side.grad is not None] == [[1.0, -3.0], [0.25, 0.5], [0.75, 0.5]]
    assert hybrid(word, seq, torch.ones(2)).item() == 4.0
    assert hybrid(word, seq, torch.zeros(2)).item() == 6.0


def test_a_learned_gate_drifts_to_the_smaller_loss_of_each_sentence() -> None:
    """Whatever that loss says of learning: a number that is small counts as good."""
    gate, padding = SentenceGate(2), torch.zeros(2, 1, dtype=torch.bool)
    optimizer = torch.optim.Adam(gate.parameters(), lr=0.1)
    for _ in range(50):
        optimizer.zero_grad()
        loss = hybrid(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 3.0]), gate(torch.eye(2).unsqueeze(0), padding))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    first, second = gate(torch.eye(2).unsqueeze(0), padding).tolist()
    assert first > 0.9 and second < 0.1


# A gate a unit


def filled(weights: list[list[float]], gates: list[list[float]], biases: tuple[list[float], list[float]]) -> GatedLinear:
    found = GatedLinear(len(weights[0]), len(weights), 0.0)
    with torch.no_grad():
        for layer, weight, bias in zip((found.value, found.gate), (weights, gates), biases, strict=True):
            layer.weight.copy_(torch.tensor(weight))
            layer.bias.copy_(torch.tensor(bias))
    return found


def test_a_gated_block_by_hand() -> None:
    """x = (1, 2). Values: 1 + 4 + 1 = 6 and 3 - 2 = 1. Gates: sigmoid(ln 3) = 3/4 and sigmoid(0) = 1/2."""
    block = filled([[1.0, 2.0], [3.0, -1.0]], [[math.log(3), 0.0], [2.0, -1.0]], ([1.0, 0.0], [0.0, 0.0]))
    assert block(torch.tensor([1.0, 2.0])).tolist() == pytest.approx([4.5, 0.5])
    assert block.opened is not None and block.opened.tolist() == pytest.approx([0.75, 0.5])


def test_gates_start_as_open_as_asked() -> None:
    block = GatedLinear(4, 7, 2.0)
    block(torch.zeros(4))
    assert block.opened is not None and block.opened.tolist() == pytest.approx([1 / (1 + math.exp(-2.0))] * 7)
    assert block.value.bias.eq(0).all()


def test_openness_does_not_count_padding() -> None:
    """Gates of two positions of two sentences; the second position of the first sentence is padding."""
    opened = torch.tensor([[[0.2, 0.4], [0.6, 0.0]], [[99.0, 99.0], [0.1, 0.8]]])
    assert openness(opened, torch.tensor([[False, True], [False, False]])).tolist() == pytest.approx([0.3, 0.4])


def test_the_budgets_penalty_by_hand() -> None:
    """Three units in two blocks: mean 0.5; o (1 - o) is 0.1875, 0.25, 0.1875."""
    opened = [torch.tensor([0.25, 0.5]), torch.tensor([0.75])]
    assert budget_penalty(opened, 0.5, 0.0).item() == 0.0
    assert budget_penalty(opened, 0.25, 0.0).item() == pytest.approx(0.0625)
    assert budget_penalty(opened, 0.25, 0.3).item() == pytest.approx(0.0625 + 0.3 * 0.625 / 3)
    assert budget_penalty([torch.tensor([0.0, 1.0])], 0.5, 9.0).item() == 0.0


def test_the_penalty_pulls_to_the_budget_and_apart() -> None:
    unit = torch.tensor([0.4, 0.6], requires_grad=True)
    assert torch.autograd.grad(budget_penalty([unit], 0.25, 0.0), unit)[0].tolist() == pytest.approx([0.25, 0.25])
    low, high = torch.autograd.grad(budget_penalty([unit], 0.5, 1.0), unit)[0].tolist()
    assert low == pytest.approx(0.1) and high == pytest.approx(-0.1)  # the closed closes, the open opens


@pytest.mark.parametrize("how", ["closed", "unheard"])
def test_cutting_units_that_say_nothing_changes_nothing(how: str) -> None:
    """Closed gates: sigmoid(-200) is 0 in float32; unheard: no weight leads on. Up to the order of a sum's terms."""
    torch.manual_seed(1)
    block, after = GatedLinear(6, 9, 0.5), nn.Linear(9, 5)
    keep = torch.tensor([True, False, True, True, False, False, True, True, True])
    with torch.no_grad():
        if how == "closed":
            block.gate.weight[~keep], block.gate.bias[~keep] = 0.0, -200.0
        else:
            after.weight[:, ~keep] = 0.0
    x = torch.randn(4, 3, 6)
    smaller, following = cut(block, after, keep)
    assert (smaller.value.out_features, smaller.gate.out_features, following.in_features) == (6, 6, 6)
    assert torch.allclose(following(smaller(x)), after(block(x)), rtol=0, atol=1e-6)
    assert torch.equal(smaller(x), block(x)[..., keep])


def test_a_closed_unit_stays_closed_whatever_is_learnt() -> None:
    """Momentum that it had and weight decay do not open it; the others learn on."""
    torch.manual_seed(1)
    block, after = GatedLinear(6, 9, 0.5), nn.Linear(9, 5)
    parameters = [*block.parameters(), *after.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=0.1, weight_decay=0.01)
    closed, before = torch.arange(9) % 3 == 0, block.value.weight.clone()
    assert block.kept().all()
    for step in range(60):
        if step == 10:
            block.close(closed)
        optimizer.zero_grad()
        (after(block(torch.randn(4, 6))) - 3.0).square().sum().backward()
        optimizer.step()
    block(torch.randn(50, 6) * 10.0)
    assert block.opened is not None and block.opened[:, closed].eq(0.0).all() and block.opened[:, ~closed].mean() > 0.1
    assert torch.equal(block.kept(), ~closed) and not torch.allclose(before, block.value.weight)


def test_the_most_open_units_stay_and_one_of_each_block() -> None:
    """Half of five are two; of equal ones the first; the closed block keeps its best."""
    opened = [torch.tensor([0.9, 0.5, 0.5]), torch.tensor([0.1, 0.2])]
    assert [one.tolist() for one in most_open(opened, 0.5)] == [[True, True, False], [False, True]]
    assert [one.tolist() for one in most_open(opened, 1.0)] == [[True] * 3, [True] * 2]
    assert [one.tolist() for one in most_open(opened, 0.01)] == [[True, False, False], [False, True]]


def test_cutting_units_that_speak_takes_out_their_part() -> None:
    block = filled([[1.0], [2.0]], [[0.0], [0.0]], ([0.0, 0.0], [0.0, 0.0]))
    after = nn.Linear(2, 1)
    smaller, following = cut(block, after, torch.tensor([False, True]))
    whole, rest = after(block(torch.ones(1))), following(smaller(torch.ones(1)))
    assert (whole - rest).item() == pytest.approx(0.5 * after.weight[0, 0].item())


# A gated Transformer


def training(**changes: Any) -> Training:
    recipe: dict[str, Any] = {"updates": 4, "max_tokens": 100, "lr": 0.001, "warmup": 2, "adam_betas": [0.9, 0.98], "weight_decay": 0.0}
    recipe |= {"dropout": 0.0, "label_smoothing": 0.1, "clip_norm": 1.0, "pre_norm": True, "checkpoint_every": 2, "average": 1}
    return Training(**(recipe | {"curve_pairs": 0} | changes))


configured = functools.cache(bridge.configuration)  # a third of a second each


def built(tiny: Tiny, *options: str, architecture: Architecture = SMALL, **changes: Any) -> tuple[bridge.Loaded, list[str]]:
    """A new model with the tiny dictionary, and its command line."""
    command = [*bridge.arguments(architecture, training(**changes), 1), *options]
    cfg = copy.deepcopy(configured(tuple(command)))
    cfg.task.data = str(tiny.folder)
    torch.manual_seed(1)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    return bridge.Loaded(model=model.eval(), task=task, dictionary=task.target_dictionary, device="cpu"), command


def various(tiny: Tiny, steady: bool = False, **changes: Any) -> tuple[bridge.Loaded, list[str]]:
    """Random weights, as conftest's; gates of all kinds, steady ones whatever is read."""
    loaded, command = built(tiny, **changes)
    generator = torch.Generator().manual_seed(5)
    words, table = loaded.dictionary, loaded.model.encoder.embed_tokens.weight
    with torch.no_grad():
        for name, weight in loaded.model.named_parameters():
            if "layer_norm" not in name:
                weight.copy_(torch.randn(weight.shape, generator=generator) * 0.3)
        for _, layer in blocks(loaded.model):
            layer.fc1.gate.weight.mul_(float(not steady))
            layer.fc1.gate.bias.mul_(8.0)
        norm = loaded.model.decoder.layer_norm or loaded.model.decoder.layers[-1].final_layer_norm
        norm.weight.fill_(-1.0)
        norm.weight[0], norm.bias[0] = 0.0, 1.0
        table[:, 0] = 0.0
        table[[words.bos(), words.pad(), words.unk()], 0] = -20.0
        table[words.eos(), 0] = -1.0
    return loaded, command


def batches(tiny: Tiny, loaded: bridge.Loaded, size: int = 10) -> list[dict[str, Any]]:
    dataset = bridge.pairs(loaded, tiny.sources, tiny.targets)
    return [bridge.collate(dataset, range(start, start + size), "cpu") for start in range(0, 40, size)]


def shaped(loaded: bridge.Loaded, batches: list[dict[str, Any]], threshold: float) -> tuple[list[str], dict[str, Any]]:
    close(loaded.model, batches, loaded.dictionary.pad(), threshold)
    return trim(loaded.model)


def written(tiny: Tiny, folder: Path, command: list[str], weights: dict[str, Tensor]) -> Path:
    folder.mkdir()
    for side in (bridge.SOURCE, bridge.TARGET):
        (folder / f"dict.{side}.txt").write_bytes((tiny.folder / f"dict.{side}.txt").read_bytes())
    bridge.save_model(folder / bridge.MODEL, command, weights, 4)
    return folder


@pytest.mark.parametrize(
    ("update", "penalty"), [(0, 0.0625), (5, 0.0625 + 0.5 * 0.4 * 0.25), (9, 0.0625 + 0.9 * 0.4 * 0.25), (10, 0.0), (30, 0.0)]
)
def test_the_budget_is_paid_beside_the_loss_a_token(tiny: Tiny, update: int, penalty: float) -> None:
    """All gates are at 1/2; the budget is 1/4, polarity grows within 10 updates. The task says which update it is. Padding on either side
    changes nothing."""
    loaded, _ = various(tiny, steady=True)
    for _, layer in blocks(loaded.model):
        layer.fc1.gate.bias.data.zero_()
    config: dict[str, Any] = {"budget": 0.25, "budget_weight": 2.0, "polarity": 0.4, "closing": 10}
    criterion = DistillationCriterion(loaded.task, DistillationConfig(sentence_avg=False, label_smoothing=0.1, **config))
    stock = LabelSmoothedCrossEntropyCriterion(loaded.task, sentence_avg=False, label_smoothing=0.1)
    task, sample = DistillationTask(loaded.task.cfg, loaded.dictionary, loaded.dictionary), batches(tiny, loaded)[0]
    found, size, log = task.train_step(sample, loaded.model, criterion, SimpleNamespace(backward=lambda loss: None), update)
    assert found.item() == pytest.approx(stock(loaded.model, sample)[0].item() + size * 2.0 * penalty, rel=1e-6)
    assert (log["openness"] / log["nsentences"], log["loss"], size) == (pytest.approx(0.5), found, sample["ntokens"])
    assert torch.equal(criterion.eval()(loaded.model, sample)[0], stock(loaded.model, sample)[0])
    for _, layer in blocks(loaded.model):
        layer.fc1.gate.weight.data = torch.randn(24, 16, generator=torch.Generator().manual_seed(1))
    inputs = {name: nn.functional.pad(sample["net_input"][name], sides, value=1) for name, sides in PADDED.items()}
    wide = {**sample, "target": nn.functional.pad(sample["target"], (0, 2), value=1), "net_input": {**sample["net_input"], **inputs}}
    losses = [criterion.train()(loaded.model, one)[0].item() for one in (sample, wide)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-6) and abs(losses[0] - found.item()) > 1e-3


def test_parameters_are_known_before_a_model_is_built(tiny: Tiny) -> None:
    uneven = SMALL.model_copy(update={"encoder_layers": 1, "ffn": 31})
    for architecture in (SMALL, uneven, SMALL.model_copy(update={"gates": None})):
        assert built(tiny, architecture=architecture)[0].parameters() == checkpoints.parameters(architecture, 24)


def test_every_block_is_gated_and_starts_as_open_as_asked(tiny: Tiny) -> None:
    loaded, _ = built(tiny)
    assert isinstance(loaded.model, GatedTransformerModel)
    found = [(side, layer.fc1.value.out_features, layer.fc2.in_features) for side, layer in blocks(loaded.model)]
    assert found == [("encoder", 24, 24)] * 2 + [("decoder", 24, 24)] * 2
    assert all(layer.fc1.gate.bias.eq(2.0).all() for _, layer in blocks(loaded.model))


def test_open_units_leave_padding_out(tiny: Tiny) -> None:
    """A batch's openness is the mean over its sentences' positions, each seen alone."""
    loaded, _ = built(tiny)
    dataset, pad = bridge.pairs(loaded, tiny.sources, tiny.targets), loaded.dictionary.pad()

    def opened(indices: list[int]) -> tuple[list[Tensor], tuple[int, int]]:
        batch = bridge.collate(dataset, indices, "cpu")
        padding = batch["net_input"]["src_tokens"].eq(pad), batch["target"].eq(pad)
        with torch.no_grad():
            loaded.model(**batch["net_input"])
        return open_units(loaded.model, *padding), (int((~padding[0]).sum()), int((~padding[1]).sum()))

    together, counts = opened([0, 1, 2, 3])
    alone = [opened([index]) for index in range(4)]
    for number, found in enumerate(together):
        side = 0 if number < 2 else 1
        mean = sum((found_alone[number] * one_counts[side] for found_alone, one_counts in alone), torch.zeros(24)) / counts[side]
        assert torch.allclose(found, mean, atol=1e-6)


def test_trimming_keeps_the_units_that_are_most_open(tiny: Tiny) -> None:
    """0.4 of 96 are 38."""
    loaded, _ = various(tiny, steady=True)
    opened = [torch.sigmoid(layer.fc1.gate.bias) for _, layer in blocks(loaded.model)]
    bound = sorted(torch.cat(opened).tolist())[-38]
    wanted = [int((one >= bound).sum()) for one in opened]
    assert len(set(wanted)) > 2 and sum(wanted) == 38
    kept = [layer.fc1.value.weight[one >= bound].clone() for (_, layer), one in zip(blocks(loaded.model), opened, strict=True)]
    options, facts = shaped(loaded, batches(tiny, loaded), 0.4)
    assert facts["encoder"] + facts["decoder"] == wanted
    assert (facts["units"], facts["kept"], facts["effective_capacity"]) == (96, sum(wanted), round(sum(wanted) / 96, 4))
    assert options == ["--encoder-units", f"{wanted[0]},{wanted[1]}", "--decoder-units", f"{wanted[2]},{wanted[3]}"]
    assert all(torch.equal(layer.fc1.value.weight, weight) for (_, layer), weight in zip(blocks(loaded.model), kept, strict=True))


def test_a_units_openness_is_the_mean_over_its_sides_positions(tiny: Tiny) -> None:
    """Two batches: one source token beside nine target tokens, and nine beside one."""
    loaded, (lines, opened) = various(tiny)[0], (("w1", " ".join(tiny.targets)[:26]), [])
    batches = [bridge.collate(bridge.pairs(loaded, [one], [other]), [0], "cpu") for one, other in (lines, lines[::-1])]
    with torch.no_grad():
        for batch in batches:
            loaded.model(**batch["net_input"])
            opened.append([layer.fc1.opened[:, 0] for _, layer in blocks(loaded.model)])
    means = [torch.cat(pair).mean(0) for pair in zip(*opened, strict=True)]
    wanted = [int((one >= sorted(torch.cat(means).tolist())[-38]).sum()) for one in means]
    _, facts = shaped(loaded, batches, 0.4)
    assert facts["encoder"] + facts["decoder"] == wanted


def test_the_most_open_unit_of_a_block_always_stays(tiny: Tiny) -> None:
    loaded, _ = various(tiny, steady=True)
    best = [layer.fc1.value.weight[layer.fc1.gate.bias.argmax()].clone() for _, layer in blocks(loaded.model)]
    _, facts = shaped(loaded, batches(tiny, loaded), 0.01)
    assert facts["encoder"] + facts["decoder"] == [1, 1, 1, 1]
    assert all(torch.equal(layer.fc1.value.weight[0], weight) for (_, layer), weight in zip(blocks(loaded.model), best, strict=True))


def test_trimming_closed_units_changes_no_output(tiny: Tiny) -> None:
    loaded, _ = various(tiny)
    close(loaded.model, batches(tiny, loaded), loaded.dictionary.pad(), 0.6)
    sample = batches(tiny, loaded)[0]
    with torch.no_grad():
        before = loaded.model(**sample["net_input"])[0]
        _, facts = trim(loaded.model)
        after = loaded.model(**sample["net_input"])[0]
    assert facts["kept"] == 58  # 0.6 of 96
    assert torch.allclose(before, after, rtol=0, atol=1e-5)


def test_a_trimmed_models_options_build_its_shape(tiny: Tiny, tmp_path: Path) -> None:
    loaded, command = various(tiny)
    whole = loaded.parameters()
    options, facts = shaped(loaded, batches(tiny, loaded), 0.4)
    again, longer = built(tiny, *options)
    again.model.load_state_dict(loaded.model.state_dict(), strict=True)
    assert again.parameters() == loaded.parameters() == whole - (96 - facts["kept"]) * (2 * (16 + 1) + 16)
    assert longer == [*command, *options]
    read = bridge.load_model(written(tiny, tmp_path / "m", longer, loaded.model.state_dict()), "cpu")
    sample = batches(tiny, loaded)[0]
    with torch.no_grad():
        assert torch.equal(read.model(**sample["net_input"])[0], loaded.model(**sample["net_input"])[0])


def test_fairseq_reads_a_trimmed_model_once_it_knows_the_plugin(tiny: Tiny, tmp_path: Path) -> None:
    loaded, command = various(tiny)
    options, _ = shaped(loaded, batches(tiny, loaded), 0.4)
    folder = written(tiny, tmp_path / "m", [*command, *options], loaded.model.state_dict())
    (model,), _ = checkpoint_utils.load_model_ensemble([str(folder / bridge.MODEL)], arg_overrides={"data": str(folder)})
    assert isinstance(model, GatedTransformerModel)
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in loaded.model.state_dict().items())


@pytest.mark.parametrize("trimmed", [False, True])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_both_engines_translate_alike(tiny: Tiny, tmp_path: Path, trimmed: bool, pre_norm: bool) -> None:
    loaded, command = various(tiny, pre_norm=pre_norm)
    options: list[str] = []
    if trimmed:
        options, facts = shaped(loaded, batches(tiny, loaded), 0.4)
        assert len({*facts["encoder"], *facts["decoder"]}) > 2
    folder = written(tiny, tmp_path / "m", [*command, *options], loaded.model.state_dict())
    search = Search(beam=1, length_penalty=1.0, max_length_factor=2.0, max_length_offset=5)
    ours, reference = ([entries[0] for entries in translate(folder, tiny.sources, search, engine)] for engine in ("ctranslate2", "fairseq"))
    assert [one.text for one in ours] == [other.text for other in reference]
    assert len({one.text for one in ours}) > 20
    # And to the last digits, at every position of the gold text.
    Converter(str(folder / bridge.MODEL), str(folder), bridge.SOURCE, bridge.TARGET).convert(str(tmp_path / "c"))
    translator = ctranslate2.Translator(str(tmp_path / "c"), device="cpu", compute_type="float32")
    lines = [[line.split() for line in side] for side in (tiny.sources, tiny.targets)]
    scores = [score for result in translator.score_batch(*lines) for score in result.log_probs]
    sample = bridge.collate(bridge.pairs(loaded, tiny.sources, tiny.targets), range(40), "cpu")
    with torch.no_grad():
        lprobs = torch.log_softmax(loaded.model(**sample["net_input"])[0], -1).gather(-1, sample["target"].unsqueeze(-1)).squeeze(-1)
    wanted = {int(line): lprobs[row][sample["target"][row].ne(1)].tolist() for row, line in enumerate(sample["id"])}
    assert scores == pytest.approx([score for line in range(40) for score in wanted[line]], abs=1e-4)
