"""Our side of bench/peers.py: nmtkd.training.loop.train, and nmtkd.decoding.translate with CTranslate2.

    python bench/peers/ours_side.py prepare|train|beam|greedy DATA WORK [--bfloat16]

Training: a first one of WARM updates, then the one that counts: its tokens a second, which leave out start-up
and validation. Decoding: `translate` reads and converts the model at every call; a call with one sentence
tells how long that takes, and it is left out.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import shared  # it puts src/ on the path
import torch
from fairseq import tasks
from omegaconf import open_dict

from nmtkd import machine
from nmtkd.decoding import translate as decoding
from nmtkd.decoding import with_ctranslate2
from nmtkd.decoding.search import Search
from nmtkd.network import command_line
from nmtkd.network import fairseq_bridge as bridge
from nmtkd.plan import layout
from nmtkd.plan.models import Architecture, Training
from nmtkd.text import text_form
from nmtkd.training import loop
from nmtkd.training.texts import Data
from nmtkd.training.trained import Trained

ARCHITECTURE = Architecture(
    encoder_layers=shared.ENCODER_LAYERS,
    decoder_layers=shared.DECODER_LAYERS,
    width=shared.WIDTH,
    ffn=shared.FFN,
    heads=shared.HEADS,
)
VALID = 50  # validation pairs: it is not measured


def recipe(updates: int, **changes: Any) -> Training:
    """A training of so many updates, with one checkpoint at its end."""
    common = {
        "max_tokens": shared.MAX_TOKENS,
        "lr": shared.LR,
        "warmup": shared.WARMUP,
        "adam_betas": list(shared.BETAS),
    }
    common |= {
        "dropout": shared.DROPOUT,
        "label_smoothing": shared.SMOOTHING,
        "clip_norm": 0.0,
        "weight_decay": shared.DECAY,
        "precision": "float32",
    }
    ends = {"updates": updates, "checkpoint_every": updates, "average": 1, "curve_pairs": 0, "pre_norm": True}
    return Training(**{**common, **ends, **changes})


def text(data: Path) -> Data:
    """The pipeline's text, with a few validation pairs."""
    source, target = (shared.lines(data / "bpe" / f"valid.{side}")[:VALID] for side in ("src", "tgt"))
    return Data(
        dictionaries=(data / "bpe" / layout.DICTIONARY,) * 2,
        form=text_form.read(data / "bpe"),
        train=shared.train_text(data),
        valid=(source, target),
        lengths=np.load(data / "bpe" / layout.LENGTHS),
    )


def run(data: Data, how: Training, out: Path) -> tuple[Trained, dict[str, str]]:
    """One training, and the last point of its curve."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        trained = loop.train(data, ARCHITECTURE, how, shared.SEED, Path(scratch), out, stage="peers")
    with open(out / layout.CURVE, encoding="utf-8", newline="") as file:
        return trained, list(csv.DictReader(file))[-1]


def train(asked: shared.Asked) -> None:
    data, precision = text(asked.data), "bfloat16" if asked.bfloat16 else "float32"
    with tempfile.TemporaryDirectory() as folder:
        _, first = run(data, recipe(shared.WARM, precision=precision), Path(folder) / "warm")
        trained, whole = run(data, recipe(shared.UPDATES, precision=precision), Path(folder) / "run")
    tokens = int(whole["target_tokens"])
    expected = sum(
        len(data.train[1][line].split()) + 1 for batch in shared.batches(asked.work) for line in batch
    )
    if tokens != expected:
        raise SystemExit(
            f"error: our training saw {tokens} target tokens, its batches in {asked.work} have {expected}"
        )
    nats = [float(point["train_loss"]) * math.log(2) for point in (first, whole)]
    shared.trained(
        tokens, tokens / trained.cost["target_tokens_per_second"], *nats, version=torch.__version__
    )


def translate(asked: shared.Asked) -> None:
    import ctranslate2

    search = Search(
        beam=shared.BEAM if asked.measure == "beam" else 1,
        length_penalty=1.0,
        max_length_factor=0.0,
        max_length_offset=shared.LIMIT,
    )
    sources = shared.lines(asked.work / "decode.src")
    times = []
    # The first call imports, the second converts the model, the third finds it converted.
    for some in (sources[-1:], sources[-1:], sources):
        if len(times) == 1:
            with_ctranslate2.forget()
        since = time.perf_counter()
        found = decoding.translate(layout.model_dir(asked.work), some, search, "ctranslate2")
        times.append(time.perf_counter() - since)
    outputs = [hypotheses[0].text for hypotheses in found]
    start_up, seconds = times[1:]
    more = {"start_up": round(start_up, 2), "with_start_up": round(len(sources) / (start_up + seconds), 2)}
    shared.translated(outputs, seconds, asked.work, f"ours-{asked.measure}", ctranslate2.__version__, **more)


def prepare(asked: shared.Asked) -> None:
    """Writes WORK, as shared.py describes it."""
    data, work = text(asked.data), asked.work
    work.mkdir(parents=True, exist_ok=True)
    words = [line.rsplit(" ", 1)[0] for line in shared.lines(data.dictionaries[1])]
    (work / "words.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    first = sorted(data.train[0][: shared.SENTENCES], key=lambda line: -len(line.split()))
    (work / "decode.src").write_text("".join(f"{line}\n" for line in first), encoding="utf-8")
    (work / "batches.json").write_text(json.dumps(our_batches(data)), encoding="utf-8")
    run(data, recipe(shared.MODEL_UPDATES, **shared.MODEL), work)
    loaded = bridge.load_model(layout.model_dir(work), "cpu")
    words_known = len(loaded.dictionary)
    if words_known != len(words) + len(shared.SPECIALS):
        raise SystemExit(
            f"error: the model knows {words_known} symbols, the dictionary has {len(words)} words"
        )
    table = loaded.model.encoder.embed_positions
    start = loaded.dictionary.pad() + 1  # fairseq's first position
    positions = table.get_embedding(start + shared.MAX_TOKENS, shared.WIDTH, loaded.dictionary.pad())[
        start:
    ].clone()
    torch.save({**loaded.model.state_dict(), "positions": positions}, work / "weights.pt")


def our_batches(data: Data) -> list[list[int]]:
    """Lines of the first batches, from fairseq's iterator with our options; `train` checks their tokens."""
    cfg = bridge.configuration(command_line.arguments(ARCHITECTURE, recipe(shared.UPDATES), shared.SEED))
    with tempfile.TemporaryDirectory() as folder, bridge.quiet():
        bridge.write_data(Path(folder), data.dictionaries, {"train": data.train})
        with open_dict(cfg):
            cfg.task.data = folder
        task = tasks.setup_task(cfg.task)
        task.load_dataset("train")
        options = {"max_tokens": shared.MAX_TOKENS, "seed": cfg.common.seed, "epoch": 1}
        options |= {"required_batch_size_multiple": cfg.dataset.required_batch_size_multiple}
        epoch = task.get_batch_iterator(task.dataset("train"), **options).next_epoch_itr(
            shuffle=True, fix_batches_to_gpus=False
        )
        return [sample["id"].tolist() for sample in itertools.islice(epoch, shared.UPDATES)]


if __name__ == "__main__":
    command = shared.asked(__doc__, "prepare", "train", "beam", "greedy")
    torch.set_num_threads(machine.threads())
    {"prepare": prepare, "train": train, "beam": translate, "greedy": translate}[command.measure](command)
