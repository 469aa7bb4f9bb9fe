"""Translating with a trained model: CTranslate2 for speed, fairseq's generator as the other engine and the reference."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nmtkd import machine
from nmtkd.models import fairseq_bridge as bridge

BATCH_TOKENS = 4096  # source tokens decoded together; changes speed and memory, not what is found
CHUNK = 2000  # lines between two progress lines

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Search:
    """Beam search (beam 1 is greedy). An output may have factor * (source length) + offset BPE tokens and is cut there."""

    beam: int
    nbest: int = 1
    length_penalty: float
    max_length_factor: float
    max_length_offset: int

    def limit(self, source: str) -> int:
        """Most BPE tokens of an output."""
        return int(self.max_length_factor * len(source.split())) + self.max_length_offset


@dataclass(frozen=True, kw_only=True)
class Hypothesis:
    """A translation in BPE; score = log probability / length ** length_penalty; truncated where it met the limit."""

    text: str
    score: float
    truncated: bool


def _silent(done: int, total: int) -> None:
    pass


def translate(folder: Path, sources: Sequence[str], search: Search, engine: str, progress: Progress = _silent) -> list[list[Hypothesis]]:
    """The n best translations of each source line (BPE), best first, in the order of `sources`."""
    run = {"ctranslate2": _ctranslate2, "fairseq": _fairseq}[engine]
    # Longest first: batches hold lines of like length, and the slowest batch does not come last and alone.
    order = sorted(range(len(sources)), key=lambda index: (-len(sources[index].split()), index))
    found: list[list[Hypothesis] | None] = [None] * len(sources)
    raw = run(folder, [sources[index] for index in order], search)
    for done, (index, hypotheses) in enumerate(zip(order, raw, strict=True), start=1):
        found[index] = [_cut(text, score, search.limit(sources[index])) for text, score in hypotheses]
        progress(done, len(sources))
    return [hypotheses for hypotheses in found if hypotheses is not None]


def _cut(text: str, score: float, limit: int) -> Hypothesis:
    pieces = text.split()
    return Hypothesis(text=" ".join(pieces[:limit]), score=round(score, 4), truncated=len(pieces) >= limit)


Raw = list[tuple[str, float]]


def _ctranslate2(folder: Path, sources: Sequence[str], search: Search) -> Iterator[Raw]:
    """Yields the raw n-best list of each line."""
    import ctranslate2
    from ctranslate2.converters import FairseqConverter

    device = machine.device()
    threads = machine.threads()
    with tempfile.TemporaryDirectory() as converted:
        with bridge.quiet():
            FairseqConverter(str(folder / bridge.MODEL), str(folder), bridge.SOURCE, bridge.TARGET).convert(converted, force=True)
        translator = ctranslate2.Translator(
            converted, device=device, compute_type="float32", inter_threads=1 if device == "cuda" else threads, intra_threads=1
        )
        for start in range(0, len(sources), CHUNK):
            chunk = [line.split() for line in sources[start : start + CHUNK]]
            limit = max(search.limit(line) for line in sources[start : start + CHUNK])
            results = translator.translate_batch(
                chunk,
                beam_size=search.beam,
                num_hypotheses=search.nbest,
                length_penalty=search.length_penalty,
                max_decoding_length=limit,
                max_input_length=0,  # no input is cut: 0 is CTranslate2's word for that
                max_batch_size=BATCH_TOKENS,
                batch_type="tokens",
                return_scores=True,
            )
            for result in results:
                yield [(" ".join(tokens), score) for tokens, score in zip(result.hypotheses, result.scores, strict=True)]


def _fairseq(folder: Path, sources: Sequence[str], search: Search) -> Iterator[Raw]:
    loaded = bridge.load_model(folder, machine.device())
    yield from _generate(loaded, sources, search)


def _generate(loaded: bridge.Loaded, sources: Sequence[str], search: Search) -> Iterator[Raw]:
    torch.set_num_threads(machine.threads())
    generator = bridge.generator(loaded, search.beam, search.length_penalty, search.max_length_factor, search.max_length_offset)
    dataset = bridge.pairs(loaded, sources)
    found: dict[int, Raw] = {}
    following = 0
    for batch in reversed(bridge.batches(dataset, BATCH_TOKENS)):
        sample = bridge.collate(dataset, batch, loaded.device)
        with torch.no_grad():
            outputs = generator.generate([loaded.model], sample)
        for index, hypotheses in zip(sample["id"].tolist(), outputs, strict=True):
            found[index] = [(bridge.text(loaded.dictionary, h["tokens"]), float(h["score"])) for h in hypotheses[: search.nbest]]
        while following in found:
            yield found.pop(following)
            following += 1


def greedy(loaded: bridge.Loaded, sources: Sequence[str]) -> list[str]:
    """Greedy translations of a model in memory: the learning curve's view of it."""
    search = Search(beam=1, length_penalty=1.0, max_length_factor=1.0, max_length_offset=CURVE_OFFSET)
    return [hypotheses[0][0] for hypotheses in _generate(loaded, sources, search)]


CURVE_OFFSET = 20  # an early model loops: its outputs for the curve end soon after the length of the source
