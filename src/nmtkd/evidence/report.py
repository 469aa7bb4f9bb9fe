"""What the stage `report` writes: tables, figures and the page, from the scores of the grid's runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nmtkd import files
from nmtkd.evidence import canvas, curves, figures, page, results, rows, screen, tables
from nmtkd.evidence.bootstrap import bleu, sentence_statistics
from nmtkd.evidence.findings import Findings
from nmtkd.evidence.headline import Headline
from nmtkd.evidence.results import Result, ResultsError
from nmtkd.evidence.summaries import summarise
from nmtkd.plan import layout
from nmtkd.plan.runs import methods
from nmtkd.plan.schema import Params
from nmtkd.text import provenance, words
from nmtkd.text.yardstick import primary

PERFECT = 100.0  # BLEU of a text against itself
KEPT = ("table.md", "results.csv", "runs.csv")  # of a study, for good: small files


def write(settings: Params, out: Path) -> None:
    """Writes the content of reports/ into `out`: no byte of it depends on how fast a machine is."""
    grid = settings.grid
    level = f"{100 * settings.report.confidence:g}%"
    card = files.read_object(layout.PREPARED / layout.CARD, "splits", "ceiling")
    headline = _headline(settings, card)
    runs = results.read(grid, settings.corpus.tests, metric=headline.metric)
    points = {run.key: curves.read_curve(layout.translations_dir(run.key) / layout.CURVE) for run in runs}
    climbs = {key: curves.climb(curve) for key, curve in points.items()}
    summaries = summarise(
        runs,
        grid,
        settings.report,
        headline,
        lambda key, search: results.read_lines(layout.translations_dir(key) / headline.hypotheses(search)),
        climbs,
    )
    table = tables.build(summaries, grid, settings.report, headline, settings.evaluate.long_words)
    means = curves.mean_curves(runs, points)
    data = canvas.FigureData(summaries, means, grid, level, headline, canvas.method_styles(methods(grid)))
    # The cells of the grid are for git.
    study = layout.study_dir(settings.corpus.name, settings.report.study)
    folders = [out / path.relative_to(layout.REPORTS) for path in (layout.FIGURES, layout.RUNS, study)]
    for folder in folders:
        folder.mkdir(parents=True)
    drawings = figures.draw(data, folders[0])
    for run in runs:
        shutil.copy(layout.scores_file(run.key), folders[1] / layout.result_file(run.key).name)
    _write_data(runs, points, climbs, headline.metric, out)
    metrics = tables.as_metrics(summaries, grid)
    # in the grid's order
    files.write_text(out / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    lead = Findings(summaries, level, headline).lead()
    files.write_text(out / screen.TABLE.name, tables.as_markdown(table, lead))
    card["noise"] = {noise: noise_facts(noise) for noise in grid.noises}
    files.write_text(out / screen.PAGE.name, page.build(runs, data, table, drawings, card))
    for name in KEPT:  # beside those of other studies, which the next run does not touch
        shutil.copy(out / name, folders[2] / name)


def _headline(settings: Params, card: Mapping[str, Any]) -> Headline:
    """The first test set. `card` is the data card of the prepared corpus."""
    name = settings.corpus.tests[0]
    yardstick = primary(settings, settings.corpus.target)
    ends = ("tgt" if yardstick.on_tokens else "ref", "groups")
    provenance.check_written(layout.PREPARED, [f"{name}.{end}" for end in ends])
    references, groups = (results.read_lines(layout.PREPARED / f"{name}.{end}") for end in ends)
    if yardstick.on_tokens:
        references = words.spaced(references)
    if len(references) != len(groups):
        raise ResultsError(
            f"{layout.PREPARED / name}.groups: names a group for each of the {len(references)} segments; "
            f"got {len(groups)} lines; prepare the corpus again"
        )
    # References of three words and fewer score 0: BLEU counts n-grams of four words.
    headline = Headline(
        name,
        references,
        groups,
        yardstick.of_text,
        settings.report.min_segments,
        PERFECT,
        yardstick.metric,
        yardstick.lowercase,
    )
    counted, lowercase = headline.counted
    ceiling = float(bleu(sentence_statistics(references, references, counted, lowercase=lowercase).sum(0)))
    # Tokens are scored as models write them: nothing is lost on the way back to text.
    if not yardstick.on_tokens:
        with files.reading(layout.PREPARED / layout.CARD, "data card"):
            ceiling = min(ceiling, float(card["ceiling"][name]["BLEU"]))
    return replace(headline, ceiling=ceiling)


def _write_data(
    runs: list[Result],
    points: Mapping[str, list[canvas.Point]],
    climbs: Mapping[str, float | None],
    metric: str,
    reports: Path,
) -> None:
    """The files for other programs."""
    files.write_csv(reports / "results.csv", rows.RESULTS_HEADER, rows.tidy_rows(runs))
    files.write_csv(reports / "runs.csv", rows.RUNS_HEADER, rows.run_rows(runs, climbs))
    files.write_csv(reports / "adapted.csv", rows.ADAPTED_HEADER, rows.adapted_rows(runs))
    files.write_csv(reports / "bleu.csv", rows.bleu_header(metric), rows.bleu_rows(runs, metric))
    files.write_csv(reports / "curves.csv", curves.CURVES_HEADER, curves.curve_rows(runs, points))


def noise_facts(noise: str) -> dict[str, Any]:
    """How many training words a noise condition changed, for the data card."""
    path = layout.noise_dir(noise) / layout.CARD
    card = files.read_object(path, "source", "target")
    names = {"hit": "words hit", "words": "words"}
    with files.reading(path, "card of a noise"):
        return {f"{side} {names[name]}": card[side][name] for side in ("source", "target") for name in names}
