"""nmtkd.network.fairseq_bridge: the command line of a run, data and models that come back as they went."""

import hashlib
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.data import Dictionary, data_utils

from nmtkd import files
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.plan.models import Architecture, Training, UnitGates
from tests.conftest import Tiny
from tests.unit.network.building import weights

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
# Literal: the values of conf/scale/quick.yaml when this was written. A change there is no change of the
# command line.
RECIPE: dict[str, Any] = {
    "adam_betas": [0.9, 0.98],
    "label_smoothing": 0.1,
    "clip_norm": 1.0,
    "weight_decay": 0.0001,
    "pre_norm": True,
    "average": 4,
    "curve_pairs": 200,
}
TEACHER = Training(
    updates=1600, max_tokens=2048, lr=0.003, warmup=300, dropout=0.2, checkpoint_every=200, **RECIPE
)
STUDENT = Training(
    updates=600, max_tokens=4096, lr=0.005, warmup=200, dropout=0.1, checkpoint_every=100, **RECIPE
)
MODELS = {
    "teacher": (Architecture(encoder_layers=3, decoder_layers=3, width=128, ffn=512, heads=4), TEACHER, 1),
    "tiny": (Architecture(encoder_layers=1, decoder_layers=1, width=48, ffn=96, heads=4), STUDENT, 1),
    "small": (Architecture(encoder_layers=2, decoder_layers=2, width=64, ffn=128, heads=4), STUDENT, 2),
    "medium": (Architecture(encoder_layers=3, decoder_layers=3, width=96, ffn=192, heads=4), STUDENT, 3),
}


@pytest.fixture
def dictionary(tiny: Tiny) -> Dictionary:
    return Dictionary.load(str(tiny.folder / "dict.tgt.txt"))


@pytest.fixture
def loaded(tiny: Tiny) -> bridge.Loaded:
    return bridge.load_model(tiny.folder, "cpu")


# Arguments


@pytest.mark.parametrize("name", MODELS)
def test_arguments_are_what_they_were(name: str) -> None:
    """One option a line; a deliberate change changes these files, and every model with them."""
    golden = (GOLDEN / f"arguments-{name}.txt").read_text(encoding="utf-8")
    assert " ".join(bridge.arguments(*MODELS[name])).replace(" --", "\n--") + "\n" == golden
    assert not any(
        " " in argument for argument in bridge.arguments(*MODELS[name]) if argument != "(0.9, 0.98)"
    )


def test_arguments_of_post_norm_ask_for_nothing() -> None:
    architecture, training, seed = MODELS["tiny"]
    pre = bridge.arguments(architecture, training, seed)
    post = bridge.arguments(architecture, training.model_copy(update={"pre_norm": False}), seed)
    assert [argument for argument in pre if argument not in post] == [
        "--encoder-normalize-before",
        "--decoder-normalize-before",
    ]
    assert [argument for argument in pre if not argument.endswith("-normalize-before")] == post


def test_arguments_of_gates_change_the_architecture_alone() -> None:
    architecture, training, seed = MODELS["tiny"]
    gates = UnitGates(budget=0.5, weight=10.0, polarity=1.0, closing=1, opening=0.75)
    stock, gated = (
        bridge.arguments(one, training, seed)
        for one in (architecture, architecture.model_copy(update={"gates": gates}))
    )
    place = stock.index("transformer")
    assert gated == [*stock[:place], "gated_transformer", "--gate-opening", "0.75", *stock[place + 1 :]]
    model = bridge.configuration(gated).model
    assert (model.arch, model.gate_opening, model.encoder_ffn_embed_dim) == ("gated_transformer", 0.75, 96)


