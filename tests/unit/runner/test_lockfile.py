"""runner.lockfile: dvc.lock in one order, to the byte."""

from pathlib import Path

import pytest
from dvc.utils.serialize import _yaml, dumps_yaml, modify_yaml

from runner import lockfile
from runner.lockfile import sort

ROOT = Path(__file__).resolve().parents[3]
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


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_yaml, "parse_yaml_for_update", lockfile.with_comments)
    lockfile.read_fast()


# What YAML reads in more than one way.
DEEP = {
    "cmd": "echo 'a: b'  # c",
    "params": {
        "params.yaml": {"lr": 5e-4, "small": 1e-07, "whole": 1.0, "no": "no", "none": None, "yes": True}
    },
    "more": {
        "digits": "0012",
        "float": "1e-3",
        "text": "é\nü",
        "date": "2020-01-01",
        "empty": [],
        "words": "x " * 99,
    },
}


@pytest.mark.parametrize(
    "before",
    [(ROOT / "dvc.lock").read_text(encoding="utf-8"), dumps_yaml({"schema": "2.0", "stages": {"one": DEEP}})],
    ids=["the repository's", "made up"],
)
def test_lock_file_that_is_read_fast_is_written_to_the_same_bytes(
    tmp_path: Path, fast: None, before: str
) -> None:
    """As by DVC's own way, which keeps what a lock file never has."""
    path = tmp_path / "dvc.lock"
    path.write_text(before, encoding="utf-8")
    with modify_yaml(path) as found:
        assert type(found) is dict
    assert path.read_text(encoding="utf-8") == before


def test_other_files_keep_their_comments(tmp_path: Path, fast: None) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("a: 1 # why\n", encoding="utf-8")
    with modify_yaml(path) as found:
        found["b"] = 2
    assert path.read_text(encoding="utf-8") == "a: 1 # why\nb: 2\n"
