"""runner.lockfile: dvc.lock in one order, and written fast, to the byte."""

import io
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import _yaml, modify_yaml

from runner import lockfile
from runner.lockfile import sort

ROOT = Path(__file__).resolve().parents[3]
HEAD = "schema: '2.0'\nstages:\n"
ONE = "  one:\n    cmd: echo one\n    outs:\n    - path: a\n      size: 2\n"
TWO = "  two@x-1:\n    cmd: echo 'two:'\n    deps:\n    - path: a\n"
THREE = "  'three':\n    cmd: echo three\n"
DVCS_OWN = lockfile.parsed


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
    monkeypatch.setattr(_yaml, "_dump", lockfile.with_all)
    monkeypatch.setattr(_yaml, "parse_yaml", DVCS_OWN)
    lockfile.be_fast()


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


def by_dvc(data: object) -> str:
    """The file as DVC alone writes it."""
    stream = io.StringIO()
    lockfile.with_all(data, stream)
    return stream.getvalue()


THERE = (ROOT / "dvc.lock").read_text(encoding="utf-8")
MADE_UP = by_dvc(
    {
        "schema": "2.0",
        "stages": {"one": deepcopy(DEEP), "two@a-b": {"cmd": "echo", "n": 1}, "3": deepcopy(DEEP)},
    }
)
SHARED = by_dvc({"schema": "2.0", "stages": {"one": DEEP, "two": DEEP, "three": {"cmd": "echo"}}})
each_lock = pytest.mark.parametrize("before", [THERE, MADE_UP], ids=["the repository's", "made up"])


@each_lock
def test_lock_file_that_is_read_fast_is_written_to_the_same_bytes(
    tmp_path: Path, fast: None, before: str
) -> None:
    """As by DVC's own way, which keeps what a lock file never has."""
    path = tmp_path / "dvc.lock"
    path.write_text(before, encoding="utf-8")
    with modify_yaml(path) as found:
        assert type(found) is dict
    assert path.read_text(encoding="utf-8") == before