def test_arguments_bring_every_value_to_fairseq() -> None:
    architecture = Architecture(encoder_layers=1, decoder_layers=2, width=24, ffn=36, heads=3)
    changes = {
        "updates": 70,
        "max_tokens": 90,
        "lr": 0.0002,
        "warmup": 11,
        "adam_betas": [0.8, 0.95],
        "dropout": 0.15,
    }
    changes |= {"label_smoothing": 0.05, "clip_norm": 0.5, "weight_decay": 0.01}
    cfg = bridge.configuration(bridge.arguments(architecture, TEACHER.model_copy(update=changes), 7))
    model = cfg.model
    assert (model.encoder_layers, model.decoder_layers) == (1, 2)
    for side in ("encoder", "decoder"):
        assert getattr(model, f"{side}_embed_dim") == 24
        assert getattr(model, f"{side}_ffn_embed_dim") == 36
        assert getattr(model, f"{side}_attention_heads") == 3
        assert getattr(model, f"{side}_normalize_before") is True
    assert model.share_all_embeddings is True
    assert model.dropout == 0.15
    assert (model.attention_dropout, model.activation_dropout) == (0.0, 0.0)
    assert (cfg.optimization.max_update, cfg.optimization.clip_norm, list(cfg.optimization.lr)) == (
        70,
        0.5,
        [0.0002],
    )
    assert (cfg.dataset.max_tokens, cfg.dataset.num_workers) == (90, 0)
    assert (cfg.optimizer._name, cfg.optimizer.weight_decay) == ("adam", 0.01)
    assert str(cfg.optimizer.adam_betas) == "(0.8, 0.95)"
    assert (cfg.lr_scheduler._name, cfg.lr_scheduler.warmup_updates) == ("inverse_sqrt", 11)
    assert (cfg.criterion._name, cfg.criterion.label_smoothing) == ("label_smoothed_cross_entropy", 0.05)
    assert (cfg.task._name, cfg.task.source_lang, cfg.task.target_lang) == ("translation", "src", "tgt")
    assert cfg.common.seed == 7


def test_arguments_bring_positions_to_model_and_task_and_leave_no_pair_out() -> None:
    architecture, training, seed = MODELS["tiny"]
    cfg = bridge.configuration(bridge.arguments(architecture, training, seed, 4096))
    for part in (cfg.model, cfg.task):
        assert (part.max_source_positions, part.max_target_positions) == (4096, 4096)
    assert cfg.dataset.required_batch_size_multiple == 1


@pytest.mark.parametrize(
    ("longest", "positions"), [(1, 1024), (480, 1024), (481, 2048), (4802, 16384), (70_000, 100_000)]
)
def test_positions_are_enough_for_twice_the_longest_line(longest: int, positions: int) -> None:
    """2 x 480 + 64 = 1024. fairseq's table ends at 100,000."""
    assert bridge.positions_for(longest) == positions


# Data


def test_binarised_text_comes_back(tmp_path: Path, dictionary: Dictionary) -> None:
    bridge.binarise(["w3 w0", "", "w1 never-seen w19"], dictionary, tmp_path / "x")
    data = data_utils.load_indexed_dataset(str(tmp_path / "x"), dictionary, "mmap")
    assert [item.tolist() for item in data] == [
        [dictionary.index("w3"), dictionary.index("w0"), dictionary.eos()],
        [dictionary.eos()],
        [dictionary.index("w1"), dictionary.unk(), dictionary.index("w19"), dictionary.eos()],
    ]
    assert [bridge.text(dictionary, item) for item in data] == ["w3 w0", "", "w1 <unk> w19"]
    assert dictionary.index("w0") == 4  # behind <s>, <pad>, </s>, <unk>


def test_text_leaves_out_what_is_no_word(dictionary: Dictionary) -> None:
    tokens = torch.tensor(
        [dictionary.pad(), dictionary.index("w5"), dictionary.eos(), dictionary.index("w6"), dictionary.eos()]
    )
    assert bridge.text(dictionary, tokens) == "w5 w6"


