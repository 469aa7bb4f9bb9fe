"""Decoding with fairseq's generator: the reference engine, and the only one for sampling and ensembles."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq.search import BeamSearch
from fairseq.search import Sampling as SamplingSearch
from fairseq.sequence_generator import SequenceGenerator

from nmtkd import machine
from nmtkd.decoding.search import BATCH_TOKENS, Group, NBest, Search
from nmtkd.network import fairseq_bridge as bridge


def nbest_lists(folder: Path, groups: Iterable[Group], search: Search) -> Iterator[NBest]:
    """Yields the n-best list of each line. An ensemble's members are averaged."""
    loaded = bridge.load_models(folder, machine.device())
    for number, (lines, limit) in enumerate(groups):
        yield from generate(loaded, lines, search, limit, number)


def generate(
    members: Sequence[bridge.Loaded], sources: Sequence[str], search: Search, limit: int, group: int = 0
) -> Iterator[NBest]:
    """Yields the n-best list of each source line, in order.

    Samples depend on the seed, the group and the batch alone. Batches are cut by length: a rerun draws the
    same.
    """
    torch.set_num_threads(machine.threads())
    loaded = members[0]
    generator = _generator(members, search, limit)
    dataset = bridge.pairs(loaded, sources)
    nbest: dict[int, NBest] = {}
    following = 0
    for number, batch in enumerate(reversed(bridge.batches(dataset, BATCH_TOKENS))):
        sample = bridge.collate(dataset, batch, loaded.device)
        with torch.no_grad(), torch.random.fork_rng(enabled=search.sampling is not None):
            if search.sampling is not None:
                torch.manual_seed(
                    int(np.random.SeedSequence([search.sampling.seed, group, number]).generate_state(1)[0])
                )
            outputs = generator.generate([member.model for member in members], sample)
        for index, hypotheses in zip(sample["id"].tolist(), outputs, strict=True):
            nbest[index] = [
                (bridge.text(loaded.dictionary, h["tokens"]), float(h["score"]))
                for h in hypotheses[: search.nbest]
            ]
        while following in nbest:
            yield nbest.pop(following)
            following += 1


class NormalisedSampling(SamplingSearch):
    """Sampling from probabilities that are normalised over the allowed tokens first.

    Otherwise the EOS that is forced at the limit may have a probability that is 0 in float32.
    """

    def step(self, step: int, lprobs: torch.Tensor, *rest: Any) -> Any:
        """fairseq's step, on normalised log-probabilities."""
        return super().step(step, torch.log_softmax(lprobs, dim=-1), *rest)


def _generator(members: Sequence[bridge.Loaded], search: Search, limit: int) -> SequenceGenerator:
    """fairseq's search for outputs of at most `limit` tokens."""
    words, sampling = members[0].dictionary, search.sampling
    if sampling is None:
        strategy = BeamSearch(words)
    else:
        strategy = NormalisedSampling(words, sampling_topp=sampling.top_p if sampling.top_p < 1.0 else -1.0)
    return SequenceGenerator(
        [member.model for member in members],
        words,
        beam_size=search.beam,
        len_penalty=search.length_penalty,
        max_len_a=0,
        max_len_b=limit,
        temperature=1.0 if sampling is None else sampling.temperature,
        search_strategy=strategy,
    )
