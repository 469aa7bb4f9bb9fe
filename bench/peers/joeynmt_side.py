"""JoeyNMT as a side of bench/peers.py; runs in an environment of its own.

    PYTHON bench/peers/joeynmt_side.py train|beam|greedy DATA WORK [--keep] [--batches] [--bfloat16]

Training: JoeyNMT's own loop (TrainManager.train_and_validate) with its own batches of `batch_size: 4096`
tokens, which it fills in random order, padding counted; with --batches, the same loop on ours. The clock runs
from the call of one training step to another, so reading a batch counts. It drops attention weights too,
which the other sides do not: it has one dropout. Decoding: JoeyNMT's `predict` with our model's weights, on
sentences of similar length; its beam search divides by Wu et al.'s length penalty, ours by the length.
"""

from __future__ import annotations

import tempfile
import time
from typing import Any

import shared  # it puts src/ on the path
import torch
from joeynmt import __version__
from joeynmt.config import parse_global_args
from joeynmt.data import load_data
from joeynmt.model import Model, build_model
from joeynmt.prediction import predict, prepare
from joeynmt.training import TrainManager
from torch.utils.data import DataLoader

from nmtkd import machine

SENTENCES = 64  # translated together: JoeyNMT's own default
SEVERAL = 1_000_000  # more updates than a measurement has: no log line and no validation in it
UNK, PAD, BOS, EOS = range(4)  # JoeyNMT's own order
FAIRSEQ = [3, 1, 2, 2]  # the row of each in our matrix; ours starts a sentence with its end mark

ATTENTION = {"k_proj": "k_layer", "v_proj": "v_layer", "q_proj": "q_layer", "out_proj": "output_layer"}
LAYER = {
    "fc1": "feed_forward.pwff_layer.0",
    "fc2": "feed_forward.pwff_layer.3",
    "final_layer_norm": "feed_forward.layer_norm",
}
NAMES = {
    "encoder": {"self_attn": "src_src_att", "self_attn_layer_norm": "layer_norm"},
    "decoder": {
        "self_attn": "trg_trg_att",
        "self_attn_layer_norm": "x_layer_norm",
        "encoder_attn": "src_trg_att",
        "encoder_attn_layer_norm": "dec_layer_norm",
    },
}


def configuration(asked: shared.Asked, folder: str) -> dict[str, Any]:
    """What JoeyNMT reads from a YAML file."""
    text = {"level": "word", "voc_file": str(asked.work / "words.txt")}  # the words are pieces of BPE already
    training = asked.measure == "train"
    paths = (
        {"train": str(asked.data / "noise" / "clean" / "train")}
        if training
        else {"test": str(asked.work / "decode")}
    )
    embeddings = {"embedding_dim": shared.WIDTH, "scale": True, "dropout": shared.DROPOUT}
    part = {
        "type": "transformer",
        "num_heads": shared.HEADS,
        "embeddings": embeddings,
        "hidden_size": shared.WIDTH,
        "ff_size": shared.FFN,
    }
    part |= {"dropout": shared.DROPOUT, "layer_norm": "pre" if training else "post"}
    return {
        "name": "peers",
        "model_dir": folder,
        "use_cuda": False,
        "normalization": "tokens",
        "random_seed": shared.SEED,
        "data": {
            **paths,
            "dataset_type": "plain",
            "src": {"lang": "src", **text},
            "trg": {"lang": "tgt", **text},
        },
        "testing": {
            "batch_size": SENTENCES,
            "batch_type": "sentence",
            "max_output_length": shared.LIMIT,
            "beam_alpha": 1.0,
        }
        | {"beam_size": shared.BEAM if asked.measure == "beam" else 1},
        "training": {
            "batch_size": shared.MAX_TOKENS,
            "batch_type": "token",
            "normalization": "tokens",
            "optimizer": "adam",
        }
        | {
            "adam_betas": list(shared.BETAS),
            "weight_decay": shared.DECAY,
            "label_smoothing": shared.SMOOTHING,
            "learning_rate": shared.LR,
        }
        | {
            "scheduling": "warmupinversesquareroot",
            "learning_rate_warmup": shared.WARMUP,
            "learning_rate_min": 1e-9,
        }
        | {"updates": shared.WARM + shared.UPDATES + 1, "logging_freq": SEVERAL, "validation_freq": SEVERAL},
        "model": {
            "initializer": "xavier_uniform",
            "embed_initializer": "xavier_uniform",
            "tied_embeddings": True,
            "tied_softmax": True,
        }
        | {
            "encoder": {**part, "num_layers": shared.ENCODER_LAYERS},
            "decoder": {**part, "num_layers": shared.DECODER_LAYERS},
        },
    }


