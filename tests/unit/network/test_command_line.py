"""nmtkd.network.command_line: what a training asks of fairseq, and seeds that have nothing in common."""

import itertools
import math
import statistics
from pathlib import Path
from typing import Any

import pytest
from fairseq.data import ListDataset
from fairseq.data.iterators import EpochBatchIterator

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network.command_line import arguments, fairseq_seed, positions_for
from nmtkd.plan.models import Architecture, Training, UnitGates
from nmtkd.plan.values import LARGEST_SEED

GOLDEN = Path(__file__).resolve().parents[2] / "golden"
# Literal: the values of conf/scale/quick.yaml when this was written. A change there is no change of the
# command line.
RECIPE: dict[str, Any] = {
    "adam_betas": [0.9, 0.98],
    "label_smoothing": 0.1,
    "clip_norm": 1.0,
    "weight_decay": 0.0001,
    "pre_norm": True,
    "average": 4,
    "curve_pairs": 200,
    "precision": "float32",
}
TEACHER = Training(
    updates=1600, max_tokens=2048, lr=0.003, warmup=300, dropout=0.2, checkpoint_every=200, **RECIPE
)
STUDENT = Training(
    updates=600, max_tokens=4096, lr=0.005, warmup=200, dropout=0.1, checkpoint_every=100, **RECIPE
)
MODELS = {
    "teacher": (Architecture(encoder_layers=3, decoder_layers=3, width=128, ffn=512, heads=4), TEACHER, 1),
    "tiny": (Architecture(encoder_layers=1, decoder_layers=1, width=48, ffn=96, heads=4), STUDENT, 1),
    "small": (Architecture(encoder_layers=2, decoder_layers=2, width=64, ffn=128, heads=4), STUDENT, 2),
    "medium": (Architecture(encoder_layers=3, decoder_layers=3, width=96, ffn=192, heads=4), STUDENT, 3),
}


# Arguments


@pytest.mark.parametrize("name", MODELS)
def test_arguments_are_what_they_were(name: str) -> None:
    """One option a line; a deliberate change changes these files, and every model with them."""
    golden = (GOLDEN / f"arguments-{name}.txt").read_text(encoding="utf-8")
    assert " ".join(arguments(*MODELS[name])).replace(" --", "\n--") + "\n" == golden
    assert not any(" " in argument for argument in arguments(*MODELS[name]) if argument != "(0.9, 0.98)")


def test_arguments_of_post_norm_ask_for_nothing() -> None:
    architecture, training, seed = MODELS["tiny"]
    pre = arguments(architecture, training, seed)
    post = arguments(architecture, training.model_copy(update={"pre_norm": False}), seed)
    assert [argument for argument in pre if argument not in post] == [
        "--encoder-normalize-before",
        "--decoder-normalize-before",
    ]
    assert [argument for argument in pre if not argument.endswith("-normalize-before")] == post


def test_arguments_of_gates_change_the_architecture_alone() -> None:
    architecture, training, seed = MODELS["tiny"]
    gates = UnitGates(budget=0.5, weight=10.0, polarity=1.0, closing=1, opening=0.75)
    stock, gated = (
        arguments(one, training, seed)
        for one in (architecture, architecture.model_copy(update={"gates": gates}))
    )
    place = stock.index("transformer")
    assert gated == [*stock[:place], "gated_transformer", "--gate-opening", "0.75", *stock[place + 1 :]]
    model = bridge.configuration(gated).model
    assert (model.arch, model.gate_opening, model.encoder_ffn_embed_dim) == ("gated_transformer", 0.75, 96)


