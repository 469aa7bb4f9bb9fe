"""The house plan: who may import whom, where numbers live, and that params.yaml is what conf/ composes to."""

from __future__ import annotations

import ast
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmtkd import params
from tests.structure.imports import ROOT, imported

SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")])
WINGS = ("text", "distil", "models", "evidence")
LONGEST = 250  # lines; a file beyond that is two ideas
# Numbers that carry no choice: small counts of parts, halves, percents and thousands.
PLAIN_NUMBERS = {-1, 0, 1, 2, 3, 4, 0.5, 100, 1e3, 1e6, 1e9}


def place(path: Path) -> str:
    """The room of a file: a wing, foundation, plugin or stages."""
    parts = path.relative_to(ROOT).parts
    if parts[0] == "stages":
        return "stages"
    if parts[1] == "nmtkd_fairseq":
        return "plugin"
    return parts[2] if parts[2] in WINGS else "foundation"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_keep_their_direction(path: Path) -> None:
    room = place(path)
    for module in imported(path):
        top, *rest = module.split(".")
        wing = rest[0] if top == "nmtkd" and rest and rest[0] in WINGS else None
        assert top != "dvc", "no code of ours imports DVC: it is a tool around us"
        if room != "stages":
            assert top != "stages"
            assert wing is None or wing == room or (room == "plugin" and wing == "distil"), f"{room} reaches into {wing}"
            assert top != "nmtkd_fairseq" or room == "plugin"
        elif top == "stages":
            assert module in ("stages", "stages.entry"), "stages never import each other"
        if top == "fairseq":
            assert room in ("plugin", "models"), "fairseq is imported in its wing and in the plugin only"
        if top in ("torch", "fairseq", "ctranslate2"):
            assert room in ("plugin", "models", "distil", "foundation")


def _named_constants(tree: ast.Module) -> set[ast.AST]:
    """Nodes inside module-level UPPER_CASE definitions and Enum-like tables."""
    found: set[ast.AST] = set()
    for node in tree.body:
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if all(isinstance(target, ast.Name) and target.id.strip("_").isupper() for target in targets):
                found |= set(ast.walk(node))
    return found


def test_no_number_stands_in_the_code() -> None:
    """A number is a param, or a named constant with its reason; figures and their geometry are the one exception."""
    loose = []
    for path in SOURCES:
        if path.name in ("figures.py", "canvas.py", "curves.py"):
            continue  # sizes of a drawing change no result
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = _named_constants(tree)
        annotations = {n for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) for n in ast.walk(node.annotation)}
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, int | float) or isinstance(node.value, bool):
                continue
            if node.value not in PLAIN_NUMBERS and node not in constants | annotations:
                loose.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}")
    assert loose == []


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


COMBINATIONS = list(itertools.product(_choices("corpus"), _choices("scale"), _choices("study")))
COMPOSE = """
import json, sys
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
with initialize_config_dir(sys.argv[1], version_base=None):
    print(json.dumps([OmegaConf.to_container(compose("config", overrides=one), resolve=True) for one in json.loads(sys.argv[2])]))
"""


@pytest.fixture(scope="module")
def composed() -> dict[tuple[str, ...], Any]:
    """What conf/ composes to: () is the default. In a process of its own: fairseq, once imported, has a Hydra "config" too."""
    wanted: list[list[str]] = [[], *([f"corpus={corpus}", f"scale={scale}", f"study={study}"] for corpus, scale, study in COMBINATIONS)]
    done = subprocess.run(
        [sys.executable, "-c", COMPOSE, str(ROOT / "conf"), json.dumps(wanted)], capture_output=True, text=True, check=True
    )
    return dict(zip([(), *COMBINATIONS], json.loads(done.stdout), strict=True))


def test_params_are_what_the_configuration_composes_to(composed: dict[tuple[str, ...], Any]) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert raw == composed[()], "run `make params`"


@pytest.mark.parametrize("choice", COMBINATIONS, ids="-".join)
def test_every_shipped_configuration_is_valid(choice: tuple[str, ...], composed: dict[tuple[str, ...], Any]) -> None:
    params.validate(composed[choice])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_stay_small(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").count("\n")
    assert lines <= LONGEST, f"{lines} lines: what should this file be?"
