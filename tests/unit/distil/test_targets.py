"""nmtkd.distil.targets: what is put is read, and nothing is read that was made of something else."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nmtkd.distil.targets import HEADER, Header, TargetsError, TokenTargets, Writer
from nmtkd.files import lines_hash

PREFIX = ["w1 w2", "", "w3"]
LENGTHS = [3, 1, 2]


def header(**changes: Any) -> Header:
    values: dict[str, Any] = {
        "top_k": 2,
        "temperature": 1.5,
        "vocabulary": 10,
        "dictionary_hash": "d" * 64,
        "teacher_hash": "t" * 64,
        "prefix": "gold",
    }
    return Header(**(values | {"prefix_hash": lines_hash(PREFIX)} | changes))


def rows(line: int, length: int, top_k: int = 2) -> tuple[Tensor, Tensor]:
    """Values of their own for each line; multiples of 1/32 are exact in float16."""
    ids = torch.arange(length * top_k).reshape(length, top_k) % 7 + line
    return ids, torch.arange(1, length * top_k + 1).reshape(length, top_k) / 32 + line / 4


def written(folder: Path, order: tuple[int, ...] = (0, 1, 2), **changes: Any) -> TokenTargets:
    writer = Writer(folder, LENGTHS, header(**changes))
    for line in order:
        writer.put(line, *rows(line, LENGTHS[line]))
    writer.close()
    return TokenTargets(folder)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_targets_put_in_any_order_are_read_by_line(tmp_path: Path, order: tuple[int, ...]) -> None:
    found = written(tmp_path, order)
    assert len(found) == 3
    for line, length in enumerate(LENGTHS):
        ids, probs = found[line]
        assert (ids.dtype, probs.dtype) == (torch.int64, torch.float32)
        assert torch.equal(ids, rows(line, length)[0])
        assert torch.equal(probs, rows(line, length)[1])
    assert found.header == header()


def test_files_of_targets_are_as_documented(tmp_path: Path) -> None:
    writer = Writer(tmp_path, LENGTHS, header())
    assert writer.positions == 6
    assert not (tmp_path / HEADER).exists()
    for line in range(3):
        writer.put(line, *rows(line, LENGTHS[line]))
    writer.close()
    assert np.load(tmp_path / "offsets.npy").tolist() == [0, 3, 4, 6]
    ids, probs = np.load(tmp_path / "ids.npy"), np.load(tmp_path / "probs.npy")
    assert (ids.shape, probs.shape, probs.dtype) == ((6, 2), (6, 2), np.float16)
    assert json.loads((tmp_path / HEADER).read_text(encoding="utf-8"))["temperature"] == 1.5


def test_probabilities_are_kept_to_float16s_precision(tmp_path: Path) -> None:
    writer = Writer(tmp_path, [1], header())
    writer.put(0, torch.tensor([[3, 4]]), torch.tensor([[0.7, 0.0001234]]))
    writer.close()
    assert TokenTargets(tmp_path)[0][1].tolist() == [
        [pytest.approx(0.7, rel=2**-11), pytest.approx(0.0001234, rel=2**-11)]
    ]


@pytest.mark.parametrize(("vocabulary", "kind"), [(65535, np.uint16), (65536, np.int32), (200000, np.int32)])
def test_targets_hold_the_largest_token(tmp_path: Path, vocabulary: int, kind: type) -> None:
    writer = Writer(tmp_path, [1], header(vocabulary=vocabulary))
    writer.put(0, torch.tensor([[vocabulary - 1, 0]]), torch.tensor([[0.5, 0.25]]))
    writer.close()
    assert np.load(tmp_path / "ids.npy").dtype == kind
    assert TokenTargets(tmp_path)[0][0].tolist() == [[vocabulary - 1, 0]]


def test_close_refuses_a_line_that_was_never_put_and_leaves_no_targets(tmp_path: Path) -> None:
    writer = Writer(tmp_path, LENGTHS, header())
    writer.put(1, *rows(1, 1))
    with pytest.raises(
        TargetsError, match="2 lines have no targets, the first is line 1; run the stage again"
    ):
        writer.close()
    writer.put(0, *rows(0, 3))
    with pytest.raises(TargetsError, match="1 lines have no targets, the first is line 3"):
        writer.close()
    with pytest.raises(
        TargetsError, match=r"no header\.json: not token targets, or not whole; run the targets stage again"
    ):
        TokenTargets(tmp_path)


@pytest.mark.parametrize(("length", "top_k"), [(2, 2), (4, 2), (3, 1)])
def test_put_of_another_shape_is_our_own_mistake(tmp_path: Path, length: int, top_k: int) -> None:
    with pytest.raises(AssertionError, match="one row a position"):
        Writer(tmp_path, LENGTHS, header()).put(0, *rows(0, length, top_k))


def test_token_targets_refuse_a_folder_without_header(tmp_path: Path) -> None:
    written(tmp_path)
    (tmp_path / HEADER).unlink()
    with pytest.raises(TargetsError, match=rf"{tmp_path}: no header\.json"):
        TokenTargets(tmp_path)


def test_check_passes_targets_of_exactly_this(tmp_path: Path) -> None:
    written(tmp_path).check(dictionary_hash="d" * 64, teacher_hash="t" * 64, prefix=PREFIX)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"dictionary_hash": "e" * 64}, ["dictionary (made with dddddddddddd, at hand is eeeeeeeeeeee)"]),
        ({"teacher_hash": "u" * 64}, ["teacher (made with tttttttttttt, at hand is uuuuuuuuuuuu)"]),
        ({"prefix": ["", "w1 w2", "w3"]}, ["prefix text (made with "]),
        ({"prefix": PREFIX[:2]}, ["prefix text (made with "]),
        (
            {"dictionary_hash": "e" * 64, "teacher_hash": "u" * 64, "prefix": []},
            ["dictionary (", "teacher (", "prefix text ("],
        ),
    ],
)
def test_check_names_every_difference(tmp_path: Path, changes: dict[str, Any], names: list[str]) -> None:
    hand: dict[str, Any] = {"dictionary_hash": "d" * 64, "teacher_hash": "t" * 64, "prefix": PREFIX} | changes
    found = written(tmp_path)
    with pytest.raises(TargetsError) as caught:
        found.check(**hand)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}: token targets of another ")
    assert message.endswith("; run the targets stage again")
    assert message.count("another ") == len(names)
    for name in names:
        assert f"another {name}" in message
