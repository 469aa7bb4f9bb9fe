"""Planted bugs fit the code as it is, and leave it code: `make bugs` is not run with each change."""

import ast

import pytest

from tests.bugs import Bug, planted, source
from tests.planted_bugs import BUGS
from tests.structure.graph import ROOT


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_fits_the_code(bug: Bug) -> None:
    text = source(ROOT, bug).read_text(encoding="utf-8")
    wrong = planted(text, bug)
    assert wrong != text
    ast.parse(wrong)