@each_lock
def test_stages_that_changed_or_are_new_are_written_as_dvc_does(
    tmp_path: Path, fast: None, before: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all others not one is written anew."""
    path = tmp_path / "dvc.lock"
    path.write_text(before, encoding="utf-8")
    wanted = _yaml.parse_yaml(before, path)
    first, *_, last = wanted["stages"]
    written: list[str] = []
    text = lockfile._text

    def writing(data: Any) -> str:
        written.extend(data.get("stages", ()))
        return text(data)

    monkeypatch.setattr(lockfile, "_text", writing)
    with modify_yaml(path) as found:
        for data in (found, wanted):
            data["stages"][last] = {**data["stages"][last], "more": deepcopy(DEEP)}
            data["stages"]["new@a-1"] = deepcopy(DEEP)
            del data["stages"][first]
    assert path.read_text(encoding="utf-8") == by_dvc(wanted)
    assert written == [last, "new@a-1"]


@pytest.mark.parametrize(("old", "new"), [(1, 1.0), (1, True), (0, False), ("1", 1)], ids=str)
def test_an_equal_value_of_another_type_is_written(
    tmp_path: Path, fast: None, old: object, new: object
) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(by_dvc({"schema": "2.0", "stages": {"one": {"n": old}}}), encoding="utf-8")
    with modify_yaml(path) as found:
        found["stages"]["one"]["n"] = new
    assert path.read_text(encoding="utf-8") == by_dvc({"schema": "2.0", "stages": {"one": {"n": new}}})


@pytest.mark.parametrize("before", ["schema: '2.0'\n", "stages:\n  one:\n    cmd: echo\n"])
def test_a_file_of_another_form_is_written_by_dvc(tmp_path: Path, fast: None, before: str) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(before, encoding="utf-8")
    wanted = {"schema": "2.0", "stages": {"two": DEEP}}
    with modify_yaml(path) as found:
        found.clear()
        found.update(wanted)
    assert path.read_text(encoding="utf-8") == by_dvc(wanted)


def test_a_stage_that_others_refer_to_may_go(tmp_path: Path, fast: None) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(SHARED, encoding="utf-8")
    assert "&id" in SHARED
    with modify_yaml(path) as found:
        del found["stages"]["one"]
    assert path.read_text(encoding="utf-8") == by_dvc(
        {"schema": "2.0", "stages": {"two": DEEP, "three": {"cmd": "echo"}}}
    )


def test_a_file_without_its_last_line_end_is_written_whole(tmp_path: Path, fast: None) -> None:
    path = tmp_path / "dvc.lock"
    path.write_text(HEAD + ONE.removesuffix("\n"), encoding="utf-8")
    with modify_yaml(path) as found:
        found["stages"]["two@x-1"] = {"cmd": "echo 'two:'", "deps": [{"path": "a"}]}
    assert path.read_text(encoding="utf-8") == HEAD + ONE + TWO


def test_an_empty_file_is_written_by_dvc(tmp_path: Path, fast: None) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("", encoding="utf-8")
    with modify_yaml(path) as found:
        assert not found
    assert path.read_text(encoding="utf-8") == by_dvc(found)


def test_a_new_file_is_written_by_dvc(tmp_path: Path, fast: None) -> None:
    path = tmp_path / "dvc.lock"
    for number in (1, 2):
        with modify_yaml(path) as found:
            found["schema"] = "2.0"
            found.setdefault("stages", {})[f"s{number}"] = deepcopy(DEEP)
    both = {"s1": deepcopy(DEEP), "s2": deepcopy(DEEP)}
    assert path.read_text(encoding="utf-8") == by_dvc({"schema": "2.0", "stages": both})


def test_other_files_keep_their_comments(tmp_path: Path, fast: None) -> None:
    path = tmp_path / "dvc.yaml"
    path.write_text("a: 1 # why\n", encoding="utf-8")
    with modify_yaml(path) as found:
        found["b"] = 2
    assert path.read_text(encoding="utf-8") == "a: 1 # why\nb: 2\n"


# Texts that DVC reads again


@pytest.fixture
def parsings(monkeypatch: pytest.MonkeyPatch, fast: None) -> list[str]:
    """The texts that are parsed from now on; DVC is fast."""
    texts: list[str] = []

    def parse(text: str, path: str, typ: str = "safe") -> Any:
        texts.append(text)
        return DVCS_OWN(text, path, typ)

    monkeypatch.setattr(lockfile, "parsed", parse)
    lockfile.be_fast()
    return texts


def test_text_is_parsed_once_and_each_reader_gets_its_own(tmp_path: Path, parsings: list[str]) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("lr: 5e-4\nwidths: [1, 2.0]\nday: 2020-01-01\n", encoding="utf-8")
    first = _yaml.load_yaml(path)
    assert first == DVCS_OWN(path.read_text(encoding="utf-8"), path)
    first["widths"].append(3)
    assert _yaml.load_yaml(path)["widths"] == [1, 2.0]
    assert parsings == [path.read_text(encoding="utf-8")]


def test_text_that_changed_is_parsed(tmp_path: Path, parsings: list[str]) -> None:
    path = tmp_path / "params.yaml"
    for lr in (1, 2, 1):
        path.write_text(f"lr: {lr}\n", encoding="utf-8")
        assert _yaml.load_yaml(path) == {"lr": lr}
    assert parsings == ["lr: 1\n", "lr: 2\n"]
    for number in range(lockfile.KEPT):
        path.write_text(f"number: {number}\n", encoding="utf-8")
        assert _yaml.load_yaml(path) == {"number": number}
    path.write_text("lr: 1\n", encoding="utf-8")
    assert _yaml.load_yaml(path) == {"lr": 1}
    assert parsings.count("lr: 1\n") == 2, "few texts are kept"


def test_damaged_text_is_an_error_each_time(tmp_path: Path, parsings: list[str]) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("lr: [1\n", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(_yaml.YAMLFileCorruptedError, match=r"params\.yaml"):
            _yaml.load_yaml(path)
