"""nmtkd.text.text_form: what the stage bpe says of a corpus."""

from pathlib import Path
from typing import Any

import pytest

from nmtkd import files
from nmtkd.text import text_form
from nmtkd.text.text_form import TextForm

GERMAN = TextForm(target="de", tokeniser="reversible", longest=57)


def test_form_is_read_from_beside_the_codes(tmp_path: Path) -> None:
    files.write_json(tmp_path / "text.json", {"target": "de", "tokeniser": "reversible", "longest": 57})
    assert text_form.read(tmp_path) == GERMAN


def test_longer_lines_make_a_corpus_longer() -> None:
    assert GERMAN.with_lines(["a b"], ["a"]) == GERMAN.with_lines([], []) == GERMAN
    assert GERMAN.with_lines(["a"], ["a", " ".join("a" * 60)]).longest == 61


def test_pieces_become_text() -> None:
    assert GERMAN.text("Ha@@ llo We@@ lt ￭! ｟0｠ ￭.") == "Hallo Welt! ｟0｠."
    assert TextForm(target="zh", tokeniser="reversible", longest=1).text("今@@ 天￭ 好") == "今天好"
    assert TextForm(target="de", tokeniser="moses", longest=1).text("Ha@@ llo , Welt !") == "Hallo, Welt!"


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"longest": "57"}, "longest: Input should be a valid integer"),
        (
            {"longest": 0},
            "tokeniser and longest must be one of reversible, moses, .*moses_aggressive and a number above 0",
        ),
        ({"tokeniser": "nosuch"}, "tokeniser and longest must be one of .*, are 'nosuch' and 57; run `dvc"),
        ({"target": None}, "target: Input should be a valid string"),
    ],
)
def test_a_form_of_no_text_is_named(tmp_path: Path, change: dict[str, Any], wrong: str) -> None:
    files.write_json(
        tmp_path / "text.json", {"target": "de", "tokeniser": "reversible", "longest": 57} | change
    )
    with pytest.raises(files.DamagedError, match=rf"text\.json: {wrong}"):
        text_form.read(tmp_path)
