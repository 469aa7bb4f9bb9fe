"""One TSV for a split: source TAB target, a pair a line, without a header."""

from __future__ import annotations

import io
from pathlib import Path

from nmtkd.files import writing
from nmtkd.text.parallel import SHOWN, ParallelTextError, blocks, count_lines

COLUMNS = ("source", "target")


def copy(path: Path, folder: Path, name: str, where: str) -> int:
    """Writes NAME.src and NAME.tgt, in the memory of one block. Returns the number of pairs.

    `where` names the file in messages. Raises ParallelTextError that counts every bad line and names the
    first few: one that has other than two columns, or an empty one; and what count_lines raises.
    """
    problems = list[str]()
    try:
        count_lines(path, allow_empty=True, foreign=True, where=where)
    except ParallelTextError as error:
        problems.append(str(error))
    lines = bad = 0
    with writing(folder / f"{name}.src") as source, writing(folder / f"{name}.tgt") as target:
        for block in blocks(path):
            for line in io.BytesIO(block):  # a binary file ends its lines at LF, and nowhere else
                lines += 1
                columns = line.removesuffix(b"\n").split(b"\t")
                if fault := _fault(columns):
                    bad += 1
                    if bad <= SHOWN:
                        problems.append(f"{where}: line {lines}: {fault}")
                elif not problems:
                    source.write(columns[0] + b"\n")
                    target.write(columns[1] + b"\n")
        if bad > SHOWN:
            problems.append(
                f"{where}: {bad} of {lines} lines have wrong columns; the first {SHOWN} are shown"
            )
        if problems:
            raise ParallelTextError("\n".join(problems))
    return lines


def _fault(columns: list[bytes]) -> str:
    if len(columns) != len(COLUMNS):
        number = "1 column" if len(columns) == 1 else f"{len(columns)} columns"
        return f"has {number}, must have 2: source, one TAB, target; correct or remove the line"
    for side, column in zip(COLUMNS, columns, strict=True):
        if not column.decode("utf-8", "replace").strip():
            return f"its {side} is empty; correct or remove the line"
    return ""
