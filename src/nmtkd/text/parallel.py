"""Parallel text: UTF-8, LF, one sentence a line, sides of equal length. Reading checks it."""

from __future__ import annotations

import itertools
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from nmtkd.files import writing

# Bad lines of a file that a message spells out: enough to see the pattern, few enough to read.
SHOWN = 5
# Lines read at a time where a file need not be in memory as a whole: about a megabyte of sentences.
BLOCK = 10_000
LINE_ENDS = "\r\n"


class ParallelTextError(ValueError):
    """Text that breaks the contract; the message names the file and the lines."""


def read_lines(path: Path, *, allow_empty: bool = False) -> list[str]:
    """The lines of `path` without their LF. A missing LF at the very end is accepted.

    Raises ParallelTextError for broken UTF-8, a byte order mark, CR characters and, unless `allow_empty`,
    blank lines.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ParallelTextError(f"{path}: no such file") from None
    return decode_lines(data, str(path), allow_empty=allow_empty)


def decode_lines(data: bytes, where: str, *, allow_empty: bool = False) -> list[str]:
    """The lines of a file's content. `where` names the file in messages. Errors are those of read_lines."""
    faults = _Faults(where, allow_empty)
    lines = faults.check(data)
    faults.raise_if_any()
    return lines


def count_lines(path: Path, *, allow_empty: bool = False) -> int:
    """How many lines read_lines would return, with its errors, in the memory of one block."""
    faults = _Faults(str(path), allow_empty)
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


def collapse(text: str) -> str:
    """`text` with every run of white space, line ends and no-break spaces included, as one space; trimmed."""
    return " ".join(text.split())


def read_pair(source: Path, target: Path) -> tuple[list[str], list[str]]:
    """Both sides of a pair of files. Raises ParallelTextError for blank lines and for unequal lengths."""
    left, right = _both(read_lines, source, target)
    check_equal(len(left), len(right), str(source), str(target))
    return left, right


def count_pairs(source: Path, target: Path) -> int:
    """How many pairs read_pair would return, with its errors, in the memory of one block."""
    left, right = _both(count_lines, source, target)
    check_equal(left, right, str(source), str(target))
    return left


T = TypeVar("T")


def _both(read: Callable[[Path], T], source: Path, target: Path) -> tuple[T, T]:
    """The results of `read` for both files. One error lists the problems of both."""
    problems, sides = [], []
    for path in (source, target):
        try:
            sides.append(read(path))
        except ParallelTextError as error:
            problems.append(str(error))
    if problems:
        raise ParallelTextError("\n".join(problems))
    return sides[0], sides[1]


def check_equal(source: int, target: int, source_name: str, target_name: str) -> None:
    """Raises ParallelTextError unless both sides have as many lines."""
    if source != target:
        raise ParallelTextError(
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


def copy_pair(source: Path, target: Path, folder: Path, name: str) -> int:
    """write_pair of what read_pair reads, with the errors of both, in the memory of one block."""
    count = count_pairs(source, target)
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

    def __init__(self, where: str, allow_empty: bool) -> None:
        self.lines = 0  # checked so far
        self._bytes = 0
        self._where, self._allow_empty = where, allow_empty
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
        if not self._bytes and block.startswith(BOM_UTF8):
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
            raise ParallelTextError("\n".join(shown))
