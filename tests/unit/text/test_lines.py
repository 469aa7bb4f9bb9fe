"""nmtkd.text.lines: the lines of a file without its text in memory."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.text import lines as module
from nmtkd.text.lines import Lines, open_pair
from nmtkd.text.parallel import ParallelTextError


def save(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    return path


def test_lines_by_hand(tmp_path: Path) -> None:
    lines = Lines(save(tmp_path / "a", "a b\n\u00e4\u2028c\n\nd"))
    assert len(lines) == 4
    assert list(lines) == ["a b", "\u00e4\u2028c", "", "d"]
    assert [lines[i] for i in (0, 1, 3, -1, -4)] == ["a b", "\u00e4\u2028c", "d", "d", "a b"]
    assert lines[1:3] == ["\u00e4\u2028c", ""]
    for index in (4, -5):
        with pytest.raises(IndexError):
            lines[index]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    assert list(Lines(save(tmp_path / "a", ""))) == []


@given(
    st.lists(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]))), st.integers(1, 9)
)
def test_lines_are_the_same_however_many_bytes_are_looked_at_together(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], size: int
) -> None:
    path = save(tmp_path_factory.mktemp("lines") / "a", "".join(f"{text}\n" for text in texts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BYTES", size)
        patch.setattr(module, "BLOCK", size)
        lines = Lines(path)
        assert list(lines) == texts
    assert list(lines) == texts == [lines[i] for i in range(len(lines))]


def test_an_opened_pair_is_checked(tmp_path: Path) -> None:
    sides = save(tmp_path / "a", "x\ny\n"), save(tmp_path / "b", "z\nw\n")
    assert [list(side) for side in open_pair(*sides)] == [["x", "y"], ["z", "w"]]
    with pytest.raises(ParallelTextError, match="has 2 lines"):
        open_pair(sides[0], save(tmp_path / "c", "z\n"))
    with pytest.raises(ParallelTextError, match="line 2: empty"):
        open_pair(sides[0], save(tmp_path / "d", "z\n\n"))
