"""nmtkd.network.gated: a gated Transformer that is closed, trimmed, written and read."""

from pathlib import Path

import torch
from fairseq import checkpoint_utils
from torch import Tensor

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network.gated import GatedTransformerModel, blocks, close, open_units, trim
from nmtkd.plan import layout
from tests.conftest import Tiny
from tests.unit.network.building import batches, built, shaped, various, written


def test_gated_model_has_gates_as_open_as_asked_in_every_block(tiny: Tiny) -> None:
    loaded, _ = built(tiny)
    assert isinstance(loaded.model, GatedTransformerModel)
    found = [
        (side, layer.fc1.value.out_features, layer.fc2.in_features) for side, layer in blocks(loaded.model)
    ]
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
        mean = (
            sum(
                (found_alone[number] * one_counts[side] for found_alone, one_counts in alone), torch.zeros(24)
            )
            / counts[side]
        )
        assert torch.allclose(found, mean, atol=1e-6)


def test_trimming_keeps_the_units_that_are_most_open(tiny: Tiny) -> None:
    """0.4 of 96 are 38."""
    loaded, _ = various(tiny, steady=True)
    opened = [torch.sigmoid(layer.fc1.gate.bias) for _, layer in blocks(loaded.model)]
    bound = sorted(torch.cat(opened).tolist())[-38]
    wanted = [int((one >= bound).sum()) for one in opened]
    assert len(set(wanted)) > 2 and sum(wanted) == 38
    kept = [
        layer.fc1.value.weight[one >= bound].clone()
        for (_, layer), one in zip(blocks(loaded.model), opened, strict=True)
    ]
    options, facts = shaped(loaded, batches(tiny, loaded), 0.4)
    assert facts["encoder"] + facts["decoder"] == wanted
    assert (facts["units"], facts["kept"], facts["effective_capacity"]) == (
        96,
        sum(wanted),
        round(sum(wanted) / 96, 4),
    )
    assert options == [
        "--encoder-units",
        f"{wanted[0]},{wanted[1]}",
        "--decoder-units",
        f"{wanted[2]},{wanted[3]}",
    ]
    assert all(
        torch.equal(layer.fc1.value.weight, weight)
        for (_, layer), weight in zip(blocks(loaded.model), kept, strict=True)
    )


def test_openness_is_the_mean_over_the_positions_of_a_units_side(tiny: Tiny) -> None:
    """Two batches: one source token beside nine target tokens, and nine beside one."""
    loaded, (lines, opened) = various(tiny)[0], (("w1", " ".join(tiny.targets)[:26]), [])
    batches = [
        bridge.collate(bridge.pairs(loaded, [one], [other]), [0], "cpu")
        for one, other in (lines, lines[::-1])
    ]
    with torch.no_grad():
        for batch in batches:
            loaded.model(**batch["net_input"])
            opened.append([layer.fc1.opened[:, 0] for _, layer in blocks(loaded.model)])
    means = [torch.cat(pair).mean(0) for pair in zip(*opened, strict=True)]
    wanted = [int((one >= sorted(torch.cat(means).tolist())[-38]).sum()) for one in means]
    _, facts = shaped(loaded, batches, 0.4)
    assert facts["encoder"] + facts["decoder"] == wanted


def test_trimming_keeps_the_most_open_unit_of_a_block(tiny: Tiny) -> None:
    loaded, _ = various(tiny, steady=True)
    best = [layer.fc1.value.weight[layer.fc1.gate.bias.argmax()].clone() for _, layer in blocks(loaded.model)]
    _, facts = shaped(loaded, batches(tiny, loaded), 0.01)
    assert facts["encoder"] + facts["decoder"] == [1, 1, 1, 1]
    assert all(
        torch.equal(layer.fc1.value.weight[0], weight)
        for (_, layer), weight in zip(blocks(loaded.model), best, strict=True)
    )


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


def test_trimmed_models_options_build_its_shape(tiny: Tiny, tmp_path: Path) -> None:
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


def test_trimmed_model_is_read_by_fairseq_once_it_knows_the_plugin(tiny: Tiny, tmp_path: Path) -> None:
    loaded, command = various(tiny)
    options, _ = shaped(loaded, batches(tiny, loaded), 0.4)
    folder = written(tiny, tmp_path / "m", [*command, *options], loaded.model.state_dict())
    (model,), _ = checkpoint_utils.load_model_ensemble(
        [str(folder / layout.MODEL)], arg_overrides={"data": str(folder)}
    )
    assert isinstance(model, GatedTransformerModel)
    assert all(
        torch.equal(model.state_dict()[name], weight) for name, weight in loaded.model.state_dict().items()
    )