def test_data_folder_is_what_fairseqs_task_reads(tiny: Tiny, tmp_path: Path, loaded: bridge.Loaded) -> None:
    splits: dict[str, tuple[Sequence[str], Sequence[str]]] = {
        "train": (["w1 w2", "w3"], ["w4", "w5 w6 w7"]),
        "valid": (["w8"], ["w9"]),
    }
    assert bridge.write_data(tmp_path / "data", tiny.folder / "dict.tgt.txt", splits) == 4
    for side in ("src", "tgt"):
        assert (tmp_path / "data" / f"dict.{side}.txt").read_bytes() == (
            tiny.folder / "dict.tgt.txt"
        ).read_bytes()
    loaded.task.cfg.data = str(tmp_path / "data")
    for split, (sources, targets) in splits.items():
        loaded.task.load_dataset(split)
        items = list(loaded.task.dataset(split))
        assert [bridge.text(loaded.dictionary, item["source"]) for item in items] == sources
        assert [bridge.text(loaded.dictionary, item["target"]) for item in items] == targets


def test_pairs_and_batches_hold_every_line_once(tiny: Tiny, loaded: bridge.Loaded) -> None:
    dataset = bridge.pairs(loaded, tiny.sources, tiny.targets)
    found = bridge.batches(dataset, 30)
    assert sorted(int(index) for batch in found for index in batch) == list(range(len(tiny.sources)))
    assert len(found) > 5
    for batch in found:
        sample = bridge.collate(dataset, batch, "cpu")
        assert max(sample["net_input"]["src_tokens"].numel(), sample["target"].numel()) <= 30
        for row, line in enumerate(sample["id"].tolist()):
            assert (
                bridge.text(loaded.dictionary, sample["net_input"]["src_tokens"][row]) == tiny.sources[line]
            )
            assert bridge.text(loaded.dictionary, sample["target"][row]) == tiny.targets[line]
            assert sample["net_input"]["prev_output_tokens"][row, 0] == loaded.dictionary.eos()


def test_batches_of_a_line_longer_than_they_are(loaded: bridge.Loaded) -> None:
    """It is alone; the others are together as without it, whichever side is long."""
    long, short = " ".join(["w1"] * 50), ["w1 w2"] * 7
    dataset = bridge.pairs(loaded, [*short, long, "w1", long], [*short, "w1", long, "w1"])
    found = [list(map(int, batch)) for batch in bridge.batches(dataset, 12)]
    assert found == [[8], [0, 1, 2, 3], [4, 5, 6], [7], [9]]
    assert bridge.batches(bridge.pairs(loaded, [], []), 12) == []


def test_pairs_refuse_a_line_beyond_the_models_positions(loaded: bridge.Loaded) -> None:
    long = " ".join(["w1"] * 1024)
    with pytest.raises(
        bridge.ModelError,
        match="source, line 2: 1025 BPE tokens, the model takes 1024; train the model again: a new one takes",
    ):
        bridge.pairs(loaded, ["w1", long], ["w1", "w1"])
    with pytest.raises(bridge.ModelError, match="target, line 1: 1025 BPE tokens"):
        bridge.pairs(loaded, ["w1"], [long])
    bridge.pairs(loaded, [long.removesuffix(" w1")])


# Models


def test_save_model_writes_the_same_bytes_wherever(tiny: Tiny, tmp_path: Path) -> None:
    first, second = tmp_path / "a.pt", tmp_path / "much" / "deeper" / "model.pt"
    second.parent.mkdir(parents=True)
    bridge.save_model(first, tiny.command, weights(tiny), 10)
    reordered = dict(
        reversed([(name, tensor.clone().requires_grad_()) for name, tensor in weights(tiny).items()])
    )
    bridge.save_model(second, tiny.command, reordered, 10)
    assert first.read_bytes() == second.read_bytes() == (tiny.folder / layout.MODEL).read_bytes()
    assert str(tmp_path).encode() not in first.read_bytes()
    assert os.getcwd().encode() not in first.read_bytes()
    assert files.file_hash(first) == files.file_hash(second)
    bridge.save_model(second, tiny.command, weights(tiny), 11)
    assert first.read_bytes() != second.read_bytes()


