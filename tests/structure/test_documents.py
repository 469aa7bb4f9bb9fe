"""What README and docs say of results is what reports/ holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner import documents
from tests.structure.graph import ROOT


@pytest.mark.parametrize("path", documents.documents(ROOT), ids=lambda path: path.name)
def test_generated_parts_are_those_of_the_reports(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert documents.filled(text, ROOT) == text, "run `make docs`"


def test_readme_and_results_have_generated_parts() -> None:
    for name in ("README.md", "docs/results.md"):
        assert documents.PART.search((ROOT / name).read_text(encoding="utf-8")), name


def test_a_part_that_nobody_makes_is_an_error() -> None:
    with pytest.raises(documents.DocumentError, match="'no such thing': no such part; known: last screen"):
        documents.filled("<!-- no such thing, by make docs -->\nx\n<!-- end -->\n", ROOT)
