"""The rooms stand in the order of the data: each imports earlier ones only, and none of its own tier."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from runner.manifests import imported
from tests.structure.graph import ROOT

SRC, STAGES = ROOT / "src", ROOT / "stages"
SOURCES = sorted([*SRC.rglob("*.py"), *STAGES.glob("*.py")])
# Earlier rooms come first; the plugin's face stands on all of them, runner is around DVC.
TIERS = (
    ("plan", "files", "machine", "locks"),
    ("processes",),
    ("outputs",),
    ("text", "network"),
    ("distil", "decoding"),
    ("training", "evidence"),
    ("nmtkd_fairseq",),
    ("runner",),
    ("stages",),
)
TIER = {room: number for number, tier in enumerate(TIERS) for room in tier}


def room(module: str) -> str:
    """The room of a first-party module."""
    top, *rest = module.split(".")
    return rest[0] if top == "nmtkd" and rest else top


def module_of(path: Path) -> str:
    relative = path.relative_to(SRC if SRC in path.parents else ROOT).with_suffix("")
    return ".".join(relative.parts).removesuffix(".__init__")


def first_party(path: Path) -> set[str]:
    """The rooms that a file imports from, its own left out."""
    names = {
        name
        for name in imported(path)
        if name.split(".")[0] in ("nmtkd", "nmtkd_fairseq", "runner", "stages")
    }
    names = {name for name in names if name != "nmtkd"}
    return {room(name) for name in names} - {room(module_of(path))}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rooms_import_earlier_ones_only(path: Path) -> None:
    own = room(module_of(path))
    if own == "nmtkd":  # the empty package file
        assert not first_party(path)
        return
    late = {other for other in first_party(path) if TIER[other] >= TIER[own]}
    assert not late, f"{own} may not import {', '.join(sorted(late))}"


def test_modules_make_no_circle() -> None:
    known = {module_of(path): path for path in SOURCES}
    needs = {
        name: {other for other in imported(path) if other in known} - {name} for name, path in known.items()
    }
    # A package's file runs before its modules: what it imports of its own package is no circle.
    needs = {
        name: {other for other in others if not name.startswith(f"{other}.")}
        for name, others in needs.items()
    }
    while free := [name for name, others in needs.items() if not others]:
        for name in free:
            del needs[name]
        needs = {name: others - set(free) for name, others in needs.items()}
    assert not needs


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_libraries_are_imported_in_their_rooms(path: Path) -> None:
    own = room(module_of(path))
    libraries = {name.split(".")[0] for name in imported(path)}
    if "dvc" in libraries:
        assert own == "runner", "DVC is a tool around us"
    if "fairseq" in libraries:
        assert own in ("network", "decoding", "training"), "fairseq is reached through network"
    if libraries & {"torch", "ctranslate2"}:
        rooms = ("machine", "processes", "network", "distil", "decoding", "training")
        assert own in rooms or path.name == "torchrun.py"  # torch's launcher


def test_the_plan_computes_nothing() -> None:
    """It imports the standard library, pydantic and yaml alone, and gives no option a value of its own."""
    for path in (SRC / "nmtkd/plan").glob("*.py"):
        libraries = {name.split(".")[0] for name in imported(path)} - set(sys.stdlib_module_names) - {"nmtkd"}
        assert libraries <= {"pydantic", "yaml"}, path
        assert first_party(path) <= {"plan"}, path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and any(
                getattr(base, "id", "") == "Section" for base in node.bases
            ):
                given = [
                    entry
                    for entry in node.body
                    if isinstance(entry, ast.AnnAssign) and entry.value is not None
                ]
                assert all(
                    isinstance(entry.value, ast.Constant) and entry.value.value is None for entry in given
                ), f"{path.name}: {node.name} gives an option a default: params.yaml says every value"


@pytest.mark.parametrize("path", sorted(STAGES.glob("*.py")), ids=lambda path: path.name)
def test_stages_are_thin_and_strangers(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 60
    assert {name for name in imported(path) if name.startswith("stages")} <= {
        "stages", "stages.entry", "stages.output", "stages.run",
    }  # fmt: skip
