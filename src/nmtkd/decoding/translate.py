"""Translation of BPE lines with a trained model, by either engine."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nmtkd import machine
from nmtkd.decoding import with_ctranslate2, with_fairseq
from nmtkd.decoding.search import Hypothesis, Search
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.values import FLOAT32

Progress = Callable[[int, int], None]
Numbers = NDArray[np.int64]
# Lines of a group, which is in memory as strings. Corpora of some hundred thousand lines have no larger ones.
GROUP = 2**14


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

    Only lines of the same limit share a search: a translation never depends on the other lines. No limit
    exceeds the model's positions. Raises bridge.ModelError for a source line that does, and for int8 by
    fairseq.
    """
    _check_compute(folder, engine, search.compute)
    nbest_lists = (with_ctranslate2 if _by_ctranslate2(folder, engine) else with_fairseq).nbest_lists
    positions = bridge.positions(folder)
    lengths = bridge.token_counts(sources)
    bridge.check_lengths("source", lengths, positions)
    most = positions - 1  # EOS has a position too
    groups = _groups(lengths - 1, lambda length: min(search.limit(length), most))
    nbest = nbest_lists(
        folder, (([sources[i] for i in group.tolist()], limit) for group, limit in groups), search
    )
    places = ((int(index), limit) for group, limit in groups for index in group)
    for done, ((index, limit), entries) in enumerate(zip(places, nbest, strict=True), start=1):
        yield index, [_cut(text, score, limit) for text, score in entries]
        progress(done, len(sources))


def _by_ctranslate2(folder: Path, engine: str) -> bool:
    """CTranslate2 takes a single model. fairseq translates ensembles, with the same search."""
    return engine == "ctranslate2" and len(bridge.members(folder)) == 1


def _check_compute(folder: Path, engine: str, compute: str) -> None:
    if compute != FLOAT32 and not _by_ctranslate2(folder, engine):
        raise bridge.ModelError(
            f"{folder}: fairseq translates with this model, in float32 alone; {compute} was asked for; "
            "set compute to float32"
        )


def load(folder: Path, engine: str, compute: str) -> None:
    """Loads the model of a folder into CTranslate2, if that is what translates with it.

    The next translations, if they ask for the same, find it there: their times are of translating alone.
    """
    if _by_ctranslate2(folder, engine):
        with_ctranslate2.loaded(folder, compute)


def gpus(folder: Path, engine: str) -> int:
    """GPUs that translate with the model of a folder: all by CTranslate2, one by fairseq; 0 on a CPU."""
    return machine.gpus() if _by_ctranslate2(folder, engine) else min(machine.gpus(), 1)


def _groups(lengths_N: Numbers, limit: Callable[[int], int]) -> list[tuple[Numbers, int]]:
    """Indices of lines that share a limit, at most GROUP, and the limit. It must grow with a line's length.

    The longest lines come first: else the slowest batch would run last, beside idle workers.
    """
    order_N = np.argsort(-lengths_N, kind="stable")
    limits = {int(length): limit(int(length)) for length in np.unique(lengths_N)}
    limits_N = np.fromiter((limits[length] for length in lengths_N[order_N].tolist()), np.int64, len(order_N))
    groups = np.split(order_N, np.flatnonzero(np.diff(limits_N)) + 1) if len(order_N) else []
    return [
        (group[start : start + GROUP], limits[int(lengths_N[group[0]])])
        for group in groups
        for start in range(0, len(group), GROUP)
    ]


def _cut(text: str, score: float, limit: int) -> Hypothesis:
    pieces = text.split()
    return Hypothesis(text=" ".join(pieces[:limit]), score=round(score, 4), truncated=len(pieces) >= limit)


# Limit for the curve, beyond the source's length: an early model repeats tokens without end.
CURVE_OFFSET = 20


def greedy(loaded: bridge.Loaded, sources: Sequence[str]) -> list[str]:
    """Greedy translations by a model in memory, for the learning curve, in the order of `sources`.

    Limits are by the next power of two above a source's length: groups are few, and no short line waits for
    the longest one to end.
    """
    from nmtkd.decoding.conversion import InMemory

    most = loaded.positions() - 1  # EOS has a position too
    lengths = bridge.token_counts(sources) - 1
    groups = _groups(lengths, lambda length: min((1 << length.bit_length()) + CURVE_OFFSET, most))
    search = Search(beam=1, length_penalty=1.0, max_length_factor=1.0, max_length_offset=CURVE_OFFSET)
    limited = [([sources[i] for i in group.tolist()], limit) for group, limit in groups]
    # On a CPU this takes half a second less than fairseq's search, conversion included; a training calls it
    # eight times.
    if loaded.device == "cpu":
        nbest = with_ctranslate2.of_converter(InMemory(loaded), limited, search)
    else:
        each = (with_fairseq.generate([loaded], lines, search, limit) for lines, limit in limited)
        nbest = itertools.chain.from_iterable(each)
    indices = [int(index) for group, _ in groups for index in group]
    found = dict(zip(indices, nbest, strict=True))
    return [found[index][0][0] for index in range(len(sources))]
