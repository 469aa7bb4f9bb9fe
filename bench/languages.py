"""What tokenising costs in each language of the default corpus: reports/languages.md.

    python bench/languages.py      # after `make repro`: the corpus's archive must have been fetched

For each language: the ceiling of both tokenisers (all texts through tokeniser, single characters and back,
scored against themselves), and how many BPE pieces a word has, or a character of a script without spaces.
"""

from __future__ import annotations

import random
import sys
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from nmtkd.plan.data import Bpe, Corpus
from nmtkd.plan.params import load
from nmtkd.text import ceiling, words
from nmtkd.text.corpora import homeassistant
from nmtkd.text.corpora.fetch import cache_folder
from nmtkd.text.corpora.tally import Tally
from nmtkd.text.languages import bleu_tokeniser
from nmtkd.text.subwords import count_pieces, learn
from nmtkd.text.tokenisers import KINDS, tokeniser

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "reports/languages.md"
DEFINITION = ROOT / "conf/corpus/homeassistant.yaml"
FEWEST = 50  # texts; with fewer a share says little
MOST = {"reversible": None, "moses": 1500}  # texts of a language; sacremoses is slow
SEED = 1
HEAD = """# Languages

Texts of the default corpus through a tokeniser, single characters and back, scored against themselves: the
ceiling of BLEU, and the texts that came back to the letter. Moses: of {most:,} texts at most, drawn at
random. Pieces: BPE with {merges:,} merges on reversible tokens, pieces a word; for scripts without spaces,
pieces a character. Written by `python bench/languages.py`.

| language | texts | BLEU's tokeniser | reversible | to the letter | Moses | to the letter | pieces |
| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |
"""


def texts(corpus: Corpus, wheel: Path, language: str) -> list[tuple[str, str]]:
    """All pairs of English and `language`, in random order."""
    sides, _ = homeassistant.read_wheel(wheel, corpus.source, language)
    rows = [row[:2] for row in homeassistant.joined(*sides, Tally())]
    random.Random(SEED).shuffle(rows)
    return rows


def through(kind: str, language: str, rows: list[tuple[str, str]]) -> tuple[list[str], list[str]]:
    """The tokens of the target texts, and the texts that come back."""
    side = tokeniser(kind, language)
    tokens, back = [], []
    for source, target in rows:
        names = words.placeholders(source, target)
        tokens.append(side.tokenise(words.mask(target, names)))
        back.append(ceiling.back(tokens[-1], names, side))
    return tokens, back


def pieces(tokens: list[str], settings: Bpe) -> float:
    """BPE pieces a unit, of codes learnt on these tokens."""
    counts = Counter(token for line in tokens for token in line.split())
    with tempfile.TemporaryDirectory() as folder:
        codes = Path(folder) / "codes"
        learn(counts, settings, codes)
        return count_pieces(counts, codes)[0].total() / sum(map(words.count_units, tokens))


def main() -> None:
    definition = yaml.safe_load(DEFINITION.read_text(encoding="utf-8"))
    corpus, settings = Corpus.model_validate(definition["corpus"]), load("bpe").bpe
    lines = []
    wheel = cache_folder() / corpus.archives[0].name
    with zipfile.ZipFile(wheel) as archive:
        languages = sorted(homeassistant.members(archive))
    for language in languages:
        rows = texts(corpus, wheel, language) if language != corpus.source else []
        if len(rows) < FEWEST:
            continue
        cells = [language, f"{len(rows):,}", bleu_tokeniser(language)]
        for kind in KINDS:
            some = rows[: MOST[kind]]
            tokens, back = through(kind, language, some)
            found = ceiling.measure([target for _, target in some], back, bleu_tokeniser(language))
            share = 100 * found["to the letter"] / found["lines"]
            cells += [f"{found['BLEU']:.1f}", f"{share:.1f}%" if share < 100 else "all"]
            if kind == "reversible":
                ratio = pieces(tokens, settings)
        lines.append("| " + " | ".join([*cells, f"{ratio:.2f}"]) + " |")
        print(lines[-1], flush=True)
    head = HEAD.format(most=MOST["moses"], merges=settings.merges)
    OUT.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
