"""nmtkd.network.matmul: the product, whichever library computes it."""

import pytest
import torch

from nmtkd.network.matmul import matmul_transposed


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_matmul_transposed_is_the_product(dtype: torch.dtype) -> None:
    inputs = torch.randint(-8, 8, (5, 6), generator=torch.Generator().manual_seed(1)).to(dtype)
    matrix = torch.randint(-8, 8, (7, 6), generator=torch.Generator().manual_seed(2)).to(dtype)
    assert torch.equal(
        matmul_transposed(inputs, matrix), inputs @ matrix.t()
    )  # whole numbers: no order of sums
    assert torch.equal(matmul_transposed(inputs, matrix.t().contiguous().t()), inputs @ matrix.t())
