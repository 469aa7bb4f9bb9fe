"""Archives that are bombs, liars or broken, each made in memory."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable

# Offsets in a zip's central and local headers (the format's definition).
FLAGS, METHOD, CRC, PACKED, SIZE, PLACE = 8, 10, 16, 20, 24, 42
LOCAL_SHIFT = 2  # a local header lacks the version that made it
ZEROS = bytes(3 << 20)


def zipped(*members: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", method) as made:
        warnings.simplefilter("ignore")  # a name twice
        for name, content in members:
            info = zipfile.ZipInfo("x" * len(name.encode()))
            info.filename = name  # ZipInfo itself would cut a name at NUL
            made.writestr(info, content, compress_type=method)
    return file.getvalue()


def patched(data: bytes, field: int, form: str, value: int, local: bool = True) -> bytes:
    """A zip of which a field of the first member is overwritten, in the local header too."""
    changed = bytearray(data)
    struct.pack_into(form, changed, data.index(b"PK\1\2") + field, value)
    if local:
        struct.pack_into(form, changed, field - LOCAL_SHIFT, value)
    return bytes(changed)


def tarred(*members: tuple[str, bytes, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    """(name, type, content) of each member."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as made:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "x"
            made.addfile(info, io.BytesIO(content))
    return file.getvalue()