def test_arguments_bring_every_value_to_fairseq() -> None:
    architecture = Architecture(encoder_layers=1, decoder_layers=2, width=24, ffn=36, heads=3)
    changes = {
        "updates": 70,
        "max_tokens": 90,
        "lr": 0.0002,
        "warmup": 11,
        "adam_betas": [0.8, 0.95],
        "dropout": 0.15,
    }
    changes |= {"label_smoothing": 0.05, "clip_norm": 0.5, "weight_decay": 0.01}
    cfg = bridge.configuration(arguments(architecture, TEACHER.model_copy(update=changes), 7))
    model = cfg.model
    assert (model.encoder_layers, model.decoder_layers) == (1, 2)
    for side in ("encoder", "decoder"):
        assert getattr(model, f"{side}_embed_dim") == 24
        assert getattr(model, f"{side}_ffn_embed_dim") == 36
        assert getattr(model, f"{side}_attention_heads") == 3
        assert getattr(model, f"{side}_normalize_before") is True
    assert model.share_all_embeddings is True
    assert model.dropout == 0.15
    assert (model.attention_dropout, model.activation_dropout) == (0.0, 0.0)
    assert (cfg.optimization.max_update, cfg.optimization.clip_norm, list(cfg.optimization.lr)) == (
        70,
        0.5,
        [0.0002],
    )
    assert (cfg.dataset.max_tokens, cfg.dataset.num_workers) == (90, 0)
    assert (cfg.optimizer._name, cfg.optimizer.weight_decay) == ("adam", 0.01)
    assert str(cfg.optimizer.adam_betas) == "(0.8, 0.95)"
    assert (cfg.lr_scheduler._name, cfg.lr_scheduler.warmup_updates) == ("inverse_sqrt", 11)
    assert (cfg.criterion._name, cfg.criterion.label_smoothing) == ("label_smoothed_cross_entropy", 0.05)
    assert (cfg.task._name, cfg.task.source_lang, cfg.task.target_lang) == ("translation", "src", "tgt")
    assert cfg.common.seed == fairseq_seed(7)


def test_arguments_bring_positions_to_model_and_task_and_leave_no_pair_out() -> None:
    architecture, training, seed = MODELS["tiny"]
    cfg = bridge.configuration(arguments(architecture, training, seed, 4096))
    for part in (cfg.model, cfg.task):
        assert (part.max_source_positions, part.max_target_positions) == (4096, 4096)
    assert cfg.dataset.required_batch_size_multiple == 1


@pytest.mark.parametrize(
    ("longest", "positions"), [(1, 1024), (480, 1024), (481, 2048), (4802, 16384), (70_000, 100_000)]
)
def test_positions_are_enough_for_twice_the_longest_line(longest: int, positions: int) -> None:
    """2 x 480 + 64 = 1024. fairseq's table ends at 100,000."""
    assert positions_for(longest) == positions


# Seeds

USERS = (0, 1, 2, 3, 10, 100, LARGEST_SEED)
EPOCHS, UPDATES = 40, 20_000
BATCHES = 100  # of an epoch


def fairseqs(seed: int) -> int:
    """The seed of a training in fairseq's configuration."""
    seed = bridge.configuration(arguments(*MODELS["tiny"][:2], seed)).common.seed
    assert isinstance(seed, int)
    return seed


def orders(seed: int) -> list[list[int]]:
    """fairseq's order of batches in each epoch."""
    iterator = EpochBatchIterator(
        ListDataset([0]), collate_fn=None, batch_sampler=[[batch] for batch in range(BATCHES)], seed=seed
    )
    epochs = range(1, EPOCHS + 1)
    return [[batch for (batch,) in iterator.ordered_batches(epoch, False, True)] for epoch in epochs]


def test_no_two_seeds_share_an_order_of_batches() -> None:
    """Two random orders agree in one place on average, and in k or more with a chance of about 1 / k! / e.

    One of the 33,600 pairs of epochs here agrees in 12 places with a chance of 1 in 36,000. Of fairseq's own
    seeds 1 and 2 each epoch of one is an epoch of the other.
    """
    found = [orders(fairseqs(seed)) for seed in USERS]
    same = [
        sum(a == b for a, b in zip(one, other, strict=True))
        for first, second in itertools.combinations(found, 2)
        for one in first
        for other in second
    ]
    assert max(same) < 12
    assert statistics.mean(same) == pytest.approx(1.0, abs=5 / math.sqrt(len(same)))
    shifted = orders(1)[1:], orders(2)[:-1]
    assert shifted[0] == shifted[1]


def test_no_two_seeds_share_a_seed_of_torch() -> None:
    """Nor of numpy, which takes none above 2^32 - 1: fairseq adds the update, or the epoch."""
    found = [range(seed, seed + UPDATES) for seed in map(fairseq_seed, [*USERS, *range(4, 10)])]
    assert all(
        one.stop <= other.start or other.stop <= one.start for one, other in itertools.combinations(found, 2)
    )
    assert all(seeds.start >= 0 and seeds.stop < 2**32 for seeds in found)
    assert [fairseqs(seed) for seed in USERS] == [seeds.start for seeds in found[: len(USERS)]]
