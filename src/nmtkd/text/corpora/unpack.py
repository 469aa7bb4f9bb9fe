"""Unpacks archives without writing outside their folder."""

from __future__ import annotations

import gzip
import re
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from nmtkd.files import written_whole
from nmtkd.text.corpora.fetch import FetchError, gunzip

UNIX_MODE = 16  # bits of a zip entry's external attributes below its Unix mode (the format's definition)


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks .zip, .whl, .tar, .tar.gz, .tgz or .gz as `folder`, whole or not at all.

    Raises FetchError for a corrupt archive, for an unknown kind, and for any member that is a link or a
    device or lies outside `folder`.
    """
    try:
        with written_whole(folder) as part:
            if archive.name.endswith((".zip", ".whl")):
                with zipfile.ZipFile(archive) as opened_zip:
                    for info in opened_zip.infolist():
                        is_link = stat.S_ISLNK(info.external_attr >> UNIX_MODE)
                        _check_member(archive, info.orig_filename, not is_link)
                    opened_zip.extractall(part)
            elif archive.name.endswith((".tar", ".tar.gz", ".tgz")):
                with tarfile.open(archive, "r:" if archive.name.endswith(".tar") else "r:gz") as opened_tar:
                    for member in opened_tar.getmembers():
                        _check_member(archive, member.name, member.isfile() or member.isdir())
                    # Python before 3.11.4 has no filters. Every member was checked above.
                    if hasattr(tarfile, "data_filter"):
                        opened_tar.extractall(part, filter="data")
                    else:
                        opened_tar.extractall(part)
            elif archive.name.endswith(".gz"):
                (part / archive.name.removesuffix(".gz")).write_bytes(gunzip(archive))
            else:
                raise FetchError(f"{archive}: unknown kind; known: .zip, .whl, .tar, .tar.gz, .tgz, .gz")
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FetchError(f"{archive}: corrupt ({error}); delete it and fetch it again") from None


def _check_member(archive: Path, name: str, plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise FetchError(f"{archive}: {name!r} would be written outside its folder; the archive is refused")
    if not plain:  # no link at all: a chain of links, each inside the folder, can still lead out of it
        raise FetchError(f"{archive}: {name!r} is a link or a device; an archive that holds one is refused")
