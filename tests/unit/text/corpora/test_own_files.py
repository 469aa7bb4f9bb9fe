"""nmtkd.text.corpora.own_files: the files are taken as they are, and all faults are listed at once."""

import gzip
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
        CorpusError, match=r"2 files missing: .*train\.src, .*test\.tgt \(a split is .*SPLIT\.tsv"
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


def packed_folder(folder: Path) -> Path:
    """train is packed TSV, valid plain TSV, test a pair of which one side is packed, with packed groups."""
    folder.mkdir()
    (folder / "train.tsv.gz").write_bytes(gzip.compress("a  b\tc\u2028d\ne\tf".encode()))
    (folder / "valid.tsv").write_text("g\th\n")
    (folder / "test.src.gz").write_bytes(gzip.compress(b"i\n"))
    (folder / "test.tgt").write_text("j\n")
    (folder / "test.groups.gz").write_bytes(gzip.compress(b"talk\n"))
    return folder


def test_each_split_may_have_a_form_of_its_own(tmp_path: Path) -> None:
    folder = packed_folder(tmp_path / "mine")
    card = extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    assert card["pairs"] == {"train": 2, "valid": 1, "test": 1}
    contents = {path.name: path.read_text("utf-8") for path in (tmp_path / "out").iterdir()}
    del contents["card.json"]
    assert contents == {
        "train.src": "a  b\ne\n",
        "train.tgt": "c\u2028d\nf\n",
        "valid.src": "g\n",
        "valid.tgt": "h\n",
        "test.src": "i\n",
        "test.tgt": "j\n",
        "test.groups": "talk\n",
    }
    (folder / "valid.tsv").write_text("g\tchanged\n")
    assert extract(corpus("files", folder=str(folder)), {}, tmp_path / "out2")["version"] != card["version"]


@pytest.mark.parametrize("packed", [False, True])
def test_bad_lines_of_a_tsv_are_named_and_all_are_counted(tmp_path: Path, packed: bool) -> None:
    folder = packed_folder(tmp_path / "mine")
    (folder / "train.tsv.gz").unlink()
    content = b"a\tb\none\na\tb\tc\n\tb\na\t \n\n" + b"x\n" * 10
    name = "train.tsv.gz" if packed else "train.tsv"
    (folder / name).write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(ParallelTextError) as caught:
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    columns = "must have 2: source, one TAB, target; correct or remove the line"
    assert str(caught.value).splitlines() == [
        f"{folder}/{name}: line 2: has 1 column, {columns}",
        f"{folder}/{name}: line 3: has 3 columns, {columns}",
        f"{folder}/{name}: line 4: its source is empty; correct or remove the line",
        f"{folder}/{name}: line 5: its target is empty; correct or remove the line",
        f"{folder}/{name}: line 6: has 1 column, {columns}",
        f"{folder}/{name}: 15 of 16 lines have wrong columns; the first 5 are shown",
    ]
    assert not (tmp_path / "out" / "train.src").exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"a\tb\r\n", "line 1: holds a CR"),
        (b"a\tb\nc\xff\td\n", "line 2: not UTF-8: byte 0xff at offset 5 of the file"),
        (b"\xef\xbb\xbfa\tb\n", "line 1: starts with a byte order mark"),
        (b"a\tb\0\n", "line 1: holds a NUL"),
    ],
)
def test_a_tsv_holds_to_the_contract_of_text(tmp_path: Path, content: bytes, fault: str) -> None:
    folder = packed_folder(tmp_path / "mine")
    (folder / "valid.tsv").write_bytes(content)
    with pytest.raises(ParallelTextError, match=rf"^.*mine/valid\.tsv: {fault}"):
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")


@pytest.mark.parametrize(
    ("extra", "shown"),
    [
        ("valid.src", "valid has valid.src and valid.tsv"),
        ("valid.tsv.gz", "valid has valid.tsv and valid.tsv.gz"),
        ("test.tgt.gz", "test has test.tgt and test.tgt.gz"),
        ("test.groups", "test has test.groups and test.groups.gz"),
    ],
)
def test_two_forms_of_one_split_are_an_error_that_names_both(tmp_path: Path, extra: str, shown: str) -> None:
    folder = packed_folder(tmp_path / "mine")
    (folder / extra).write_text("x\n")
    with pytest.raises(
        CorpusError, match=rf": {re.escape(shown)}: two forms of one text; remove all but one"
    ):
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"plain text\n", r"not a sound gzip file \(Not a gzipped file"),
        (gzip.compress(b"a\n" * 100, mtime=0)[:-9], r"not a sound gzip file \(Compressed file ended"),
        (gzip.compress(b"a\n", mtime=0)[:-8] + bytes(8), r"not a sound gzip file \(CRC check failed"),
        (gzip.compress(bytes(80 << 20), mtime=0), "unpacks to"),
    ],
)
def test_a_packed_file_that_is_unsound_is_one_clear_error(tmp_path: Path, content: bytes, fault: str) -> None:
    folder = packed_folder(tmp_path / "mine")
    (folder / "test.src.gz").write_bytes(content)
    with pytest.raises(
        ParallelTextError, match=rf"^{re.escape(str(folder))}/test\.src\.gz: {fault}"
    ) as caught:
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1


def test_faults_of_a_packed_side_name_the_packed_file(tmp_path: Path) -> None:
    folder = packed_folder(tmp_path / "mine")
    (folder / "test.src.gz").write_bytes(gzip.compress(b"i\n\n"))
    with pytest.raises(ParallelTextError) as caught:
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    lengths, blank = str(caught.value).splitlines()
    assert lengths.startswith(f"{folder}/test.src.gz has 2 lines and {folder}/test.tgt has 1: ")
    assert blank.startswith(f"{folder}/test.src.gz: line 2: empty")
