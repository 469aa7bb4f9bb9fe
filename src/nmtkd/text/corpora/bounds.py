"""What an archive may unpack to: a bound for bombs, and the room on the disk."""

from __future__ import annotations

import os
import re
import shutil
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from gzip import GzipFile
from pathlib import Path
from typing import IO

from nmtkd.text.corpora.fetch import FetchError

MIB = 1 << 20
# Bytes that an archive may unpack to for each of its own. Deflate reaches 1032 for one byte that repeats;
# text packs 30 to 1 at most, its most repetitive kinds included.
RATIO = 100
FLOOR = 64 * MIB  # what any archive may unpack to: a small one may hold a few lines that repeat
CHUNK = MIB  # bytes in memory at a time
STEP = 16 * MIB  # bytes written between two looks at the disk, which must have as much left
# What zipfile, tarfile and zlib raise for an archive that is not sound. The last four come from fields that
# they do not check.
UNSOUND = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    EOFError,
    RuntimeError,
    struct.error,
    OverflowError,
    ValueError,
)
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # others unpack without a bound in memory
ENCRYPTED = 0x41  # flag bits of a zip's member: encrypted, strongly encrypted (the format's definition)
# Control characters, lone surrogates, ends of line and paragraph.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]")


def limit(archive: Path) -> int:
    """The most bytes that `archive` may unpack to."""
    return max(FLOOR, RATIO * archive.stat().st_size)


def has_control(text: str) -> bool:
    """Whether a name holds a character that would end or garble a line."""
    return CONTROL.search(text) is not None


def zip_fault(info: zipfile.ZipInfo) -> str:
    """Why a member of a zip file cannot be read, or ""."""
    if info.flag_bits & ENCRYPTED:
        return "is encrypted"
    if info.compress_type not in METHODS:
        return f"is packed by method {info.compress_type}; known: 0 (stored), 8 (deflated)"
    return "has a size below zero" if info.file_size < 0 or info.compress_size < 0 else ""


class Allowance:
    """Counts what comes out of one archive, and stops it at the bound or before the disk is full."""

    def __init__(self, archive: Path, folder: Path | None = None) -> None:
        """`folder` is where the content is written, if it is written."""
        self.archive, self.folder = archive, folder
        self.limit = limit(archive)
        self.spent = self._looked = 0

    def expect(self, total: int) -> None:
        """Raises FetchError if `total` bytes are too many for the bound or for the disk."""
        if total > self.limit:
            raise FetchError(
                f"{self.archive}: unpacks to {total} bytes or more; allowed are {self.limit}: {RATIO} times "
                f"its {os.path.getsize(self.archive)} bytes, at least {FLOOR}. Text never packs so densely: "
                "it is refused. Check where it comes from; if it is right, unpack it by hand and take "
                "corpus=files"
            )
        if self.folder is not None:
            self._look(total - self.spent)

    def _look(self, need: int) -> None:
        assert self.folder is not None
        free = shutil.disk_usage(self.folder).free
        if free < need:
            raise FetchError(
                f"{self.archive}: unpacking needs {need} bytes more (at most {self.limit} in all), {free} "
                f"are free in {self.folder}; free some, or work on a larger disk"
            )
        self._looked = self.spent

    def spend(self, count: int) -> None:
        """Counts bytes that came out. Raises FetchError when they become too many."""
        self.spent += count
        if self.spent > self.limit:
            self.expect(self.spent)
        if self.folder is not None and self.spent - self._looked >= STEP:
            self._look(STEP)

    def pieces(self, stream: IO[bytes] | GzipFile) -> Iterator[bytes]:
        """The content of a stream, counted, a piece at a time."""
        while piece := stream.read(CHUNK):
            self.spend(len(piece))
            yield piece

    def member(self, opened: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
        """The content of a member of a zip file. Raises what is in UNSOUND where it is not as announced."""
        start = self.spent
        with opened.open(info) as stream:
            yield from self.pieces(stream)
        if self.spent - start != info.file_size:  # zipfile itself takes a shorter one
            raise EOFError(
                f"{info.filename!r} has {self.spent - start} bytes, announced are {info.file_size}"
            )
