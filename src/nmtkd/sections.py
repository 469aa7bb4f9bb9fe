"""The sections of params.yaml: what each value is, in which bounds, and which values go together."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

# DVC joins the values of a matrix with "-" and addresses params by ".": neither may stand in a name.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]
Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Count = Annotated[int, Field(ge=0)]
LARGEST_SEED = 2**31 - 1  # what every generator here takes
Seed = Annotated[int, Field(ge=0, le=LARGEST_SEED)]


class Section(BaseModel):
    """A part of params.yaml: types are exact ('128' is no number), unknown keys are errors, values never change."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


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


class Noise(Section):
    """A noise condition (kind, rate per word, side); seeded per line."""

    kind: Literal["none", "deletion", "substitution", "swap"]
    rate: Fraction
    side: Literal["source", "target", "both"]
    seed: Seed

    @model_validator(mode="after")
    def _none_means_zero(self) -> Noise:
        if (self.kind == "none") != (self.rate == 0.0):
            raise ValueError("kind none goes with rate 0.0, and only with it")
        return self


class Decoding(Section):
    """How the teacher yields the sequence that students learn from."""

    kind: Literal["search", "forced"]  # forced: the argmax at each gold prefix (the numbers below are unused)
    engine: Literal["ctranslate2", "fairseq"]
    beam: Positive
    nbest: Positive
    length_penalty: float
    max_length_factor: Annotated[float, Field(gt=0.0)]  # an output is cut at factor * source length + offset (BPE tokens)
    max_length_offset: Count

    @model_validator(mode="after")
    def _nbest_within_beam(self) -> Decoding:
        if self.nbest > self.beam:
            raise ValueError(f"nbest ({self.nbest}) cannot exceed beam ({self.beam})")
        return self


class Method(Section):
    """A student's loss: (1 - a) CE(y) + a T^2 KL(teacher || student) along y, y being gold or the teacher's hypothesis."""

    sequence: Literal["gold", "hypothesis"]
    teacher_weight: Fraction  # a; 0 needs no token targets


class Architecture(Section):
    """A Transformer's size; source, target and output embeddings are one matrix (joint dictionary)."""

    encoder_layers: Positive
    decoder_layers: Positive
    width: Positive
    ffn: Positive
    heads: Positive

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Architecture:
        if self.width % self.heads:
            raise ValueError(f"width ({self.width}) must be a multiple of heads ({self.heads})")
        return self


class Training(Section):
    """A recipe. Every student of a study uses the same one: equal updates, equal selection."""

    updates: Positive
    max_tokens: Positive  # a batch holds at most so many tokens of the longer side, padding included
    lr: Annotated[float, Field(gt=0.0)]
    warmup: Positive  # updates of linear warm-up; then the inverse square root (Vaswani et al. 2017)
    adam_betas: Annotated[list[Fraction], Field(min_length=2, max_length=2)]
    dropout: Fraction
    label_smoothing: Fraction
    clip_norm: Annotated[float, Field(ge=0.0)]
    weight_decay: Annotated[float, Field(ge=0.0)]
    pre_norm: bool
    checkpoint_every: Positive  # updates between checkpoints; each one is also a point of the learning curve
    average: Positive  # model.pt is the mean of so many last checkpoints
    curve_pairs: Count  # validation pairs translated greedily for the curve's BLEU at each checkpoint; 0 for none

    @model_validator(mode="after")
    def _enough_checkpoints(self) -> Training:
        if self.updates % self.checkpoint_every:
            raise ValueError(f"updates ({self.updates}) must be a multiple of checkpoint_every ({self.checkpoint_every})")
        if self.average * self.checkpoint_every > self.updates:
            raise ValueError(f"cannot average {self.average} checkpoints: {self.updates} updates write fewer")
        return self


class Teacher(Section):
    """The large model: its size, its recipe, its seed."""

    architecture: Architecture
    training: Training
    seed: Seed


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


class Grid(Section):
    """The axes whose product is the set of runs."""

    methods: Families
    capacities: list[Name]
    noises: list[Name]
    decodings: list[Name]
    seeds: list[Seed]
