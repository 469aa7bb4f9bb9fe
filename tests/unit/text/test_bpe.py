"""The stage `bpe`: what data decide is told here, before a teacher is trained."""

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import bpe

from nmtkd import files
from nmtkd.plan import layout, params
from tests.unit.plan.good import changed
from tests.unit.text.toys import given

SIZES = {"joint": 70, "src": 50, "tgt": 40}
CARD = {
    "dictionary": SIZES,
    "longest_line": {"valid.src": 9, "valid.tgt": 8, "test.src": 2, "test.tgt": 2},
}


def test_held_out_sets_have_text(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, int]] = []
    monkeypatch.setattr(params, "check_dictionary", asked.append)
    bpe.check(CARD)
    card: dict[str, Any] = copy.deepcopy(CARD)
    card["longest_line"] |= {"valid.src": 1, "valid.tgt": 1}
    message = (
        r"^data/bpe: nothing stands in valid\.src, valid\.tgt, so that no model can be chosen or scored; "
        r"raise prepare\.valid_pairs and prepare\.test_pairs, or fill the corpus's own files$"
    )
    with pytest.raises(ValueError, match=message):
        bpe.check(card)
    assert asked == [SIZES, SIZES]


def test_what_is_dropped_is_told_by_its_reason_and_what_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(params, "check_dictionary", lambda _: None)  # it is small
    long, uneven = ("abcdefghijklm", "abcdefgh"), ("ab", "abcdefgh")
    given(layout.PREPARED, train=[("abc", "abd"), long, uneven, uneven, ("abc", "bcd"), ("acd", "dcba")])
    raw = changed(bpe={"merges": 1, "min_frequency": 9, "max_pieces": 12, "max_ratio": 3.0})
    files.write_text(Path("params.yaml"), yaml.safe_dump(raw))
    bpe.main()
    assert capsys.readouterr().out.splitlines()[1:] == [
        "[bpe] dropped of train: 1 pairs, more pieces than max_pieces; 3 are left",
        "[bpe] dropped of train: 2 pairs, pieces of the sides too uneven; 3 are left",
    ]
