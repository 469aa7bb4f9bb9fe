"""Hugging Face's MarianMTModel as a side of bench/peers.py; runs in an environment of its own.

    PYTHON bench/peers/marian_side.py train|beam|greedy DATA WORK [--keep] [--bfloat16]

Training: a plain loop over our batches, padded as they come, with the fused AdamW that the library's Trainer
would take. Marian's layers are post-norm, there is no other: two layer norms less than the other sides train.
Decoding: `generate` with our model's weights, which fit name by name, on sentences of similar length.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import shared  # it puts src/ on the path
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import MarianConfig, MarianMTModel

from nmtkd import machine

SENTENCES = 64  # translated together: JoeyNMT's own default, here too
NEVER = -1e9  # a logit for what no search may write
IGNORED = -100  # cross_entropy's own mark for what does not count
BOS, PAD, EOS, UNK = range(len(shared.SPECIALS))


class Vocabulary:
    """Words and ids as fairseq has them: the weights fit."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = [*shared.SPECIALS, *words]
        self.ids = {word: number for number, word in enumerate(self.words)}

    def encode(self, line: str) -> list[int]:
        """A line's ids and the end."""
        return [*(self.ids.get(word, UNK) for word in line.split()), EOS]

    def decode(self, ids: Sequence[int]) -> str:
        """The words before the end."""
        return " ".join(self.words[number] for number in ids if number not in (BOS, PAD, EOS))


def build(vocabulary: Vocabulary, positions: int) -> MarianMTModel:
    """A model of the set-up's size, with random weights."""
    return MarianMTModel(
        MarianConfig(
            vocab_size=len(vocabulary.words),
            d_model=shared.WIDTH,
            encoder_layers=shared.ENCODER_LAYERS,
            decoder_layers=shared.DECODER_LAYERS,
            encoder_ffn_dim=shared.FFN,
            decoder_ffn_dim=shared.FFN,
            encoder_attention_heads=shared.HEADS,
            decoder_attention_heads=shared.HEADS,
            activation_function="relu",
            dropout=shared.DROPOUT,
            max_position_embeddings=positions,
            scale_embedding=True,
            init_std=shared.WIDTH**-0.5,  # as fairseq initialises its embeddings
            pad_token_id=PAD,
            bos_token_id=BOS,
            eos_token_id=EOS,
            forced_eos_token_id=None,
            decoder_start_token_id=EOS,
        )
    )


def padded(rows: Sequence[Sequence[int]], filler: int) -> torch.Tensor:
    """Rows of ids as one tensor."""
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows])


def train(asked: shared.Asked, vocabulary: Vocabulary) -> None:
    torch.manual_seed(shared.SEED)
    sources, targets = ([vocabulary.encode(line) for line in side] for side in shared.train_text(asked.data))
    batches = shared.batches(asked.work)
    model = build(vocabulary, max(map(len, sources + targets)) + 1).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=shared.LR, betas=shared.BETAS, weight_decay=shared.DECAY, fused=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda update: min(1.0, (update + 1) / shared.WARMUP)
    )  # no run gets past it
    losses: list[tuple[float, int]] = []
    for number, batch in enumerate(batches[: shared.WARM] + batches):
        if number == shared.WARM:
            since = time.perf_counter()
        source = padded([sources[line] for line in batch], PAD)
        labels = padded([targets[line] for line in batch], IGNORED)
        shifted = padded([[EOS, *targets[line][:-1]] for line in batch], PAD)
        with torch.autocast("cpu", torch.bfloat16, enabled=asked.bfloat16):
            logits = model(
                input_ids=source, attention_mask=source.ne(PAD), decoder_input_ids=shifted, use_cache=False
            ).logits
            loss = cross_entropy(
                logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=shared.SMOOTHING
            )
        loss.backward()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append((float(loss.detach()), sum(len(targets[line]) for line in batch)))
    seconds = time.perf_counter() - since
    warm, counted = losses[: shared.WARM], losses[shared.WARM :]
    tokens = sum(count for _, count in counted)
    shared.trained(tokens, seconds, mean(warm), mean(counted), transformers.__version__)


def mean(losses: Sequence[tuple[float, int]]) -> float:
    """Of losses a token and the tokens of each."""
    return sum(loss * tokens for loss, tokens in losses) / sum(tokens for _, tokens in losses)


def translate(asked: shared.Asked, vocabulary: Vocabulary) -> None:
    sources = [vocabulary.encode(line) for line in shared.lines(asked.work / "decode.src")]
    weights = torch.load(asked.work / "weights.pt", weights_only=True)
    positions = weights.pop("positions")
    model = build(vocabulary, len(positions)).eval()
    named = model.state_dict()
    for name, value in weights.items():
        place = "lm_head.weight" if name == "decoder.output_projection.weight" else f"model.{name}"
        if place in named:
            named[place].copy_(value)
        elif not name.endswith((".version", "._float_tensor")):  # fairseq's own bookkeeping
            raise SystemExit(f"error: Marian has no place for {name}")
    for side in (model.model.encoder, model.model.decoder):
        side.embed_positions.weight.data.copy_(positions)
    model.final_logits_bias[0, [BOS, PAD]] = NEVER
    options = {
        "num_beams": shared.BEAM if asked.measure == "beam" else 1,
        "max_new_tokens": shared.LIMIT,
        "length_penalty": 1.0,
    }
    outputs: list[str] = []
    batches = [sources[start : start + SENTENCES] for start in range(0, len(sources), SENTENCES)]
    for number, batch in enumerate([batches[-1], *batches]):  # the first one is start-up
        if number == 1:
            since, outputs = time.perf_counter(), []
        rows = padded(batch, PAD)
        found = model.generate(input_ids=rows, attention_mask=rows.ne(PAD).long(), do_sample=False, **options)
        outputs += [vocabulary.decode(row) for row in found.tolist()]
    name = f"marian{'+memory' * asked.keep}-{asked.measure}"
    shared.translated(outputs, time.perf_counter() - since, asked.work, name, transformers.__version__)


if __name__ == "__main__":
    command = shared.asked(__doc__)
    torch.set_num_threads(machine.threads())
    (train if command.measure == "train" else translate)(
        command, Vocabulary(shared.lines(command.work / "words.txt"))
    )
