"""Decoding with CTranslate2, the fast engine."""

from __future__ import annotations

import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nmtkd import machine
from nmtkd.decoding.search import BATCH_TOKENS, Group, NBest, Search
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan.layout import MODEL

PADDING = "<blank>"  # CTranslate2's name for fairseq's padding
UNDER_WAY = 2000  # lines queued at once for a device: enough for its workers, few for memory and progress


def nbest_lists(folder: Path, groups: Iterable[Group], search: Search) -> Iterator[NBest]:
    """Converts the model of `folder` and yields the n-best list of each line."""
    from nmtkd.decoding.conversion import Converter

    yield from of_converter(
        Converter(str(folder / MODEL), str(folder), bridge.SOURCE, bridge.TARGET), groups, search
    )


def of_converter(converter: Any, groups: Iterable[Group], search: Search) -> Iterator[NBest]:
    """Yields the n-best list of each line by the model of `converter`. Several groups are decoded at once.

    By all GPUs that may be used, with a worker each; on a CPU by a worker a thread.
    """
    import ctranslate2
    import torch

    device, gpus, threads = machine.device(), machine.gpus(), torch.get_num_threads()
    with tempfile.TemporaryDirectory() as converted, _lacking_library_told():
        with bridge.quiet():
            converter.convert(converted, force=True)
        translator = ctranslate2.Translator(
            converted,
            device=device,
            device_index=list(range(gpus)) or 0,
            compute_type="float32",
            inter_threads=1 if gpus else machine.threads(),  # of each device
            intra_threads=1,
        )
        # A translator sets OpenMP's number of threads, which is torch's too: a training would go on with one,
        # and a killed one would not end in the same bytes.
        torch.set_num_threads(threads)
        waiting, most = deque[Any](), UNDER_WAY * max(1, gpus)
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
