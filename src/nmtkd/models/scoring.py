"""The teacher's distributions along a given prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from fairseq.data import Dictionary
from torch import Tensor

from nmtkd import machine, transformer
from nmtkd.models import fairseq_bridge as bridge

ROWS = 256  # positions whose logits are looked at together: they stay in the cache

# Shapes: N positions without padding, B sentences, T target positions with EOS, V vocabulary, K kept tokens.


def distributions(
    folder: Path, sources: Sequence[str], prefixes: Sequence[str], top_k: int, temperature: float, max_tokens: int
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Yields (line, ids_TK, probs_TK) for each pair of BPE lines, in no set order; T = tokens of the prefix + 1 for EOS.

    probs are softmax(logits / temperature) at each position given the prefix before it, the K largest, in float32, largest first; the
    members' mean where the teacher is an ensemble. The teacher is in eval mode.
    Raises bridge.ModelError for a line that is too long, ValueError for K above V.
    """
    torch.set_num_threads(machine.threads())
    machine.keep_freed_memory()
    every = bridge.load_models(folder, machine.device())
    loaded = every[0]
    if top_k > len(loaded.dictionary):
        raise ValueError(f"score.top_k: {top_k} tokens asked for, the dictionary has {len(loaded.dictionary)}; lower it")
    dataset = bridge.pairs(loaded, sources, prefixes)
    for batch in bridge.batches(dataset, max_tokens):
        sample = bridge.collate(dataset, batch, loaded.device)
        real_BT = sample["target"].ne(loaded.dictionary.pad())
        with torch.inference_mode():
            features = [(one.model, transformer.features(one.model, **sample["net_input"])[real_BT]) for one in every]
            parts = [
                _best(
                    [transformer.project(model, features_NC[start : start + ROWS]) / temperature for model, features_NC in features], top_k
                )
                for start in range(0, int(real_BT.sum()), ROWS)
            ]
        ids_NK, probs_NK = (torch.cat(side).cpu() for side in zip(*parts, strict=True))
        lengths = real_BT.sum(1).tolist()
        yield from zip(sample["id"].tolist(), torch.split(ids_NK, lengths), torch.split(probs_NK, lengths), strict=True)


def _best(logits: Sequence[Tensor], top_k: int) -> tuple[Tensor, Tensor]:
    """Tokens and values of the k largest probabilities [N, K] of softmax(logits) [N, V], or of the members' mean; largest first."""
    views = [torch.softmax(one.float(), dim=-1) for one in logits]
    probs_NK, ids_NK = (views[0] if len(views) == 1 else torch.stack(views).mean(0)).topk(top_k, dim=-1)
    return ids_NK, probs_NK


def vocabulary(folder: Path) -> int:
    """Tokens that a model of this folder can write, fairseq's special ones included."""
    return len(Dictionary.load(str(folder / f"dict.{bridge.TARGET}.txt")))


def forced(
    folder: Path, sources: Sequence[str], prefixes: Sequence[str], max_tokens: int, progress: Callable[[int, int], None]
) -> list[tuple[str, float]]:
    """Teacher forcing: the argmax at each gold prefix, up to the first EOS among them; score = mean log probability of what is kept.

    The gold text's own EOS position is read too, so an output may be one token longer than the gold text.
    """
    loaded_dictionary = Dictionary.load(str(folder / f"dict.{bridge.TARGET}.txt"))
    eos = loaded_dictionary.eos()
    found: list[tuple[str, float]] = [("", 0.0)] * len(sources)
    for done, (line, ids_TK, probs_TK) in enumerate(distributions(folder, sources, prefixes, 1, 1.0, max_tokens), start=1):
        ids_T, probs_T = ids_TK[:, 0], probs_TK[:, 0]
        ends = (ids_T == eos).nonzero()
        length = int(ends[0]) if len(ends) else len(ids_T)
        kept = probs_T[: length + 1].log().mean()
        found[line] = (bridge.text(loaded_dictionary, ids_T[:length]), float(kept))
        progress(done, len(sources))
    return found
