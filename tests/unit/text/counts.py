"""Words of made-up text as `bpe` learns from them."""

from collections import Counter
from collections.abc import Iterable


def counted(*sides: Iterable[str]) -> Counter[str]:
    """How often each word stands in all lines of all sides."""
    return Counter(word for lines in sides for line in lines for word in line.split())
