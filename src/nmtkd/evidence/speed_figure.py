"""What page.js fills in: cells of times and rates, and the figure of quality against speed.

Here stands what is the same on every machine: the models, and which files of reports/machine/ to load.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape

from nmtkd.evidence.canvas import INK, FigureData
from nmtkd.evidence.machine_facts import NOTHING
from nmtkd.evidence.results import PLOTTED
from nmtkd.evidence.summaries import Summary
from nmtkd.plan import layout
from nmtkd.plan.layout import DECODING, TRAINING

FIGURE = "quality_and_speed"
TEACHER_STYLE = (INK, "*")
COLUMNS = {"sent/s": "beam", "train s": "seconds"}  # the column's head: the value, as page.js names it
UNMEASURED = (
    "No speed was measured of these very models: they come from a cache, "
    "or the folder <code>machine</code> is not beside this page."
)

NOTE = (
    "sent/s: sentences a second by beam search. train s: seconds of training. "
    "Both are of the machine that the figure names; stages that ran side by side slowed each other. "
    f"{NOTHING}: these very models were not measured, for they come from a cache."
)


def cells(summary: Summary) -> str:
    """A row's cells for times and rates."""
    runs = escape(_runs(summary.models))
    return "".join(
        f'<td data-value="{value}" data-runs="{runs}">{NOTHING}</td>' for value in COLUMNS.values()
    )


def figure(data: FigureData) -> str:
    """An empty figure and the points that it may show."""
    points = [
        {
            "method": summary.method,
            "capacity": summary.capacity,
            "style": data.styles.get(summary.method, TEACHER_STYLE),
            "bleu": {search: round(data.bleu(summary, search).mean, 2) for search in PLOTTED},
            "runs": _runs(summary.models),
        }
        for summary in data.base()
    ]
    content = json.dumps(
        {"axis": f"{data.headline.label} on {data.headline.name}", "points": points}, sort_keys=True
    )
    content = content.replace("<", "\\u003c")  # a script ends at the next "</"
    caption = (
        f"{data.headline.label} by translation speed: filled marks by beam search, "
        "hollow marks by greedy search."
        f"{data.scope(bars=False)}"
    )
    return (
        f'<figure id="{FIGURE}"><h3>Quality against speed</h3>'
        f'<div class="plot" tabindex="0"><p>{UNMEASURED}</p></div>'
        f"<figcaption>{escape(caption)} <span></span></figcaption>"
        f'<script type="application/json">{content}</script></figure>\n'
    )


def scripts(summaries: Sequence[Summary]) -> str:
    """Loads the facts of every model. A file that is not there is left out by the browser."""
    keys = [key for summary in summaries for key in summary.models]
    paths = [layout.machine_file(kind, key) for key in keys for kind in (TRAINING, DECODING)]
    return "".join(f'<script src="{path.relative_to(layout.REPORTS)}"></script>\n' for path in paths)


def note() -> str:
    """What the two columns mean."""
    return NOTE


def _runs(models: Mapping[str, str]) -> str:
    """Keys and content hashes as page.js reads them."""
    return " ".join(f"{key}:{model}" for key, model in models.items())
