"""Atomic writes of files and folders, and hashes of their content."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

# Hexadecimal digits of a short hash: 64 bits suffice for the lines of a corpus or the trainings of a study.
SHORT_DIGITS = 16


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yields a temporary file beside `path`. It replaces `path` at the end and is removed after an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that fails names no file
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def written_whole(folder: Path) -> Iterator[Path]:
    """Yields an empty folder that replaces `folder` at the end. After an error `folder` is unchanged."""
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        sync(part)
        replace(part, folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def sync(folder: Path) -> None:
    """Waits until the files of a folder are on the disk: a power cut then leaves them whole."""
    for path in [*folder.rglob("*"), folder]:
        number = os.open(path, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def replace(part: Path, path: Path) -> None:
    """Moves a file or a folder to `path`, in place of what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        old = part.with_name(f"{part.name}.old")
        os.replace(path, old)
        os.replace(part, path)
        shutil.rmtree(old)
    else:
        os.replace(part, path)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text with LF line ends."""
    with writing(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, obj: Any) -> None:
    """Writes JSON with sorted keys. Raises ValueError for NaN and infinity, which JSON does not have."""
    write_text(path, json.dumps(obj, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The content of a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_csv(path: Path, header: str, rows: Iterable[Sequence[Any]]) -> None:
    """Writes a CSV file with LF line ends. `header` holds the column names, joined by commas."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header.split(","), *rows])
    write_text(path, text.getvalue())


def file_hash(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_hash(folder: Path) -> str:
    """SHA-256 of a folder's files: their names and contents."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(folder).as_posix()}\0{file_hash(path)}\n".encode())
    return digest.hexdigest()


def line_hash(line: str) -> str:
    """Short SHA-256 of one line."""
    return hashlib.sha256(line.encode()).hexdigest()[:SHORT_DIGITS]


def lines_hash(lines: Iterable[str]) -> str:
    """SHA-256 of lines in their order."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def fingerprint(config: str, paths: Iterable[Path]) -> str:
    """Short SHA-256 of settings and of files (name and content): the key of a piece of work."""
    digest = hashlib.sha256(config.encode())
    for path in sorted(paths):
        digest.update(f"\0{path.name}\0".encode())
        digest.update(bytes.fromhex(file_hash(path)))
    return digest.hexdigest()[:SHORT_DIGITS]


def write_script(path: Path, function: str, obj: Any) -> None:
    """Writes a script that calls `function` with a JSON object.

    A page opened from disk may not fetch JSON, but it may load a script.
    """
    write_text(path, f"{function}({json.dumps(obj, sort_keys=True, ensure_ascii=False, allow_nan=False)});\n")


def read_script(path: Path) -> Any:
    """The object of a script from write_script; None if there is no complete one."""
    try:
        text = path.read_text(encoding="utf-8").strip()
        return json.loads(text[text.index("(") + 1 : text.rindex(")")])
    except (FileNotFoundError, UnicodeDecodeError, ValueError):
        return None
