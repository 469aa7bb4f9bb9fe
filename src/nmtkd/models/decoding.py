"""Translating with a trained model: CTranslate2 for speed, fairseq's generator as the other engine and the reference."""

from __future__ import annotations

import itertools
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.search import BeamSearch
from fairseq.search import Sampling as SamplingSearch
from fairseq.sequence_generator import SequenceGenerator

from nmtkd import machine
from nmtkd.models import fairseq_bridge as bridge
from nmtkd.params import Sampling

BATCH_TOKENS = 4096  # source tokens decoded together; changes speed and memory, not what is found
PADDING = "<blank>"  # what CTranslate2's converter calls fairseq's padding
UNDER_WAY = 2000  # lines that CTranslate2 works on at once: enough for all workers, few enough for memory and for progress

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class Search:
    """Beam search (beam 1 is greedy), or `beam` draws with `sampling`.

    An output may have factor * (source length) + offset BPE tokens and is cut there.
    """

    beam: int
    nbest: int = 1
    length_penalty: float
    max_length_factor: float
    max_length_offset: int
    sampling: Sampling | None = None

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
    """The n best translations of each source line (BPE), best first, in the order of `sources`.

    Lines are searched together with lines of the same limit only, so that a translation never depends on the company of its line.
    """
    # CTranslate2 translates with one model: an ensemble goes to the other engine, which finds the same translations.
    run = _ctranslate2 if engine == "ctranslate2" and len(bridge.members(folder)) == 1 else _fairseq
    # Longest first: the slowest batch does not come last and alone.
    order = sorted(range(len(sources)), key=lambda index: (-len(sources[index].split()), index))
    groups = [list(group) for _, group in itertools.groupby(order, key=lambda index: search.limit(sources[index]))]
    found: dict[int, list[Hypothesis]] = {}
    raw = run(folder, [([sources[index] for index in group], search.limit(sources[group[0]])) for group in groups], search)
    for done, (index, hypotheses) in enumerate(zip(itertools.chain.from_iterable(groups), raw, strict=True), start=1):
        found[index] = [_cut(text, score, search.limit(sources[index])) for text, score in hypotheses]
        progress(done, len(sources))
    return [found[index] for index in range(len(sources))]


def _cut(text: str, score: float, limit: int) -> Hypothesis:
    pieces = text.split()
    return Hypothesis(text=" ".join(pieces[:limit]), score=round(score, 4), truncated=len(pieces) >= limit)


Raw = list[tuple[str, float]]
Group = tuple[Sequence[str], int]  # lines that share a limit


def _ctranslate2(folder: Path, groups: Sequence[Group], search: Search) -> Iterator[Raw]:
    """Yields the raw n-best list of each line."""
    from nmtkd.models.conversion import Converter

    yield from _converted(Converter(str(folder / bridge.MODEL), str(folder), bridge.SOURCE, bridge.TARGET), groups, search)


def _converted(converter: Any, groups: Sequence[Group], search: Search) -> Iterator[Raw]:
    """Several groups are under way at once: the workers never wait for one."""
    import ctranslate2

    device = machine.device()
    workers = 1 if device == "cuda" else machine.threads()
    with tempfile.TemporaryDirectory() as converted:
        with bridge.quiet():
            converter.convert(converted, force=True)
        translator = ctranslate2.Translator(converted, device=device, compute_type="float32", inter_threads=workers, intra_threads=1)
        waiting: deque[Any] = deque()
        for lines, limit in groups:
            waiting += translator.translate_batch(
                [line.split() for line in lines],
                beam_size=search.beam,
                num_hypotheses=search.nbest,
                length_penalty=search.length_penalty,
                max_decoding_length=limit,
                suppress_sequences=[[PADDING]],  # an untrained model may find it likely; fairseq's generator never writes it
                max_input_length=0,  # no input is cut: 0 is CTranslate2's word for that
                max_batch_size=BATCH_TOKENS,
                batch_type="tokens",
                return_scores=True,
                asynchronous=True,
            )
            while len(waiting) > UNDER_WAY:
                yield _raw(waiting.popleft())
        while waiting:
            yield _raw(waiting.popleft())


def _raw(pending: Any) -> Raw:
    result = pending.result()
    return [(" ".join(tokens), score) for tokens, score in zip(result.hypotheses, result.scores, strict=True)]


def _fairseq(folder: Path, groups: Sequence[Group], search: Search) -> Iterator[Raw]:
    loaded = bridge.load_models(folder, machine.device())
    for number, (lines, limit) in enumerate(groups):
        yield from _generate(loaded, lines, search, limit, number)


def _generate(every: Sequence[bridge.Loaded], sources: Sequence[str], search: Search, limit: int, group: int = 0) -> Iterator[Raw]:
    """Draws depend on the seed, the group and the batch alone: batches are cut by length, so a rerun draws the same."""
    torch.set_num_threads(machine.threads())
    loaded = every[0]
    generator = _generator(every, search, limit)
    dataset = bridge.pairs(loaded, sources)
    found: dict[int, Raw] = {}
    following = 0
    for number, batch in enumerate(reversed(bridge.batches(dataset, BATCH_TOKENS))):
        sample = bridge.collate(dataset, batch, loaded.device)
        with torch.no_grad(), torch.random.fork_rng(enabled=search.sampling is not None):
            if search.sampling is not None:
                torch.manual_seed(int(np.random.SeedSequence([search.sampling.seed, group, number]).generate_state(1)[0]))
            outputs = generator.generate([one.model for one in every], sample)
        for index, hypotheses in zip(sample["id"].tolist(), outputs, strict=True):
            found[index] = [(bridge.text(loaded.dictionary, h["tokens"]), float(h["score"])) for h in hypotheses[: search.nbest]]
        while following in found:
            yield found.pop(following)
            following += 1


class _Draws(SamplingSearch):
    """Draws among what is allowed, normalised: the end forced at the limit may have had a probability that float32 takes for 0."""

    def step(self, step: int, lprobs: torch.Tensor, *rest: Any) -> Any:
        return super().step(step, torch.log_softmax(lprobs, dim=-1), *rest)


def _generator(every: Sequence[bridge.Loaded], search: Search, limit: int) -> SequenceGenerator:
    """fairseq's search for outputs of at most `limit` tokens."""
    words, drawn = every[0].dictionary, search.sampling
    strategy = BeamSearch(words) if drawn is None else _Draws(words, sampling_topp=drawn.top_p if drawn.top_p < 1.0 else -1.0)
    return SequenceGenerator(
        [one.model for one in every],
        words,
        beam_size=search.beam,
        len_penalty=search.length_penalty,
        max_len_a=0,
        max_len_b=limit,
        temperature=1.0 if drawn is None else drawn.temperature,
        search_strategy=strategy,
    )


CURVE_OFFSET = 20  # an early model loops: its outputs for the curve end soon after the length of the source


def greedy(loaded: bridge.Loaded, sources: Sequence[str]) -> list[str]:
    """Greedy translations of a model in memory: the learning curve's view of it. All share the limit of the longest line."""
    from nmtkd.models.conversion import InMemory

    limit = max(len(line.split()) for line in sources) + CURVE_OFFSET
    search = Search(beam=1, length_penalty=1.0, max_length_factor=1.0, max_length_offset=CURVE_OFFSET)
    if loaded.device == "cpu":  # half a second sooner than fairseq's search, conversion and all; eight times a training
        found = _converted(InMemory(loaded), [(sources, limit)], search)
    else:
        found = _generate([loaded], sources, search, limit)
    return [hypotheses[0][0] for hypotheses in found]