def test_shared_embeddings_are_written_once(tiny: Tiny, tmp_path: Path) -> None:
    apart = {
        name: tensor.clone() for name, tensor in weights(tiny).items()
    }  # averaging makes them three matrices
    bridge.save_model(tmp_path / "model.pt", tiny.command, apart, 10)
    found = torch.load(tmp_path / "model.pt", weights_only=True)["model"]
    names = ["encoder.embed_tokens.weight", "decoder.embed_tokens.weight", "decoder.output_projection.weight"]
    assert len({found[name].untyped_storage().data_ptr() for name in names}) == 1
    assert found.keys() == apart.keys()
    assert all(torch.equal(found[name], apart[name]) for name in apart)


def test_save_model_keeps_equal_bytes_of_another_shape_or_kind_apart(tiny: Tiny, tmp_path: Path) -> None:
    zeros = {
        "a": torch.zeros(2, 3),
        "b": torch.zeros(3, 2),
        "c": torch.zeros(6),
        "d": torch.zeros(2, 3, dtype=torch.int32),
    }
    bridge.save_model(tmp_path / "model.pt", tiny.command, zeros, 10)
    found = torch.load(tmp_path / "model.pt", weights_only=True)["model"]
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in found.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in zeros.items()
    }


def test_load_model_brings_it_back_in_eval_mode(tiny: Tiny, loaded: bridge.Loaded) -> None:
    assert not any(module.training for module in loaded.model.modules())
    found = loaded.model.state_dict()
    assert found.keys() == weights(tiny).keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in weights(tiny).items())
    assert len(loaded.dictionary) == 24
    sample = bridge.collate(bridge.pairs(loaded, ["w1 w2"], ["w3 w4"]), [0], "cpu")
    with torch.no_grad():
        assert torch.equal(*(loaded.model(**sample["net_input"])[0] for _ in range(2)))  # dropout is off


def test_parameters_count_a_shared_matrix_once(tiny: Tiny, loaded: bridge.Loaded) -> None:
    assert loaded.parameters() == sum(
        tensor.numel()
        for name, tensor in weights(tiny).items()
        if name not in ("decoder.embed_tokens.weight", "decoder.output_projection.weight")
        and "version" not in name
        and "_float" not in name
    )


def test_model_file_is_loaded_by_stock_fairseq(tiny: Tiny) -> None:
    (model,), _ = checkpoint_utils.load_model_ensemble(
        [str(tiny.folder / layout.MODEL)], arg_overrides={"data": str(tiny.folder)}
    )
    assert torch.equal(
        model.state_dict()["decoder.layers.1.fc1.weight"], weights(tiny)["decoder.layers.1.fc1.weight"]
    )


def test_load_model_refuses_one_that_lacks_weights(tiny: Tiny, tmp_path: Path) -> None:
    some = {name: tensor for name, tensor in weights(tiny).items() if name != "decoder.layers.1.fc1.weight"}
    bridge.save_model(tmp_path / layout.MODEL, tiny.command, some, 10)
    for side in ("src", "tgt"):
        (tmp_path / f"dict.{side}.txt").write_bytes((tiny.folder / f"dict.{side}.txt").read_bytes())
    with pytest.raises(RuntimeError, match=r"decoder\.layers\.1\.fc1\.weight"):
        bridge.load_model(tmp_path, "cpu")


def test_positions_of_a_folder_are_those_that_all_members_have(tiny: Tiny, tmp_path: Path) -> None:
    """Also of a file that was written before models said how many they have."""
    older = tiny.command.copy()
    for option in ("--max-source-positions", "--max-target-positions"):
        place = older.index(option)
        del older[place : place + 2]
    newer = [*older, "--max-source-positions", "4096", "--max-target-positions", "2048"]
    for name, command in (("model.pt", newer), ("model2.pt", older)):
        bridge.save_model(tmp_path / name, command, weights(tiny), 10)
        for side in ("src", "tgt"):
            shutil.copy(tiny.folder / f"dict.{side}.txt", tmp_path)
        assert bridge.positions(tmp_path) == (2048 if name == "model.pt" else 1024)
        assert bridge.load_model(tmp_path, "cpu", name).positions() == (2048 if name == "model.pt" else 1024)


# Ensembles


