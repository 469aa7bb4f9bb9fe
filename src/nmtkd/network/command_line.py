"""fairseq's command line of a training, as a pure function of its parameters."""

from __future__ import annotations

import hashlib

from nmtkd.network import gated
from nmtkd.network.fairseq_bridge import MOST_POSITIONS, PLACE, SOURCE, TARGET
from nmtkd.plan.models import Architecture, Training

LEAST_POSITIONS = 1024  # of a model: fairseq's own number
OUTPUT_ROOM = 64  # BPE tokens of an output beyond twice its source: above the default of max_length_offset
# fairseq adds an epoch or an update to its seed, and numpy takes seeds below twice this number.
SEEDS = 2**31


def fairseq_seed(*seed: int) -> int:
    """fairseq's seed for the user's: a hash, so that neighbours among the user's seeds share nothing.

    fairseq seeds the order of batches by seed + epoch and torch by seed + update. By the user's own 1 and 2
    the second training would be the first one, begun an epoch and an update later.
    """
    return int.from_bytes(hashlib.sha256(" ".join(map(str, seed)).encode()).digest(), "big") % SEEDS


def positions_for(longest: int) -> int:
    """Positions of a model whose data has lines of up to `longest` BPE tokens, EOS included.

    Enough for outputs of twice that length, as max_length_factor asks for, and OUTPUT_ROOM. Positions are
    computed, not learnt: more of them change no weight and no output.
    """
    enough = 2 * longest + OUTPUT_ROOM
    return min(max(LEAST_POSITIONS, 1 << (enough - 1).bit_length()), MOST_POSITIONS)


def arguments(
    architecture: Architecture,
    training: Training,
    seed: int,
    positions: int = LEAST_POSITIONS,
    *,
    joint: bool = True,
) -> list[str]:
    """The fairseq-train command line of a run, without paths and settings of the machine.

    `seed` is the user's. With a `joint` dictionary source, target and output embeddings are one matrix; else
    the source has one of its own.
    """
    beta1, beta2 = training.adam_betas
    command = [PLACE, "--source-lang", SOURCE, "--target-lang", TARGET, "--task", "translation"]
    gates = architecture.gates
    command += (
        ["--arch", gated.ARCHITECTURE, "--gate-opening", str(gates.opening)]
        if gates
        else ["--arch", "transformer"]
    )
    command += ["--share-all-embeddings" if joint else "--share-decoder-input-output-embed"]
    for side, layers in (("encoder", architecture.encoder_layers), ("decoder", architecture.decoder_layers)):
        command += [f"--{side}-layers", str(layers), f"--{side}-embed-dim", str(architecture.width)]
        command += [
            f"--{side}-ffn-embed-dim",
            str(architecture.ffn),
            f"--{side}-attention-heads",
            str(architecture.heads),
        ]
        command += [f"--{side}-normalize-before"] if training.pre_norm else []
    for side in ("source", "target"):
        command += [f"--max-{side}-positions", str(positions)]
    command += ["--dropout", str(training.dropout)]
    command += [
        "--optimizer",
        "adam",
        "--adam-betas",
        f"({beta1}, {beta2})",
        "--weight-decay",
        str(training.weight_decay),
    ]
    command += [
        "--lr",
        str(training.lr),
        "--lr-scheduler",
        "inverse_sqrt",
        "--warmup-updates",
        str(training.warmup),
    ]
    command += [
        "--clip-norm",
        str(training.clip_norm),
        "--max-tokens",
        str(training.max_tokens),
        "--required-batch-size-multiple",
        "1",  # else fairseq drops the pairs that do not fill the last batch
        "--max-update",
        str(training.updates),
    ]
    command += [
        "--criterion",
        "label_smoothed_cross_entropy",
        "--label-smoothing",
        str(training.label_smoothing),
    ]
    return [*command, "--seed", str(fairseq_seed(seed)), "--save-dir", PLACE, "--num-workers", "0"]
