"""The teacher's distributions along given prefixes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nmtkd import machine, processes
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import gpu_memory, transformer
from nmtkd.network.matmul import matmul_transposed
from nmtkd.network.precision import products_in
from nmtkd.plan.values import FLOAT32

Row = tuple[int, Tensor, Tensor]  # line, ids_TK, probs_TK
ROWS = 256  # positions of a chunk of logits: it stays in the cache

# Shapes: N positions without padding, B sentences, T target positions with EOS, V vocabulary, K kept tokens.


def distributions(
    folder: Path,
    sources: Sequence[str],
    prefixes: Sequence[str],
    top_k: int,
    temperature: float,
    max_tokens: int,
    precision: str = FLOAT32,
) -> Iterator[Row]:
    """Yields (line, ids_TK, probs_TK) for each pair of BPE lines, in any order. T counts EOS.

    probs are the K largest of softmax(logits / temperature) at each position, given the prefix before it, in
    float32, largest first. `precision` is that of all products but those of the logits. An ensemble's members
    are averaged. The teacher is in eval mode. A line longer than `max_tokens` is a batch by itself. Processes
    that share the work cut the same batches, and each yields the lines of its own.

    Raises bridge.ModelError for a line beyond the model's positions, ValueError for K above V,
    machine.MachineError for a GPU whose memory is too small.
    """
    torch.set_num_threads(machine.threads())
    machine.keep_freed_memory()
    members = bridge.load_models(folder, machine.device())
    loaded = members[0]
    if top_k > len(loaded.dictionary):
        raise ValueError(
            f"targets.top_k: {top_k} tokens asked for, the dictionary has {len(loaded.dictionary)}; lower it"
        )
    dataset = bridge.pairs(loaded, sources, prefixes)
    for _, batch in processes.share(bridge.batches(dataset, max_tokens)):

        def scored(lines: Sequence[int] = batch) -> tuple[dict[str, Any], list[Row]]:
            sample = bridge.collate(dataset, lines, loaded.device)
            return sample, list(_scored(members, sample, top_k, temperature, precision))

        def trial(lines: Sequence[int] = batch) -> gpu_memory.Trial:
            return gpu_memory.Trial(
                setting="targets.max_tokens",
                value=max_tokens,
                remedy="lower it",
                rows=len(lines),
                tokens=int(dataset.num_tokens_vec(np.array(lines)).max()) * len(lines),
                compute=lambda rows: gpu_memory.tokens(scored(lines[::-1][:rows])[0]),
            )

        yield from gpu_memory.fitted(scored, trial)[1]


def _scored(
    members: Sequence[bridge.Loaded], sample: dict[str, Any], top_k: int, temperature: float, precision: str
) -> Iterator[Row]:
    """The rows of a batch."""
    real_BT = sample["target"].ne(members[0].dictionary.pad())
    outputs = [member.model.decoder.output_projection.weight for member in members]
    with torch.inference_mode():
        with products_in(precision, real_BT.device.type):
            features = [transformer.features(one.model, **sample["net_input"])[real_BT] for one in members]
        exact = [
            features_NC.to(output_VC.dtype) for features_NC, output_VC in zip(features, outputs, strict=True)
        ]
        parts = []
        for start in range(0, len(exact[0]), ROWS):
            logits = [
                matmul_transposed(features_NC[start : start + ROWS], output_VC)
                for features_NC, output_VC in zip(exact, outputs, strict=True)
            ]
            top = transformer.soften(logits, temperature).topk(top_k, dim=-1)
            parts.append((top.indices, top.values))
    ids_NK, probs_NK = (torch.cat(chunks).cpu() for chunks in zip(*parts, strict=True))
    lengths = real_BT.sum(1).tolist()
    return zip(
        sample["id"].tolist(), torch.split(ids_NK, lengths), torch.split(probs_NK, lengths), strict=True
    )


def vocabulary(folder: Path) -> int:
    """Size of the target dictionary of a model's folder, fairseq's special tokens included."""
    return len(bridge.target_dictionary(folder))


def forced(
    folder: Path,
    sources: Sequence[str],
    prefixes: Sequence[str],
    max_tokens: int,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, str, float]]:
    """Teacher forcing: yields (line, text, score), in no set order.

    The text is the argmax at each gold prefix, up to the first EOS. The score is the mean log probability of
    these tokens, EOS included. Without an EOS the text is one token longer than the gold text, whose EOS
    position is read too.
    """
    dictionary = bridge.target_dictionary(folder)
    eos = dictionary.eos()
    for done, (line, ids_TK, probs_TK) in enumerate(
        distributions(folder, sources, prefixes, 1, 1.0, max_tokens), start=1
    ):
        ids_T, probs_T = ids_TK[:, 0], probs_TK[:, 0]
        ends = (ids_T == eos).nonzero()
        length = int(ends[0]) if len(ends) else len(ids_T)
        score = probs_T[: length + 1].log().mean()
        yield line, bridge.text(dictionary, ids_T[:length]), float(score)
        progress(done, len(sources))
