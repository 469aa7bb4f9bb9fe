"""nmtkd.text.parallel: what a parallel file may hold, and how it is written."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.files import write_json
from nmtkd.text.parallel import (
    ParallelTextError,
    copy_pair,
    count_lines,
    count_pairs,
    decode_lines,
    one_line,
    read_lines,
    read_pair,
    write_lines,
    write_pair,
)


def save(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def test_read_lines_cuts_at_lf_alone(tmp_path: Path) -> None:
    text = "ein Haus\nzwei\u2028Zeilen\u0085hier\nNBSP\u00a0da\n"
    assert read_lines(save(tmp_path, "a", text.encode())) == [
        "ein Haus",
        "zwei\u2028Zeilen\u0085hier",
        "NBSP\u00a0da",
    ]


@pytest.mark.parametrize(
    ("data", "lines"), [(b"", []), (b"a", ["a"]), (b"a\n", ["a"]), (b"a\nb", ["a", "b"])]
)
def test_last_lf_may_be_missing(tmp_path: Path, data: bytes, lines: list[str]) -> None:
    assert read_lines(save(tmp_path, "a", data)) == lines


def test_broken_utf8_names_every_line_and_offset(tmp_path: Path) -> None:
    path = save(tmp_path, "a.src", b"gut\nsch\xffn\ngut\n\xc3\n")
    with pytest.raises(ParallelTextError) as caught:
        read_lines(path)
    assert str(caught.value).splitlines() == [
        f"{path}: line 2: not UTF-8: byte 0xff at offset 7 of the file; convert the file to UTF-8",
        f"{path}: line 4: not UTF-8: byte 0xc3 at offset 14 of the file; convert the file to UTF-8",
    ]


def test_cr_and_empty_lines_are_listed_together(tmp_path: Path) -> None:
    path = save(tmp_path, "a.src", b"ein\r\n \nzwei\n")
    with pytest.raises(ParallelTextError, match=r"line 1: holds a CR character.*\n.*line 2: empty") as caught:
        read_lines(path)
    assert len(str(caught.value).splitlines()) == 2


def test_only_the_first_five_problems_are_spelt_out(tmp_path: Path) -> None:
    with pytest.raises(ParallelTextError) as caught:
        read_lines(save(tmp_path, "a", b"x\n" + b"\n" * 9))
    lines = str(caught.value).splitlines()
    assert len(lines) == 6
    assert "line 6: empty" in lines[4]
    assert "9 problems in all; the first 5 are shown" in lines[5]


def test_empty_lines_pass_where_allowed() -> None:
    assert decode_lines(b"a\n\nb\n\n", "x", allow_empty=True) == ["a", "", "b", ""]


def test_byte_order_mark_is_refused() -> None:
    with pytest.raises(ParallelTextError, match="x: line 1: starts with a byte order mark"):
        decode_lines(b"\xef\xbb\xbfa\n", "x")


def test_a_text_of_ours_may_start_with_that_character(tmp_path: Path) -> None:
    write_lines(tmp_path / "a", ["\ufeffa", "b"])
    assert read_lines(tmp_path / "a") == ["\ufeffa", "b"]
    assert count_lines(tmp_path / "a") == 2
    with pytest.raises(ParallelTextError, match="line 1: starts with a byte order mark"):
        copy_pair(tmp_path / "a", tmp_path / "a", tmp_path, "train")


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParallelTextError, match=r"nowhere\.src: no such file"):
        read_lines(tmp_path / "nowhere.src")


def test_unequal_sides_name_both_files_and_counts(tmp_path: Path) -> None:
    source, target = save(tmp_path, "t.src", b"a\nb\nc\n"), save(tmp_path, "t.tgt", b"a\nb\n")
    with pytest.raises(ParallelTextError, match=r"t\.src has 3 lines and .*t\.tgt has 2"):
        read_pair(source, target)


def test_unequal_lengths_come_before_blank_lines(tmp_path: Path) -> None:
    """Which lines are a pair is unknown: a remedy for single pairs alone would mislead."""
    source, target = save(tmp_path, "t.src", b"a\nb\nc\nd\n"), save(tmp_path, "t.tgt", b"a\n\nc\n\ne\n")
    for read in (read_pair, count_pairs):
        with pytest.raises(ParallelTextError) as caught:
            read(source, target)
        assert str(caught.value).splitlines() == [
            f"{source} has 4 lines and {target} has 5: line n of one must translate line n of the other; "
            "export both sides again from one table",
            f"{target}: line 2: empty; remove the pair from both sides",
            f"{target}: line 4: empty; remove the pair from both sides",
        ]


def test_blank_lines_of_equal_sides_are_told_alone(tmp_path: Path) -> None:
    source, target = save(tmp_path, "t.src", b"a\n\n"), save(tmp_path, "t.tgt", b"\nb")
    with pytest.raises(ParallelTextError) as caught:
        read_pair(source, target)
    assert [line.split(": ", 1)[1] for line in str(caught.value).splitlines()] == [
        "line 2: empty; remove the pair from both sides",
        "line 1: empty; remove the pair from both sides",
    ]


def test_lengths_are_told_of_a_file_that_is_not_utf8(tmp_path: Path) -> None:
    source, target = save(tmp_path, "t.src", b"a\n\xff\nc\n"), save(tmp_path, "t.tgt", b"a\nb\n")
    with pytest.raises(ParallelTextError, match=r"t\.src has 3 lines and .*t\.tgt has 2.*\n.*not UTF-8"):
        read_pair(source, target)


def test_both_sides_are_checked_before_either_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ParallelTextError, match=r"t\.src: line 1: empty.*\n.*t\.tgt: no such file"):
        read_pair(save(tmp_path, "t.src", b"\n"), tmp_path / "t.tgt")


@given(st.text(alphabet=st.sampled_from("ab \n\r\t\u00a0\u2028"), max_size=12))
def test_one_line_loses_no_letter_and_every_line_end(text: str) -> None:
    line = one_line(text)
    assert not set(line) & set("\n\r")
    assert "".join(line.split()) == "".join(text.split())
    assert one_line(line) == line


def test_a_line_end_and_the_white_space_round_it_are_one_space() -> None:
    assert one_line("  a \r\n\t b\n\nc\n") == "a b c"


@pytest.mark.parametrize("text", [" a  b\u00a0c\u2028d\te ", "", " "])
def test_a_text_without_a_line_end_stays_as_it_is(text: str) -> None:
    assert one_line(text) == text


def test_write_read_round_trip(tmp_path: Path) -> None:
    assert write_pair(tmp_path / "deep" / "er", "train", [("a b", "ä"), ("c", "d\u2028e")]) == 2
    folder = tmp_path / "deep" / "er"
    assert (folder / "train.tgt").read_bytes() == "ä\nd\u2028e\n".encode()
    assert read_pair(folder / "train.src", folder / "train.tgt") == (["a b", "c"], ["ä", "d\u2028e"])
    assert sorted(os.listdir(folder)) == ["train.src", "train.tgt"]


def test_a_pair_of_files_is_never_empty(tmp_path: Path) -> None:
    with pytest.raises(ParallelTextError, match="valid: no pair to write"):
        write_pair(tmp_path, "valid", [])


@pytest.mark.parametrize("line", ["a\nb", "a\rb"])
def test_line_ends_inside_a_line_are_a_bug(tmp_path: Path, line: str) -> None:
    with pytest.raises(AssertionError, match="a line end inside a line"):
        write_lines(tmp_path / "a", ["fine", line])
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(tmp_path, "a", b"old\n")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_lines(path, ["new"])
    assert path.read_bytes() == b"old\n"
    assert os.listdir(tmp_path) == ["a"]


def test_json_is_sorted_and_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "card.json", {"b": "ü", "a": 1})
    assert (tmp_path / "card.json").read_text(encoding="utf-8") == '{\n "a": 1,\n "b": "ü"\n}\n'
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "card.json", float("nan"))
    assert json.loads((tmp_path / "card.json").read_text(encoding="utf-8")) == {"a": 1, "b": "ü"}
