"""`report`: tables, figures and the page from the scores of every cell of the grid."""

import json

from stages import entry  # first: it puts src/ on the path

from nmtkd import grid, machine, params
from nmtkd.evidence import canvas, curves, figures, page, results, tables


def main() -> None:
    settings = params.load("corpus", "prepare", "report", "grid")
    headline, level = settings.corpus.tests[0], f"{100 * settings.report.confidence:g}%"
    found = results.read(settings.grid, settings.corpus.tests)
    points = {one.key: curves.read_curve(grid.translations_dir(one.key) / "curve.csv") for one in found}
    summaries = tables.summarise(
        found,
        settings.grid,
        settings.report,
        headline,
        hypotheses=lambda key, search: results.read_lines(grid.translations_dir(key) / f"{headline}.{search}"),
        references=results.read_lines(grid.PREPARED / f"{headline}.ref"),
    )
    table = tables.build(summaries, settings.grid, settings.report, headline, settings.prepare.long_words)
    look = canvas.looks(tables.methods(settings.grid))
    material = canvas.Material(summaries, curves.mean_curves(found, points), settings.grid, level, headline, look)
    with machine.whole(grid.REPORTS / "figures") as out:
        drawings = figures.draw(material, out)
    results.write_csv(grid.REPORTS / "results.csv", results.RESULTS_HEADER, results.tidy_rows(found))
    results.write_csv(grid.REPORTS / "adapted.csv", results.ADAPTED_HEADER, results.adapted_rows(found))
    results.write_csv(grid.REPORTS / "speed.csv", results.SPEED_HEADER, results.speed_rows(found))
    results.write_csv(grid.REPORTS / "bleu.csv", results.BLEU_HEADER, results.bleu_rows(found, headline))
    results.write_csv(grid.REPORTS / "curves.csv", curves.CURVES_HEADER, curves.curve_rows(found, points))
    metrics = tables.as_metrics(summaries, settings.grid, headline)
    results.write_text(grid.REPORTS / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    results.write_text(grid.REPORTS / "table.md", tables.as_markdown(table))
    card = json.loads((grid.PREPARED / "card.json").read_text(encoding="utf-8"))
    card["noise"] = {name: noise_facts(name) for name in settings.grid.noises}
    html = page.build(found, summaries, table, drawings, card=card, grid=settings.grid, level=level, headline=headline)
    results.write_text(grid.REPORTS / "index.html", html)
    print(tables.as_text(table))
    print((grid.REPORTS / "index.html").resolve())


def noise_facts(name: str) -> dict[str, int]:
    """How many training words a condition hit, for the data card."""
    card = json.loads((grid.noise_dir(name) / "card.json").read_text(encoding="utf-8"))
    return {f"{side} words {kind}": card[side][kind] for side in ("source", "target") for kind in ("hit", "words")}


if __name__ == "__main__":
    entry(main)
