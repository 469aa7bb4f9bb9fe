"""How often the paired bootstrap says "difference" where there is none, by the size of the test set.

    python bench/small_tests.py [--systems KEY KEY]... [--tokeniser NAME] [--trials N]  # after `dvc repro`

Of two systems' translations of the test set, n segments are drawn, and of each segment the two outputs are
exchanged or not, by chance: two systems then that truly do not differ. A test at 95% confidence may call
5 of 100 such pairs different. The same is done with whole groups of segments, where the corpus has any.
report.min_segments and headline.LEAST_GROUPS rest on these figures. A round is a pair of systems.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence

import harness
import numpy as np

from nmtkd.evidence.bootstrap import Array, bootstrap, by_group, sentence_statistics
from nmtkd.evidence.headline import LEAST_GROUPS
from nmtkd.evidence.results import BEAM, read_lines
from nmtkd.evidence.statistics import judged
from nmtkd.plan import layout, params
from nmtkd.plan.schema import Report
from nmtkd.text import languages

SEGMENTS = (1, 5, 10, 25, 50, 100, 200, 400)
GROUPS = (5, 10, 20, 30, 40, 50)
SYSTEMS = [  # the comparisons of the default study
    (f"plain-{capacity}-clean-1", f"{method}-1")
    for capacity in ("tiny", "small")
    for method in (f"word-{capacity}-clean", f"seq-{capacity}-clean-beam", f"both-{capacity}-clean-beam")
]
GOAL = "<= 1.5"  # of a test set that is large enough: the rate of false differences beside the one asked for
SEED = 1  # of what is drawn and exchanged
SPLIT = "test"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--systems", nargs=2, action="append", metavar="KEY", help="a pair of runs")
    parser.add_argument("--tokeniser", default=languages.DEFAULT)
    parser.add_argument("--trials", type=int, default=2000, help="of a size and a pair of systems")
    asked = parser.parse_args()
    systems = asked.systems or SYSTEMS
    settings = params.load("report", path=harness.ROOT / "params.yaml").report
    references = read_lines(layout.PREPARED / f"{SPLIT}.ref")
    counted = {
        key: sentence_statistics(
            read_lines(layout.translations_dir(key) / f"{SPLIT}.{BEAM}"), references, asked.tokeniser
        )
        for key in dict.fromkeys(key for pair in systems for key in pair)
    }
    groups = read_lines(layout.PREPARED / f"{SPLIT}.groups")
    rows = table("segment", SEGMENTS, settings.min_segments, counted, systems, asked.trials, settings)
    if len(set(groups)) < len(groups):
        grouped = {key: by_group(counts, groups) for key, counts in counted.items()}
        rows += table("group", GROUPS, LEAST_GROUPS, grouped, systems, asked.trials, settings)
    facts = {
        "pairs of systems": "; ".join(f"{a} and {b}" for a, b in systems),
        "trials": f"{asked.trials} a size and pair",
        "report.min_segments": settings.min_segments,
        "LEAST_GROUPS": LEAST_GROUPS,
        "segments to draw from": f"{len(references)}, of {len(set(groups))} groups",
    }
    harness.save("small_tests", rows, facts)


def table(
    unit: str,
    sizes: Sequence[int],
    least: int,
    counted: Mapping[str, Array],
    systems: Sequence[Sequence[str]],
    trials: int,
    settings: Report,
) -> list[harness.Row]:
    """A row for each size of test set in units; `least` units are said to be enough for a verdict."""
    rows = []
    for size in (size for size in sizes if size <= min(map(len, counted.values()))):
        measured = [falsely(counted[a], counted[b], size, trials, settings) for a, b in systems]
        rows.append(
            harness.row(
                f"equal systems called different on {size} {unit}{'s' * (size > 1)}",
                f"share allowed by {100 * settings.confidence:g}% confidence",
                GOAL if size >= least else "",
                [share for share, _ in measured],
                [1.0 - settings.confidence] * len(systems),
                "share",
                note=f"interval {statistics.median(width for _, width in measured):.1f} BLEU wide",
            )
        )
    return rows


def falsely(ours: Array, theirs: Array, size: int, trials: int, settings: Report) -> tuple[float, float]:
    """The share (0 to 1) of trials that say "difference", and the median width of the interval in BLEU.

    Statistics are [units, columns], of which `size` units are drawn.
    """
    draw = np.random.default_rng(SEED)
    said, widths = 0, []
    for _ in range(trials):
        chosen = draw.choice(len(ours), size, replace=False)
        exchanged = draw.random((size, 1)) < 1 / 2
        sides = ours[chosen], theirs[chosen]
        found = bootstrap(
            np.where(exchanged, *sides)[None],
            np.where(~exchanged, *sides)[None],
            None,
            samples=settings.bootstrap_samples,
            seed=settings.bootstrap_seed,
            confidence=settings.confidence,
        )
        assert found.evidence is not None, "the bootstrap itself asks for no number of units"
        said += judged({"the only one": found}, settings.confidence)["the only one"].verdict != 0
        widths.append(found.evidence.high - found.evidence.low)
    return said / trials, statistics.median(widths)


if __name__ == "__main__":
    main()
