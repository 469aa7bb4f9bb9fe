"""nmtkd.text.corpora.unpack: each kind of archive, and that nothing unsafe or corrupt gets through."""

import gzip
import io
import os
import random
import re
import shutil
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nmtkd.text.corpora import bounds
from nmtkd.text.corpora import unpack as module
from nmtkd.text.corpora.fetch import FetchError
from nmtkd.text.corpora.unpack import gunzip, take, unpack
from tests.unit.text.corpora.bad_archives import BAD, TAR, TEXT, tarred, zipped
from tests.unit.text.corpora.look_alikes import tgz


def make_zip(path: Path, names: list[str]) -> Path:
    with zipfile.ZipFile(path, "w") as made:
        for name in names:
            made.writestr(zipfile.ZipInfo(name), "text\n")
    return path


def make_tar(path: Path, members: list[tuple[str, bytes, str]]) -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as made:
        for name, kind, link in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, link
            member.size = 5 if kind == tarfile.REGTYPE else 0
            made.addfile(member, io.BytesIO(b"text\n"))
    return path


def test_unpack_takes_each_kind(tmp_path: Path) -> None:
    unpack(make_zip(tmp_path / "a.zip", ["x/y.txt"]), tmp_path / "zip")
    unpack(
        make_tar(tmp_path / "a.tar.gz", [("x", tarfile.DIRTYPE, ""), ("x/y.txt", tarfile.REGTYPE, "")]),
        tmp_path / "tar",
    )
    (tmp_path / "y.txt.gz").write_bytes(gzip.compress(b"text\n"))
    unpack(tmp_path / "y.txt.gz", tmp_path / "gz")
    for path in ("zip/x/y.txt", "tar/x/y.txt", "gz/y.txt"):
        assert (tmp_path / path).read_text() == "text\n"


@pytest.mark.parametrize("name", ["../evil", "x/../../evil", "/evil", "x\\..\\..\\evil", "C:/evil"])
def test_unpack_refuses_members_outside_the_folder(tmp_path: Path, name: str) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    for made in (
        make_zip(tmp_path / "a.zip", ["good", name]),
        make_tar(tmp_path / "a.tgz", [(name, tarfile.REGTYPE, "")]),
    ):
        with pytest.raises(FetchError, match="would be written outside its folder; the archive is refused"):
            unpack(made, inside / "out")
        assert not (inside / "out").exists()
        assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_unpack_refuses_links_and_devices(tmp_path: Path, kind: bytes) -> None:
    made = make_tar(tmp_path / "a.tar", [("x", tarfile.REGTYPE, ""), ("y", kind, "x")])
    with pytest.raises(FetchError, match="'y' is a link or a device"):
        unpack(made, tmp_path / "out")


def test_unpack_refuses_links_in_a_zip(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("y")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(link, "/etc/passwd")
    with pytest.raises(FetchError, match="'y' is a link or a device"):
        unpack(tmp_path / "a.zip", tmp_path / "out")


@pytest.mark.parametrize("name", ["a.zip", "a.whl", "a.tar.gz", "a.txt.gz"])
@pytest.mark.parametrize("damage", ["garbage", "truncated"])
def test_unpack_names_corrupt_archives(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    if name == "a.tar.gz":
        make_tar(path, [("x", tarfile.REGTYPE, "")])
    elif name == "a.txt.gz":
        path.write_bytes(gzip.compress(b"text\n"))
    else:
        make_zip(path, ["x"])
    path.write_bytes(
        b"no archive at all" if damage == "garbage" else path.read_bytes()[: path.stat().st_size // 2]
    )
    with pytest.raises(
        FetchError,
        match=rf"{name}: (corrupt|not a sound gzip file) \(.*\); (delete|fetch or pack)",
    ):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unpack_names_unknown_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"")
    with pytest.raises(FetchError, match=r"a\.rar: unknown kind; known: \.zip"):
        unpack(tmp_path / "a.rar", tmp_path / "out")


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_archive_is_one_message_and_leaves_nothing(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "FLOOR", 1 << 16)
    name, make, reason = BAD[kind]
    made, inside = tmp_path / name, tmp_path / "in" / "side"
    inside.mkdir(parents=True)
    made.write_bytes(make())
    with pytest.raises(FetchError) as caught:
        unpack(made, inside / "out")
    message = str(caught.value)
    assert message.startswith(f"{made}: ") and "\n" not in message
    assert re.search(reason, message), message
    assert sorted(path.name for path in tmp_path.rglob("*")) == sorted([name, "in", "side"])


def test_what_stood_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "old").touch()
    (tmp_path / "a.zip").write_bytes(TEXT[:-1])
    with pytest.raises(FetchError):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert os.listdir(tmp_path / "out") == ["old"]


def test_the_bound_is_exact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "RATIO", 0)
    monkeypatch.setattr(bounds, "FLOOR", 5000)
    for size in (5000, 5001):
        (tmp_path / "a.gz").write_bytes(gzip.compress(bytes(size)))
        (tmp_path / "a.zip").write_bytes(zipped(("a", bytes(size))))
        if size == 5000:
            assert gunzip(tmp_path / "a.gz") == bytes(size)
            unpack(tmp_path / "a.zip", tmp_path / "out")
        else:
            with pytest.raises(FetchError, match="unpacks to 5001 bytes or more; allowed are 5000: 0 times"):
                gunzip(tmp_path / "a.gz")
            with pytest.raises(FetchError, match="unpacks to 5001 bytes or more; allowed are 5000: 0 times"):
                unpack(tmp_path / "a.zip", tmp_path / "out")


