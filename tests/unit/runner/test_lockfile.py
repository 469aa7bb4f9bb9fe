"""runner.lockfile: dvc.lock in one order, to the byte."""

from pathlib import Path

import pytest

from runner.lockfile import sort

HEAD = "schema: '2.0'\nstages:\n"
ONE = "  one:\n    cmd: echo one\n    outs:\n    - path: a\n      size: 2\n"
TWO = "  two@x-1:\n    cmd: echo 'two:'\n    deps:\n    - path: a\n"
THREE = "  'three':\n    cmd: echo three\n"


@pytest.mark.parametrize(
    ("before", "order", "after"),
    [
        ([TWO, ONE, THREE], ["one", "two@x-1", "three"], [ONE, TWO, THREE]),
        ([TWO, ONE, THREE], ["three", "one", "two@x-1"], [THREE, ONE, TWO]),
        ([TWO, ONE, THREE], ["gone", "one"], [ONE, TWO, THREE]),  # the others as they are, at the end
        ([ONE, TWO], ["one", "two@x-1"], [ONE, TWO]),
        ([], ["one"], []),
    ],
)
def test_sort_puts_stages_in_order(
    tmp_path: Path, before: list[str], order: list[str], after: list[str]
) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(HEAD + "".join(before), encoding="utf-8")
    sort(path, order)
    assert path.read_text(encoding="utf-8") == HEAD + "".join(after)


def test_sort_leaves_a_sorted_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(HEAD + ONE + TWO, encoding="utf-8")
    before = path.stat()
    sort(path, ["one", "two@x-1"])
    assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)


def test_sort_of_no_file_is_nothing(tmp_path: Path) -> None:
    sort(tmp_path / "dvc.lock", ["one"])
    assert list(tmp_path.iterdir()) == []
