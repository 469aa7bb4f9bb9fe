"""nmtkd.files: written whole or not at all, and hashes of the content."""

import errno
import gzip
import os
import pickle
import shutil
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmtkd import files
from nmtkd.files import (
    DamagedError,
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


# Readers


@dataclass(frozen=True)
class Lamp:
    name: str
    watts: float
    on: bool


REMEDY = "; run `dvc checkout --force {0}`, or the stage that writes it again"


def test_a_remedy_names_the_file() -> None:
    error = files.damaged(Path("data/x/card.json"), "lacks lines")
    assert isinstance(error, ValueError)
    assert str(error) == "data/x/card.json: lacks lines" + REMEDY.format("data/x/card.json")


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\0\0", b"\xff", b"{} {}"])
def test_torn_json_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DamagedError) as error:
        read_json(path)
    assert str(error.value).startswith(f"{path}: no whole JSON (")
    assert str(error.value).endswith(REMEDY.format(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for read in (read_json, files.read_object, files.read_text, files.read_csv):
        with pytest.raises(DamagedError, match=f"^{path}: missing; run"):
            read(path)
    for call in (
        lambda: files.read_array(path, "i", [None]),
        lambda: files.read_as(path, Lamp),
        lambda: files.hashes([path]),
    ):
        with pytest.raises(DamagedError, match=f"^{path}: missing; run"):
            call()


def test_a_folder_of_a_name_must_be_there(tmp_path: Path) -> None:
    assert files.existing(tmp_path) == tmp_path
    (tmp_path / "file").touch()
    for name in ("file", "none"):
        with pytest.raises(DamagedError, match=rf"/{name}: no such folder; correct the name; run `dvc check"):
            files.existing(tmp_path / name)


def test_objects_have_their_fields(tmp_path: Path) -> None:
    write_json(tmp_path / "x", {"a": 1, "b": None})
    assert files.read_object(tmp_path / "x", "a", "b") == {"a": 1, "b": None}
    with pytest.raises(DamagedError, match="x: lacks c, d; run"):
        files.read_object(tmp_path / "x", "a", "c", "d")
    for other, name in (([1], "list"), (None, "NoneType"), ("a", "str")):
        write_json(tmp_path / "x", other)
        with pytest.raises(DamagedError, match=f"x: must hold a JSON object, holds a {name}; run"):
            files.read_object(tmp_path / "x")


def test_a_dataclass_has_its_types(tmp_path: Path) -> None:
    good: dict[str, Any] = {"name": "hall", "watts": 5, "on": True}
    write_json(tmp_path / "x", good | {"more": 1})
    assert files.read_as(tmp_path / "x", Lamp) == Lamp("hall", 5.0, True)
    for name, value in (("name", 1), ("watts", "5"), ("watts", None), ("on", 1)):
        write_json(tmp_path / "x", good | {name: value})
        with pytest.raises(DamagedError, match=f"x: {name}: Input should be a valid "):
            files.read_as(tmp_path / "x", Lamp)
    write_json(tmp_path / "x", {"name": "hall", "on": True})
    with pytest.raises(DamagedError, match=r"x: watts: [Ff]ield required"):
        files.read_as(tmp_path / "x", Lamp)


def test_tables_come_back(tmp_path: Path) -> None:
    write_csv(tmp_path / "x", "a,b", [[1, "x,y"], [None, 'q"\n']])
    assert files.read_csv(tmp_path / "x") == [{"a": "1", "b": "x,y"}, {"a": "", "b": 'q"\n'}]


@pytest.mark.parametrize("text", ["", "\n", "a,b", "a,b\n1,2", "a,b\n1\n", "a,b\n1,2,3\n", "a,b\n\n"])
def test_a_cut_table_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "x").write_text(text, encoding="utf-8")
    with pytest.raises(DamagedError, match="x: no whole table: it is empty, was cut, or has rows of another"):
        files.read_csv(tmp_path / "x")


@pytest.mark.parametrize("shape", [(3, 2), (0, 2), (4,)])
def test_arrays_come_back_mapped(tmp_path: Path, shape: tuple[int, ...]) -> None:
    array = np.arange(np.prod(shape), dtype=np.int32).reshape(shape)
    np.save(tmp_path / "x.npy", array)
    for wanted in (list(shape), [None] * len(shape)):
        for kinds in ("iu", ["i4"], ["u2", "i4"]):
            found = files.read_array(tmp_path / "x.npy", kinds, wanted)
            assert type(found) is np.ndarray and found.dtype == np.int32 and not found.flags.writeable
            assert np.array_equal(found, array)


@pytest.mark.parametrize(
    ("array", "wrong"),
    [
        (np.zeros((3, 3), np.int32), r"\[3, 3\] of i4"),
        (np.zeros(3, np.int32), r"\[3\] of i4"),
        (np.zeros((3, 2), np.int64), r"\[3, 2\] of i8"),
        (np.zeros((3, 2), np.float32), r"\[3, 2\] of f4"),
    ],
)
def test_an_array_of_another_form_is_named(tmp_path: Path, array: Any, wrong: str) -> None:
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(DamagedError, match=rf"x\.npy: must be an array \[any, 2\] of i4, is {wrong}; run"):
        files.read_array(tmp_path / "x.npy", ["i4"], [None, 2])


def test_a_torn_array_is_named_wherever_it_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.arange(6))
    content = path.read_bytes()
    for size in range(len(content)):
        path.write_bytes(content[:size])
        with pytest.raises(DamagedError, match=r"x\.npy: no whole array \("):
            files.read_array(path, "i", [None])
    path.write_bytes(content[:10] + b"\0" * (len(content) - 10))
    with pytest.raises(DamagedError, match=r"x\.npy: no whole array \("):
        files.read_array(path, "i", [None])


