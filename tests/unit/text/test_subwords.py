"""nmtkd.text.subwords: joint codes, placeholders that stay whole, and a dictionary in a set order."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.plan.data import Bpe
from nmtkd.plan.layout import CODES, DICTIONARY
from nmtkd.text.parallel import write_lines
from nmtkd.text.subwords import Subwords, encode, learn, write_dictionary
from nmtkd.text.words import join
from tests.unit.text.counts import counted

SIDES = [["low lower lowest {0}", "low {0}"], ["wide wider widest {0}", "wide {1}"]]


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("codes") / CODES
    learn(counted(*SIDES), Bpe(merges=20, min_frequency=2), path)
    return path


def test_codes_are_learnt_on_both_sides_together(codes: Path) -> None:
    lines = codes.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#version: 0.2"
    merged = {line.replace(" ", "").removesuffix("</w>") for line in lines[1:]}
    assert {"low", "wide"} <= merged
    assert not any("{" in line for line in lines)


def test_the_number_of_merges_is_returned(tmp_path: Path) -> None:
    assert learn(counted(*SIDES), Bpe(merges=3, min_frequency=2), tmp_path / "c") == 3
    few = learn(counted(*SIDES), Bpe(merges=1000, min_frequency=2), tmp_path / "d")
    assert few == len((tmp_path / "d").read_text().splitlines()) - 1 < 1000
    with_rare_words = learn(counted(*SIDES), Bpe(merges=1000, min_frequency=1), tmp_path / "e")
    assert with_rare_words > few


def test_codes_do_not_depend_on_the_order_of_lines(tmp_path: Path) -> None:
    learn(counted(*SIDES), Bpe(merges=8, min_frequency=2), tmp_path / "a")
    learn(counted(*(side[::-1] for side in SIDES[::-1])), Bpe(merges=8, min_frequency=2), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_pieces_that_are_continued_are_marked(codes: Path) -> None:
    subwords = Subwords(codes)
    assert subwords.split("low wide") == "low wide"
    assert subwords.split("xyz") == "x@@ y@@ z"
    assert subwords.split("{0} {12} {0}") == "{0} {12} {0}"
    assert subwords.split("x{0}y") == "x@@ {0}@@ y"


def test_joined_pieces_are_words_again() -> None:
    assert join("lo@@ w wi@@ d@@ er") == "low wider"
    assert join("lo@@ w wi@@") == "low wi"
    assert join("") == ""


tokens = st.text(alphabet="lowidersthx{}0.,'é", min_size=1, max_size=8)


@given(st.lists(tokens, min_size=1, max_size=5))
def test_join_undoes_split(codes: Path, words: list[str]) -> None:
    line = " ".join(words)
    assert join(Subwords(codes).split(line)) == line


def test_the_dictionary_is_sorted_by_count_then_token(tmp_path: Path) -> None:
    assert write_dictionary(tmp_path / "d", counted(["b a@@ c", "b"], ["c x"])) == 4
    assert (tmp_path / "d").read_text(encoding="utf-8") == "b 2\nc 2\na@@ 1\nx 1\n"


def test_encode_learns_from_train_alone_and_counts_what_is_unknown(tmp_path: Path) -> None:
    prepared, out = tmp_path / "prepared", tmp_path / "out"
    write_lines(prepared / "train.src", ["low low {0}", "lower low"])
    write_lines(prepared / "train.tgt", ["wide {0}", "wide wide"])
    for name, source, target in [("valid", "low wide", "wide low"), ("test", "zoo {0}", "qq wide {9}")]:
        write_lines(prepared / f"{name}.src", [source])
        write_lines(prepared / f"{name}.tgt", [target])
    out.mkdir()
    card = encode(prepared, out, ["valid", "test"], Bpe(merges=20, min_frequency=2))
    dictionary = (out / DICTIONARY).read_text(encoding="utf-8").splitlines()
    assert dictionary == ["low 3", "wide 3", "{0} 2", "e@@ 1", "lo@@ 1", "r 1", "w@@ 1"]
    assert (out / "valid.src").read_text(encoding="utf-8") == "low wide\n"
    assert (out / "test.src").read_text(encoding="utf-8") == "z@@ o@@ o {0}\n"
    assert (out / "test.tgt").read_text(encoding="utf-8") == "q@@ q wide {9}\n"
    assert card == {
        "merges": len((out / CODES).read_text().splitlines()) - 1,
        "dictionary": 7,
        "train_pieces": {"src": 8, "tgt": 4},
        "unknown_pieces": {"valid.src": 0, "valid.tgt": 0, "test.src": 3, "test.tgt": 3},
    }
