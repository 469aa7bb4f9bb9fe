"""Parameters of decoding: the teacher's hypotheses, its soft targets, and decoding at test time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nmtkd.plan.values import Count, Positive, Section, Seed

Penalties = Annotated[list[float], Field(min_length=1)]


def _check_choice(penalties: list[float], has_beam: bool) -> None:
    if len(penalties) > 1 and not has_beam:
        raise ValueError("only a beam has a choice of length_penalties; name one")
    if len(set(penalties)) < len(penalties):
        raise ValueError(f"length_penalties: one stands twice; got {penalties}; remove it")


class Sampling(Section):
    """Nucleus sampling from softmax(logits / temperature).

    Only the most probable tokens that together hold `top_p` can be drawn; 1.0 keeps all.
    """

    temperature: Annotated[float, Field(gt=0.0)]
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]
    seed: Seed


class Decoding(Section):
    """How the teacher makes the sequences that students learn from."""

    # forced: the argmax at each gold prefix; the numbers below are then unused
    kind: Literal["search", "sample", "forced"]
    engine: Literal["ctranslate2", "fairseq"]
    beam: Positive  # of kind sample: samples drawn per line
    nbest: Positive
    # The best by validation BLEU is taken. A score is log probability / length ** penalty.
    length_penalties: Penalties
    # an output is cut at factor * source length + offset (BPE tokens)
    max_length_factor: Annotated[float, Field(gt=0.0)]
    max_length_offset: Count
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
        _check_choice(self.length_penalties, self.kind == "search" and self.beam > 1)
        return self


class Targets(Section):
    """Soft targets: the teacher's distribution at each position, as its top k and a bucket for the rest."""

    top_k: Positive
    temperature: Annotated[float, Field(gt=0.0)]
    max_tokens: Positive


class Evaluate(Section):
    """Test-time decoding and scoring, the same for every model."""

    # sacreBLEU's tokeniser of the target text; auto: by the target language (text/languages.py)
    tokenize: Literal["auto", "13a", "intl", "zh", "ja-mecab", "ko-mecab", "char"]

    engine: Literal["ctranslate2", "fairseq"]
    beam: Positive
    length_penalties: Penalties  # as in Decoding, for each model; at 1.0 each is scored too; greedy has none
    max_length_factor: Annotated[float, Field(gt=0.0)]
    max_length_offset: Count

    @model_validator(mode="after")
    def _choice_needs_a_beam(self) -> Evaluate:
        _check_choice(self.length_penalties, self.beam > 1)
        return self
