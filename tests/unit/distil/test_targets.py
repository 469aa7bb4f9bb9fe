"""nmtkd.distil.targets: what is put is read, and nothing is read that was made of something else."""

import errno
import hashlib
import json
import os
import pickle
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nmtkd import files
from nmtkd.distil import targets
from nmtkd.distil.targets import ARRAYS, HEADER, Header, Stored, TargetsError, TokenTargets, Writer
from nmtkd.files import DamagedError, lines_hash
from nmtkd.outputs import DiskFullError

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
    hashes = files.hashes(tmp_path / name for name in ARRAYS)
    assert found.header == Stored(**asdict(header()), sha256=hashes)


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
    stored = json.loads((tmp_path / HEADER).read_text(encoding="utf-8"))
    assert stored["temperature"] == 1.5
    assert stored["sha256"] == {
        f"{name}.npy": hashlib.sha256((tmp_path / f"{name}.npy").read_bytes()).hexdigest()
        for name in ("offsets", "ids", "probs")
    }


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


def test_close_refuses_a_line_that_was_put_twice(tmp_path: Path) -> None:
    writer = Writer(tmp_path, LENGTHS, header())
    for line in (0, 1, 2, 1):
        writer.put(line, *rows(line, LENGTHS[line]))
    with pytest.raises(
        TargetsError, match="1 lines were put more than once, the first is line 2; run the stage again"
    ):
        writer.close()
    assert not (tmp_path / HEADER).exists()


def test_close_returns_the_bytes_of_all_files(tmp_path: Path) -> None:
    writer = Writer(tmp_path, LENGTHS, header())
    for line in range(3):
        writer.put(line, *rows(line, LENGTHS[line]))
    size = writer.close()
    assert size == sum(len((tmp_path / name).read_bytes()) for name in (HEADER, *ARRAYS))


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


# Damage

HAND: dict[str, Any] = {"dictionary_hash": "d" * 64, "teacher_hash": "t" * 64, "prefix": PREFIX}


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"PK\x03\x04", pickle.dumps([1])])
def test_a_torn_array_is_named_and_no_pickle_is_read(tmp_path: Path, name: str, content: bytes) -> None:
    written(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(
        DamagedError, match=rf"/{name}: no whole array \(ValueError.*run `dvc checkout --force "
    ):
        TokenTargets(tmp_path)
    np.save(tmp_path / name, np.array([{}]), allow_pickle=True)
    with pytest.raises(DamagedError, match=rf"/{name}: no whole array \(ValueError.*objects"):
        TokenTargets(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(DamagedError, match=rf"/{name}: missing; run"):
        TokenTargets(tmp_path)


@pytest.mark.parametrize("name", ARRAYS)
def test_a_cut_array_is_named(tmp_path: Path, name: str) -> None:
    written(tmp_path)
    os.truncate(tmp_path / name, (tmp_path / name).stat().st_size - 1)
    with pytest.raises(DamagedError, match=rf"/{name}: no whole array \(ValueError: mmap length"):
        TokenTargets(tmp_path)


@pytest.mark.parametrize("name", ARRAYS)
def test_an_array_that_is_zeros_from_the_middle_on_is_no_targets(tmp_path: Path, name: str) -> None:
    """As a crash leaves a sparse file. Its size and its form are right."""
    written(tmp_path)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[:-4] + b"\0\0\0\0")
    if name == "offsets.npy":  # the upper half of a number; so the last offset is another
        (tmp_path / name).write_bytes(content[:-8] + (5).to_bytes(8, "little"))
        with pytest.raises(
            DamagedError, match=r"/ids\.npy: must be an array \[5, 2\] of u2, is \[6, 2\] of u2"
        ):
            TokenTargets(tmp_path)
        return
    with pytest.raises(
        DamagedError, match=rf"/{name}: not the content that was written: its hash is another"
    ):
        TokenTargets(tmp_path).check(**HAND)


def test_offsets_are_of_the_lines_of_the_text(tmp_path: Path) -> None:
    """Also where each file is what was written: a line's rows must be as many as its tokens."""
    lengths = [2, 2, 2]
    writer = Writer(tmp_path, lengths, header())
    for line, length in enumerate(lengths):
        writer.put(line, *rows(line, length))
    writer.close()
    with pytest.raises(
        DamagedError, match=r"offsets\.npy: not the positions of the lines of the prefix text"
    ):
        TokenTargets(tmp_path).check(**HAND)


@pytest.mark.parametrize("offsets", [[], [1, 3, 4, 6], [0, 4, 3, 6], [0, 3, 3, 6]])
def test_offsets_start_with_0_and_grow(tmp_path: Path, offsets: list[int]) -> None:
    written(tmp_path)
    np.save(tmp_path / "offsets.npy", np.array(offsets, np.int64))
    with pytest.raises(DamagedError, match=r"offsets\.npy: must start with 0 and grow with each line"):
        TokenTargets(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "wrong"),
    [
        ("offsets", np.zeros(4, np.float64), r"\[any\] of i8, is \[4\] of f8"),
        ("offsets", np.zeros((4, 1), np.int64), r"\[any\] of i8, is \[4, 1\] of i8"),
        ("ids", np.zeros((6, 2), np.int32), r"\[6, 2\] of u2, is \[6, 2\] of i4"),
        ("probs", np.zeros((6, 2), np.float32), r"\[6, 2\] of f2, is \[6, 2\] of f4"),
        ("probs", np.zeros((6, 3), np.float16), r"\[6, 2\] of f2, is \[6, 3\] of f2"),
    ],
)
def test_arrays_are_of_their_form(tmp_path: Path, name: str, array: Any, wrong: str) -> None:
    written(tmp_path)
    np.save(tmp_path / f"{name}.npy", array)
    with pytest.raises(DamagedError, match=rf"/{name}\.npy: must be an array {wrong}; run"):
        TokenTargets(tmp_path)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", r"no whole JSON \(JSONDecodeError"),
        ("[]", "the whole: "),
        ('{"top_k": 2}', "temperature: "),
        ('{"top_k": "2"}', "top_k: Input should be a valid integer"),
    ],
)
def test_a_damaged_header_is_named(tmp_path: Path, text: str, wrong: str) -> None:
    written(tmp_path)
    (tmp_path / HEADER).write_text(text, encoding="utf-8")
    with pytest.raises(DamagedError, match=rf"header\.json: {wrong}"):
        TokenTargets(tmp_path)


