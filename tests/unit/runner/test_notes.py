"""runner.notes: what changed since a stage began, and that equal bases have one key."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from runner import declared, manifests, notes
from runner.declared import Declared
from runner.notes import ChangedError, Notes, differences

PARAMS = "training: {lr: 0.011, adam_betas: [0.9, 0.98]}\nother: 1\n"
ENTRY = "from nmtkd.here import kept\n\n\ndef main():\n    return kept()\n"


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A laboratory whose entry `student` reads training, a file and a folder, and imports one module."""
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "params.yaml": PARAMS,
        "stages/student.py": ENTRY,
        "src/nmtkd/here.py": "def kept():\n    return 1\n",
        "requirements.lock": "",
        "data/noise/clean/train.src": "a b\n",
        "data/dict.txt": "a 1\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(manifests, "ROOT", tmp_path)
    monkeypatch.setattr(manifests, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(
        manifests, "PACKAGES", {"nmtkd": tmp_path / "src/nmtkd", "stages": tmp_path / "stages"}
    )
    monkeypatch.setattr(manifests, "LEFT_OUT", ())
    asked = Declared(("training",), (Path("data/noise/clean"), Path("data/dict.txt")))
    monkeypatch.setattr(notes, "declared", lambda command, params: asked)
    manifests.forget()
    yield tmp_path
    manifests.forget()


def begin() -> Notes:
    return Notes.begin("student", ["word", "word-tiny-clean-1"])


def problems(found: Notes) -> list[str]:
    with pytest.raises(ChangedError) as caught:
        found.check()
    head, *lines = str(caught.value).splitlines()
    assert head == "student word word-tiny-clean-1: while it ran, its basis changed"
    return [line.removeprefix("  ") for line in lines[:-2]]


def write(name: str, text: str) -> Callable[[], object]:
    return lambda: Path(name).write_text(text, encoding="utf-8")


def test_nothing_changed(code: Path) -> None:
    begun = begin()
    begun.check()
    # read by nobody, written anew with the same content, hidden, or said in other words
    Path("params.yaml").write_text(PARAMS.replace("other: 1", "other: 2"), encoding="utf-8")
    Path("data/dict.txt").unlink()
    Path("data/dict.txt").write_text("a 1\n", encoding="utf-8")
    Path("data/noise/clean/.train.lock").write_text("", encoding="utf-8")
    Path("data/noise/.clean.17.part").mkdir()
    Path("src/nmtkd/here.py").write_text(
        'def kept():\n    """Said."""\n    return 1  # one\n', encoding="utf-8"
    )
    begun.check()


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (
            write("params.yaml", PARAMS.replace("0.011", "0.022")),
            "params.yaml: training.lr was 0.011 and is 0.022",
        ),
        (
            write("params.yaml", PARAMS.replace("lr: 0.011, ", "")),
            "params.yaml: training.lr was 0.011 and is (not there)",
        ),
        (
            write("params.yaml", PARAMS.replace("{lr", "{warmup: 3, lr")),
            "params.yaml: training.warmup was (not there) and is 3",
        ),
        (
            write("params.yaml", PARAMS.replace("[0.9, 0.98]", "[0.9, 1]")),
            "params.yaml: training.adam_betas was [0.9, 0.98] and is [0.9, 1]",
        ),
        (
            write("src/nmtkd/here.py", "def kept():\n    return 2\n"),
            "src/nmtkd/here.py: its code was changed",
        ),
        (
            write("src/nmtkd/here.py", "import nmtkd.new\n\n\ndef kept():\n    return 1\n"),
            "src/nmtkd/here.py: its code was changed",
        ),
        (
            write("data/dict.txt", "a 2\n"),
            "data/dict.txt: was sha256 6a03830a1811... and is 737f60f768e0...",
        ),
        (lambda: Path("data/noise/clean/train.src").unlink(), "data/noise/clean/train.src: is gone"),
        (write("data/noise/clean/train.tgt", ""), "data/noise/clean/train.tgt: is new"),
    ],
)
def test_each_change_is_told_with_what_was_and_what_is(
    code: Path, change: Callable[[], object], line: str
) -> None:
    begun = begin()
    change()
    (got,) = problems(begun)
    assert got == line


def test_all_changes_are_told_at_once(code: Path) -> None:
    begun = begin()
    Path("params.yaml").write_text("training: {lr: 1.0}\n", encoding="utf-8")
    Path("data/dict.txt").unlink()
    assert [line.split(" was")[0] for line in problems(begun)] == [
        "params.yaml: training.lr",
        "params.yaml: training.adam_betas",
        "data/dict.txt: is gone",
    ]


def test_file_of_the_same_size_and_time_is_told_if_it_is_another(code: Path) -> None:
    """As another program leaves it that replaces a file and keeps its date."""
    begun = begin()
    path = Path("data/dict.txt")
    date = path.stat()
    path.with_name("new").write_text("b 1\n", encoding="utf-8")
    os.replace(path.with_name("new"), path)
    os.utime(path, ns=(date.st_atime_ns, date.st_mtime_ns))
    assert problems(begun)[0].startswith("data/dict.txt: was sha256 ")


def test_key_is_that_of_all_that_is_noted(code: Path) -> None:
    keys = {begin().key}
    assert begin().key in keys
    for name, text in (
        ("params.yaml", PARAMS.replace("0.011", "0.022")),
        ("data/dict.txt", "a 2\n"),
        ("src/nmtkd/here.py", "def kept():\n    return 2\n"),
    ):
        write(name, text)()
        manifests.forget()
        keys.add(begin().key)
    keys.add(Notes.begin("student", ["word", "word-tiny-clean-2"]).key)
    assert len(keys) == 5
    write("params.yaml", PARAMS.replace("0.011", "0.022").replace("other: 1", "other: 2"))()
    assert len({*keys, begin().key}) == 5


def test_differences_go_down_to_the_leaves() -> None:
    before, after = {"b": {"c": 1, "d": [1]}, "e": 1}, {"b": {"c": 1, "d": [2]}, "f": True}
    assert differences("a", before, after) == [
        ("a.b.d", [1], [2]),
        ("a.e", 1, declared.ABSENT),
        ("a.f", declared.ABSENT, True),
    ]
    assert differences("a", 1, 1.0) == [("a", 1, 1.0)]
    assert differences("a", {"b": 1}, {"b": 1}) == []