class Ours(list[list[int]]):
    """Our batches in the place of JoeyNMT's sampler; two methods that its loop calls."""

    def set_seed(self, seed: int) -> None:
        """Nothing is drawn."""

    def get_state(self) -> None:
        """Nothing to be kept."""


def train(asked: shared.Asked) -> None:
    with tempfile.TemporaryDirectory() as folder:
        args = parse_global_args(configuration(asked, folder), mode="train")
        model, data, _, _ = prepare(args, rank=0, mode="train")
        autocast = args.autocast
        if asked.bfloat16:
            autocast = {"device_type": args.device.type, "dtype": torch.bfloat16, "enabled": True}
        common = {"device": args.device, "autocast": autocast, "seed": args.seed}
        manager = TrainManager(
            rank=0, model=model, model_dir=args.model_dir, train_args=args.train, dev_args=args.test, **common
        )
        calls: list[tuple[float, int]] = []
        losses: list[float] = []
        step = manager._train_step

        def timed(batch: Any) -> tuple[float, int]:
            calls.append((time.perf_counter(), batch.ntokens))
            found: tuple[float, int] = step(batch)
            losses.append(found[0])
            return found

        manager._train_step = timed
        if asked.batches:
            ours = shared.batches(asked.work)
            order = Ours([*ours[: shared.WARM], *ours, ours[0]])
            data.make_iter = lambda **how: DataLoader(
                data, batch_sampler=order, collate_fn=lambda rows: collated(data, rows, **how)
            )
        manager.train_and_validate(train_data=data, valid_data=data)
    start, end = shared.WARM, shared.WARM + shared.UPDATES  # the last call only ends the update before it
    tokens, seconds = sum(count for _, count in calls[start:end]), calls[end][0] - calls[start][0]
    shared.trained(tokens, seconds, mean(losses[:start]), mean(losses[start:end]), __version__)


def collated(data: Any, rows: Any, **how: Any) -> Any:
    """A batch, made by JoeyNMT's data set."""
    return data.collate_fn(rows, pad_index=how["pad_index"], eos_index=how["eos_index"], device=how["device"])


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def transplant(model: Model, weights: dict[str, torch.Tensor]) -> None:
    """Gives a post-norm model our weights."""
    table = weights["encoder.embed_tokens.weight"]
    positions = weights["positions"]
    with torch.no_grad():
        model.src_embed.lut.weight.copy_(torch.cat([table[FAIRSEQ], table[len(FAIRSEQ) :]]))
        for side in ("encoder", "decoder"):
            part = getattr(model, side)
            part.pe.pe[0, : len(positions)] = positions[: part.pe.pe.shape[1]]
            places = dict(part.named_parameters())
            for name, value in weights.items():
                if name.startswith(f"{side}.layers."):
                    _, layers, number, unit, *rest = name.split(".")
                    unit = {**LAYER, **NAMES[side]}[unit]
                    ending = [ATTENTION.get(piece, piece) for piece in rest]
                    places.pop(".".join([layers, number, unit, *ending])).copy_(value)
            left = [name for name in places if name != "output_layer.weight"]  # it is the embeddings' matrix
            if left:
                raise SystemExit(f"error: nothing to put into {left}")


def translate(asked: shared.Asked) -> None:
    with tempfile.TemporaryDirectory() as folder:
        args = parse_global_args(configuration(asked, folder), mode="test")
        source, target, _, _, data = load_data(args.data, ["test"])
        model = build_model(args.model, source, target)
    transplant(model, torch.load(asked.work / "weights.pt", weights_only=True))
    whole = data.data["src"]
    for some in (whole[-SENTENCES:], whole):  # the first round is start-up
        data.data["src"] = some
        data.reset_indices()
        since = time.perf_counter()
        outputs = predict(
            model=model, data=data, device=args.device, n_gpu=0, args=args.test, autocast=args.autocast
        )[2]
        seconds = time.perf_counter() - since
    shared.translated(
        outputs, seconds, asked.work, f"joeynmt{'+memory' * asked.keep}-{asked.measure}", __version__
    )


if __name__ == "__main__":
    command = shared.asked(__doc__)
    torch.set_num_threads(machine.threads())
    (train if command.measure == "train" else translate)(command)
