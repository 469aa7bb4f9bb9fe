"""What tests of decoding share: both engines, searches and draws."""

from typing import Any

from nmtkd.decoding.search import Hypothesis, Search
from nmtkd.plan.decoding import Sampling

ENGINES = ["ctranslate2", "fairseq"]


def search(**changes: Any) -> Search:
    values: dict[str, Any] = {
        "beam": 1,
        "length_penalty": 1.0,
        "max_length_factor": 2.0,
        "max_length_offset": 5,
    }
    return Search(**(values | changes))


def drawn(temperature: float = 1.0, top_p: float = 1.0, seed: int = 1, **changes: Any) -> Search:
    return search(sampling=Sampling(temperature=temperature, top_p=top_p, seed=seed), **changes)


def texts(nbest: list[list[Hypothesis]]) -> list[list[str]]:
    return [[hypothesis.text for hypothesis in entries] for entries in nbest]
