"""`evaluate teacher NOISE` or `evaluate FAMILY KEY`: translate the held-out sets and score them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from stages import entry, output  # first: it puts src/ on the path

from nmtkd.evidence import evaluation
from nmtkd.evidence.results import teacher_axes
from nmtkd.plan import layout, params
from nmtkd.plan.methods import FAMILIES
from nmtkd.plan.runs import Run


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=["teacher", *FAMILIES])
    parser.add_argument("key", help="a noise condition, or METHOD-CAPACITY-NOISE[-DECODING]-SEED")
    args = parser.parse_args(argv)
    settings = params.load(
        "corpus.name",
        "corpus.source",
        "corpus.target",
        "corpus.tests",
        "prepare.tokeniser",
        "prepare.lowercase",
        "evaluate",
    )
    if args.family == "teacher":
        noise = args.key
        key, trained, axes = layout.teacher_key(noise), layout.teacher_dir(noise), teacher_axes(noise)
    else:
        run = Run.from_key(args.family, args.key)
        key, trained, axes = run.key, layout.student_dir(run.key), run.axes()
    with output(layout.translations_dir(key)) as made:
        evaluation.evaluate(key, trained, axes, settings, made.path)


if __name__ == "__main__":
    entry(main)