def header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar header that announces `size`, whatever follows."""
    info = tarfile.TarInfo(name)
    info.size, info.type = size, kind
    return info.tobuf(tarfile.GNU_FORMAT)


def file(name: str, content: bytes = b"text\n") -> tuple[str, bytes, bytes]:
    return (name, tarfile.REGTYPE, content)


TEXT = zipped(("a", b"text\n"), ("b", b"more\n"))
STORED = zipped(("a", b"text\n" * 9), method=zipfile.ZIP_STORED)
TAR = tarred(file("a"), file("b"))
PLACED = "takes the place of"
NAMED = "has a control character in its name"
LONG = "has over 64 folders, over 255 bytes in one part, or over 1000 in all"
BOMB = "unpacks to [0-9]+ bytes or more; allowed are [0-9]+: 100 times its [0-9]+ bytes"
Made = Callable[[], bytes]

# What is wrong, the archive's name, its content, and the reason that is given.
BAD: dict[str, tuple[str, Made, str]] = {
    "zip bomb": ("a.zip", lambda: zipped(("a", ZEROS)), BOMB),
    "zip bomb of many members": (
        "a.zip", lambda: zipped(*((f"{n}", ZEROS[: 1 << 18]) for n in range(9))), BOMB),
    "zip bomb that hides its size": (
        "a.zip", lambda: patched(zipped(("a", ZEROS)), SIZE, "<I", 9), "corrupt"),
    "zip that announces too much": ("a.zip", lambda: patched(TEXT, SIZE, "<I", 2**32 - 2), BOMB),
    "zip that announces a byte more": ("a.zip", lambda: patched(STORED, SIZE, "<I", 46), "corrupt"),
    "zip with a name twice": ("a.zip", lambda: zipped(("a", b"1"), ("a", b"2")), PLACED),
    "zip with a name a thousand times": ("a.zip", lambda: zipped(*[("a", b"1")] * 1000), PLACED),
    "zip with names of other case": (
        "a.zip", lambda: zipped(("Straße/a", b"1"), ("STRASSE/b", b"2")), PLACED),
    "zip with names of other Unicode form": (
        "a.zip", lambda: zipped(("\u00e4", b"1"), ("a\u0308", b"2")), PLACED),
    "zip with a file, then a folder": ("a.zip", lambda: zipped(("a", b"1"), ("a/b", b"2")), PLACED),
    "zip with a folder, then a file": ("a.zip", lambda: zipped(("a/b", b"1"), ("a", b"2")), PLACED),
    "zip with a name by two spellings": ("a.zip", lambda: zipped(("a/b", b"1"), ("a\\b", b"2")), PLACED),
    "zip with NUL in a name": ("a.zip", lambda: zipped(("a\0.txt", b"1")), NAMED),
    "zip with a line end in a name": ("a.zip", lambda: zipped(("a\nb", b"1")), NAMED),
    "zip with an empty name": ("a.zip", lambda: zipped(("", b"1")), "is a file without a name"),
    "zip with a dot for a name": ("a.zip", lambda: zipped((".", b"1")), "is a file without a name"),
    "zip with a long name": ("a.zip", lambda: zipped(("a" * 256, b"1")), LONG),
    "zip with a long path": ("a.zip", lambda: zipped(("/".join(["a" * 99] * 11), b"1")), LONG),
    "zip with a deep path": ("a.zip", lambda: zipped(("a/" * 5000 + "a", b"1")), LONG),
    "zip with a short deep path": ("a.zip", lambda: zipped(("a/" * 64 + "a", b"1")), LONG),
    "zip that climbs by backslashes": ("a.zip", lambda: zipped(("..\\evil", b"1")), "outside its folder"),
    "zip with a drive": ("a.zip", lambda: zipped(("c:evil", b"1")), "outside its folder"),
    "encrypted zip": ("a.zip", lambda: patched(TEXT, FLAGS, "<H", 1), "is encrypted"),
    "strongly encrypted zip": ("a.zip", lambda: patched(TEXT, FLAGS, "<H", 0x41), "is encrypted"),
    "patched data in a zip": ("a.zip", lambda: patched(TEXT, FLAGS, "<H", 0x20), "corrupt"),
    "zip by deflate64": ("a.zip", lambda: patched(TEXT, METHOD, "<H", 9), "is packed by method 9; known: 0"),
    "zip by bzip2": ("a.zip", lambda: zipped(("a", b"1"), method=zipfile.ZIP_BZIP2), "by method 12"),
    "zip by lzma": ("a.zip", lambda: zipped(("a", b"1"), method=zipfile.ZIP_LZMA), "by method 14"),
    "zip with another checksum": ("a.zip", lambda: patched(TEXT, CRC, "<I", 7), "corrupt .*CRC"),
    "zip whose member lies elsewhere": (
        "a.zip", lambda: patched(TEXT, PLACE, "<I", 9, local=False), "corrupt"),
    "zip whose member lies beyond": (
        "a.zip", lambda: patched(TEXT, PLACE, "<I", 2**31, local=False), "corrupt"),
    "zip whose member has another name inside": ("a.zip", lambda: TEXT.replace(b"a", b"c", 1), "corrupt"),
    "zip of newer kind": ("a.zip", lambda: patched(TEXT, 6, "<H", 99, local=False), "corrupt"),
    "zip with half a zip64 field": (
        "a.zip", lambda: patched(patched(TEXT, SIZE, "<I", 2**32 - 1), PACKED, "<I", 2**32 - 1), BOMB),
    "zip without its end": ("a.zip", lambda: TEXT[:-1], "corrupt"),
    "nothing for a zip": ("a.zip", lambda: b"", "corrupt"),
    "tar bomb": ("a.tar.gz", lambda: gzip.compress(tarred(file("a", ZEROS))), BOMB),
    "tar bomb of a long name": (
        "a.tar.gz", lambda: gzip.compress(header("a", 2 << 20, tarfile.GNUTYPE_LONGNAME) + ZEROS), "header"),
    "tar bomb of a pax header": (
        "a.tar.gz", lambda: gzip.compress(header("a", 2 << 20, tarfile.XHDTYPE) + ZEROS), "a header of"),
    "tar with a sparse file": (
        "a.tar", lambda: header("a", 0, tarfile.GNUTYPE_SPARSE) + bytes(1024), "link or a device"),
    "tar with a size below zero": (
        "a.tar", lambda: header("a", -512) + bytes(1024), "a size below zero|corrupt"),
    "tar with a header below zero": (
        "a.tar", lambda: header("a", -512, tarfile.XHDTYPE) + bytes(1024), "corrupt"),
    "tar with a member beyond its end": ("a.tar", lambda: header("a", 2**20) + b"text\n", "corrupt"),
    "tar with a member of exabytes": ("a.tar", lambda: header("a", 2**62) + b"text\n", "corrupt|unpacks"),
    "tar of pax headers only": (
        "a.tar.gz", lambda: gzip.compress(header("a", 0, tarfile.XHDTYPE) * 3000), "corrupt|unpacks"),
    "tar whose second header is damaged": ("a.tar", lambda: TAR[:1024] + b"\xff" + TAR[1025:], "no end mark"),
    "tar that ends after its first member": ("a.tar", lambda: TAR[:1024], "no end mark"),
    "tar with a name twice": ("a.tar", lambda: tarred(file("a"), file("a")), PLACED),
    "tar with a file, then a folder": (
        "a.tar", lambda: tarred(file("a"), ("a", tarfile.DIRTYPE, b""), file("a/b")), PLACED),
    "tar with names of other case": ("a.tar", lambda: tarred(file("A"), file("a")), PLACED),
    "tar with a line end in a name": ("a.tar", lambda: tarred(file("a\nb")), NAMED),
    "tar with a name that is no text": ("a.tar", lambda: tarred(file("a\udcff")), NAMED),
    "tar with a deep path": ("a.tar", lambda: tarred(file("a/" * 500 + "a")), LONG),
    "tar with a socket of no kind": ("a.tar", lambda: tarred(("a", b"Z", b"")), "corrupt|link or a device"),
    "tar with an absolute name by pax": (
        "a.tar", lambda: tarred(file("/tmp/" + "ä" * 90), form=tarfile.PAX_FORMAT), "outside its folder"),
    "zip that is called a tar": ("a.tar", lambda: TEXT, "corrupt"),
    "tar that is called a tar.gz": ("a.tar.gz", lambda: TAR, "corrupt"),
    "nothing for a tar": ("a.tar", lambda: b"", "corrupt"),
    "gzip bomb": ("a.txt.gz", lambda: gzip.compress(ZEROS), BOMB),
    "gzip bomb in many parts": ("a.txt.gz", lambda: gzip.compress(ZEROS[: 1 << 17]) * 24, BOMB),
    "gzip with garbage behind": (
        "a.txt.gz", lambda: gzip.compress(b"text\n") + b"garbage", "not a sound gzip file"),
    "gzip with another checksum": (
        "a.txt.gz", lambda: gzip.compress(b"text\n")[:-8] + bytes(8), "not a sound gzip file .*CRC"),
    "gzip by another method": ("a.txt.gz", lambda: b"\x1f\x8b\x09" + bytes(20), "not a sound gzip file"),
    "nothing for a gzip": ("a.txt.gz", lambda: b"", "not a sound gzip file"),
}  # fmt: skip
