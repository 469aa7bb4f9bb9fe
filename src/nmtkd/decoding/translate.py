"""Translation of BPE lines with a trained model, by either engine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from nmtkd.decoding import with_ctranslate2, with_fairseq
from nmtkd.decoding.search import Hypothesis, Search
from nmtkd.network import fairseq_bridge as bridge

Progress = Callable[[int, int], None]


def _silent(done: int, total: int) -> None:
    pass


def translate(
    folder: Path, sources: Sequence[str], search: Search, engine: str, progress: Progress = _silent
) -> list[list[Hypothesis]]:
    """The n best translations of each source line (BPE), best first, in the order of `sources`."""
    found = dict(translations(folder, sources, search, engine, progress))
    return [found[index] for index in range(len(sources))]


def translations(
    folder: Path, sources: Sequence[str], search: Search, engine: str, progress: Progress = _silent
) -> Iterator[tuple[int, list[Hypothesis]]]:
    """Yields (index, n best translations, best first) of each source line (BPE). Long lines come first.

    Only lines of the same limit share a search: a translation never depends on the other lines.
    """
    # CTranslate2 takes a single model. fairseq translates ensembles, with the same search.
    single = len(bridge.members(folder)) == 1
    nbest_lists = (with_ctranslate2 if engine == "ctranslate2" and single else with_fairseq).nbest_lists
    # Longest first: else the slowest batch would run last, beside idle workers.
    lengths = np.array([len(line.split()) for line in sources])
    order = np.argsort(-lengths, kind="stable").tolist()
    groups = [
        list(group) for _, group in itertools.groupby(order, key=lambda index: search.limit(sources[index]))
    ]
    limited = (([sources[index] for index in group], search.limit(sources[group[0]])) for group in groups)
    nbest = nbest_lists(folder, limited, search)
    indices = itertools.chain.from_iterable(groups)
    for done, (index, entries) in enumerate(zip(indices, nbest, strict=True), start=1):
        limit = search.limit(sources[index])
        yield index, [_cut(text, score, limit) for text, score in entries]
        progress(done, len(sources))


def _cut(text: str, score: float, limit: int) -> Hypothesis:
    pieces = text.split()
    return Hypothesis(text=" ".join(pieces[:limit]), score=round(score, 4), truncated=len(pieces) >= limit)


# Limit for the curve, beyond the source's length: an early model repeats tokens without end.
CURVE_OFFSET = 20


def greedy(loaded: bridge.Loaded, sources: Sequence[str]) -> list[str]:
    """Greedy translations by a model in memory, for the learning curve.

    All lines share the limit of the longest one.
    """
    from nmtkd.decoding.conversion import InMemory

    limit = max(len(line.split()) for line in sources) + CURVE_OFFSET
    search = Search(beam=1, length_penalty=1.0, max_length_factor=1.0, max_length_offset=CURVE_OFFSET)
    # On a CPU this takes half a second less than fairseq's search, conversion included; a training calls it
    # eight times.
    if loaded.device == "cpu":
        nbest = with_ctranslate2.of_converter(InMemory(loaded), [(sources, limit)], search)
    else:
        nbest = with_fairseq.generate([loaded], sources, search, limit)
    return [hypotheses[0][0] for hypotheses in nbest]
