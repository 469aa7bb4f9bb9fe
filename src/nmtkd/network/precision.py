"""The type that products are computed in: float32, or a half of it within torch.autocast.

torch.autocast says the type, and the stock forward pass follows it by casting at each product. The faster
forward pass (transformer.py) keeps its activations in the half type instead. In both, weights, their
gradients and the optimiser stay in float32; norms, softmax and losses compute in float32.

Shapes: N rows, C width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nmtkd.plan.values import FLOAT32

# oneDNN compiles a kernel of about half a megabyte for each shape of a product in a half type, in the time of
# half a product. Rows of zeros up to a multiple of this leave few shapes (docs/performance.md).
ROWS = 64
HALVES = (torch.bfloat16, torch.float16)


def products_in(precision: str, device: str) -> Any:
    """Context manager: within it products on a device are in the type of that name."""
    return torch.autocast(device, getattr(torch, precision), enabled=precision != FLOAT32)


def wanted(x: Tensor) -> torch.dtype:
    """The type of products of x: autocast's, or its own."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def as_written(x: Tensor) -> Any:
    """Context manager: within it, types are those that the code names, whatever autocast says outside."""
    return torch.autocast(x.device.type, enabled=False)


def exact(dtype: torch.dtype) -> torch.dtype:
    """The type of norms, softmax and sums: float32, or float64 where that is the type."""
    return torch.promote_types(dtype, torch.float32)


def padded(x_NC: Tensor) -> Tensor:
    """x with rows of zeros, up to a multiple of ROWS, where that saves compilation; else x itself."""
    missing = -len(x_NC) % ROWS if x_NC.dtype in HALVES and x_NC.device.type == "cpu" else 0
    return torch.nn.functional.pad(x_NC, (0, 0, 0, missing)) if missing else x_NC


def linear(layer: Any, x: Tensor) -> Tensor:
    """layer(x) in the type of x."""
    return torch.nn.functional.linear(x, layer.weight.to(x.dtype), layer.bias.to(x.dtype))


def normalised(norm: Any, x: Tensor) -> Tensor:
    """norm(x) in the type of x, computed in the norm's own type."""
    if x.dtype == norm.weight.dtype or x.device.type == "cpu":  # torch mixes types on a CPU alone
        result: Tensor = norm(x)
        return result
    return norm(x.to(norm.weight.dtype)).to(x.dtype)