class Bomb:
    """Whoever unpickles it calls pytest.fail."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("unpickled",)


def test_no_array_is_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "x.npy"
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    pickled = path.read_bytes(), pickle.dumps(Bomb())
    for content in pickled:
        path.write_bytes(content)
        with pytest.raises(DamagedError, match=r"x\.npy: no whole array \(ValueError: "):
            files.read_array(path, "i", [None])


def test_a_disks_own_error_names_the_file(tmp_path: Path) -> None:
    def read() -> None:
        with files.reading(tmp_path / "x", "text"):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match=rf"Input/output error: '{tmp_path}/x'"):
        read()


def test_hashes_are_checked_by_name(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(name, encoding="utf-8")
    found = files.hashes([tmp_path / "b", tmp_path / "a"])
    assert list(found) == ["b", "a"] and found["a"] == files.file_hash(tmp_path / "a")
    files.check_hashes(tmp_path, found)
    (tmp_path / "a").write_bytes(b"\0")
    files.check_hashes(tmp_path, {"b": found["b"]})
    with pytest.raises(
        DamagedError, match="/a: not the content that was written: its hash is another one; run"
    ):
        files.check_hashes(tmp_path, found)


def test_an_error_without_a_number_is_about_the_content(tmp_path: Path) -> None:
    """gzip.BadGzipFile is an OSError of that kind."""
    wanted = pytest.raises(
        files.DamagedError, match=r"no whole packed file \(BadGzipFile: Not a gzipped file"
    )
    with wanted, files.reading(tmp_path / "a.gz", "packed file"):
        raise gzip.BadGzipFile("Not a gzipped file")


def test_a_folders_hash_is_of_places_and_contents(tmp_path: Path) -> None:
    found = set()
    for number, place in enumerate(("a/x", "b/x", "x", "a/y")):
        path = tmp_path / str(number) / place
        path.parent.mkdir(parents=True)
        path.write_text("same", encoding="utf-8")
        found.add(files.folder_hash(tmp_path / str(number)))
    assert len(found) == 4


def test_a_folders_hash_does_not_depend_on_the_order_of_a_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        (tmp_path / name).write_text(name, encoding="utf-8")
    before, rglob = files.folder_hash(tmp_path), Path.rglob
    monkeypatch.setattr(Path, "rglob", lambda *asked: sorted(rglob(*asked), reverse=True))
    assert files.folder_hash(tmp_path) == before
