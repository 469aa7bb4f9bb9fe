"""How often the paired bootstrap says "difference" where there is none, by the size of the test set.

    python bench/small_tests.py [--systems KEY KEY]... [--tokeniser NAME] [--trials N]  # after `dvc repro`

Of two systems' translations of the test set, n segments are drawn, and of each segment the two outputs are
exchanged or not, by chance: two systems then that truly do not differ. A test at 95% confidence may call
5 of 100 such pairs different. report.min_segments rests on these figures. A round is a pair of systems.
"""

from __future__ import annotations

import argparse
import statistics

import harness
import numpy as np

from nmtkd.evidence.results import BEAM, read_lines
from nmtkd.evidence.statistics import Array, bootstrap, sentence_statistics
from nmtkd.plan import layout, params
from nmtkd.plan.schema import Report
from nmtkd.text import languages

SEGMENTS = (1, 5, 10, 25, 50, 100, 200, 400)
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
    rows = []
    for segments in SEGMENTS:
        measured = [falsely(counted[a], counted[b], segments, asked.trials, settings) for a, b in systems]
        allowed = [1.0 - settings.confidence] * len(systems)
        width = statistics.median(width for _, width in measured)
        rows.append(
            harness.row(
                f"equal systems called different on {segments} segment{'s' * (segments > 1)}",
                f"share allowed by {100 * settings.confidence:g}% confidence",
                GOAL if segments >= settings.min_segments else "",
                [share for share, _ in measured],
                allowed,
                "share",
                note=f"interval {width:.1f} BLEU wide",
            )
        )
    facts = {
        "pairs of systems": "; ".join(f"{a} and {b}" for a, b in systems),
        "trials": f"{asked.trials} a size and pair",
        "report.min_segments": settings.min_segments,
        "segments to draw from": len(references),
    }
    harness.save("small_tests", rows, facts)


def falsely(ours: Array, theirs: Array, segments: int, trials: int, settings: Report) -> tuple[float, float]:
    """The share (0 to 1) of trials that say "difference", and the median width of the interval in BLEU."""
    draw = np.random.default_rng(SEED)
    said, widths = 0, []
    for _ in range(trials):
        chosen = draw.choice(len(ours), segments, replace=False)
        exchanged = draw.random((segments, 1)) < 1 / 2
        sides = ours[chosen], theirs[chosen]
        found = bootstrap(
            np.where(exchanged, *sides),
            np.where(~exchanged, *sides),
            samples=settings.bootstrap_samples,
            seed=settings.bootstrap_seed,
            confidence=settings.confidence,
        )
        assert found.evidence is not None, "the bootstrap itself asks for no number of segments"
        said += found.verdict != 0
        widths.append(found.evidence.high - found.evidence.low)
    return said / trials, statistics.median(widths)


if __name__ == "__main__":
    main()
