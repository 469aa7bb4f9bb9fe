"""Types of values in params.yaml. Every number has two bounds, every text a form and a length."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

# A key joins four names and a seed of ten digits, and is part of a file's name: of at most 255 bytes on all
# usual file systems, with 50 for what stands around the key.
LONGEST_NAME = 45
LONGEST_TEXT = 1000  # characters of other text: more than a path or an address has in practice
LARGEST_SEED = 2**31 - 1  # valid for every generator used here
LARGEST_COUNT = 10**9  # fits the 32-bit integers of fairseq and numpy, and no corpus has as many lines
SMALLEST = 1e-7  # float32 has no smaller step beside 1: what is less, and not 0, does nothing
LARGEST_WEIGHT = 1000.0  # of one term of a loss beside another, which is then below float32's rounding
MOST_BATCH_TOKENS = 10**6  # their logits alone are 16 GB of float32 at the smallest useful vocabulary, 4,000

# DVC joins matrix values with "-" and addresses params by ".": a name may contain neither.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$", max_length=LONGEST_NAME)]
# Text of one line, without control characters, that neither starts nor ends with white space.
Line = Annotated[
    str,
    StringConstraints(pattern=r"^[^\s\p{Cc}]([^\p{Cc}\u2028\u2029]*[^\s\p{Cc}])?$", max_length=LONGEST_TEXT),
]
Positive = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


def _not_dust(value: float) -> float:
    if 0.0 < abs(value) < SMALLEST:
        raise ValueError(f"input should be 0 or at least {SMALLEST:g}: float32 has no smaller step beside 1")
    return value


NOT_DUST = AfterValidator(_not_dust)
Fraction = Annotated[float, Field(ge=0.0, le=1.0), NOT_DUST]
FLOAT32: Final = "float32"
BFLOAT16: Final = "bfloat16"
FLOAT16: Final = "float16"
# Type of matrix products; all else is in float32: weights and their gradients, Adam, norms, softmax, losses.
# bfloat16 saves time where the processor or GPU multiplies it (docs/performance.md), float16 on a GPU without
# it. They change results: models that are compared share one.
Precision = Literal["float32", "bfloat16", "float16"]
INT8: Final = "int8"
# Type of CTranslate2's matrix products in a translation; all else is in float32. In int8 each row of weights,
# and each position of what they multiply, is scaled and rounded to 255 steps. It saves time
# (docs/performance.md) and changes results: what is compared shares one.
Compute = Literal["float32", "int8"]
Share = Annotated[float, Field(ge=SMALLEST, le=1.0)]  # some or all, never none
Weight = Annotated[float, Field(ge=SMALLEST, le=LARGEST_WEIGHT)]
Level = Annotated[float, Field(ge=0.0, le=LARGEST_WEIGHT), NOT_DUST]  # a weight, a norm; 0 switches it off
# Of sampling. At SMALLEST it is the argmax; at a hundred a difference of ten between logits is a factor of
# 1.1, and all words are as good as equal.
Temperature = Annotated[float, Field(ge=SMALLEST, le=100.0)]


class Section(BaseModel):
    """A part of params.yaml: strict types ('128' is not a number), no unknown keys, frozen values."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)
