"""The interface to fairseq: data sets, models and model files. Its command line is command_line.py's.

A `model.pt` is a stripped fairseq checkpoint: averaged weights, the configuration, and the keys that
fairseq's loaders require. It holds no optimiser, time or path: the same run gives the same bytes. Its task
and criterion are stock ones: fairseq and CTranslate2 load it without this project.
"""

from __future__ import annotations

import argparse
import copy
import functools
import hashlib
import io
import logging
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils, options, tasks, utils
from fairseq.data import Dictionary, LanguagePairDataset, data_utils, indexed_dataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf, open_dict
from torch import Tensor

from nmtkd.files import file_hash, read_text, reading
from nmtkd.network import gated  # noqa: F401  fairseq is to know its architecture
from nmtkd.plan.layout import MODEL

# Beside tensors and plain containers a checkpoint holds only fairseq's arguments, a Namespace. Allowing that
# class keeps torch.load in its safe mode (weights_only), here and in CTranslate2's converter.
torch.serialization.add_safe_globals([argparse.Namespace])

SOURCE, TARGET = "src", "tgt"  # "languages": files are named by side, whatever the pair
PLACE = "."  # replaces every path inside a model file
MOST_POSITIONS = 100_000  # that fairseq allows whatever is asked for


Dictionaries = tuple[Path, Path]  # of the source and of the target; one file twice if they are joint


class ModelError(ValueError):
    """A model and its data do not fit each other."""


def configuration(command: Sequence[str]) -> DictConfig:
    """fairseq's configuration for a command line of fairseq-train. It is the caller's own."""
    return copy.deepcopy(_configuration(tuple(command)))


@functools.lru_cache  # Hydra takes a third of a second
def _configuration(command: tuple[str, ...]) -> DictConfig:
    parser = options.get_training_parser()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fairseq calls Hydra by names that Hydra has since renamed
        return convert_namespace_to_omegaconf(options.parse_args_and_arch(parser, list(command)))


def encode(dictionary: Dictionary, line: str) -> list[int]:
    """Token ids of a line of BPE, EOS last: as fairseq's encode_line, in a tenth of the time."""
    return [*map(dictionary.index, line.split()), dictionary.eos()]


def binarise(lines: Sequence[str], dictionary: Dictionary, prefix: Path) -> int:
    """Writes fairseq's mmap data set PREFIX.bin and PREFIX.idx: token ids of each line, EOS last.

    Returns the length of the longest line in tokens.
    """
    builder = indexed_dataset.make_builder(f"{prefix}.bin", impl="mmap", vocab_size=len(dictionary))
    longest = 0
    for line in lines:
        ids = encode(dictionary, line)
        longest = max(longest, len(ids))
        builder.add_item(torch.IntTensor(ids))
    builder.finalize(f"{prefix}.idx")
    return longest


def write_data(
    folder: Path, dictionaries: Dictionaries, splits: Mapping[str, tuple[Sequence[str], Sequence[str]]]
) -> int:
    """Writes a fairseq data folder: the dictionary of each side, and each split's BPE lines.

    Returns the length of the longest line in tokens, EOS included.
    """
    folder.mkdir(parents=True, exist_ok=True)
    longest = 0
    for number, side in enumerate((SOURCE, TARGET)):
        words = read_dictionary(dictionaries[number])
        dictionary_of(folder, side).write_text(read_text(dictionaries[number]), encoding="utf-8")
        for split, lines in splits.items():
            place = folder / f"{split}.{SOURCE}-{TARGET}.{side}"
            longest = max(longest, binarise(lines[number], words, place))
    return longest


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
    buffer = io.BytesIO()  # torch writes a file's name into the file; a buffer has no name
    torch.save(state, buffer)
    path.write_bytes(buffer.getvalue())


