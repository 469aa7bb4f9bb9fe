"""`report`: tables, figures and the page from the scores of the grid's runs. `report --show`: a summary."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from stages import entry, output  # first: it puts src/ on the path

from nmtkd.evidence import report, screen
from nmtkd.plan import layout, params


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--show", action="store_true", help="print the last screen again, write nothing")
    args = parser.parse_args(argv)
    settings = params.load(
        "corpus.name",
        "corpus.target",
        "corpus.tests",
        "prepare.lowercase",
        "evaluate.long_words",
        "evaluate.primary",
        "evaluate.tokenize",
        "report",
        "grid",
    )
    if not args.show:
        with output(layout.REPORTS, shared=(layout.STUDIES.name,)) as made:
            report.write(settings, made.path)
    print(screen.text(settings.grid))


if __name__ == "__main__":
    entry(main)
