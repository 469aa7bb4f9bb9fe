"""The one door to fairseq: its command line as a pure function, its data, its models, and a model file that it can read back.

A `model.pt` is a stripped fairseq checkpoint: averaged weights, the configuration and the few keys that fairseq's loaders ask for. It holds
no optimiser, no clock and no path, so the same run gives the same bytes; its task and criterion are stock ones, so fairseq and CTranslate2
load it without this project.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.data import Dictionary, LanguagePairDataset, indexed_dataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor

from nmtkd.params import Architecture, Training

# Checkpoints hold fairseq's arguments as a Namespace; nothing else needs more than plain containers and tensors, so that
# torch.load can stay in its safe mode (weights_only), here and in CTranslate2's converter.
torch.serialization.add_safe_globals([argparse.Namespace])

SOURCE, TARGET = "src", "tgt"  # "languages": files are named by side, whatever the pair
MODEL = "model.pt"
GATED = "gated_transformer"  # the plugin's architecture for adaptive capacity
HASH = "model.sha256"  # its content hash: who learns from a teacher's distributions depends on this line, not on the model
PLACE = "."  # stands for every path inside a model file


class ModelError(ValueError):
    """A model or its data do not fit."""


def arguments(architecture: Architecture, training: Training, seed: int) -> list[str]:
    """The fairseq-train command line of a run, less everything that is a path or a fact of the machine."""
    beta1, beta2 = training.adam_betas
    command = [PLACE, "--source-lang", SOURCE, "--target-lang", TARGET, "--task", "translation"]
    gates = architecture.gates
    command += ["--arch", GATED, "--gate-opening", str(gates.opening)] if gates else ["--arch", "transformer"]
    command += ["--share-all-embeddings"]
    for side, layers in (("encoder", architecture.encoder_layers), ("decoder", architecture.decoder_layers)):
        command += [f"--{side}-layers", str(layers), f"--{side}-embed-dim", str(architecture.width)]
        command += [f"--{side}-ffn-embed-dim", str(architecture.ffn), f"--{side}-attention-heads", str(architecture.heads)]
        command += [f"--{side}-normalize-before"] if training.pre_norm else []
    command += ["--dropout", str(training.dropout)]
    command += ["--optimizer", "adam", "--adam-betas", f"({beta1}, {beta2})", "--weight-decay", str(training.weight_decay)]
    command += ["--lr", str(training.lr), "--lr-scheduler", "inverse_sqrt", "--warmup-updates", str(training.warmup)]
    command += ["--clip-norm", str(training.clip_norm), "--max-tokens", str(training.max_tokens), "--max-update", str(training.updates)]
    command += ["--criterion", "label_smoothed_cross_entropy", "--label-smoothing", str(training.label_smoothing)]
    return [*command, "--seed", str(seed), "--save-dir", PLACE, "--num-workers", "0"]


def configuration(command: Sequence[str]) -> DictConfig:
    """fairseq's configuration for a command line of fairseq-train."""
    parser = options.get_training_parser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fairseq calls Hydra by names that Hydra has since renamed
        return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, list(command)))


def encode(dictionary: Dictionary, line: str) -> list[int]:
    """Token ids of a line of BPE, EOS last: what encode_line gives, in a tenth of the time."""
    return [*map(dictionary.index, line.split()), dictionary.eos()]


def binarise(lines: Sequence[str], dictionary: Dictionary, prefix: Path) -> None:
    """Writes token ids, one sequence a line and EOS at its end, as fairseq's mmap dataset PREFIX.bin and PREFIX.idx."""
    builder = indexed_dataset.make_builder(f"{prefix}.bin", impl="mmap", vocab_size=len(dictionary))
    for line in lines:
        builder.add_item(torch.IntTensor(encode(dictionary, line)))
    builder.finalize(f"{prefix}.idx")


def write_data(folder: Path, dictionary: Path, splits: dict[str, tuple[Sequence[str], Sequence[str]]]) -> None:
    """A fairseq data folder: the joint dictionary for both sides, and each split's (source, target) lines of BPE."""
    folder.mkdir(parents=True, exist_ok=True)
    text = dictionary.read_text(encoding="utf-8")
    for side in (SOURCE, TARGET):
        (folder / f"dict.{side}.txt").write_text(text, encoding="utf-8")
    words = Dictionary.load(str(dictionary))
    for split, sides in splits.items():
        for side, lines in zip((SOURCE, TARGET), sides, strict=True):
            binarise(lines, words, folder / f"{split}.{SOURCE}-{TARGET}.{side}")


def save_model(path: Path, command: Sequence[str], weights: dict[str, Tensor], updates: int) -> None:
    """Writes a stripped checkpoint. Equal inputs give equal bytes."""
    cfg = configuration(command)
    state = {
        "args": None,
        "cfg": OmegaConf.to_container(cfg, resolve=True, enum_to_str=True),
        "model": _shared_once(weights),
        "optimizer_history": [
            {"criterion_name": "", "optimizer_name": "", "lr_scheduler_state": {}, "num_updates": updates},
        ],
        "extra_state": {"train_iterator": {"epoch": 1}},
    }
    buffer = io.BytesIO()  # torch writes the file's name into the file; a buffer has none
    torch.save(state, buffer)
    path.write_bytes(buffer.getvalue())


