"""Models with a dictionary for each side: what is shared, what reads which tokens, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nmtkd import files
from nmtkd.decoding import scoring
from nmtkd.decoding.search import Search
from nmtkd.decoding.translate import greedy, translate
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import stamps
from nmtkd.plan import layout, size
from nmtkd.plan.models import Architecture
from nmtkd.training import start
from tests.conftest import Tiny, tiny_model
from tests.unit.network.building import recipe

# Some words are of both sides, with other numbers there.
SOURCE_WORDS = [f"s{number}" for number in range(11)] + ["both", "also"]
TARGET_WORDS = ["also", *(f"t{number}" for number in range(7)), "both"]
SPECIAL = 4  # fairseq's own tokens


@pytest.fixture(scope="module")
def apart(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    """A model with 13 words on its source side and 9 on its target side, stamped."""
    made = tiny_model(tmp_path_factory.mktemp("apart"), SOURCE_WORDS, TARGET_WORDS)
    files.write_text(made.folder / layout.HASH, bridge.model_hash(made.folder) + "\n")
    return made


def test_source_has_a_matrix_of_its_own_and_target_and_output_share_one(apart: Tiny) -> None:
    loaded = bridge.load_model(apart.folder, "cpu")
    encoder, decoder = loaded.model.encoder, loaded.model.decoder
    assert list(encoder.embed_tokens.weight.shape) == [len(SOURCE_WORDS) + SPECIAL, 16]
    assert list(decoder.embed_tokens.weight.shape) == [len(TARGET_WORDS) + SPECIAL, 16]
    assert decoder.output_projection.weight is decoder.embed_tokens.weight
    rows = len(SOURCE_WORDS) + len(TARGET_WORDS) + 2 * SPECIAL
    architecture = Architecture(encoder_layers=1, decoder_layers=2, width=16, ffn=24, heads=2)
    assert loaded.parameters() == size.parameters(architecture, rows, pre_norm=True)


def test_each_side_is_read_by_its_own_dictionary(apart: Tiny, tmp_path: Path) -> None:
    """In memory, and in the data set that a training reads."""
    own = (bridge.dictionary_of(apart.folder, "src"), bridge.dictionary_of(apart.folder, "tgt"))
    loaded = bridge.load_model(apart.folder, "cpu")
    (pair,) = bridge.pairs(loaded, ["both s0 t0"], ["both s0 t0"])
    numbers = {"source": [15, 4, 3, 2], "target": [12, 3, 5, 2]}  # 3 is unknown, 2 the end
    assert {side: pair[side].tolist() for side in numbers} == numbers
    bridge.write_data(tmp_path, own, {"train": (["both s0 t0"], ["both s0 t0"])})
    task = loaded.task
    task.cfg.data = str(tmp_path)
    task.load_dataset("train")
    assert {side: task.dataset("train")[0][side].tolist() for side in numbers} == numbers
    for side, path in zip(("src", "tgt"), own, strict=True):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), side


def test_both_engines_translate_into_words_of_the_target(apart: Tiny) -> None:
    search = Search(beam=1, length_penalty=1.0, max_length_factor=1.0, max_length_offset=20)
    found = [translate(apart.folder, apart.sources, search, engine) for engine in ("fairseq", "ctranslate2")]
    texts = [[nbest[0].text for nbest in lines] for lines in found]
    assert texts[0] == texts[1]
    words = {word for text in texts[0] for word in text.split()}
    assert len(words) >= 4 and words <= set(TARGET_WORDS)
    quick = greedy(bridge.load_model(apart.folder, "cpu"), apart.sources)
    assert [text.split()[:9] for text in quick] == [text.split()[:9] for text in texts[0]]  # limits differ


def test_distributions_are_over_the_targets_tokens(apart: Tiny) -> None:
    """Against fairseq's own model on numbers written out by hand."""
    assert scoring.vocabulary(apart.folder) == len(TARGET_WORDS) + SPECIAL == 13
    rows = scoring.distributions(apart.folder, ["both s0"], ["t0 also"], 13, 1.0, 100)
    ((line, ids_TK, probs_TK),) = list(rows)
    model = bridge.load_model(apart.folder, "cpu").model
    with torch.no_grad():
        logits, _ = model(torch.tensor([[15, 4, 2]]), torch.tensor([3]), torch.tensor([[2, 5, 4]]))
    wanted = torch.softmax(logits[0], dim=-1)
    assert line == 0
    torch.testing.assert_close(torch.zeros_like(wanted).scatter_(1, ids_TK, probs_TK), wanted)


def bpe(folder: Path, apart: Tiny, joint: str) -> dict[str, bridge.Dictionaries]:
    """The dictionaries of a text whose sides have the words of `apart`."""
    files.write_text(folder / "dict.txt", joint)
    for side in ("src", "tgt"):
        text = bridge.dictionary_of(apart.folder, side).read_text(encoding="utf-8")
        files.write_text(folder / f"dict.{side}.txt", text)
    both = folder / "dict.txt"
    return {"joint": (both, both), "separate": (folder / "dict.src.txt", folder / "dict.tgt.txt")}


def test_model_is_of_the_text_at_hand_by_both_its_dictionaries(apart: Tiny, tmp_path: Path) -> None:
    kinds = bpe(tmp_path / "bpe", apart, "also 1\n")
    digest = bridge.model_hash(apart.folder)
    assert stamps.checked_hash(apart.folder, kinds.values()) == digest
    with pytest.raises(
        bridge.ModelError, match=r"dict\.src\.txt: not .*bpe/dict\.txt, the dictionary of the"
    ):
        stamps.checked_hash(apart.folder, [kinds["joint"]])
    files.write_text(kinds["separate"][1], "also 1\n")
    wrong = r"dict\.tgt\.txt: not .*bpe/dict\.txt or .*bpe/dict\.tgt\.txt, the dictionary"
    with pytest.raises(bridge.ModelError, match=wrong):
        stamps.checked_hash(apart.folder, kinds.values())
    # One side of each kind is neither.
    files.write_text(kinds["joint"][0], bridge.dictionary_of(apart.folder, "tgt").read_text(encoding="utf-8"))
    with pytest.raises(bridge.ModelError, match=wrong):
        stamps.checked_hash(apart.folder, kinds.values())
    assert stamps.dictionary_hash(apart.folder) == files.file_hash(kinds["joint"][0])


def test_start_has_the_same_embeddings(apart: Tiny, tmp_path: Path) -> None:
    kinds = bpe(tmp_path / "bpe", apart, "also 1\n")
    training = recipe(init=str(apart.folder))
    assert start.find(training, kinds["separate"], "training") is not None
    with pytest.raises(
        start.StartError, match=r"dict\.src\.txt of .* these codes and the same architecture\.emb"
    ):
        start.find(training, kinds["joint"], "training")
    crossed = (kinds["separate"][0], kinds["joint"][1])
    with pytest.raises(start.StartError, match=r"dict\.tgt\.txt of "):
        start.find(training, crossed, "training")