def test_a_header_has_the_hash_of_each_array(tmp_path: Path) -> None:
    written(tmp_path)
    stored = files.read_json(tmp_path / HEADER)
    files.write_json(tmp_path / HEADER, stored | {"sha256": {}})
    with pytest.raises(DamagedError, match=r"sha256: must have hashes of offsets\.npy, ids\.npy, probs\.npy"):
        TokenTargets(tmp_path)


# Room on the disk


def test_a_full_disk_is_told_before_anything_is_scored(small_disk: Path) -> None:
    """Without it a write into a mapped file ends the process by SIGBUS."""
    lengths = [100_000, 100_000]
    message = r"probs\.npy: needs 781\.25 KiB, .* are free on its disk; free some, or lower targets\.top_k"
    with pytest.raises(DiskFullError, match=message):
        Writer(small_disk, lengths, header())


def test_targets_that_fit_take_their_room_at_once(small_disk: Path) -> None:
    Writer(small_disk, [100_000], header())
    for name in ("ids.npy", "probs.npy"):
        assert (small_disk / name).stat().st_blocks * 512 >= 400_000


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, None])
def test_where_space_cannot_be_reserved_zeros_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int | None
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(number, "no")

    if number is None:
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refused)
    monkeypatch.setattr(targets, "BLOCK", 7)
    found = written(tmp_path)
    found.check(**HAND)
    assert torch.equal(found[2][0], rows(2, 2)[0])
    monkeypatch.setattr(targets, "BLOCK", 2**16)
    larger = tmp_path / "larger"
    larger.mkdir()
    Writer(larger, [100_000], header())
    for name in ("ids.npy", "probs.npy"):
        assert (larger / name).stat().st_blocks * 512 >= 400_000


def test_other_errors_of_a_disk_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "posix_fallocate", broken)
    with pytest.raises(OSError, match="broken"):
        Writer(tmp_path, [1], header())
