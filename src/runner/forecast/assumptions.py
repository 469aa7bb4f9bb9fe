"""conf/forecast.yaml: what a forecast takes for granted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from nmtkd.plan.reading import read_yaml
from nmtkd.plan.values import Count, Name, Positive, Section, Share

FILE = Path("conf/forecast.yaml")
Seconds = Annotated[float, Field(ge=0.0)]
Factor = Annotated[float, Field(gt=0.0)]


class Sizes(Section):
    """Pairs of a corpus, and BPE pieces of a line on either side, its end apart."""

    train: Positive
    valid: Count
    tests: Count  # of all test sets together
    source: Factor
    target: Factor


class DataSeconds(Section):
    """Seconds for each 100,000 pairs."""

    corpus: Seconds
    prepare: Seconds
    bpe: Seconds
    noise: Seconds


class Memory(Section):
    """Bytes of memory in training, by bfloat16 and by how much more in float32."""

    base: Count
    parameter: Positive
    encoder: Positive
    decoder: Positive
    ffn: Positive
    scores: Positive
    ends: Positive
    float32: Positive


class Card(Section):
    """A GPU."""

    tflops: Positive  # dense bfloat16, its maker's figure
    gb: Positive


class Reach(Section):
    """The share of a card's peak that is reached, at worst and at best."""

    least: Share
    most: Share


class Launch(Section):
    """Seconds for each layer of a batch, at best and at worst."""

    least: Factor
    most: Factor


class Assumptions(Section):
    """The whole file."""

    corpora: dict[Name, Sizes]
    unknown: Sizes
    start_seconds: Seconds
    data_seconds: DataSeconds
    report_seconds: Seconds
    families: dict[Name, Factor]
    consistency: Factor
    forward: Factor
    memory: Memory
    cards: dict[Name, Card]
    share: Reach
    launch: Launch
    decoding_share: Reach


def read(path: Path = FILE) -> Assumptions:
    """What the file says. Raises ValueError that names each entry that is wrong."""
    try:
        return Assumptions.model_validate(read_yaml(path))
    except ValidationError as error:
        lines = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join([f"{path}: correct these entries", *lines])) from None
