"""nmtkd.text.corpora.own_files: the files are taken as they are, and all faults are listed at once."""

import os
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


@pytest.mark.parametrize("name", ["train.src", "test.tgt", "valid.groups"])
@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("folder", "is a folder; put a file there"),
        ("pipe", "is a pipe or a device; put a file there"),
        ("dangling", "is a link to nothing; mend it"),
        ("loop", r"is a link to nothing; mend it|cannot be read \(Too many levels.*\)"),
        ("empty", "is empty; write a segment a line"),
    ],
)
def test_own_files_that_are_no_files_are_named(tmp_path: Path, name: str, kind: str, fault: str) -> None:
    folder = user_files(tmp_path / "mine")
    path = folder / name
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "empty":
        path.touch()
    else:
        path.symlink_to("nowhere" if kind == "dangling" else name)
    with pytest.raises(
        CorpusError, match=rf"^corpus\.folder: .*: .*mine/{name} ({fault}); see docs/corpora\.md$"
    ):
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")


def test_links_to_files_are_files(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine")
    (folder / "test.tgt").rename(tmp_path / "elsewhere")
    (folder / "test.tgt").symlink_to(tmp_path / "elsewhere")
    extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    assert read(tmp_path / "out" / "test.tgt") == ["test tgt"]


def test_nul_is_named_with_its_line_beside_other_faults(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="a\nb\0\n", train_tgt="c\nd\n", valid_src="\ufeffa\n")
    (folder / "test.tgt").write_bytes("x\n".encode("utf-16-le"))
    (folder / "test.src").write_bytes(b"x\ny\n")
    with pytest.raises(ParallelTextError) as caught:
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    faults = [
        r"train\.src: line 2: holds a NUL character; if the file is UTF-16, convert it to UTF-8, else remove",
        r"valid\.src: line 1: starts with a byte order mark",
        r"test\.tgt: line 1: holds a NUL",
    ]
    lines = str(caught.value).splitlines()
    assert all(re.search(fault, line) for fault, line in zip(faults, lines, strict=True))


@pytest.mark.parametrize(
    ("content", "fault"), [(b"\xef\xbb\xbftalk\n", "starts with a byte order mark"), (b"\0\n", "holds a NUL")]
)
def test_groups_are_checked_as_text_is(tmp_path: Path, content: bytes, fault: str) -> None:
    folder = user_files(tmp_path / "mine")
    (folder / "valid.groups").write_bytes(content)
    with pytest.raises(ParallelTextError, match=rf"valid\.groups: line 1: {fault}"):
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")


def test_a_file_that_may_not_be_read_is_named_beside_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, opened = user_files(tmp_path / "mine", test_src="x\r\n"), Path.open

    def guarded(path: Path, *arguments: Any, **options: Any) -> Any:
        if path == folder / "train.tgt":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", guarded)
    with pytest.raises(ParallelTextError) as caught:
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    first, second = str(caught.value).splitlines()
    assert first == f"{folder}/train.tgt: Permission denied; mend it and try again"
    assert "test.src: line 1: holds a CR" in second
