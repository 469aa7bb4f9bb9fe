"""The community's IWSLT14 recipe on genuine text, which is no part of the project: equal on every line."""

import os
import re
from pathlib import Path

import pytest

from nmtkd.text.cleaning import lower
from nmtkd.text.subwords import Subwords
from nmtkd.text.tokenisers import tokeniser
from tests.structure.graph import ROOT

SHARED = Path(os.environ.get("NMTKD_SHARED", ROOT.parent / "shared"))
GENUINE = SHARED / "corpora/iwslt14"
SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010")

pytestmark = pytest.mark.skipif(
    not GENUINE.is_dir(), reason="no genuine IWSLT14 text at hand; NMTKD_SHARED names its folder"
)


def tokens(language: str) -> list[str]:
    """Segments of the three sets by the recipe."""
    split, found = tokeniser("moses_escaped", language), []
    for name in SETS:
        content = (GENUINE / f"xml/IWSLT14.{name}.de-en.{language}.xml").read_text(encoding="utf-8")
        segments = re.findall(r"<seg id=.*?>(.*)</seg>", content)
        found += [lower(split.tokenise(segment.strip().replace("’", "'"))) for segment in segments]
    return found


def expected(name: str) -> list[str]:
    return (GENUINE / "expected" / name).read_text(encoding="utf-8").split("\n")[:-1]


@pytest.mark.parametrize("language", ["de", "en"])
def test_tokens_and_pieces_are_the_communitys(language: str) -> None:
    lines = tokens(language)
    assert len(lines) == 887 + 1165 + 1565
    assert lines == [line for name in SETS for line in expected(f"IWSLT14.{name}.de-en.{language}")]
    codes = Subwords(GENUINE / "expected/codes.bpe")
    assert [codes.split(line) for line in lines] == expected(f"first3617.bpe.{language}")
