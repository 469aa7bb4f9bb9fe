"""Parameters of decoding: the teacher's hypotheses, its soft targets, and decoding at test time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nmtkd.plan.values import (
    INT8,
    MOST_BATCH_TOKENS,
    NOT_DUST,
    Compute,
    Count,
    Positive,
    Precision,
    Section,
    Seed,
    Share,
    Temperature,
)

# 0 ranks by log probability alone, and a negative penalty would prefer short outputs still more. From about
# here on the longest output wins, whatever it says.
LARGEST_PENALTY = 5.0
WIDEST_BEAM = 1000  # where studies of wide beams end (Koehn & Knowles 2017); beyond it a search is all wait
LEAST_FACTOR = 0.1  # below it nearly every output is cut
LARGEST_FACTOR = 10.0  # an output of ten times its source is a loop
LARGEST_OFFSET = 1000  # BPE tokens: a model's positions are 1,024 and more

Penalties = Annotated[
    list[Annotated[float, Field(ge=0.0, le=LARGEST_PENALTY), NOT_DUST]], Field(min_length=1)
]
Beam = Annotated[int, Field(ge=1, le=WIDEST_BEAM)]
LengthFactor = Annotated[float, Field(ge=LEAST_FACTOR, le=LARGEST_FACTOR)]
LengthOffset = Annotated[int, Field(ge=0, le=LARGEST_OFFSET)]


def _check_choice(penalties: list[float], has_beam: bool) -> None:
    if len(penalties) > 1 and not has_beam:
        raise ValueError("only a beam has a choice of length_penalties; name one")
    if len(set(penalties)) < len(penalties):
        raise ValueError(f"length_penalties: one stands twice; got {penalties}; remove it")


class Sampling(Section):
    """Nucleus sampling from softmax(logits / temperature).

    Only the most probable tokens that together hold `top_p` can be drawn; 1.0 keeps all.
    """

    temperature: Temperature
    top_p: Share
    seed: Seed


class Decoding(Section):
    """How the teacher makes the sequences that students learn from."""

    # forced: the argmax at each gold prefix; the numbers below are then unused
    kind: Literal["search", "sample", "forced"]
    engine: Literal["ctranslate2", "fairseq"]
    compute: Compute
    beam: Beam  # of kind sample: samples drawn per line
    nbest: Beam
    # The best by validation BLEU is taken. A score is log probability / length ** penalty.
    length_penalties: Penalties
    # an output is cut at factor * source length + offset (BPE tokens)
    max_length_factor: LengthFactor
    max_length_offset: LengthOffset
    sampling: Sampling | None = None  # of kind sample

    @model_validator(mode="after")
    def _fits_kind(self) -> Decoding:
        if self.nbest > self.beam:
            raise ValueError(f"nbest ({self.nbest}) cannot exceed beam ({self.beam})")
        if (self.kind == "sample") != (self.sampling is not None):
            raise ValueError("kind sample goes with sampling {temperature, top_p, seed}, and only it does")
        if self.kind == "sample" and self.engine != "fairseq":
            raise ValueError(
                "kind sample needs engine fairseq: the draws of CTranslate2's workers cannot be repeated"
            )
        if self.compute == INT8 and (self.kind, self.engine) != ("search", "ctranslate2"):
            raise ValueError(
                "compute int8 goes with kind search and engine ctranslate2: fairseq computes in float32 "
                "alone; set compute to float32"
            )
        _check_choice(self.length_penalties, self.kind == "search" and self.beam > 1)
        return self


class Targets(Section):
    """Soft targets: the teacher's distribution at each position, as its top k and a bucket for the rest."""

    top_k: Positive  # a smaller dictionary is kept whole
    # T of T^2 D: 1 to 20 in print (Hinton et al. 2015). At a tenth a hundredth of the loss is left, and the
    # targets are one-hot; at a hundred they are uniform.
    temperature: Annotated[float, Field(ge=0.1, le=100.0)]
    max_tokens: Annotated[int, Field(ge=1, le=MOST_BATCH_TOKENS)]  # a longer line is a batch by itself
    precision: Precision


class Evaluate(Section):
    """Test-time decoding and scoring, the same for every model."""

    # the metric that models are compared by and length penalties chosen by (text/yardstick.py)
    primary: Literal["bleu", "bleu_tok_lc"]
    # segments of at least so many source words are also scored apart; 0, or more than any has: no such subset
    long_words: Count
    # sacreBLEU's tokeniser of the target text; auto: by the target language (text/languages.py)
    tokenize: Literal["auto", "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char"]

    engine: Literal["ctranslate2", "fairseq"]
    compute: Compute
    beam: Beam
    length_penalties: Penalties  # as in Decoding, for each model; at 1.0 each is scored too; greedy has none
    max_length_factor: LengthFactor
    max_length_offset: LengthOffset

    @model_validator(mode="after")
    def _fits_engine_and_beam(self) -> Evaluate:
        if self.compute == INT8 and self.engine != "ctranslate2":
            raise ValueError(
                "compute int8 goes with engine ctranslate2: fairseq computes in float32 alone; "
                "set compute to float32"
            )
        _check_choice(self.length_penalties, self.beam > 1)
        return self
