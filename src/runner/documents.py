"""Parts of README and docs that are made from reports/, so that no number in them is copied by hand.

A part stands between two comments, `<!-- NAME, by make docs -->` and `<!-- end -->`. `python -m
runner.documents` writes all of them anew.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

from nmtkd.evidence import screen
from nmtkd.files import write_text
from nmtkd.plan import layout, params

PART = re.compile(r"(?P<head><!-- (?P<name>[a-z ]+), by make docs -->\n).*?(?P<end><!-- end -->)", re.DOTALL)


class DocumentError(ValueError):
    """A document asks for a part that nobody makes."""


def last_screen(root: Path) -> str:
    """The table and the lead of the last screen, as a block of code."""
    grid = params.validate(params.read_yaml(root / params.PARAMS_FILE)).grid
    return f"```\n{screen.text(grid, root).partition(screen.PAGE_LINE)[0].rstrip()}\n```\n"


def table(path: Path, root: Path) -> str:
    """A whole table with its lead and notes."""
    return (root / path).read_text(encoding="utf-8").strip() + "\n"


PARTS: dict[str, Callable[[Path], str]] = {
    "last screen": last_screen,
    "table": partial(table, screen.TABLE),
    "methods table": partial(table, layout.STUDIES / "homeassistant-methods" / screen.TABLE.name),
}


def filled(text: str, root: Path) -> str:
    """`text` with each of its parts made anew from the files under `root`."""

    def part(root: Path, match: re.Match[str]) -> str:
        if match["name"] not in PARTS:
            raise DocumentError(f"{match['name']!r}: no such part; known: {', '.join(PARTS)}")
        return f"{match['head']}{PARTS[match['name']](root)}{match['end']}"

    return PART.sub(partial(part, root), text)


def documents(root: Path) -> list[Path]:
    """README and all of docs/."""
    return [root / "README.md", *sorted((root / "docs").glob("*.md"))]


def main() -> None:
    """Writes the parts of all documents in the current folder."""
    for path in documents(Path()):
        before = path.read_text(encoding="utf-8")
        after = filled(before, Path())
        if after != before:
            write_text(path, after)
            print(f"{path}: written anew", file=sys.stderr)


if __name__ == "__main__":
    main()
