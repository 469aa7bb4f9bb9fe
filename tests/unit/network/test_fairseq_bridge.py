"""nmtkd.network.fairseq_bridge: data and models that come back as they went."""

import hashlib
import logging
import os
import pickle
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
from tests.conftest import Tiny
from tests.unit.network.building import stamped_pair, weights


@pytest.fixture
def dictionary(tiny: Tiny) -> Dictionary:
    return Dictionary.load(str(tiny.folder / "dict.tgt.txt"))


@pytest.fixture
def loaded(tiny: Tiny) -> bridge.Loaded:
    return bridge.load_model(tiny.folder, "cpu")


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
    assert bridge.write_data(tmp_path / "data", (tiny.folder / "dict.tgt.txt",) * 2, splits) == 4
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
    with pytest.raises(files.DamagedError, match=r"model\.pt: no whole model \(RuntimeError: Error"):
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
    return stamped_pair(tiny, tmp_path)


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


# Damage


class Bomb:
    """Whoever unpickles it calls pytest.fail."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("unpickled",)


@pytest.fixture
def copied(tiny: Tiny, tmp_path: Path) -> Path:
    """A copy of the tiny model."""
    return Path(shutil.copytree(tiny.folder, tmp_path / "model"))


def refuses(folder: Path, error: str) -> None:
    """Both readers of a model file do."""
    for read in (bridge.positions, lambda path: bridge.load_model(path, "cpu")):
        with pytest.raises(files.DamagedError, match=error):
            read(folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\0" * 100, b"weights"])
def test_a_torn_model_is_named(copied: Path, content: bytes) -> None:
    (copied / layout.MODEL).write_bytes(content)
    refuses(copied, r"model/model\.pt: no whole model \(\w+: .*; run `dvc checkout --force .*model\.pt`")


def test_a_model_that_was_cut_is_named(copied: Path) -> None:
    size = (copied / layout.MODEL).stat().st_size
    for rest in (size - 1, size // 2, 10):
        os.truncate(copied / layout.MODEL, rest)
        refuses(copied, r"model/model\.pt: no whole model \(")


@pytest.mark.parametrize("state", [[1], {}, {"cfg": None}, {"cfg": {}}, {"cfg": {"task": 1}, "model": {}}])
def test_a_model_of_other_content_is_named(copied: Path, state: Any) -> None:
    torch.save(state, copied / layout.MODEL)
    refuses(copied, r"model/model\.pt: no whole model \(")


def test_no_model_is_unpickled(copied: Path) -> None:
    torch.save({"cfg": Bomb()}, copied / layout.MODEL)
    refuses(copied, r"model/model\.pt: no whole model \(UnpicklingError: Weights only load failed")
    (copied / layout.MODEL).write_bytes(pickle.dumps(Bomb()))
    refuses(copied, r"model/model\.pt: no whole model \(\w+Error")


def test_weights_of_another_shape_are_named(tiny: Tiny, copied: Path) -> None:
    other = {name: value[..., :1] if value.dim() else value for name, value in weights(tiny).items()}
    bridge.save_model(copied / layout.MODEL, tiny.command, other, 10)
    with pytest.raises(files.DamagedError, match=r"model\.pt: no whole model \(RuntimeError: Error"):
        bridge.load_model(copied, "cpu")


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (b"w1 5\nw2", "ValueError: Incorrect dictionary format"),
        (b"w1 5\nw2 ", "ValueError: Incorrect dictionary format"),
        (b"w1 5\n\0\0", "ValueError: Incorrect dictionary format"),
        (b"w1 5\nw1 4\n", "RuntimeError: Duplicate word found"),
        (b"w\xff 5\n", "Exception: Incorrect encoding"),
    ],
)
def test_a_damaged_dictionary_is_named(copied: Path, content: bytes, wrong: str) -> None:
    (copied / "dict.tgt.txt").write_bytes(content)
    with pytest.raises(files.DamagedError, match=rf"dict\.tgt\.txt: no whole dictionary \({wrong}"):
        bridge.target_dictionary(copied)
    with pytest.raises(files.DamagedError, match=rf"model: no whole dictionary \({wrong}"):
        bridge.load_model(copied, "cpu")
    (copied / "dict.tgt.txt").unlink()
    with pytest.raises(files.DamagedError, match=r"dict\.tgt\.txt: missing; run"):
        bridge.target_dictionary(copied)
