"""nmtkd.text.subwords: joint codes, placeholders that stay whole, and a dictionary in a set order."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd import files
from nmtkd.plan.data import Bpe
from nmtkd.plan.layout import CODES, DICTIONARY, DICTIONARY_FILES, KEPT, LENGTHS, SIDE_DICTIONARIES
from nmtkd.text.parallel import ParallelTextError, write_lines
from nmtkd.text.subwords import Subwords, encode, learn, write_dictionary
from nmtkd.text.words import characters, join
from tests.unit.text.counts import counted

SIDES = [
    ["low lower lowest ｟0｠", "low ￭｟0｠"],
    ["wide wider widest ｟0｠￭", "wide ￭｟ua0｠￭ ｟1｠"],
]


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
    assert not any("｟" in line or "｠" in line for line in lines)


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
    assert subwords.split("low ￭.￭ wide") == "low ￭@@ .@@ ￭ wide"


@pytest.mark.parametrize(
    "token",
    ["｟0｠", "｟12｠", "￭｟0｠", "｟0｠￭", "￭｟0｠￭", "｟ua0｠", "￭｟ua0｠￭", "￭｟u1f600｠￭", "￭｟uffed｠"],
)
def test_a_protected_token_stays_whole_with_its_joiners(codes: Path, token: str) -> None:
    assert Subwords(codes).split(f"x {token} y") == f"x {token} y"
    assert characters(f"x {token} y") == f"x {token} y"


def test_a_placeholder_inside_a_word_is_a_piece(codes: Path) -> None:
    assert Subwords(codes).split("x｟0｠y low-｟1｠") == "x@@ ｟0｠@@ y lo@@ w@@ -@@ ｟1｠"


tokens = st.text(alphabet="lowidersthx｟｠0u￭.,'é漢น้", min_size=1, max_size=8)


@given(st.lists(tokens, min_size=1, max_size=5))
def test_join_undoes_split(codes: Path, words: list[str]) -> None:
    line = " ".join(words)
    assert join(Subwords(codes).split(line)) == line
    assert join(characters(line)) == line


def test_every_character_is_a_piece() -> None:
    assert characters("low ￭. น้ำ ￭｟0｠") == "l@@ o@@ w ￭@@ . น@@ ้@@ ำ ￭｟0｠"


# A corpus of single characters


def test_no_merge_is_learnt_where_no_word_has_two_characters(tmp_path: Path) -> None:
    assert learn(counted(["1 4 5 2", "3 9 3"]), Bpe(merges=20, min_frequency=2), tmp_path / CODES) == 0
    assert (tmp_path / CODES).read_text(encoding="utf-8") == "#version: 0.2\n"
    subwords = Subwords(tmp_path / CODES)
    assert subwords.split("1 4 5 2") == "1 4 5 2"
    assert subwords.split("12 @@@@ ｟0｠") == "1@@ 2 @@@ @@@ @@@ @ ｟0｠"


def test_no_merge_is_learnt_where_every_pair_is_rare(tmp_path: Path) -> None:
    assert learn(counted(["ab cd"]), Bpe(merges=20, min_frequency=2), tmp_path / CODES) == 0
    assert Subwords(tmp_path / CODES).split("ab") == "a@@ b"


def test_a_corpus_of_single_characters_is_encoded(tmp_path: Path) -> None:
    prepared, out = tmp_path / "prepared", tmp_path / "out"
    for name in ("train", "valid", "test"):
        write_lines(prepared / f"{name}.src", ["1 2 3"])
        write_lines(prepared / f"{name}.tgt", ["3 2 1"])
    out.mkdir()
    card = encode(prepared, out, ["valid", "test"], Bpe(merges=20, min_frequency=2))
    assert (card["merges"], card["dictionary"]["joint"]) == (0, 3)
    assert (out / "test.tgt").read_text(encoding="utf-8") == "3 2 1\n"
    assert card["longest_line"] == {"valid.src": 4, "valid.tgt": 4, "test.src": 4, "test.tgt": 4}


def test_the_dictionary_is_sorted_by_count_then_token(tmp_path: Path) -> None:
    assert write_dictionary(tmp_path / "d", counted(["b a@@ c", "b"], ["c x"])) == 4
    assert (tmp_path / "d").read_text(encoding="utf-8") == "b 2\nc 2\na@@ 1\nx 1\n"


def test_encode_measures_every_pair_of_train(tmp_path: Path) -> None:
    prepared, out = tmp_path / "prepared", tmp_path / "out"
    out.mkdir()
    text = {"src": ["low ￭. lower", "wide"], "tgt": ["｟0｠ x", "lower low lowest ￭!"]}
    for side, lines in text.items():
        write_lines(prepared / f"train.{side}", lines)
        write_lines(prepared / f"valid.{side}", ["a"])
    encode(prepared, out, ["valid"], Bpe(merges=5, min_frequency=2))
    subwords = Subwords(out / CODES)
    expected = [[len(subwords.split(text[side][i]).split()) + 1 for side in ("src", "tgt")] for i in (0, 1)]
    assert np.load(out / LENGTHS).tolist() == expected
    assert expected[0][1] == 3  # a placeholder, x, and the end of the sentence


def test_encode_learns_from_train_alone_and_counts_what_is_unknown(tmp_path: Path) -> None:
    prepared, out = tmp_path / "prepared", tmp_path / "out"
    write_lines(prepared / "train.src", ["low low ｟0｠", "lower low"])
    write_lines(prepared / "train.tgt", ["wide ｟0｠", "wide wide"])
    for name, source, target in [("valid", "low wide", "wide low"), ("test", "zoo ｟0｠", "qq wide ｟9｠")]:
        write_lines(prepared / f"{name}.src", [source])
        write_lines(prepared / f"{name}.tgt", [target])
    out.mkdir()
    card = encode(prepared, out, ["valid", "test"], Bpe(merges=20, min_frequency=2))
    dictionary = (out / DICTIONARY).read_text(encoding="utf-8").splitlines()
    assert dictionary == ["low 3", "wide 3", "｟0｠ 2", "e@@ 1", "lo@@ 1", "r 1", "w@@ 1"]
    own = [(out / name).read_text(encoding="utf-8").splitlines() for name in SIDE_DICTIONARIES.values()]
    assert own == [["low 3", "e@@ 1", "lo@@ 1", "r 1", "w@@ 1", "｟0｠ 1"], ["wide 3", "｟0｠ 1"]]
    assert (out / "valid.src").read_text(encoding="utf-8") == "low wide\n"
    assert (out / "test.src").read_text(encoding="utf-8") == "z@@ o@@ o ｟0｠\n"
    assert (out / "test.tgt").read_text(encoding="utf-8") == "q@@ q wide ｟9｠\n"
    assert card == {
        "merges": len((out / CODES).read_text().splitlines()) - 1,
        "pairs": 2,
        "dropped": {"more pieces than max_pieces": 0, "pieces of the sides too uneven": 0},
        "dictionary": {"joint": 7, "src": 6, "tgt": 2},
        "train_pieces": {"src": 8, "tgt": 4},
        "unknown_pieces": {"valid.src": 0, "valid.tgt": 0, "test.src": 3, "test.tgt": 3},
        "unknown_to_own_side": {"valid.src": 1, "valid.tgt": 1, "test.src": 3, "test.tgt": 3},
        "longest_line": {"valid.src": 3, "valid.tgt": 3, "test.src": 5, "test.tgt": 5},  # with the end
        "encoded": files.hashes(path for path in sorted(prepared.iterdir())),
        "sha256": files.hashes(path for path in sorted(out.iterdir())),
    }


def test_held_out_text_teaches_nothing(tmp_path: Path) -> None:
    """Whatever it holds, and however often: codes, dictionaries, lengths and mask are of train alone."""
    learnt = []
    for number, words in enumerate(("low", "zoology " * 50)):
        prepared, out = tmp_path / f"prepared{number}", tmp_path / f"out{number}"
        for side, lines in {"src": ["low low ｟0｠", "lower low"], "tgt": ["wide", "wide wide"]}.items():
            write_lines(prepared / f"train.{side}", lines)
            for name in ("valid", "test"):
                write_lines(prepared / f"{name}.{side}", [words.strip()] * 9)
        out.mkdir()
        encode(prepared, out, ["valid", "test"], Bpe(merges=20, min_frequency=2))
        learnt.append([(out / name).read_bytes() for name in (CODES, KEPT, LENGTHS, *DICTIONARY_FILES)])
    assert learnt[0] == learnt[1]


def test_an_empty_held_out_set_is_encoded(tmp_path: Path) -> None:
    prepared, out = tmp_path / "prepared", tmp_path / "out"
    for side in ("src", "tgt"):
        write_lines(prepared / f"train.{side}", ["low low"])
        write_lines(prepared / f"valid.{side}", [])
    out.mkdir()
    card = encode(prepared, out, ["valid"], Bpe(merges=20, min_frequency=2))
    assert (out / "valid.src").read_bytes() == b""
    assert card["longest_line"] == {"valid.src": 1, "valid.tgt": 1}


def test_pairs_of_many_or_uneven_pieces_are_dropped(tmp_path: Path) -> None:
    prepared, out = tmp_path / "prepared", tmp_path / "out"
    out.mkdir()
    write_lines(prepared / "train.src", ["ab ab", "ab ab ab", "ab ab ab ab", "ab", "zz"])
    write_lines(prepared / "train.tgt", ["ab ab", "ab ab", "ab ab ab ab", "ab ab", "ab"])
    for side in ("src", "tgt"):
        write_lines(prepared / f"valid.{side}", ["ab zz"])
    card = encode(prepared, out, ["valid"], Bpe(merges=1, min_frequency=2, max_pieces=3, max_ratio=1.5))
    # zz is in two pieces: its pair has 2 and 1, as has the one before it.
    assert np.load(out / KEPT).tolist() == [True, True, False, False, False]
    assert np.load(out / LENGTHS).tolist() == [[3, 3], [4, 3]]
    assert card["dropped"] == {"more pieces than max_pieces": 1, "pieces of the sides too uneven": 2}
    assert (card["pairs"], card["train_pieces"]) == (2, {"src": 5, "tgt": 4})
    assert (out / DICTIONARY).read_text(encoding="utf-8") == "ab 9\n"  # z is in no pair that stays
    assert card["unknown_pieces"] == {"valid.src": 2, "valid.tgt": 2}


def test_no_pair_left_is_told_with_both_counts(tmp_path: Path) -> None:
    prepared = tmp_path / "prepared"
    for name in ("train", "valid"):
        write_lines(prepared / f"{name}.src", ["a b c", "a"])
        write_lines(prepared / f"{name}.tgt", ["a b c", "a b"])
    bounds = Bpe(merges=1, min_frequency=2, max_pieces=2, max_ratio=1.5)
    (tmp_path / "out").mkdir()
    with pytest.raises(
        ParallelTextError, match=r"none of 2 pairs is left; dropped: 1 more pieces than .*, 1 "
    ):
        encode(prepared, tmp_path / "out", ["valid"], bounds)
