"""What the stage `report` writes: tables, figures and the page, from the scores of the grid's runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from typing import Any

from nmtkd import files
from nmtkd.evidence import canvas, curves, figures, page, results, screen, tables
from nmtkd.evidence.findings import Findings
from nmtkd.evidence.headline import Headline
from nmtkd.evidence.results import Result
from nmtkd.evidence.statistics import bleu, sentence_statistics
from nmtkd.evidence.summaries import Summary, summarise
from nmtkd.plan import layout
from nmtkd.plan.runs import methods
from nmtkd.plan.schema import Params
from nmtkd.text.languages import bleu_tokeniser


def write(settings: Params) -> None:
    """Writes reports/: no byte of it depends on how fast a machine is."""
    grid = settings.grid
    level = f"{100 * settings.report.confidence:g}%"
    card = files.read_json(layout.PREPARED / layout.CARD)
    headline = _headline(settings, card)
    runs = results.read(grid, settings.corpus.tests)
    points = {run.key: curves.read_curve(layout.translations_dir(run.key) / layout.CURVE) for run in runs}
    summaries = summarise(
        runs,
        grid,
        settings.report,
        headline,
        lambda key, search: results.read_lines(layout.translations_dir(key) / f"{headline.name}.{search}"),
    )
    table = tables.build(summaries, grid, settings.report, headline, settings.prepare.long_words)
    means = curves.mean_curves(runs, points)
    data = canvas.FigureData(summaries, means, grid, level, headline, canvas.method_styles(methods(grid)))
    with files.written_whole(layout.REPORTS / "figures") as out:
        drawings = figures.draw(data, out)
    with files.written_whole(layout.RUNS) as out:  # the cells of this grid, for git
        for run in runs:
            shutil.copy(layout.scores_file(run.key), out / layout.result_file(run.key).name)
    _write_data(runs, points, summaries, settings)
    lead = Findings(summaries, level, headline).lead()
    files.write_text(screen.TABLE, tables.as_markdown(table, lead))
    card["noise"] = {noise: noise_facts(noise) for noise in grid.noises}
    files.write_text(screen.PAGE, page.build(runs, data, table, drawings, card))


def _headline(settings: Params, card: Mapping[str, Any]) -> Headline:
    """The first test set. `card` is the data card of the prepared corpus."""
    name = settings.corpus.tests[0]
    references = results.read_lines(layout.PREPARED / f"{name}.ref")
    tokeniser = bleu_tokeniser(settings.corpus.target, settings.evaluate.tokenize)
    # References of three words and fewer score 0: BLEU counts n-grams of four words.
    own = float(bleu(sentence_statistics(references, references, tokeniser).sum(0)))
    ceiling = min(own, card["ceiling"][name]["BLEU"])
    return Headline(name, references, tokeniser, settings.report.min_segments, ceiling)


def _write_data(
    runs: list[Result],
    points: Mapping[str, list[canvas.Point]],
    summaries: list[Summary],
    settings: Params,
) -> None:
    """The files for other programs: CSV for plots, metrics.json for DVC."""
    headline = settings.corpus.tests[0]
    reports = layout.REPORTS
    files.write_csv(reports / "results.csv", results.RESULTS_HEADER, results.tidy_rows(runs))
    files.write_csv(reports / "adapted.csv", results.ADAPTED_HEADER, results.adapted_rows(runs))
    files.write_csv(reports / "bleu.csv", results.BLEU_HEADER, results.bleu_rows(runs, headline))
    files.write_csv(reports / "curves.csv", curves.CURVES_HEADER, curves.curve_rows(runs, points))
    metrics = tables.as_metrics(summaries, settings.grid, headline)
    files.write_text(reports / "metrics.json", json.dumps(metrics, indent=1) + "\n")  # in the grid's order


def noise_facts(noise: str) -> dict[str, Any]:
    """How many training words a noise condition changed, for the data card."""
    card = files.read_json(layout.noise_dir(noise) / layout.CARD)
    names = {"hit": "words hit", "words": "words"}
    return {f"{side} {names[name]}": card[side][name] for side in ("source", "target") for name in names}