@pytest.fixture
def pair(tiny: Tiny, tmp_path: Path) -> Path:
    """A folder of two members, stamped as training stamps it."""
    folder = tmp_path / "pair"
    folder.mkdir()
    for side in ("src", "tgt"):
        shutil.copy(tiny.folder / f"dict.{side}.txt", folder)
    for number in (1, 2):
        other = {name: value * number for name, value in weights(tiny).items()}
        bridge.save_model(folder / bridge.member_name(number), tiny.command, other, 10)
    (folder / layout.HASH).write_text(bridge.model_hash(folder) + "\n", encoding="utf-8")
    return folder


def test_members_are_numbered_from_the_second_on(pair: Path, tiny: Tiny) -> None:
    assert bridge.members(tiny.folder) == [tiny.folder / "model.pt"]
    assert bridge.members(pair) == [pair / "model.pt", pair / "model2.pt"]
    shutil.copy(pair / "model.pt", pair / "model3.pt")
    assert bridge.members(pair)[2:] == [pair / "model3.pt"]
    assert [bridge.member_name(number) for number in (1, 2, 10)] == ["model.pt", "model2.pt", "model10.pt"]


def test_members_are_loaded_in_their_order(pair: Path, tiny: Tiny) -> None:
    found = bridge.load_models(pair, "cpu")
    name = "decoder.layers.1.fc1.weight"
    assert [
        torch.equal(one.model.state_dict()[name], weights(tiny)[name] * number)
        for number, one in enumerate(found, start=1)
    ] == [True] * 2


def test_model_hash_of_one_model_is_its_files(tiny: Tiny) -> None:
    assert bridge.model_hash(tiny.folder) == files.file_hash(tiny.folder / "model.pt")


def test_model_hash_of_an_ensemble_is_of_its_members_in_order(pair: Path) -> None:
    first, second = (files.file_hash(pair / name) for name in ("model.pt", "model2.pt"))
    before = bridge.model_hash(pair)
    assert before == hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    for source, target in (("model.pt", "x"), ("model2.pt", "model.pt"), ("x", "model2.pt")):
        (pair / source).rename(pair / target)
    assert bridge.model_hash(pair) != before


def test_stamped_hash_of_a_whole_ensemble_is_its_hash(pair: Path) -> None:
    assert bridge.stamped_hash(pair) == bridge.model_hash(pair)


@pytest.mark.parametrize("missing", ["model2.pt", "model3.pt"])
def test_stamped_hash_refuses_a_missing_member(pair: Path, missing: str) -> None:
    shutil.copy(pair / "model.pt", pair / "model3.pt")
    (pair / layout.HASH).write_text(bridge.model_hash(pair) + "\n", encoding="utf-8")
    (pair / missing).unlink()
    with pytest.raises(
        bridge.ModelError,
        match=r"pair: its model files are not those that model\.sha256 names; run `dvc checkout .*pair`",
    ):
        bridge.stamped_hash(pair)


def test_stamped_hash_refuses_a_changed_or_added_member(pair: Path) -> None:
    shutil.copy(pair / "model.pt", pair / "model3.pt")
    with pytest.raises(bridge.ModelError, match="not those that"):
        bridge.stamped_hash(pair)
    (pair / "model3.pt").unlink()
    bridge.stamped_hash(pair)
    shutil.copy(pair / "model.pt", pair / "model2.pt")
    with pytest.raises(bridge.ModelError, match="not those that"):
        bridge.stamped_hash(pair)


# The rest


def loud() -> None:
    with bridge.quiet():
        assert not logging.getLogger("anything").isEnabledFor(logging.INFO)
        assert logging.getLogger("anything").isEnabledFor(logging.WARNING)
        raise RuntimeError("x")


def test_quiet_ends_with_its_block() -> None:
    before = logging.root.manager.disable
    with pytest.raises(RuntimeError, match="x"):
        loud()
    assert logging.root.manager.disable == before


def test_seed_repeats_its_draws() -> None:
    draws = []
    for seed in (3, 3, 4):
        bridge.seed_everything(seed)
        draws.append(torch.rand(4).tolist())
    assert draws[0] == draws[1] != draws[2]
