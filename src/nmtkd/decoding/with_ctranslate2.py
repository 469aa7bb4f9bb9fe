"""Decoding with CTranslate2, the fast engine."""

from __future__ import annotations

import functools
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nmtkd import machine
from nmtkd.decoding.search import BATCH_TOKENS, Group, NBest, Search
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.layout import MODEL
from nmtkd.plan.values import FLOAT32

PADDING = "<blank>"  # CTranslate2's name for fairseq's padding
UNDER_WAY = 2000  # lines queued at once for a device: enough for its workers, few for memory and progress

Files = tuple[tuple[str, int, int, int, int], ...]  # name, device, inode, time and size of each


@dataclass(frozen=True)
class Workers:
    """What translates: a worker on each GPU, or on a CPU one a thread."""

    device: str
    gpus: int
    threads: int

    @classmethod
    def here(cls) -> Workers:
        """Those of this machine."""
        return cls(machine.device(), machine.gpus(), machine.threads())


def nbest_lists(folder: Path, groups: Iterable[Group], search: Search) -> Iterator[NBest]:
    """Yields the n-best list of each line by the model of `folder`, which is converted once."""
    yield from _translated(loaded(folder, search.compute), groups, search)


def of_converter(converter: Any, groups: Iterable[Group], search: Search) -> Iterator[NBest]:
    """Yields the n-best list of each line by the model of `converter`, which is converted each time."""
    yield from _translated(_translator(converter, search.compute, Workers.here()), groups, search)


def loaded(folder: Path, compute: str) -> Any:
    """The translator of the model of `folder`, by all workers of this machine: the last one, if it is that.

    `compute` is the type of its matrix products. Raises machine.MachineError where the device lacks it.
    """
    return _kept(folder.resolve(), _files(folder), compute, Workers.here())


def forget() -> None:
    """Lets go of the translator that is kept: the next translation converts its model anew."""
    _kept.cache_clear()


def _files(folder: Path) -> Files:
    """What tells a model from one that was trained again in its place."""
    found = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    return tuple((name, stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_size) for name, stat in found)


@functools.lru_cache(maxsize=1)  # a stage translates with one model, by several length penalties
def _kept(folder: Path, files: Files, compute: str, workers: Workers) -> Any:
    from nmtkd.decoding.conversion import Converter

    converter = Converter(str(folder / MODEL), str(folder), bridge.SOURCE, bridge.TARGET)
    return _translator(converter, compute, workers)


def _translator(converter: Any, compute: str, workers: Workers) -> Any:
    """CTranslate2's translator. The converted files are needed until it has read them."""
    import ctranslate2
    import torch

    # CTranslate2 by itself takes another type where a device lacks the one that is asked for.
    if compute != FLOAT32 and compute not in ctranslate2.get_supported_compute_types(workers.device):
        raise machine.MachineError(
            f"compute: CTranslate2 has no {compute} on this {workers.device}; set compute to float32"
        )
    threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as converted, _lacking_library_told():
        with bridge.quiet():
            converter.convert(converted, force=True)
        translator = ctranslate2.Translator(
            converted,
            device=workers.device,
            device_index=list(range(workers.gpus)) or 0,
            compute_type=compute,
            inter_threads=1 if workers.gpus else workers.threads,  # of each device
            intra_threads=1,
        )
    # A translator sets OpenMP's number of threads, which is torch's too: a training would go on with one,
    # and a killed one would not end in the same bytes.
    torch.set_num_threads(threads)
    return translator


def _translated(translator: Any, groups: Iterable[Group], search: Search) -> Iterator[NBest]:
    """Yields the n-best list of each line. Several groups are decoded at once."""
    waiting, most = deque[Any](), UNDER_WAY * max(1, machine.gpus())
    with _lacking_library_told():
        for lines, limit in groups:
            waiting += translator.translate_batch(
                [line.split() for line in lines],
                beam_size=search.beam,
                num_hypotheses=search.nbest,
                length_penalty=search.length_penalty,
                max_decoding_length=limit,
                # An untrained model may give padding a high probability; fairseq's generator never writes it.
                suppress_sequences=[[PADDING]],
                max_input_length=0,  # no input is cut
                max_batch_size=BATCH_TOKENS,
                batch_type="tokens",
                return_scores=True,
                asynchronous=True,
            )
            while len(waiting) > most:
                yield _nbest(waiting.popleft())
        while waiting:
            yield _nbest(waiting.popleft())


@contextmanager
def _lacking_library_told() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "libcu" not in str(error):
            raise
        raise machine.MachineError(
            f"CTranslate2: {error}; it is built for CUDA 12: install nvidia-cublas-cu12 and name its folder "
            "lib in LD_LIBRARY_PATH, or set NMTKD_DEVICE=cpu for this stage"
        ) from None


def _nbest(pending: Any) -> NBest:
    result = pending.result()
    return [(" ".join(tokens), score) for tokens, score in zip(result.hypotheses, result.scores, strict=True)]
