"""nmtkd.text.corpora.own_files: the files are taken as they are, and all faults are listed at once."""

import re
from pathlib import Path
from typing import Any

import pytest

from nmtkd.text.corpora.readers import extract, needed
from nmtkd.text.corpora.tally import CorpusError
from nmtkd.text.parallel import ParallelTextError
from tests.unit.text.corpora.toys import corpus, read


def user_files(folder: Path, **texts: str) -> Path:
    """train, valid and test of one line each. `texts` replaces some: {"train_src": ...}, "" for no file."""
    folder.mkdir()
    for split in ("train", "valid", "test"):
        for side in ("src", "tgt"):
            text = texts.get(f"{split}_{side}", f"{split} {side}\n")
            if text:
                (folder / f"{split}.{side}").write_bytes(text.encode())
    return folder


def test_own_files_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="a  b \nc", train_tgt="d\ne\u2028f\n")
    definition = corpus("files", folder=str(folder))
    assert needed(definition) == []
    card = extract(definition, {}, tmp_path / "out")
    assert read(tmp_path / "out" / "train.src") == ["a  b ", "c"]
    assert read(tmp_path / "out" / "train.tgt") == ["d", "e\u2028f"]
    assert read(tmp_path / "out" / "test.tgt") == ["test tgt"]
    assert card["pairs"] == {"train": 2, "valid": 1, "test": 1}
    assert re.fullmatch("sha256 [0-9a-f]{64}", card["version"])
    (folder / "test.tgt").write_text("changed\n")
    assert extract(definition, {}, tmp_path / "out2")["version"] != card["version"]


def test_groups_of_held_out_sets_come_along(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", test_src="a\nb\n", test_tgt="c\nd\n")
    (folder / "test.groups").write_text("talk 1\ntalk 1\n")
    extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    assert read(tmp_path / "out" / "test.groups") == ["talk 1", "talk 1"]
    assert not (tmp_path / "out" / "valid.groups").exists()


def test_own_files_that_are_missing_are_listed_at_once(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="", test_tgt="")
    with pytest.raises(
        CorpusError, match=r"2 files missing: .*train\.src, .*test\.tgt; see docs/corpora\.md"
    ):
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")


def test_own_files_that_are_bad_are_listed_at_once(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="a\nb\n", valid_tgt="\n", test_src="x\r\n")
    with pytest.raises(ParallelTextError) as caught:
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    for line, fault in zip(lines, ("has 2 lines and", "line 1: empty", "line 1: holds a CR"), strict=True):
        assert fault in line


def test_own_files_of_unequal_length_with_blank_lines_are_told_by_their_lengths_first(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", test_src="a\nb\n", test_tgt="c\n\nd\n")
    with pytest.raises(ParallelTextError) as caught:
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    lengths, blank = str(caught.value).splitlines()
    assert "test.src has 2 lines and" in lengths and "test.tgt has 3: line n of one" in lengths
    assert "test.tgt: line 2: empty" in blank


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"folder": "x", "tests": ["train"]},
            r"corpus\.tests: train: stands twice, or is no name for a test set",
        ),
        ({"folder": "x", "tests": ["a", "a"]}, r"corpus\.tests: a: stands twice"),
    ],
)
def test_own_files_need_a_folder_and_proper_names(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CorpusError, match=message):
        extract(corpus("files", **changes), {}, tmp_path / "out")
