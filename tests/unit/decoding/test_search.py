"""nmtkd.decoding.search: what params ask for, and how long an output may be."""

from typing import Any

import pytest

from nmtkd.decoding.search import Search
from nmtkd.plan.decoding import Decoding, Evaluate, Sampling
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
    assert search(max_length_factor=factor, max_length_offset=offset).limit(len(source.split())) == limit


def test_search_is_what_params_ask_for() -> None:
    draws = Sampling(temperature=0.5, top_p=0.9, seed=3)
    length: dict[str, Any] = {"max_length_factor": 1.5, "max_length_offset": 7}
    asked = Decoding(
        kind="sample",
        engine="fairseq",
        compute="float32",
        beam=4,
        nbest=3,
        length_penalties=[0.8],
        sampling=draws,
        **length,
    )
    assert Search.of(asked, 0.8) == Search(beam=4, nbest=3, length_penalty=0.8, sampling=draws, **length)
    scored: dict[str, Any] = {"primary": "bleu", "long_words": 0, "tokenize": "auto", "engine": "ctranslate2"}
    test_time = Evaluate(beam=6, length_penalties=[0.6, 1.4], compute="int8", **scored, **length)
    wanted = Search(beam=6, nbest=1, length_penalty=1.4, compute="int8", **length)
    assert Search.of(test_time, 1.4) == wanted
