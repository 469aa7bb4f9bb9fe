"""nmtkd.text.corpora.unpack: each kind of archive, and that nothing unsafe or corrupt gets through."""

import gzip
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from nmtkd.text.corpora.fetch import FetchError
from nmtkd.text.corpora.unpack import unpack


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
        FetchError, match=rf"{name}: (corrupt|not a sound gzip file) \(.*\); delete it and fetch it again"
    ):
        unpack(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unpack_names_unknown_kinds(tmp_path: Path) -> None:
    (tmp_path / "a.rar").write_bytes(b"")
    with pytest.raises(FetchError, match=r"a\.rar: unknown kind; known: \.zip"):
        unpack(tmp_path / "a.rar", tmp_path / "out")
