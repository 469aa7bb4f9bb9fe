"""Parallel text: UTF-8, LF, one sentence a line, sides of equal length. Reading checks it."""

from __future__ import annotations

import io
import itertools
import re
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from nmtkd.files import writing

# Bad lines of a file that a message spells out: enough to see the pattern, few enough to read.
SHOWN = 5
# Lines read at a time where a file need not be in memory as a whole: about a megabyte of sentences.
BLOCK = 10_000
LINE_ENDS = "\r\n"
BREAK = re.compile(r"\s*[\n\r]\s*")


class ParallelTextError(ValueError):
    """Text that breaks the contract; the message names the file and the lines.

    `lines` is the number of lines of a file that could be counted.
    """

    lines: int | None = None


def read_lines(path: Path, *, allow_empty: bool = False) -> list[str]:
    """The lines of `path` without their LF. A missing LF at the very end is accepted.

    Raises ParallelTextError for broken UTF-8, CR characters and, unless `allow_empty`, blank lines.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ParallelTextError(f"{path}: no such file") from None
    return decode_lines(data, str(path), allow_empty=allow_empty, foreign=False)


def decode_lines(data: bytes, where: str, *, allow_empty: bool = False, foreign: bool = True) -> list[str]:
    """The lines of a file's content. `where` names the file in messages. Errors are those of read_lines.

    A `foreign` file may not start with a byte order mark. In ours U+FEFF is a character of the text.
    """
    faults = _Faults(where, allow_empty, foreign)
    lines = faults.check(data)
    faults.raise_if_any()
    return lines


def count_lines(
    path: Path, *, allow_empty: bool = False, foreign: bool = False, where: str | None = None
) -> int:
    """How many lines a file has, with the errors of decode_lines, in the memory of one block.

    `where` names the file in messages, if its path does not.
    """
    faults = _Faults(where or str(path), allow_empty, foreign)
    try:
        for block in blocks(path):
            faults.check(block)
    except FileNotFoundError:
        raise ParallelTextError(f"{path}: no such file") from None
    faults.raise_if_any()
    return faults.lines


def blocks(path: Path, size: int = BLOCK) -> Iterator[bytes]:
    """The content of a file, `size` whole lines at a time, unchecked."""
    with path.open("rb") as file:
        while block := b"".join(itertools.islice(file, size)):
            yield block


def kept_blocks(path: Path, kept_N: NDArray[np.bool_], size: int = BLOCK) -> Iterator[bytes]:
    """The lines of a file that a mask keeps, some of each `size` lines at a time, unchecked."""
    for number, block in enumerate(blocks(path, size)):
        kept = kept_N[number * size : (number + 1) * size]
        if kept.all():
            yield block
        elif kept.any():
            yield b"".join(itertools.compress(io.BytesIO(block), kept))  # BytesIO ends lines at LF alone


def lines_of(block: bytes) -> list[str]:
    """The lines of a block of a file that was checked."""
    # LF alone ends a line. str.splitlines would also cut at U+2028, U+0085 and others that occur inside
    # sentences.
    text = block.decode("utf-8")
    return text.removesuffix("\n").split("\n") if text else []


def block_of(lines: Sequence[str]) -> bytes:
    """The lines as a block of a file. A line that holds a line end is a bug."""
    text = "".join([f"{line}\n" for line in lines])
    assert text.count("\n") == len(lines) and "\r" not in text, (
        f"a line end inside a line: {[line for line in lines if set(line) & {*LINE_ENDS}]}"
    )
    return text.encode("utf-8")


def one_line(text: str) -> str:
    """`text` without line breaks: each, with the white space round it, is one space; none at the ends."""
    return BREAK.sub(" ", text).strip() if BREAK.search(text) else text


def read_pair(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """Both sides of a pair of files. Raises ParallelTextError for blank lines and for unequal lengths."""
    return _both(lambda path, _: read_lines(path), len, ((source, str(source)), (target, str(target))))


def count_pairs(
    source: Path, target: Path, *, foreign: bool = False, names: tuple[str, str] | None = None
) -> int:
    """How many pairs the files have, with the errors of count_lines, in the memory of one block.

    `names` are those of the files in messages, if their paths are not.
    """
    source_name, target_name = names or (str(source), str(target))
    return _both(
        lambda path, where: count_lines(path, foreign=foreign, where=where),
        int,
        ((source, source_name), (target, target_name)),
    )[0]


T = TypeVar("T")


def _both(
    read: Callable[[Path, str], T],
    length: Callable[[T], int],
    files: tuple[tuple[Path, str], tuple[Path, str]],
) -> tuple[T, T]:
    """The results of `read`, as long as each other. One error lists the problems of both files.

    `files` are the source and the target, each with its name in messages.
    """
    problems, sides, counts = list[str](), list[T](), list[int | None]()
    for path, where in files:
        try:
            sides.append(read(path, where))
            counts.append(length(sides[-1]))
        except ParallelTextError as error:
            problems.append(str(error))
            counts.append(error.lines)
    left, right = counts
    if left is not None and right is not None and left != right:
        # First: without it, which lines are a pair is unknown.
        problems.insert(0, _unequal(left, right, files[0][1], files[1][1]))
    if problems:
        raise ParallelTextError("\n".join(problems))
    return sides[0], sides[1]


def check_equal(source: int, target: int, source_name: str, target_name: str) -> None:
    """Raises ParallelTextError unless both sides have as many lines."""
    if source != target:
        raise ParallelTextError(_unequal(source, target, source_name, target_name))


def _unequal(source: int, target: int, source_name: str, target_name: str) -> str:
    return (
        f"{source_name} has {source} lines and {target_name} has {target}: "
        "line n of one must translate line n of the other; export both sides again from one table"
    )


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Writes the lines as a file, whole or not at all, in the memory of one block."""
    remaining = iter(lines)
    with writing(path) as file:
        while block := list(itertools.islice(remaining, BLOCK)):
            file.write(block_of(block))


