"""What a perfect translation would score, in every language of the default corpus (`make slow`)."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import yaml

from nmtkd.plan.data import Corpus, Prepare
from nmtkd.text import ceiling
from nmtkd.text.cleaning import PairTokeniser
from nmtkd.text.corpora.fetch import cache_folder
from nmtkd.text.corpora.homeassistant import joined, members, read_wheel
from nmtkd.text.corpora.tally import Tally
from nmtkd.text.languages import bleu_tokeniser
from nmtkd.text.tokenisers import tokeniser
from nmtkd.text.words import PLACEHOLDER
from tests.structure.graph import ROOT

LEAST = 50  # pairs of a language that is looked at
LANGUAGES = 50  # at least; the corpus's version of 2026.11 has 54

Pairs = list[tuple[str, str]]


@pytest.fixture(scope="module")
def definition() -> tuple[Corpus, Prepare]:
    """The default corpus, as it is shipped."""
    values = yaml.safe_load((ROOT / "conf/corpus/homeassistant.yaml").read_text(encoding="utf-8"))
    corpus, settings = Corpus.model_validate(values["corpus"]), Prepare.model_validate(values["prepare"])
    return corpus, settings.model_copy(update={"tokeniser": "reversible", "normalise": []})


@pytest.fixture(scope="module")
def wheel(definition: tuple[Corpus, Prepare]) -> Path:
    path = cache_folder() / definition[0].archives[0].name
    if not path.is_file():
        pytest.skip(f"{path} is not there: fetch the default corpus first (dvc repro corpus)")
    return path


def pairs_of(wheel: Path, corpus: Corpus, target: str) -> Pairs:
    """The pairs that may be held out: `prepare` drops those whose placeholders differ before it splits."""
    (source_texts, target_texts), _ = read_wheel(wheel, corpus.source, target)
    rows = [row[:2] for row in joined(source_texts, target_texts, Tally())]
    return [row for row in rows if len({tuple(sorted(PLACEHOLDER.findall(side))) for side in row}) == 1]


@pytest.mark.slow
def test_every_reference_comes_back_in_every_language(
    wheel: Path, definition: tuple[Corpus, Prepare]
) -> None:
    """Each language has a ceiling of 100.0, and no line of it changes by a letter."""
    corpus, settings = definition
    with zipfile.ZipFile(wheel) as archive:
        languages = sorted(members(archive).keys() - {corpus.source})
    looked_at, faults = list[str](), dict[str, object]()
    for language in languages:
        pairs = pairs_of(wheel, corpus, language)
        if len(pairs) < LEAST:
            continue
        looked_at.append(language)
        tokenise = PairTokeniser(corpus.model_copy(update={"target": language}), settings)
        back = tokeniser(settings.tokeniser, language)
        tokenised = [tokenise(pair) for pair in pairs]
        references = [pair.ref for pair in tokenised]
        texts = [ceiling.back(pair.tgt, pair.names, back) for pair in tokenised]
        row = ceiling.measure(references, texts, bleu_tokeniser(language))
        if (row["BLEU"], row["to the letter"]) != (100.0, len(pairs)):
            faults[language] = row, ceiling.worst(references, texts)
    assert faults == {}
    assert len(looked_at) >= LANGUAGES, looked_at
