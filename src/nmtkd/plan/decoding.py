"""Parameters of decoding: the teacher's hypotheses, its soft targets, and decoding at test time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nmtkd.plan.values import Count, Positive, Section, Seed


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
    length_penalty: float
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
    length_penalty: float
    max_length_factor: Annotated[float, Field(gt=0.0)]
    max_length_offset: Count
