"""nmtkd.decoding.search: how long an output may be."""

import pytest

from tests.unit.decoding.helpers import search


@pytest.mark.parametrize(
    ("factor", "offset", "source", "limit"),
    [
        (2.0, 10, "a b c", 16),
        (1.5, 0, "a b c", 4),
        (0.5, 1, "a", 1),
        (1.0, 20, "a@@ b", 22),
        (0.5, 0, "a", 1),
    ],
)
def test_limit_grows_with_the_source(factor: float, offset: int, source: str, limit: int) -> None:
    assert search(max_length_factor=factor, max_length_offset=offset).limit(source) == limit
