"""nmtkd.text.corpora.tally: NUL is found by its line, whatever the blocks."""

import pytest

from nmtkd.text.corpora.tally import refuse_nul
from nmtkd.text.parallel import ParallelTextError


def test_nul_is_found_by_its_line() -> None:
    refuse_nul([b"a\n", b"b\nc\n", b""], "x")
    with pytest.raises(ParallelTextError, match=r"^x: line 5: holds a NUL character"):
        refuse_nul([b"a\nb\n", b"c\n", b"d\ne\0\n\0"], "x")
