"""Atomic writes of files and folders, readers that say which file is damaged, and hashes of content."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import os
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

# Hexadecimal digits of a short hash: 64 bits suffice for the lines of a corpus or the trainings of a study.
SHORT_DIGITS = 16
SHOWN = 12  # digits of a hash in a message

T = TypeVar("T")


class DamagedError(ValueError):
    """A file that is missing, torn, or not of the form or content that it must have."""


def damaged(path: Path, wrong: str) -> DamagedError:
    """The error for `path`, with the remedy."""
    remedy = f"run `dvc checkout --force {path}`, or the stage that writes it again"
    return DamagedError(f"{path}: {wrong}; {remedy}")


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
        if error.errno:
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


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Within it, what a library raises about a broken file is a DamagedError: `path` is no whole `what`."""
    try:
        yield
    except (DamagedError, MemoryError):
        raise
    except FileNotFoundError:
        raise damaged(path, "missing") from None
    except Exception as error:  # parsers and unpicklers raise what the bytes lead them to
        # A reader of a cut file may seek to a place before its start.
        # Unpacking raises OSErrors without a number: they are about the content.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            error.filename = error.filename or str(path)
            raise
        said = str(error).strip().partition("\n")[0]
        raise damaged(path, f"no whole {what} ({type(error).__name__}: {said})") from error


def existing(folder: Path) -> Path:
    """The folder itself. Raises DamagedError if there is none: a stage was given a name of nothing."""
    if not folder.is_dir():
        raise damaged(folder, "no such folder; correct the name")
    return folder


def read_text(path: Path) -> str:
    """The content of a UTF-8 file. Raises DamagedError for other bytes and for a missing file."""
    with reading(path, "text in UTF-8"):
        return path.read_bytes().decode("utf-8")


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises DamagedError if it is torn or missing."""
    with reading(path, "JSON"):
        return json.loads(path.read_bytes().decode("utf-8"))


def read_object(path: Path, *needed: str) -> dict[str, Any]:
    """A JSON object that has the `needed` fields, and others. Raises DamagedError for any other content."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise damaged(path, f"must hold a JSON object, holds a {type(content).__name__}")
    if missing := [name for name in needed if name not in content]:
        raise damaged(path, f"lacks {', '.join(missing)}")
    return content


def read_as(path: Path, kind: type[T]) -> T:
    """A JSON file as a dataclass, whose types it must have; fields that the class lacks are left out.

    Raises DamagedError for any other content.
    """
    from pydantic import TypeAdapter, ValidationError

    content = read_json(path)
    try:
        return TypeAdapter(kind).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the whole"
        raise damaged(path, f"{place}: {first['msg']}") from None


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file by the names of its header. Raises DamagedError for one that was cut."""
    text = read_text(path)
    with reading(path, "table"):
        header, *rows = list(csv.reader(io.StringIO(text, newline=""))) or [[]]
    if not header or not text.endswith("\n") or any(len(row) != len(header) for row in rows):
        raise damaged(
            path, "no whole table: it is empty, was cut, or has rows of another length than its header"
        )
    return [dict(zip(header, row, strict=True)) for row in rows]


def read_array(path: Path, kinds: Collection[str], shape: Sequence[int | None]) -> Any:
    """The array of a .npy file, mapped. A size in `shape` may be None, for any.

    `kinds` are the types that it may have, by numpy's letter and, if it matters, bytes: "i" or "i8". Raises
    DamagedError for any other content; one that would be unpickled is never read.
    """
    import numpy as np

    with reading(path, "array"):
        array = np.lib.format.open_memmap(path, mode="r")
    fits = len(array.shape) == len(shape) and all(
        wanted in (None, size) for wanted, size in zip(shape, array.shape, strict=True)
    )
    if not fits or not {array.dtype.kind, array.dtype.str[1:]} & set(kinds):
        sizes = ", ".join("any" if size is None else str(size) for size in shape)
        wanted_form, form = (
            f"[{sizes}] of {' or '.join(kinds)}",
            f"{list(array.shape)} of {array.dtype.str[1:]}",
        )
        raise damaged(path, f"must be an array {wanted_form}, is {form}")
    # Plain: a slice of numpy's memmap costs ten times as much, and a batch takes hundreds.
    return np.asarray(array)


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


def hashes(paths: Iterable[Path]) -> dict[str, str]:
    """SHA-256 of each file, by its name in their order. Raises DamagedError for a missing one."""
    found = {}
    for path in paths:
        with reading(path, "file"):
            found[path.name] = file_hash(path)
    return found


def check_hashes(folder: Path, expected: Mapping[str, str]) -> None:
    """Raises DamagedError for the first file of `folder` whose content is not that of its hash."""
    for name, digest in expected.items():
        if hashes([folder / name])[name] != digest:
            raise damaged(folder / name, "not the content that was written: its hash is another one")


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
