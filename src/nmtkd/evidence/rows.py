"""Results as rows of the CSV files in reports/, for plots and for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from nmtkd.evidence.results import PLOTTED, VALID, Data, Result

RESULTS_HEADER = "corpus,pair,method,capacity,noise,decoding,seed,split,search,metric,value,signature"
ADAPTED_HEADER = "key,fact,value"
RUNS_HEADER = (
    "key,method,capacity,noise,decoding,seed,parameters,precision,"
    f"{','.join(Data.model_fields)},length_penalty,climb"
)


def tidy_rows(results: Iterable[Result]) -> list[list[str]]:
    """results.csv without its header: one score a row."""
    return [
        [
            *(result.corpus, result.pair, *result.cell, str(result.seed)),
            *(score.split, score.search, score.metric, f"{score.value:.4f}", score.signature),
        ]
        for result in results
        for score in result.scores
    ]


def adapted_rows(results: Iterable[Result]) -> list[list[str]]:
    """adapted.csv without its header: what students chose for themselves, one fact a row."""
    rows = []
    for result in results:
        facts: dict[str, float] = {f"valid_bleu_at_gate_{gate}": bleu for gate, bleu in result.tried.items()}
        facts |= {"gate": result.gate} if result.gate is not None else {}
        facts |= result.gates.model_dump() if result.gates else {}
        for name, value in facts.items():
            rows.append([result.key, name, f"{value:.4f}" if isinstance(value, float) else str(value)])
    return rows


def bleu_header(metric: str) -> str:
    """Of bleu.csv: its last column is named after the metric that models are compared by."""
    return f"capacity,parameters,method,noise,decoding,seed,search,valid_{metric}"


def bleu_rows(results: Iterable[Result], metric: str) -> list[list[str]]:
    """bleu.csv without its header: `metric` on the validation set, by which parameters are chosen."""
    rows = []
    for result in results:
        facts = [result.capacity, str(result.parameters), result.method, result.noise, result.decoding]
        for search in PLOTTED:
            rows.append([*facts, str(result.seed), search, f"{result.score(VALID, search, metric):.4f}"])
    return rows


def run_rows(results: Iterable[Result], climbs: Mapping[str, float | None]) -> list[list[str]]:
    """runs.csv without its header: what each model was trained on, its length penalty, and its climb.

    `climbs` has by key what the learning curve still gains, in BLEU (curves.climb).
    """
    rows = []
    for result in results:
        facts = [
            *result.cell,
            result.seed,
            result.parameters,
            result.precision,
            *result.data.model_dump().values(),
        ]
        climb = climbs[result.key]
        own = [str(result.length_penalty), "" if climb is None else f"{climb:.4f}"]
        rows.append([result.key, *map(str, facts), *own])
    return rows
