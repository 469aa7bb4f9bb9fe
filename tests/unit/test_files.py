"""nmtkd.files: written whole or not at all, and hashes of the content."""

import os
import shutil
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from nmtkd import files
from nmtkd.files import (
    fingerprint,
    line_hash,
    lines_hash,
    read_json,
    read_script,
    write_csv,
    write_json,
    write_script,
    write_text,
    writing,
    written_whole,
)


def killed(place: AbstractContextManager[Path]) -> None:
    with place as folder:
        (folder / "state").write_text("half")
        raise RuntimeError("killed")


# Files


def interrupted(path: Path) -> None:
    with writing(path) as file:
        file.write(b"half")
        raise RuntimeError("killed")


def test_writing_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.txt"
    with writing(path) as file:
        file.write(b"one\n")
        assert not path.exists()
        file.write(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
    assert list(path.parent.iterdir()) == [path]


def test_writing_leaves_what_was_there_after_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    with pytest.raises(RuntimeError, match="killed"):
        interrupted(path)
    assert list(tmp_path.iterdir()) == []
    path.write_text("old")
    with pytest.raises(RuntimeError, match="killed"):
        interrupted(path)
    assert list(tmp_path.iterdir()) == [path] and path.read_text() == "old"


def test_write_text_is_utf8_with_lf(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "ä\nb\u2028\n")
    assert (tmp_path / "x").read_bytes() == b"\xc3\xa4\nb\xe2\x80\xa8\n"


def test_write_json_is_sorted_and_comes_back(tmp_path: Path) -> None:
    write_json(tmp_path / "x", {"b": [1, None], "a": "ä"})
    assert (tmp_path / "x").read_bytes() == '{\n "a": "ä",\n "b": [\n  1,\n  null\n ]\n}\n'.encode()
    assert read_json(tmp_path / "x") == {"a": "ä", "b": [1, None]}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_write_json_refuses_what_json_does_not_have(tmp_path: Path, value: float) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(tmp_path / "x", {"a": value})
    assert list(tmp_path.iterdir()) == []


def test_write_csv_has_a_header_and_lf(tmp_path: Path) -> None:
    write_csv(tmp_path / "x", "a,b", [[1, "x,y"], [None, 'q"']])
    assert (tmp_path / "x").read_bytes() == b'a,b\n1,"x,y"\n,"q"""\n'


# Scripts


@pytest.mark.parametrize("value", [{"a": [1.5, None, "ä)("]}, "(", [], 0])
def test_script_comes_back(tmp_path: Path, value: object) -> None:
    write_script(tmp_path / "deep/x.js", "machine", value)
    assert read_script(tmp_path / "deep/x.js") == value


def test_script_calls_its_function(tmp_path: Path) -> None:
    write_script(tmp_path / "x.js", "machine", {"b": 1, "a": "ä"})
    assert (tmp_path / "x.js").read_text(encoding="utf-8") == 'machine({"a": "ä", "b": 1});\n'


@pytest.mark.parametrize("text", ["", "machine(", "machine({);", "half", "machine({'a': 1});"])
def test_script_that_is_not_whole_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.js").write_text(text, encoding="utf-8")
    assert read_script(tmp_path / "x.js") is None


def test_script_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert read_script(tmp_path / "x.js") is None
    (tmp_path / "x.js").write_bytes(b"machine(\xff)")
    assert read_script(tmp_path / "x.js") is None


# Folders


def test_written_whole_appears_whole(tmp_path: Path) -> None:
    out = tmp_path / "data" / "x"
    with written_whole(out) as part:
        (part / "a").write_text("1")
        assert not out.exists()
    assert [path.name for path in out.iterdir()] == ["a"]
    assert list(out.parent.iterdir()) == [out]


def test_written_whole_leaves_nothing_after_a_failure(tmp_path: Path) -> None:
    out = tmp_path / "data" / "x"
    with pytest.raises(RuntimeError, match="killed"):
        killed(written_whole(out))
    assert not out.exists()
    with written_whole(out) as part:
        assert list(part.iterdir()) == []  # nothing of the failed attempt gets into the next one
    assert out.is_dir()


def test_written_whole_replaces_an_older_folder_by_a_whole_one_only(tmp_path: Path) -> None:
    out = tmp_path / "x"
    out.mkdir()
    (out / "old").write_text("1")
    with pytest.raises(RuntimeError, match="killed"):
        killed(written_whole(out))
    assert [path.name for path in out.iterdir()] == ["old"]
    with written_whole(out) as part:
        (part / "new").write_text("2")
    assert [path.name for path in out.iterdir()] == ["new"]


# Hashes


def test_fingerprints_follow_settings_and_contents(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_text("1")
    b.write_text("2")
    base = fingerprint("x", [a, b])
    assert len(base) == 16
    assert fingerprint("x", [b, a]) == base
    assert fingerprint("y", [a, b]) != base
    assert fingerprint("x", [a]) != base
    os.utime(a, (0, 0))
    assert fingerprint("x", [a, b]) == base
    a.write_text("2")
    b.write_text("1")
    assert fingerprint("x", [a, b]) != base
    (tmp_path / "elsewhere").mkdir()
    moved = [Path(shutil.copy(path, tmp_path / "elsewhere")) for path in (a, b)]
    assert fingerprint("x", moved) == fingerprint("x", [a, b])


def test_file_hashes_are_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")  # SHA-256's own test vector
    assert (
        files.file_hash(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_line_hashes_are_short_and_of_the_content() -> None:
    assert line_hash("abc") == "ba7816bf8f01cfea"  # SHA-256's own test vector
    assert line_hash("abc") != line_hash("abc ")


def test_lines_hash_is_of_lines_in_order() -> None:
    assert lines_hash(["a", "b"]) == lines_hash(["a", "b"])
    assert (
        len({lines_hash(lines) for lines in (["a", "b"], ["b", "a"], ["ab"], ["a", "b", ""], ["a b"], [])})
        == 6
    )


def test_fingerprint_follows_names(tmp_path: Path) -> None:
    """Two files whose contents are swapped with their names are the same; one that is called otherwise is
    not."""
    for name, text in (("a", "1"), ("b", "2"), ("c", "2")):
        (tmp_path / name).write_text(text)
    a, b, c = (tmp_path / name for name in "abc")
    assert fingerprint("x", [a, b]) != fingerprint("x", [a, c])
    assert fingerprint("xa", [b]) != fingerprint("x", [a, b]) != fingerprint("x", [])


def test_line_hash_is_the_start_of_a_hash_of_the_line() -> None:
    assert line_hash("") == "e3b0c44298fc1c14"  # SHA-256 of nothing
