"""Unpacks archives without writing outside their folder, and no more than an archive of text can hold."""

from __future__ import annotations

import difflib
import gzip
import re
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from nmtkd.files import written_whole
from nmtkd.text.corpora import bounds
from nmtkd.text.corpora.bounds import Allowance, has_control, zip_fault
from nmtkd.text.corpora.fetch import FetchError

UNIX_MODE = 16  # bits of a zip entry's external attributes below its Unix mode (the format's definition)
MEMBERS = 100_000  # a corpus is some files; many empty ones would fill a disk's tables
DEPTH = 64  # folders in a member's path: more makes a bomb of the path itself
PART_BYTES = 255  # of one name, and
PATH_BYTES = 1000  # of a path: what file systems of Linux and macOS take
NEAR, NEAR_CUTOFF = 3, 0.5  # members that a message offers, and difflib's similarity from which it does
NEAR_AMONG = 1000  # members that it looks among: each takes a millisecond
SHOWN = 100  # characters of a member's name in a message


def gunzip(path: Path) -> bytes:
    """The content of a gzip file. Raises FetchError for a corrupt one, and for a bomb."""
    return b"".join(_gunzipped(path, Allowance(path)))


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks .zip, .whl, .tar, .tar.gz, .tgz or .gz as `folder`, whole or not at all.

    Raises FetchError for a corrupt archive; for an unknown kind; for any member that is a link or a device,
    lies outside `folder`, is encrypted, or shares its path with another; and for more content than
    bounds.limit allows or the disk has room for.
    """
    with written_whole(folder) as part:
        _fill(archive, part)


def take(archive: Path, members: Collection[str], folder: Path) -> dict[str, Path]:
    """Unpacks `members` of .zip, .tar, .tar.gz or .tgz as files of `folder`, and nothing else.

    A member is named by its path in the archive or by the end of it. Raises FetchError for one that is not
    there, stands twice or is no plain file, and as `unpack` does for what is corrupt or too large.
    """
    found = _Found(archive, members, folder)
    with _sound(archive):
        allowance = Allowance(archive, folder)
        if archive.name.endswith(".zip"):
            _take_zip(archive, found, allowance)
        elif archive.name.endswith((".tar", ".tar.gz", ".tgz")):
            packed = not archive.name.endswith(".tar")
            with gzip.open(archive) if packed else archive.open("rb") as stream:
                _take_tar(found, _Counted(stream, allowance))
        else:
            raise FetchError(f"{archive}: unknown kind; members are taken from .zip, .tar, .tar.gz, .tgz")
    return found.all()


def take_gz(archive: Path, path: Path) -> Path:
    """Unpacks a gzip file as `path`, a piece at a time. Raises FetchError as `gunzip` does."""
    _write(path, _gunzipped(archive, Allowance(archive, path.parent)))
    return path


def _take_zip(archive: Path, found: _Found, allowance: Allowance) -> None:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            if (place := found.place(info.orig_filename)) is None:
                continue
            if fault := zip_fault(info):
                raise FetchError(f"{archive}: {info.orig_filename!r} {fault}; the archive is refused")
            _write(place, allowance.member(opened, info))


def _take_tar(found: _Found, counted: _Counted) -> None:
    with tarfile.open(fileobj=counted, mode="r:") as opened:  # type: ignore[call-overload]
        for member in opened:
            if (place := found.place(member.name)) is not None:
                _write_tar_member(opened, member, place)
    if counted.last != bytes(tarfile.BLOCKSIZE):
        raise EOFError("no end mark after its last member")


class _Found:
    """The members that are wanted of an archive, and where they are written."""

    def __init__(self, archive: Path, members: Collection[str], folder: Path) -> None:
        self._archive, self._folder = archive, folder
        self._wanted = sorted(members)
        self._names: list[str] = []  # that were met, for a message
        self._seen = 0
        self._paths: dict[str, Path] = {}

    def place(self, name: str) -> Path | None:
        """Where this member is written; None if it is not wanted."""
        self._seen += 1
        if self._seen > MEMBERS:
            raise FetchError(f"{self._archive}: more than {MEMBERS} members; the archive is refused")
        if len(self._names) < NEAR_AMONG and not has_control(name):
            self._names.append(name)
        path = f"/{name}"
        wanted = next((each for each in self._wanted if path.endswith(f"/{each}")), None)
        if wanted is None:
            return None
        if wanted in self._paths:
            raise FetchError(f"{self._archive}: {wanted!r} stands there twice; name more of its path")
        self._paths[wanted] = self._folder / str(len(self._paths))
        return self._paths[wanted]

    def all(self) -> dict[str, Path]:
        """Raises FetchError that names every missing one."""
        problems = []
        for member in self._wanted:
            if member not in self._paths:
                near = difflib.get_close_matches(member, self._names, NEAR, NEAR_CUTOFF)
                hint = f"near: {', '.join(near)}" if near else f"it has {self._seen} members, none like it"
                problems.append(f"{self._archive}: no member {member!r}; {hint}; correct corpus.parts")
        if problems:
            raise FetchError("\n".join(problems))
        return self._paths


def _fill(archive: Path, part: Path) -> None:
    with _sound(archive):
        allowance = Allowance(archive, part)
        allowance.expect(archive.stat().st_size)
        if archive.name.endswith((".zip", ".whl")):
            _unzip(archive, part, allowance)
        elif archive.name.endswith((".tar", ".tar.gz", ".tgz")):
            packed = not archive.name.endswith(".tar")
            with gzip.open(archive) if packed else archive.open("rb") as stream:
                _untar(archive, part, _Counted(stream, allowance))
        elif archive.name.endswith(".gz"):
            _write(part / archive.name.removesuffix(".gz"), _gunzipped(archive, allowance))
        else:
            raise FetchError(f"{archive}: unknown kind; known: .zip, .whl, .tar, .tar.gz, .tgz, .gz")


@contextmanager
def _sound(archive: Path) -> Iterator[None]:
    """Makes a FetchError of what an unsound archive or the disk raises."""
    try:
        yield
    except FetchError:
        raise
    except (*bounds.UNSOUND, gzip.BadGzipFile) as error:
        raise FetchError(f"{archive}: corrupt ({error}); delete it and fetch it again") from None
    except OSError as error:
        raise FetchError(f"{archive}: cannot be unpacked ({error}); mend that and try again") from None


def _gunzipped(path: Path, allowance: Allowance) -> Iterator[bytes]:
    try:
        if not path.stat().st_size:
            raise EOFError("it is empty")
        with gzip.open(path) as stream:
            yield from allowance.pieces(stream)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise FetchError(f"{path}: not a sound gzip file ({error}); fetch or pack it again") from None
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror}); mend that and try again") from None


def _unzip(archive: Path, part: Path, allowance: Allowance) -> None:
    tree = _Tree(archive, part)
    with zipfile.ZipFile(archive) as opened:
        allowance.expect(sum(max(0, info.file_size) for info in opened.infolist()))
        for info in opened.infolist():
            if fault := zip_fault(info):
                raise tree.refused(info.orig_filename, fault)
            is_link = stat.S_ISLNK(info.external_attr >> UNIX_MODE)
            is_folder = info.orig_filename.endswith(("/", "\\"))
            place = tree.place(info.orig_filename, is_folder, not is_link)
            if not is_folder:
                _write(place, allowance.member(opened, info))


def _untar(archive: Path, part: Path, counted: _Counted) -> None:
    tree = _Tree(archive, part)
    with tarfile.open(fileobj=counted, mode="r:") as opened:  # type: ignore[call-overload]
        for member in opened:
            plain = (member.isfile() or member.isdir()) and not member.issparse()
            place = tree.place(member.name, member.isdir(), plain)
            if member.size < 0:
                raise tree.refused(member.name, "has a size below zero")
            if member.isfile():
                _write_tar_member(opened, member, place)
    if counted.last != bytes(tarfile.BLOCKSIZE):
        raise EOFError("no end mark after its last member")


def _write_tar_member(opened: tarfile.TarFile, member: tarfile.TarInfo, place: Path) -> None:
    if not member.isfile() or member.issparse() or member.size < 0:
        raise tarfile.ReadError(f"{member.name!r} is no plain file")
    content = opened.extractfile(member)
    assert content is not None
    written = _write(place, iter(partial(content.read, bounds.CHUNK), b""))
    if written != member.size:
        raise EOFError(f"{member.name!r} ends after {written} of {member.size} bytes")


class _Counted:
    """The stream of a tar file. tarfile reads long headers whole: a read of that size is refused."""

    def __init__(self, stream: Any, allowance: Allowance) -> None:
        self._stream, self._allowance = stream, allowance
        self.last = b""  # what was read last

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= bounds.CHUNK:
            raise tarfile.ReadError(f"a header of {size} bytes")
        self.last = self._stream.read(size)
        self._allowance.spend(len(self.last))
        return self.last

    def seek(self, position: int) -> int:
        self._allowance.spend(max(0, position - self._stream.tell()))
        return self._stream.seek(position)

    def tell(self) -> int:
        return self._stream.tell()


class _Tree:
    """Checks the members' names one by one. What is checked is what is written."""

    def __init__(self, archive: Path, part: Path) -> None:
        self._archive, self._part = archive, part
        self._members = 0
        self._taken: dict[str, tuple[str, bool]] = {}  # by folded path: the path as spelt, whether a folder

    def refused(self, name: str, fault: str) -> FetchError:
        shown = name if len(name) <= SHOWN else f"{name[:SHOWN]}..."
        return FetchError(f"{self._archive}: {shown!r} {fault}; the archive is refused")

    def place(self, name: str, is_folder: bool, plain: bool) -> Path:
        """Where a member is written; its folder is made. Raises FetchError for an unsafe or a second one."""
        path = PurePosixPath(name.replace("\\", "/"))
        self._members += 1
        if self._members > MEMBERS:
            raise self.refused(name, f"is one of more than {MEMBERS} members")
        if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
            raise self.refused(name, "would be written outside its folder")
        if not plain:  # no link at all: a chain of links, each inside the folder, can still lead out of it
            raise self.refused(name, "is a link or a device")
        if has_control(name):
            raise self.refused(name, "has a control character in its name")
        if not path.parts and not is_folder:
            raise self.refused(name, "is a file without a name")
        sizes = [len(part.encode()) for part in path.parts]
        if len(sizes) > DEPTH or max(sizes, default=0) > PART_BYTES or sum(sizes) + len(sizes) > PATH_BYTES:
            raise self.refused(
                name,
                f"has over {DEPTH} folders, over {PART_BYTES} bytes in one part, or over {PATH_BYTES} in all",
            )
        self._claim(path, is_folder, name)
        place = self._part / path
        (place if is_folder else place.parent).mkdir(parents=True, exist_ok=True)
        return place

    def _claim(self, path: PurePosixPath, is_folder: bool, name: str) -> None:
        """Two members may share their folders, spelt alike, and nothing else, on whatever file system."""
        prefixes = [path, *path.parents][-2::-1]
        for prefix in prefixes:
            own = (str(prefix), is_folder or prefix != path)
            folded = unicodedata.normalize("NFC", own[0]).casefold()
            first = folded not in self._taken
            taken = self._taken.setdefault(folded, own)
            if taken != own or not (first or own[1]):
                raise self.refused(
                    name, f"takes the place of {taken[0]!r} (twice, as file and folder, or but for its case)"
                )


def _write(path: Path, pieces: Iterable[bytes]) -> int:
    """Writes a new file and returns its size."""
    written = 0
    with path.open("xb") as file:
        for piece in pieces:
            written += file.write(piece)
    return written
