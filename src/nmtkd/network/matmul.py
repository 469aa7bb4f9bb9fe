"""A matrix product by the fastest library."""

from __future__ import annotations

import torch
from torch import Tensor


def matmul_transposed(inputs_NC: Tensor, matrix_VC: Tensor) -> Tensor:
    """inputs @ matrix^T [N, V]. No gradient flows through it.

    oneDNN computes it on a CPU in float32: it is 1.6 times as fast for logits (docs/performance.md), and
    torch ships it but does not choose it here.
    """
    float32_on_cpu = inputs_NC.device.type == "cpu" and inputs_NC.dtype == torch.float32
    if float32_on_cpu and torch._C._has_mkldnn and hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        product_NV: Tensor = torch.ops.mkldnn._linear_pointwise(inputs_NC, matrix_VC, None, "none", [], "")
        return product_NV
    return inputs_NC @ matrix_VC.t()