def _shared_once(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name; equal matrices (source, target and output embeddings) are written once."""
    kept: dict[bytes, Tensor] = {}
    found = {}
    for name, tensor in sorted(weights.items()):
        plain = tensor.detach().cpu().clone()
        digest = hashlib.sha256(f"{plain.dtype}{tuple(plain.shape)}".encode() + plain.numpy().tobytes()).digest()
        found[name] = kept.setdefault(digest, plain)
    return found


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in eval mode, ready to score or translate."""

    model: Any
    task: Any
    dictionary: Dictionary
    device: str

    def parameters(self) -> int:
        """Trainable parameters; a shared matrix counts once."""
        return sum(parameter.numel() for parameter in self.model.parameters())


def members(folder: Path) -> list[Path]:
    """The model files of a folder: model.pt, and model2.pt and so on where it holds an ensemble."""
    found = [folder / MODEL]
    while (following := folder / member_name(len(found) + 1)).exists():
        found.append(following)
    return found


def member_name(number: int) -> str:
    """The file of an ensemble's member, counted from 1."""
    return MODEL if number == 1 else MODEL.replace(".", f"{number}.")


def load_models(folder: Path, device: str) -> list[Loaded]:
    """All members of a folder, in their order."""
    return [load_model(folder, device, path.name) for path in members(folder)]


def load_model(folder: Path, device: str, name: str = MODEL) -> Loaded:
    """A model of a folder that holds it and its dictionaries. Dropout is off (eval mode).

    A gated model can be read once its architecture is known to fairseq: by importing nmtkd_fairseq, or --user-dir.
    """
    state = checkpoint_utils.load_checkpoint_to_cpu(str(folder / name))
    cfg = state["cfg"]
    with open_dict(cfg):
        cfg.task.data = str(folder)
    task = tasks.setup_task(cfg.task)
    model = task.build_model(cfg.model)
    model.load_state_dict(state["model"], strict=True)
    model.to(device).eval()
    return Loaded(model=model, task=task, dictionary=task.target_dictionary, device=device)


def pairs(loaded: Loaded, sources: Sequence[str], targets: Sequence[str] | None = None) -> LanguagePairDataset:
    """Lines of BPE as a fairseq dataset, in order. Raises ModelError for a line longer than the model's positions."""
    encoded = [[torch.tensor(encode(loaded.dictionary, line)) for line in side] for side in (sources, targets or [])]
    bound = min(loaded.model.max_positions())
    for side, items in zip(("source", "target"), encoded, strict=True):
        for index, item in enumerate(items):
            if len(item) > bound:
                raise ModelError(
                    f"line {index + 1} of the {side}: {len(item)} BPE tokens, the model takes {bound}; lower prepare.max_words"
                )
    source, target = ((items, [len(item) for item in items], loaded.dictionary) for items in encoded)
    return LanguagePairDataset(*source, *(target if targets is not None else (None, None, loaded.dictionary)), shuffle=False)


def batches(dataset: LanguagePairDataset, max_tokens: int) -> list[Any]:
    """Indices in batches of similar length, at most `max_tokens` with padding; the order depends on the lengths alone."""
    longest = int(dataset.sizes.max()) if len(dataset) else 0
    if longest > max_tokens:
        raise ModelError(f"a line has {longest} BPE tokens, which no batch of max_tokens ({max_tokens}) holds; raise max_tokens")
    return list(dataset.batch_by_size(dataset.ordered_indices(), max_tokens=max_tokens))


def collate(dataset: LanguagePairDataset, indices: Sequence[int], device: str) -> dict[str, Any]:
    """One batch on the device."""
    sample: dict[str, Any] = dataset.collater([dataset[index] for index in indices])
    return utils.move_to_cuda(sample) if device == "cuda" else sample


def text(dictionary: Dictionary, tokens: Tensor) -> str:
    """Token ids as BPE, without EOS and padding; an unknown token is written as the dictionary writes it."""
    ids = [int(token) for token in tokens if int(token) not in (dictionary.eos(), dictionary.pad())]
    return " ".join(dictionary.symbols[i] for i in ids)


def model_hash(folder: Path) -> str:
    """Content hash of a folder's model; of its members' hashes, in their order, where it is an ensemble."""
    hashes = [file_hash(path) for path in members(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def stamped_hash(folder: Path) -> str:
    """model_hash, compared with the one that training left. Raises ModelError where a member is missing or was changed."""
    found, stamp = model_hash(folder), (folder / HASH).read_text(encoding="utf-8").strip()
    if found != stamp:
        raise ModelError(f"{folder}: its model files are not those that {HASH} names; run `dvc checkout {folder}`, or `dvc pull {folder}`")
    return found


def file_hash(path: Path) -> str:
    """Content hash of a file: how token targets know their dictionary and their teacher."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """fairseq's info messages stay out of a stage's own progress."""
    previous = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(previous)


def seed_everything(seed: int) -> None:
    """The seeds that fairseq-train sets before it builds a model."""
    np.random.seed(seed)
    utils.set_torch_seed(seed)


os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # deterministic matrix products on a GPU; NVIDIA's documented value
