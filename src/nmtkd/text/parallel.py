"""Parallel text: UTF-8, LF, one sentence a line, sides equal in length. Reading checks it, writing keeps it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

# How many bad lines of a file a message spells out: enough to see the pattern, few enough to read.
SHOWN = 5


class ParallelTextError(ValueError):
    """Text that breaks the contract; the message names the file and the lines."""


def read_lines(path: Path, *, allow_empty: bool = False) -> list[str]:
    """The lines of `path` without their LF. A missing LF at the very end is accepted.

    Raises ParallelTextError for broken UTF-8, a byte order mark, CR characters and, unless `allow_empty`, blank lines.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ParallelTextError(f"{path}: no such file") from None
    return decode_lines(data, str(path), allow_empty=allow_empty)


def decode_lines(data: bytes, where: str, *, allow_empty: bool = False) -> list[str]:
    """The lines of a file's content; `where` names it in messages. Errors as in read_lines."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise _problems(where, _broken_lines(data)) from None
    # LF alone ends a line: str.splitlines would also cut at U+2028, U+0085 and others that occur inside sentences.
    lines = text.removesuffix("\n").split("\n") if text else []
    bad = []
    if text.startswith("\ufeff"):
        bad.append("line 1: starts with a byte order mark (U+FEFF); save the file as UTF-8 without one")
    if "\r" in text:
        bad += [f"line {number}: holds a CR character; convert the line ends to LF" for number, line in enumerate(lines, 1) if "\r" in line]
    if not allow_empty:
        bad += [f"line {number}: empty; remove the pair from both sides" for number, line in enumerate(lines, 1) if not line.strip()]
    if bad:
        raise _problems(where, bad)
    return lines


def collapse(text: str) -> str:
    """`text` with every run of white space, line ends and no-break spaces among it, as one space, and none at the ends."""
    return " ".join(text.split())


def read_pair(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """Both sides of a parallel file, equal in length, without blank lines. Raises ParallelTextError otherwise."""
    problems, sides = [], []
    for path in (source, target):
        try:
            sides.append(read_lines(path))
        except ParallelTextError as error:
            problems.append(str(error))
    if problems:
        raise ParallelTextError("\n".join(problems))
    check_equal(sides[0], sides[1], str(source), str(target))
    return sides[0], sides[1]


def check_equal(source: list[str], target: list[str], source_name: str, target_name: str) -> None:
    """Raises ParallelTextError unless both sides have as many lines."""
    if len(source) != len(target):
        raise ParallelTextError(
            f"{source_name} has {len(source)} lines and {target_name} has {len(target)}: line n of one must translate line n of the other; "
            "export both sides again from one table"
        )


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes one line each, whole or not at all: to a temporary name beside `path`, which is then moved into place."""
    checked = []
    for line in lines:
        assert "\n" not in line and "\r" not in line, f"{path}: a line end inside a line: {line!r}"
        checked.append(line + "\n")
    _replace(path, "".join(checked).encode("utf-8"))


def write_pair(folder: Path, name: str, pairs: Iterable[tuple[str, str]]) -> int:
    """Writes NAME.src and NAME.tgt and returns the number of pairs. Raises ParallelTextError if there is none."""
    rows = list(pairs)
    if not rows:
        raise ParallelTextError(f"{folder / name}: no pair to write; a corpus needs at least one in each of its files")
    write_lines(folder / f"{name}.src", (row[0] for row in rows))
    write_lines(folder / f"{name}.tgt", (row[1] for row in rows))
    return len(rows)


def write_json(path: Path, obj: Any) -> None:
    """Writes JSON with sorted keys, whole or not at all. NaN and infinity, which JSON does not have, raise ValueError."""
    text = json.dumps(obj, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    _replace(path, (text + "\n").encode("utf-8"))


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _broken_lines(data: bytes) -> list[str]:
    """One entry for each line that is not UTF-8: where the first wrong byte lies, counted from the start of the file."""
    bad = []
    start = 0
    for number, line in enumerate(data.split(b"\n"), 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError as error:
            place = f"byte 0x{line[error.start]:02x} at offset {start + error.start} of the file"
            bad.append(f"line {number}: not UTF-8: {place}; convert the file to UTF-8")
        start += len(line) + 1
    return bad


def _problems(where: str, bad: list[str]) -> ParallelTextError:
    shown = [f"{where}: {line}" for line in bad[:SHOWN]]
    if len(bad) > SHOWN:
        shown.append(f"{where}: {len(bad)} problems in all; the first {SHOWN} are shown")
    return ParallelTextError("\n".join(shown))