def _shared_once(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights by name, with equal matrices (source, target and output embeddings) as one tensor."""
    by_digest: dict[bytes, Tensor] = {}
    shared = {}
    for name, tensor in sorted(weights.items()):
        plain = tensor.detach().cpu().clone()
        digest = hashlib.sha256(
            f"{plain.dtype}{tuple(plain.shape)}".encode() + plain.numpy().tobytes()
        ).digest()
        shared[name] = by_digest.setdefault(digest, plain)
    return shared


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A model in eval mode, ready to score or translate. `dictionary` is the target's."""

    model: Any
    task: Any
    dictionary: Dictionary
    device: str

    @property
    def source_dictionary(self) -> Dictionary:
        """The source's dictionary: the target's too, where both are joint."""
        return self.task.source_dictionary

    def parameters(self) -> int:
        """Trainable parameters; a shared matrix counts once."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def positions(self) -> int:
        """BPE tokens of the longest line that it takes, EOS included."""
        return min(self.model.max_positions())


def members(folder: Path) -> list[Path]:
    """The model files of a folder: model.pt, and for an ensemble also model2.pt and so on."""
    paths = [folder / MODEL]
    while (following := folder / member_name(len(paths) + 1)).exists():
        paths.append(following)
    return paths


def member_name(number: int) -> str:
    """File name of an ensemble's member, counted from 1."""
    return MODEL if number == 1 else MODEL.replace(".", f"{number}.")


def read_dictionary(path: Path) -> Dictionary:
    """A dictionary in fairseq's format. Raises files.DamagedError if it is torn or has double entries."""
    with reading(path, "dictionary"):
        return Dictionary.load(str(path))


def dictionary_of(folder: Path, side: str) -> Path:
    """The file of a side's dictionary in a folder of fairseq's: of a model, or of a data set."""
    return folder / f"dict.{side}.txt"


def target_dictionary(folder: Path) -> Dictionary:
    """The target dictionary of a model's folder."""
    return read_dictionary(dictionary_of(folder, TARGET))


def positions(folder: Path) -> int:
    """BPE tokens of the longest line that all members of a folder's model take, EOS included."""
    return min(map(_positions, members(folder)))


def _positions(path: Path) -> int:
    with reading(path, "model"):
        task = torch.load(path, mmap=True, weights_only=True)["cfg"]["task"]
        return int(min(task["max_source_positions"], task["max_target_positions"]))


def load_models(folder: Path, device: str) -> list[Loaded]:
    """All members of a folder's model, in order."""
    return [load_model(folder, device, path.name) for path in members(folder)]


def load_model(folder: Path, device: str, name: str = MODEL) -> Loaded:
    """Loads a model from a folder with its dictionaries, in eval mode (no dropout).

    Raises files.DamagedError for a file that is torn, has other weights than its configuration, or holds
    pickled objects.
    """
    with reading(folder / name, "model"):
        state = checkpoint_utils.load_checkpoint_to_cpu(str(folder / name))
        cfg = state["cfg"]
        with open_dict(cfg):
            cfg.task.data = str(folder)
    with reading(folder, "dictionary"):
        task = tasks.setup_task(cfg.task)
    with reading(folder / name, "model"):
        model = task.build_model(cfg.model)
        model.load_state_dict(state["model"], strict=True)
    model.to(device).eval()
    return Loaded(model=model, task=task, dictionary=task.target_dictionary, device=device)


def pairs(
    loaded: Loaded, sources: Sequence[str], targets: Sequence[str] | None = None
) -> LanguagePairDataset:
    """BPE lines as a fairseq data set, in order. Raises ModelError for a line beyond the positions."""
    source = Encoded(sources, loaded.source_dictionary)
    target = Encoded(targets, loaded.dictionary) if targets is not None else None
    for side, items in (("source", source), ("target", target)):
        if items is not None:
            check_lengths(side, items.lengths, loaded.positions())
    lengths = target.lengths if target is not None else None
    return LanguagePairDataset(
        source, source.lengths, loaded.source_dictionary, target, lengths, loaded.dictionary, shuffle=False
    )


def token_counts(lines: Iterable[str]) -> NDArray[np.int64]:
    """Tokens of each line of BPE, EOS included [N]."""
    return np.fromiter((len(line.split()) + 1 for line in lines), np.int64)


class Encoded(Sequence[Tensor]):
    """BPE lines as token ids, EOS last. A line is encoded when it is asked for; `lengths` are known."""

    def __init__(self, lines: Sequence[str], dictionary: Dictionary) -> None:
        self._lines, self._dictionary = lines, dictionary
        self.lengths = token_counts(lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: Any) -> Any:
        return torch.tensor(encode(self._dictionary, self._lines[int(index)]))


def check_lengths(where: str, lengths: Iterable[int], positions: int) -> None:
    """Raises ModelError for the first line with more BPE tokens, EOS included, than a model has positions."""
    for number, length in enumerate(lengths, start=1):
        if length > positions:
            remedy = "shorten it: no model takes more"
            if positions < MOST_POSITIONS:
                remedy = "train the model again: a new one takes every line of its corpus"
            raise ModelError(
                f"{where}, line {number}: {length} BPE tokens, the model takes {positions}; {remedy}"
            )


def batches(dataset: LanguagePairDataset, max_tokens: int) -> list[Any]:
    """Batches of indices by length, as `cut` makes them. They depend on the lengths alone."""
    indices = dataset.ordered_indices()
    return cut(indices, dataset.num_tokens_vec(indices), max_tokens)


def cut(indices: Any, lengths: Any, max_tokens: int) -> list[Any]:
    """Batches of indices [N] in their order, at most `max_tokens` each with padding, by lengths [N] of lines.

    A longer line is a batch by itself.
    """
    # fairseq refuses a longer line. Counted as a full batch, it stays alone.
    counted = np.minimum(lengths, max_tokens).astype(np.int64)
    return list(data_utils.batch_by_size(indices, None, counted, max_tokens))


def collate(dataset: LanguagePairDataset, indices: Sequence[int], device: str) -> dict[str, Any]:
    """The batch of these indices, on the device."""
    sample: dict[str, Any] = dataset.collater([dataset[index] for index in indices])
    return utils.move_to_cuda(sample) if device == "cuda" else sample


def text(dictionary: Dictionary, tokens: Tensor) -> str:
    """BPE text of token ids, without EOS and padding. Unknown tokens are written as in the dictionary."""
    ids = [int(token) for token in tokens if int(token) not in (dictionary.eos(), dictionary.pad())]
    return " ".join(dictionary.symbols[i] for i in ids)


def model_hash(folder: Path) -> str:
    """Content hash of a folder's model; for an ensemble, the hash of its members' hashes in order."""
    hashes = [file_hash(path) for path in members(folder)]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256(" ".join(hashes).encode()).hexdigest()


@contextmanager
def quiet() -> Iterator[None]:
    """Silences fairseq's info messages, which would mix with a stage's progress."""
    previous = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(previous)


def seed_everything(seed: int) -> None:
    """Sets the seeds that fairseq-train sets before it builds a model. `seed` is fairseq's."""
    np.random.seed(seed)
    utils.set_torch_seed(seed)


# Deterministic matrix products on a GPU: NVIDIA's documented value.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
