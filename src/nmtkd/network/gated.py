"""A Transformer with learned gates on its feed-forward units, and its trimming to the open units.

FFN(x) = W2 [(W1 x + b1) * sigmoid(Wg x + bg)] + b2. This is our form of "GLU-based adaptive capacity"
(arXiv 2312.08585, whose own form is not known).
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from fairseq.models import register_model, register_model_architecture
from fairseq.models.transformer import TransformerModel, base_architecture
from torch import Tensor, nn

from nmtkd.network.unit_gates import GatedLinear, cut, most_open, openness

ARCHITECTURE = "gated_transformer"


def _identity(x: Tensor) -> Tensor:
    return x


def blocks(model: Any) -> Iterator[tuple[str, Any]]:
    """Side ("encoder", "decoder") and layer of each feed-forward block, encoder first."""
    for side in ("encoder", "decoder"):
        for layer in getattr(model, side).layers:
            yield side, layer


@register_model(ARCHITECTURE)
class GatedTransformerModel(TransformerModel):
    """fairseq's Transformer with gated feed-forward blocks, whose sizes may differ."""

    @classmethod
    def add_args(cls, parser: argparse.ArgumentParser) -> None:
        """Adds the gates' bias before training, and the sizes of blocks of a trimmed model."""
        super().add_args(parser)
        parser.add_argument(
            "--gate-opening", type=float, default=0.0, help="bias of the gates before training"
        )
        for side in ("encoder", "decoder"):
            parser.add_argument(
                f"--{side}-units",
                default="",
                help=f"feed-forward units of each {side} layer, as in 40,57; all by default",
            )

    @classmethod
    def build_model(cls, args: Any, task: Any) -> GatedTransformerModel:
        """Builds the stock model and replaces its feed-forward blocks."""
        model: GatedTransformerModel = super().build_model(args, task)
        for side in ("encoder", "decoder"):
            sizes = getattr(args, f"{side}_units", "")
            layers = getattr(model, side).layers
            units = (
                [int(size) for size in sizes.split(",")]
                if sizes
                else [layer.fc1.out_features for layer in layers]
            )
            for layer, count in zip(layers, units, strict=True):
                width = layer.fc1.in_features
                layer.fc1, layer.fc2 = GatedLinear(width, count, args.gate_opening), nn.Linear(count, width)
                nn.init.xavier_uniform_(layer.fc2.weight)
                nn.init.zeros_(layer.fc2.bias)
                layer.activation_fn = _identity
        return model


@register_model_architecture(ARCHITECTURE, ARCHITECTURE)  # type: ignore[untyped-decorator]
def gated_transformer(args: Any) -> None:
    """Defaults: those of the stock Transformer."""
    base_architecture(args)


def open_units(model: Any, source_padding_BS: Tensor, target_padding_BT: Tensor) -> list[Tensor]:
    """Each block's mean gates [U] in the model's last forward pass, without padding."""
    padding = {"encoder": source_padding_BS, "decoder": target_padding_BT}
    return [openness(layer.fc1.opened, padding[side]) for side, layer in blocks(model)]


def close(model: Any, batches: Sequence[dict[str, Any]], pad: int, budget: float) -> None:
    """Permanently closes all units but the share `budget` that is most open on `batches`.

    The most open unit of each block always stays.
    """
    model.eval()
    sums: list[Any] = [0.0 for _ in blocks(model)]
    positions = [0 for _ in sums]
    for batch in batches:
        with torch.no_grad():
            model(**batch["net_input"])
        real = {"encoder": batch["net_input"]["src_tokens"].ne(pad), "decoder": batch["target"].ne(pad)}
        counts = [int(real[side].sum()) for side, _ in blocks(model)]
        means_LU = open_units(model, ~real["encoder"], ~real["decoder"])
        sums = [total + count * mean_U for total, count, mean_U in zip(sums, counts, means_LU, strict=True)]
        positions = [total + count for total, count in zip(positions, counts, strict=True)]
    open_LU = [sum_U / count for sum_U, count in zip(sums, positions, strict=True)]
    for (_, layer), keep_U in zip(blocks(model), most_open(open_LU, budget), strict=True):
        layer.fc1.close(~keep_U)


def trim(model: Any) -> tuple[list[str], dict[str, Any]]:
    """Removes closed units, in place. The model's output does not change.

    Returns the options that build a model of this shape, and facts: units before and after, and the ratio of
    both.
    """
    units: dict[str, list[int]] = {"encoder": [], "decoder": []}
    before = 0
    for side, layer in blocks(model):
        keep_U = layer.fc1.kept()
        before += len(keep_U)
        layer.fc1, layer.fc2 = cut(layer.fc1, layer.fc2, keep_U)
        units[side].append(int(keep_U.sum()))
    after = sum(map(sum, units.values()))
    options = [
        part for side, counts in units.items() for part in (f"--{side}-units", ",".join(map(str, counts)))
    ]
    return options, {"units": before, "kept": after, "effective_capacity": round(after / before, 4), **units}
