"""What tells an archive from another file: size, checksums, or what the first download was.

Where nothing is published but a size, the first file that comes is trusted, and its SHA-256 is kept beside
the archive: from then on another file is refused.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nmtkd.files import file_hash, write_text
from nmtkd.plan.data import Archive

ENDING = ".sha256"  # of the file that keeps the first download's
FIRST = "first download"  # in the card: no published checksum vouches for the file
NOTE = re.compile(r"([0-9a-f]{64}) [ *]([^\n]+)\n")  # a line of sha256sum
# How a page begins that a server sends in place of a file: a login, a confirmation, an error.
PAGE = re.compile(rb"\s*(<!doctype html|<html)", re.IGNORECASE)
HEAD = 512  # bytes in which a page shows itself
PAGES = (".html", ".htm")  # endings of files that are pages by right


def is_page(head: bytes, name: str) -> bool:
    """Whether these first bytes are of a web page, which the archive `name` is not."""
    return not name.endswith(PAGES) and PAGE.match(head.removeprefix(b"\xef\xbb\xbf")) is not None


def git_blob(path: Path) -> str:
    """git's own name of a file's content."""
    # git names content by SHA-1: here it tells files apart and guards no secret
    digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        hashlib.file_digest(file, lambda: digest)  # updates this digest instead of a new one
    return digest.hexdigest()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


KINDS: dict[str, Callable[[Path], str]] = {"sha256": file_hash, "md5": _md5, "git_blob": git_blob}


def published(archive: Archive) -> dict[str, str]:
    """{kind: checksum} of what the definition gives."""
    return {kind: value for kind in KINDS if (value := getattr(archive, kind))}


def described(archive: Archive) -> str:
    """What is known of an archive, for a message."""
    known = [f"{kind} {value}" for kind, value in published(archive).items()]
    return ", ".join([*known, *([f"{archive.bytes} bytes"] if archive.bytes else [])])


def mismatch(path: Path, archive: Archive, folder: Path) -> str:
    """What is wrong with a file's size or checksum, or "" if it may be the archive.

    `folder` is the cache, which keeps what first downloads were.
    """
    size = path.stat().st_size
    if archive.bytes is not None and size != archive.bytes:
        return f"has {size} bytes, expected {archive.bytes}"
    known = published(archive)
    for kind, expected in known.items():
        if (got := KINDS[kind](path)) != expected:
            return f"wrong checksum: {kind} {got}, expected {expected}"
    return "" if known else _not_the_first(path, archive, folder)


def _not_the_first(path: Path, archive: Archive, folder: Path) -> str:
    with path.open("rb") as file:
        if is_page(file.read(HEAD), archive.name):
            return "is a web page (HTML), not the archive"
    note = folder / f"{archive.name}{ENDING}"
    if not note.exists():
        return ""
    match = NOTE.fullmatch(note.read_text(encoding="utf-8", errors="replace"))
    if match is None:
        return f"cannot be compared: {note} holds no line of sha256sum; delete it if you trust the file"
    got = file_hash(path)
    if got == match[1]:
        return ""
    return (
        f"another file than the first download: sha256 {got}, the first had {match[1]}; "
        f"if the new one is right, delete {note}"
    )


def note_first(path: Path, archive: Archive, folder: Path) -> str:
    """Keeps the SHA-256 of an archive without a published checksum. Returns what to tell, "" for nothing."""
    note = folder / f"{archive.name}{ENDING}"
    if published(archive) or note.exists():
        return ""
    digest = file_hash(path)
    write_text(note, f"{digest}  {archive.name}\n")
    return (
        f"{archive.name}: no checksum of it is published. That of this first file is kept in {note}, and "
        f"another file is refused from now on. The line for conf/corpus: `sha256: {digest}`"
    )


def card(archive: Archive, path: Path) -> dict[str, Any]:
    """What a corpus's card says of an archive: its size, its checksums, and which of them vouch for it."""
    known = published(archive)
    return {
        "name": archive.name,
        "bytes": archive.bytes or path.stat().st_size,
        **(known or {"sha256": file_hash(path)}),
        "verified": [*(["bytes"] if archive.bytes else []), *(known or [FIRST])],
    }
