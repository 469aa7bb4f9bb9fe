"""runner.manifests: which code a stage runs, by meaning, on a made-up tree and on the real one."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nmtkd.plan.methods import FAMILIES
from runner import manifests
from runner.manifests import ManifestError

TREE = {
    "requirements.lock": "numpy==1.26.4\npyyaml==6.0.1  # via dvc\ntorch==2.4.0+cpu\n",
    "src/nmtkd/__init__.py": "",
    "src/nmtkd/plan/__init__.py": "",
    "src/nmtkd/plan/values.py": "LARGEST = 1\n",
    "src/nmtkd/loss.py": (
        '"""Losses."""\n\nimport torch\n\n\ndef loss(x):\n    """Twice."""\n    return 2 * x  # twice\n'
    ),
    "src/nmtkd/page.py": "import os.path\n",
    "src/nmtkd/page.css": "p {}\n",
    "stages/__init__.py": "import sys\n",
    "stages/manifests.py": "import stages\n",
    "stages/report.py": "from nmtkd import page\nfrom nmtkd.plan import values\n",
    "stages/teacher.py": (
        "def main():\n    from nmtkd.loss import loss\n    from nmtkd.plan.values import LARGEST\n"
    ),
}
LOSS = "src/nmtkd/loss.py"
Edit = Callable[[str, str, str], None]


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Two entries, one of which learns by torch, as the current folder."""
    for name, text in TREE.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    packages = {"nmtkd": tmp_path / "src/nmtkd", "stages": tmp_path / "stages"}
    monkeypatch.setattr(manifests, "ROOT", tmp_path)
    monkeypatch.setattr(manifests, "PACKAGES", packages)
    monkeypatch.setattr(
        manifests, "LEFT_OUT", (packages["nmtkd"] / "plan", packages["stages"] / "__init__.py")
    )
    monkeypatch.setattr(manifests, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.chdir(tmp_path)
    manifests.forget()
    yield tmp_path
    manifests.forget()


@pytest.fixture
def edit(tree: Path) -> Edit:
    """Replaces a text that stands once in a file of the tree."""

    def replaced(name: str, old: str, new: str) -> None:
        text = (tree / name).read_text(encoding="utf-8")
        assert text.count(old) == 1
        (tree / name).write_text(text.replace(old, new), encoding="utf-8")
        manifests.forget()

    return replaced


def test_a_package_whose_file_was_empty_is_seen_once_all_is_forgotten(tree: Path) -> None:
    """A long stage compares the code that it began with and the code there is at its end."""
    name = "src/nmtkd/__init__.py"
    assert name not in manifests.manifest("teacher")["code"]
    (tree / name).write_text("ADDED = 1\n", encoding="utf-8")
    manifests.forget()
    assert name in manifests.manifest("teacher")["code"]


def test_a_file_is_parsed_again_only_if_its_bytes_are_others(
    tree: Path, edit: Edit, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests.write()
    manifests.forget()
    before = manifests.manifest("teacher")
    read: list[Path] = []
    parse = manifests._parsed

    def reading(path: Path, text: bytes) -> tuple[set[str], str]:
        read.append(path)
        return parse(path, text)

    monkeypatch.setattr(manifests, "_parsed", reading)
    manifests.forget()
    assert manifests.manifest("teacher") == before and read == []
    edit(LOSS, "2 * x", "3 * x")
    assert manifests.manifest("teacher") != before and read == [tree / LOSS]


@pytest.mark.parametrize("damage", ["other reader", "torn", "none", "a list"])
def test_what_another_reader_kept_is_not_taken(tree: Path, damage: str) -> None:
    before = manifests.manifest("teacher")
    manifests.write()
    kept = tree / manifests.KEPT
    content = json.loads(kept.read_text(encoding="utf-8"))
    assert len(content["sources"]) == 4, "of each file of an entry"
    wrong = {name: ["numpy", "0" * 16] for name in content["sources"]}
    texts = {
        "other reader": json.dumps({"reader": "3.12", "sources": wrong}),
        "torn": json.dumps(content)[:-5],
        "a list": "[]",
        "none": "",
    }
    kept.write_text(texts[damage], encoding="utf-8")
    if damage == "none":
        kept.unlink()
    manifests.forget()
    assert manifests.manifest("teacher") == before


def test_entries_are_the_stages_that_run(tree: Path) -> None:
    assert manifests.entries() == ["report", "teacher"]


def test_manifest_holds_what_the_entry_imports(tree: Path) -> None:
    """Also within a function. plan/ and the package of stages are left out, and so is the standard
    library."""
    teacher, report = (manifests.manifest(entry) for entry in ("teacher", "report"))
    assert list(teacher["code"]) == ["src/nmtkd/loss.py", "stages/teacher.py"]
    assert teacher["libraries"] == {"torch": "2.4.0"}
    assert list(report["code"]) == ["src/nmtkd/page.css", "src/nmtkd/page.py", "stages/report.py"]
    assert report["libraries"] == {}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Losses."""\n', '"""How far apart two are."""\n'),
        ('"""Losses."""\n\n', ""),
        ('    """Twice."""\n', '    """Two times: a line\n\n    and another."""\n'),
        ("  # twice", ""),
        ("import torch\n\n\ndef", "import torch\n\n# A comment.\n\n\ndef"),
        ("2 * x  #", "(2 *\n            x)  #"),
    ],
)
def test_tree_hash_does_not_see_words(tree: Path, edit: Edit, old: str, new: str) -> None:
    before = manifests.manifest("teacher")
    edit(LOSS, old, new)
    assert manifests.manifest("teacher") == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("2 * x", "3 * x"),
        ("2 * x", "x * 2"),
        ("2 * x", "2.0 * x"),
        ("def loss(x):", "def loss(x, y=0):"),
        ("return 2", 'assert "Twice."\n    return 2'),
    ],
)
def test_tree_hash_sees_arithmetic(tree: Path, edit: Edit, old: str, new: str) -> None:
    before = {entry: manifests.manifest(entry) for entry in manifests.entries()}
    edit(LOSS, old, new)
    after = {entry: manifests.manifest(entry) for entry in manifests.entries()}
    assert after["report"] == before["report"]
    assert after["teacher"]["libraries"] == before["teacher"]["libraries"]
    changed = {
        name for name, digest in after["teacher"]["code"].items() if before["teacher"]["code"][name] != digest
    }
    assert changed == {LOSS}


@pytest.mark.parametrize("name", ["src/nmtkd/plan/values.py", "stages/__init__.py"])
def test_manifest_does_not_see_what_can_only_stop_a_run(tree: Path, name: str) -> None:
    before = [manifests.manifest(entry) for entry in manifests.entries()]
    (tree / name).write_text("import numpy\nLARGEST = 2\n", encoding="utf-8")
    manifests.forget()
    assert [manifests.manifest(entry) for entry in manifests.entries()] == before


def test_manifest_sees_files_beside_a_module_by_their_bytes(tree: Path) -> None:
    """Whatever their kind: what a module reads lies beside it. What Python makes of it is no code."""
    names = [f"src/nmtkd/page.{kind}" for kind in ("css", "js", "html", "json")]
    for name in ("src/nmtkd/page.pyc", "src/nmtkd/other.css", *names):
        (tree / name).write_text("p {}\n", encoding="utf-8")
    before = manifests.manifest("report")["code"]
    assert before.keys() == {*names, "src/nmtkd/page.py", "stages/report.py"}
    for name in names:
        (tree / name).write_text("p { }\n", encoding="utf-8")
        after = manifests.manifest("report")["code"]
        assert {name for name in after if after[name] != before[name]} == {name}
        before = after


def test_libraries_are_by_version_and_not_by_build(tree: Path, edit: Edit) -> None:
    edit("requirements.lock", "torch==2.4.0+cpu", "torch==2.4.0+cu121")
    assert manifests.manifest("teacher")["libraries"] == {"torch": "2.4.0"}
    edit("requirements.lock", "torch==2.4.0+cu121", "torch==2.5.0")
    assert manifests.manifest("teacher")["libraries"] == {"torch": "2.5.0"}


def test_libraries_are_found_under_the_names_that_they_are_imported_by(tree: Path, edit: Edit) -> None:
    edit(LOSS, "import torch\n", "import numpy.linalg\nimport yaml\n")
    assert manifests.manifest("teacher")["libraries"] == {"numpy": "1.26.4", "pyyaml": "6.0.1"}


@pytest.mark.parametrize("module", ["scipy", "not_a_library"])
def test_libraries_refuse_one_without_a_pin(tree: Path, edit: Edit, module: str) -> None:
    edit(LOSS, "import torch\n", f"import {module}\n")
    with pytest.raises(
        ManifestError, match=rf"requirements\.lock: pins no version of {module}, .*run `make lock`"
    ):
        manifests.manifest("teacher")


def test_check_passes_what_was_written(tree: Path, edit: Edit) -> None:
    manifests.write()
    assert sorted(path.name for path in (tree / "manifests").iterdir()) == ["report.json", "teacher.json"]
    for entry in manifests.entries():
        manifests.check(entry)
    edit(LOSS, "# twice", "# two times")
    manifests.check("teacher")


def test_check_names_what_differs(tree: Path, edit: Edit) -> None:
    manifests.write()
    edit(LOSS, "2 * x", "3 * x")
    edit("requirements.lock", "torch==2.4.0", "torch==2.5.0")
    (tree / "src/nmtkd/more.py").write_text("X = 1\n", encoding="utf-8")
    edit("stages/teacher.py", "def main():\n", "def main():\n    import nmtkd.more\n")
    with pytest.raises(ManifestError) as caught:
        manifests.check("teacher")
    names = f"{LOSS}, src/nmtkd/more.py, stages/teacher.py, torch differ"
    assert str(caught.value) == (
        f"manifests/teacher.json: names other code than there is now ({names}); "
        "run `dvc repro manifests`, then this stage again"
    )
    manifests.check("report")


def test_check_asks_for_a_manifest_that_is_not_there(tree: Path) -> None:
    with pytest.raises(ManifestError, match=r"teacher\.json: not there; run `dvc repro manifests`"):
        manifests.check("teacher")


def test_manifests_of_equal_code_are_equal_bytes(tree: Path) -> None:
    written = []
    for _ in range(2):
        manifests.write()
        written.append((tree / "manifests/teacher.json").read_bytes())
    assert written[0] == written[1]
    assert json.loads(written[0]) == manifests.manifest("teacher")


# The real code


@pytest.fixture(scope="module")
def real() -> dict[str, Any]:
    return {entry: manifests.manifest(entry) for entry in manifests.entries()}


def test_what_can_only_stop_a_run_is_in_no_manifest(real: dict[str, Any]) -> None:
    """plan/, and what a machine has, locks, and where an output lies until it is whole."""
    entries = [
        "bpe",
        "corpus",
        "decode",
        "evaluate",
        "noise",
        "prepare",
        "report",
        "student",
        "targets",
        "teacher",
    ]
    assert list(real) == entries
    for entry, content in real.items():
        assert f"stages/{entry}.py" in content["code"]
        left_out = {f"src/nmtkd/{name}.py" for name in ("machine", "locks", "outputs")}
        assert not (left_out | {"stages/__init__.py"}) & content["code"].keys()
        assert not [name for name in content["code"] if "/plan/" in name]


@pytest.mark.parametrize("entry", ["teacher", "student"])
@pytest.mark.parametrize(
    "module", ["transformer", "attention", "dropout", "matmul", "unit_gates", "slim_fairseq"]
)
def test_arithmetic_of_a_training_is_in_its_manifest(real: dict[str, Any], entry: str, module: str) -> None:
    assert f"src/nmtkd/network/{module}.py" in real[entry]["code"]
    assert {"torch", "fairseq-fixed", "numpy"} <= real[entry]["libraries"].keys()


def test_code_is_in_the_manifests_of_those_that_run_it(real: dict[str, Any]) -> None:
    holders = {
        name: {entry for entry, content in real.items() if f"src/nmtkd/{name}.py" in content["code"]}
        for name in (
            *("distil/divergences", "text/corpora/readers", "text/noise", "evidence/page"),
            *("files", "processes"),
        )
    }
    assert holders == {
        "distil/divergences": {"student"},
        "text/corpora/readers": {"corpus"},
        "text/noise": {"noise"},
        "evidence/page": {"report"},
        "files": set(real),
        "processes": {"decode", "targets", "teacher", "student"},
    }


@pytest.mark.parametrize(
    ("change", "stale"),
    [
        ({"criterion": "chunked_cross_entropy"}, "student"),
        ({"targets": "hypothesis"}, "student"),
        ({"sentence": "learns nothing."}, "report"),
    ],
)
def test_familys_row_is_in_the_manifest_of_the_one_that_it_decides(
    real: dict[str, Any], monkeypatch: pytest.MonkeyPatch, change: dict[str, str], stale: str
) -> None:
    monkeypatch.setitem(FAMILIES, "word", replace(FAMILIES["word"], **change))  # type: ignore[arg-type]
    changed = {entry for entry in real if manifests.manifest(entry) != real[entry]}
    assert changed == {stale}