def write_pair(folder: Path, name: str, pairs: Iterable[tuple[str, str]]) -> int:
    """Writes NAME.src and NAME.tgt. Returns the number of pairs. Raises ParallelTextError for none."""
    rows = list(pairs)
    if not rows:
        raise _no_pair(folder, name)
    write_lines(folder / f"{name}.src", (row[0] for row in rows))
    write_lines(folder / f"{name}.tgt", (row[1] for row in rows))
    return len(rows)


def copy_pair(
    source: Path, target: Path, folder: Path, name: str, names: tuple[str, str] | None = None
) -> int:
    """write_pair of two foreign files, with the errors of both, in the memory of one block.

    `names` are those of the files in messages, if their paths are not.
    """
    count = count_pairs(source, target, foreign=True, names=names)
    if not count:
        raise _no_pair(folder, name)
    for path, side in ((source, "src"), (target, "tgt")):
        with writing(folder / f"{name}.{side}") as file:
            for block in blocks(path):
                file.write(block if block.endswith(b"\n") else block + b"\n")
    return count


def _no_pair(folder: Path, name: str) -> ParallelTextError:
    return ParallelTextError(
        f"{folder / name}: no pair to write; a corpus needs at least one in each of its files"
    )


class _Faults:
    """Checks a file block by block. Keeps the first few faults of each kind and counts all of them."""

    def __init__(self, where: str, allow_empty: bool, foreign: bool) -> None:
        self.lines = 0  # checked so far
        self._bytes = 0
        self._where, self._allow_empty, self._foreign = where, allow_empty, foreign
        self._shown: dict[str, list[str]] = {kind: [] for kind in ("broken", "mark", "return", "empty")}
        self._counts = Counter[str]()

    def check(self, block: bytes) -> list[str]:
        """Checks the next lines of the file and returns them. Returns none of a block that is not UTF-8."""
        try:
            lines = lines_of(block)
        except UnicodeDecodeError:
            self._broken_lines(block)
            self.lines += block.removesuffix(b"\n").count(b"\n") + 1
            lines = []
        if self._foreign and not self._bytes and block.startswith(BOM_UTF8):
            self._note(
                "mark", 1, "starts with a byte order mark (U+FEFF); save the file as UTF-8 without one"
            )
        if b"\r" in block:
            for number, line in enumerate(lines, self.lines + 1):
                if "\r" in line:
                    self._note("return", number, "holds a CR character; convert the line ends to LF")
        if not self._allow_empty and not all(map(str.strip, lines)):
            for number, line in enumerate(lines, self.lines + 1):
                if not line.strip():
                    self._note("empty", number, "empty; remove the pair from both sides")
        self.lines += len(lines)
        self._bytes += len(block)
        return lines

    def _broken_lines(self, block: bytes) -> None:
        """Notes each line that is not UTF-8, with the offset of its first wrong byte in the file."""
        start = self._bytes
        for number, line in enumerate(block.split(b"\n"), self.lines + 1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError as error:
                byte = f"byte 0x{line[error.start]:02x} at offset {start + error.start} of the file"
                self._note("broken", number, f"not UTF-8: {byte}; convert the file to UTF-8")
            start += len(line) + 1

    def _note(self, kind: str, number: int, fault: str) -> None:
        self._counts[kind] += 1
        if len(self._shown[kind]) < SHOWN:
            self._shown[kind].append(f"{self._where}: line {number}: {fault}")

    def raise_if_any(self) -> None:
        """Raises ParallelTextError if there was a fault.

        Where a file is not UTF-8, faults of other kinds say little and are left out.
        """
        kinds = ["broken"] if self._counts["broken"] else ["mark", "return", "empty"]
        shown = [fault for kind in kinds for fault in self._shown[kind]][:SHOWN]
        count = sum(self._counts[kind] for kind in kinds)
        if count > SHOWN:
            shown.append(f"{self._where}: {count} problems in all; the first {SHOWN} are shown")
        if shown:
            error = ParallelTextError("\n".join(shown))
            error.lines = self.lines
            raise error
