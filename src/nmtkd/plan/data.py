"""Parameters of the data: corpus, cleaning and splitting, BPE, noise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from nmtkd.plan.values import LONGEST_TEXT, Count, Line, Name, Positive, Section, Seed

Rate = Annotated[float, Field(ge=0.0, le=1.0)]  # of words that noise hits


class Archive(Section):
    """A file to fetch. Its mirrors are tried in order.

    `pip:NAME==VERSION` is downloaded by pip, any other mirror by HTTP(S).
    """

    # Of a file in the cache: no folder, no pattern, and room for an ending within 255 bytes.
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+!-]*$", max_length=200)]
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)]
    bytes: Annotated[int, Field(ge=1, le=2**50)]  # a petabyte: more is a slip of the keyboard
    # None: the file is one to put into NMTKD_ARCHIVES by hand.
    mirrors: list[Annotated[str, StringConstraints(pattern=r"^[a-z]+:\S+$", max_length=LONGEST_TEXT)]]


class Corpus(Section):
    """Where parallel text comes from. `source` and `target` are the codes that the corpus itself uses."""

    name: Name
    reader: Name  # a row of READERS in text/corpora/readers.py
    source: Name
    target: Name
    tests: list[Name]  # names of the test sets, in the order of the report; the first one is the headline
    archives: list[Archive]
    # What a reader reads beside archives. DVC watches this path whatever the reader; for one that needs no
    # folder it is the definition itself.
    folder: Line
    license: Line


class Sides(Section):
    """One number for each side."""

    source: Positive
    target: Positive


class Prepare(Section):
    """Tokenising, cleaning and splitting."""

    tokeniser: Literal["reversible", "moses"]  # text/tokenisers.py
    # What is done to the text that models see, in this order. References stay as the corpus has them.
    normalise: list[Literal["nfc", "nfkc", "controls", "invisible", "white_space"]]

    seed: Seed  # of the split by group; corpora that come split do not use it
    valid_pairs: Count  # wanted sizes of the held-out sets, for corpora that do not come split
    test_pairs: Count
    # Pairs with a longer side are dropped from train. A word is a token of the tokeniser; a character where a
    # script has no spaces.
    max_words: Sides
    # Longer side over shorter, in characters, once the target is scaled by the corpus's own mean ratio. No
    # language needs a thousand characters for one: such a limit drops nothing.
    max_ratio: Annotated[float, Field(gt=1.0, le=1000.0)]
    ratio_slack: Count  # characters by which sides may differ whatever the ratio: short labels differ a lot
    # For a train pair whose source or target is also in valid or test. keep: it is counted only.
    overlap: Literal["drop", "error", "keep"]
    # segments of at least so many source words are also scored apart; 0, or more than any has: no such subset
    long_words: Count
    # A test source is a near-duplicate from this Jaccard similarity of character 5-grams on. Below a tenth
    # any two texts of a language are.
    near_duplicate: Annotated[float, Field(ge=0.1, le=1.0)]


class Bpe(Section):
    """Joint byte-pair encoding, learnt on the clean training side."""

    merges: Annotated[int, Field(ge=1, le=10**6)]  # four times the largest vocabularies in use, 256,000
    min_frequency: Positive


class Rates(Section):
    """Rates per word of `mixed` noise, one for each kind."""

    deletion: Rate
    substitution: Rate
    swap: Rate


class Noise(Section):
    """A noise condition (kind, rate per word, side); seeded per line."""

    kind: Literal["none", "deletion", "substitution", "swap", "mixed"]
    rate: Rate | None = None  # of a single kind
    rates: Rates | None = None  # of each kind, for `mixed`
    side: Literal["source", "target", "both"]
    seed: Seed
    # clean: the teacher is trained on clean text while its students see noise; None: both see the same text
    teacher_sees: Literal["clean"] | None = None

    @model_validator(mode="after")
    def _rates_fit_kind(self) -> Noise:
        if (self.kind == "mixed") != (self.rates is not None):
            raise ValueError("kind mixed goes with rates {deletion, substitution, swap}, and only it does")
        if (self.kind in ("none", "mixed")) != (self.rate is None) or self.rate == 0.0:
            raise ValueError("a single kind needs a rate above 0.0; none has no rate, mixed has rates")
        if self.kind == "none" and self.teacher_sees:
            raise ValueError(
                "without noise there is nothing that the teacher could not see; remove teacher_sees"
            )
        return self
