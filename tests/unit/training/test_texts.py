"""nmtkd.training.texts: each training pair has its lengths."""

import numpy as np
import pytest

from nmtkd.files import DamagedError
from nmtkd.network import fairseq_bridge as bridge
from tests.conftest import Tiny
from tests.unit.training.helpers import data


@pytest.mark.parametrize("shape", [(2, 2), (4, 2), (3, 1), (3,)])
def test_lengths_of_other_pairs_are_refused(tiny: Tiny, shape: tuple[int, ...]) -> None:
    train = tiny.sources[:3], tiny.targets[:3]
    with pytest.raises(
        bridge.ModelError,
        match=r"^data/bpe/lengths\.npy: must hold both lengths of 3 training pairs, \[3, 2\]; "
        rf"got \[{', '.join(map(str, shape))}\]; run the bpe stage again$",
    ):
        data(tiny, train, train, lengths=np.ones(shape, int))
    data(tiny, train, train, lengths=np.ones((3, 2), int))


@pytest.mark.parametrize(
    "array", [np.zeros((3, 2), int), np.array([[2, 2], [0, 2], [2, 2]]), np.ones((3, 2))]
)
def test_lengths_that_no_pair_has_are_refused(tiny: Tiny, array: np.ndarray) -> None:
    train = tiny.sources[:3], tiny.targets[:3]
    with pytest.raises(
        DamagedError,
        match=r"^data/bpe/lengths\.npy: must hold whole numbers above 0: lengths with the end of the",
    ):
        data(tiny, train, train, lengths=array)