def test_the_densest_text_is_no_bomb(tmp_path: Path) -> None:
    """One sentence ten thousand times and a table of contents: denser than any corpus, and small."""
    text = b"This is a sentence of a corpus.\n" * 10_000
    (tmp_path / "a.gz").write_bytes(gzip.compress(text))
    assert gunzip(tmp_path / "a.gz") == text


def packed(text: bytes) -> dict[str, bytes]:
    """One file of text by each kind of archive."""
    return {
        "a.zip": zipped(("a", text)),
        "a.tar.gz": gzip.compress(tarred(("a", tarfile.REGTYPE, text)), 1),
        "a.txt.gz": gzip.compress(text, 1),
    }


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.txt.gz"])
def test_the_disk_must_have_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text = random.Random(1).randbytes(3 << 20)
    (tmp_path / name).write_bytes(packed(text)[name])
    monkeypatch.setattr(bounds, "STEP", 1 << 20)
    real, looks = shutil.disk_usage(tmp_path), list[int]()

    def usage(_: Path) -> Any:
        looks.append((4 << 20) if len(looks) < 3 else (1 << 19))
        return real._replace(free=looks[-1])

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with pytest.raises(
        FetchError, match=r"unpacking needs \d+ bytes more \(at most \d+ in all\), 524288 are free"
    ):
        unpack(tmp_path / name, tmp_path / "out")
    assert os.listdir(tmp_path) == [name]
    monkeypatch.setattr(shutil, "disk_usage", lambda _: real._replace(free=99))
    with pytest.raises(FetchError, match=r"99 are free in .*; free some, or work on a larger disk"):
        unpack(tmp_path / name, tmp_path / "out")


def test_a_fault_of_the_disk_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.tar").write_bytes(TAR)
    monkeypatch.setattr(module, "_write", full)
    with pytest.raises(
        FetchError, match=r"a\.tar: cannot be unpacked \(.*No space left on device\); mend that"
    ):
        unpack(tmp_path / "a.tar", tmp_path / "out")
    assert os.listdir(tmp_path) == ["a.tar"]


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.txt.gz"])
def test_memory_is_that_of_a_few_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(bounds, "CHUNK", 1 << 16)
    text = random.Random(1).randbytes(1 << 20) * 2
    (tmp_path / name).write_bytes(packed(text)[name])
    tracemalloc.start()
    try:
        unpack(tmp_path / name, tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [text]
    assert peak < 8 * bounds.CHUNK


def test_folders_may_come_twice_and_backslashes_are_folders(tmp_path: Path) -> None:
    folder = ("./x", tarfile.DIRTYPE, b"")
    (tmp_path / "a.tar").write_bytes(
        tarred(("./", tarfile.DIRTYPE, b""), folder, folder, ("x/a", tarfile.REGTYPE, b"1"))
    )
    unpack(tmp_path / "a.tar", tmp_path / "tar")
    assert (tmp_path / "tar" / "x" / "a").read_bytes() == b"1"
    (tmp_path / "a.zip").write_bytes(zipped(("x\\a", b"1"), ("x/", b""), ("x\\b", b"2")))
    unpack(tmp_path / "a.zip", tmp_path / "zip")
    assert sorted(os.listdir(tmp_path / "zip" / "x")) == ["a", "b"]


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MEMBERS", 3)
    for count in (3, 4):
        names = [(f"{number}", b"") for number in range(count)]
        (tmp_path / "a.zip").write_bytes(zipped(*names))
        (tmp_path / "a.tar").write_bytes(tarred(*((name, tarfile.REGTYPE, b"") for name, _ in names)))
        for name in ("a.zip", "a.tar"):
            if count == 3:
                unpack(tmp_path / name, tmp_path / "out")
            else:
                with pytest.raises(FetchError, match="'3' is one of more than 3 members"):
                    unpack(tmp_path / name, tmp_path / "out2")


def test_only_the_members_that_are_needed_are_written(tmp_path: Path) -> None:
    made = tgz(tmp_path / "big.tgz", {"training/toy.en": b"one\n", "training/toy.fr": b"un\n", "x/y": b""})
    (tmp_path / "out").mkdir()
    taken = take(made, ["toy.en"], tmp_path / "out")
    assert {name: path.read_bytes() for name, path in taken.items()} == {"toy.en": b"one\n"}
    assert [path.read_bytes() for path in (tmp_path / "out").iterdir()] == [b"one\n"]


def test_a_member_that_two_paths_end_with_is_refused(tmp_path: Path) -> None:
    made = tgz(tmp_path / "two.tgz", {"a/toy.en": b"one\n", "b/toy.en": b"two\n"})
    with pytest.raises(FetchError, match=r"'toy\.en' stands there twice; name more of its path"):
        take(made, ["toy.en"], tmp_path)


@pytest.mark.parametrize("ending", ["tgz", "zip"])
def test_a_bomb_among_members_is_stopped(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "FLOOR", 1000)
    monkeypatch.setattr(bounds, "RATIO", 2)
    path = tmp_path / f"bomb.{ending}"
    if ending == "tgz":
        tgz(path, {"bomb": bytes(10**6)})
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
            opened.writestr("bomb", bytes(10**6))
    with pytest.raises(FetchError, match="Text never packs so densely"):
        take(path, ["bomb"], tmp_path)
