"""nmtkd.decoding.conversion: a gated model by both engines, plain and trimmed."""

import shutil
from pathlib import Path

import ctranslate2
import pytest
import torch

from nmtkd.decoding.conversion import Converter
from nmtkd.decoding.scoring import distributions
from nmtkd.decoding.search import Search
from nmtkd.decoding.translate import translate
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import gated
from nmtkd.plan import layout
from tests.conftest import Tiny
from tests.unit.decoding.helpers import ENGINES, search, texts
from tests.unit.network.building import batches, shaped, various, written


@pytest.mark.parametrize("trimmed", [False, True])
@pytest.mark.parametrize("pre_norm", [False, True])
def test_gated_models_of_all_kinds_are_the_same_by_both_engines(
    tiny: Tiny, tmp_path: Path, trimmed: bool, pre_norm: bool
) -> None:
    loaded, command = various(tiny, pre_norm=pre_norm)
    options: list[str] = []
    if trimmed:
        options, facts = shaped(loaded, batches(tiny, loaded), 0.4)
        assert len({*facts["encoder"], *facts["decoder"]}) > 2
    folder = written(tiny, tmp_path / "m", [*command, *options], loaded.model.state_dict())
    search = Search(beam=1, length_penalty=1.0, max_length_factor=2.0, max_length_offset=5)
    ours, reference = (
        [entries[0] for entries in translate(folder, tiny.sources, search, engine)]
        for engine in ("ctranslate2", "fairseq")
    )
    assert [one.text for one in ours] == [other.text for other in reference]
    assert len({one.text for one in ours}) > 20
    # And to the last digits, at every position of the gold text.
    Converter(str(folder / layout.MODEL), str(folder), bridge.SOURCE, bridge.TARGET).convert(
        str(tmp_path / "c")
    )
    translator = ctranslate2.Translator(str(tmp_path / "c"), device="cpu", compute_type="float32")
    lines = [[line.split() for line in side] for side in (tiny.sources, tiny.targets)]
    scores = [score for result in translator.score_batch(*lines) for score in result.log_probs]
    sample = bridge.collate(bridge.pairs(loaded, tiny.sources, tiny.targets), range(40), "cpu")
    with torch.no_grad():
        lprobs = (
            torch.log_softmax(loaded.model(**sample["net_input"])[0], -1)
            .gather(-1, sample["target"].unsqueeze(-1))
            .squeeze(-1)
        )
    wanted = {
        int(line): lprobs[row][sample["target"][row].ne(1)].tolist() for row, line in enumerate(sample["id"])
    }
    assert scores == pytest.approx([score for line in range(40) for score in wanted[line]], abs=1e-4)


@pytest.fixture(scope="module")
def gated_folder(tmp_path_factory: pytest.TempPathFactory, tiny: Tiny) -> Path:
    """The tiny model's embeddings with gated blocks of 5, 9 and 7 units, as trimming leaves them."""
    folder = tmp_path_factory.mktemp("gated")
    command = [*tiny.command, "--gate-opening", "0.5", "--encoder-units", "5", "--decoder-units", "9,7"]
    command[command.index("transformer")] = gated.ARCHITECTURE
    loaded = bridge.load_model(tiny.folder, "cpu")
    cfg = bridge.configuration(command)
    cfg.task.data = str(tiny.folder)
    weights = loaded.task.build_model(cfg.model).state_dict()
    generator = torch.Generator().manual_seed(7)
    for name, value in weights.items():
        if ".fc" in name:
            value.copy_(torch.randn(value.shape, generator=generator) * 0.5)
        elif name in loaded.model.state_dict():
            value.copy_(loaded.model.state_dict()[name])
    bridge.save_model(folder / layout.MODEL, command, weights, 10)
    for side in ("src", "tgt"):
        shutil.copy(tiny.folder / f"dict.{side}.txt", folder)
    return folder


def test_gated_model_comes_back_in_its_trimmed_shape(gated_folder: Path) -> None:
    model = bridge.load_model(gated_folder, "cpu").model
    blocks = [layer.fc1 for side in (model.encoder, model.decoder) for layer in side.layers]
    assert [block.gate.out_features for block in blocks] == [5, 9, 7]


def test_gated_model_is_the_same_by_both_engines(tiny: Tiny, gated_folder: Path) -> None:
    ours, reference = (translate(gated_folder, tiny.sources, search(), engine) for engine in ENGINES)
    assert texts(ours) == texts(reference)
    assert len({entry[0] for entry in texts(ours)}) > 10
    assert texts(ours) != texts(translate(tiny.folder, tiny.sources, search(), "fairseq"))
    compared = 0
    eos = bridge.load_model(gated_folder, "cpu").dictionary.eos()
    for line, ids, probs in distributions(
        gated_folder, tiny.sources, [""] * len(tiny.sources), 24, 1.0, 1000
    ):
        (one,), (two,) = ours[line], reference[line]
        if not two.truncated:
            # fairseq forbids EOS as first token after the softmax, CTranslate2 before it.
            gap = -(1.0 - probs[0][ids[0] == eos]).log().item() / (len(two.text.split()) + 1)
            assert one.score == pytest.approx(two.score + gap, abs=3e-4)
            compared += 1
    assert compared > 3
