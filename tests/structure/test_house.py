"""Where numbers live, and that params.yaml is what conf/ composes to."""

from __future__ import annotations

import ast
import itertools
import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from nmtkd.plan import params
from tests.structure.graph import ROOT

SOURCES = sorted([*(ROOT / "src").rglob("*.py"), *(ROOT / "stages").glob("*.py")])
# Numbers that carry no choice: small counts of parts, halves, percents and thousands.
PLAIN_NUMBERS = {-1, 0, 1, 2, 3, 4, 0.5, 100, 1e3, 1e6, 1e9}


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
    """A number is a param, or a named constant with its reason. Sizes of a drawing are the one exception."""
    loose = []
    for path in SOURCES:
        if path.name in ("figures.py", "canvas.py", "curves.py"):
            continue  # sizes of a drawing change no result
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = _named_constants(tree)
        annotations = {
            n for node in ast.walk(tree) if isinstance(node, ast.AnnAssign) for n in ast.walk(node.annotation)
        }
        for node in ast.walk(tree):
            if (
                not isinstance(node, ast.Constant)
                or not isinstance(node.value, int | float)
                or isinstance(node.value, bool)
            ):
                continue
            if node.value not in PLAIN_NUMBERS and node not in constants | annotations:
                loose.append(f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}")
    assert loose == []


def _choices(group: str) -> list[str]:
    return sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))


GROUPS = ("corpus", "scale", "study", "recipe")
COMMON = ("homeassistant", "quick", "default", "plain")


def _combinations() -> list[tuple[str, ...]]:
    """Each corpus with each study; scales and recipes take turns so that each meets all of another group."""
    corpora, scales, studies, recipes = map(_choices, GROUPS)
    return [
        (corpus, scales[(i + j) % len(scales)], study, recipes[(i + 2 * j) % len(recipes)])
        for (i, corpus), (j, study) in itertools.product(enumerate(corpora), enumerate(studies))
    ]


# What other tests of this file look at.
LADDERS = {scale: (COMMON[0], scale, "capacity", COMMON[3]) for scale in _choices("scale")}
RECIPES = {recipe: (COMMON[0], "paper", COMMON[2], recipe) for recipe in _choices("recipe")}
COMBINATIONS = list(dict.fromkeys([*_combinations(), *LADDERS.values(), *RECIPES.values()]))
COMPOSE = """
import json, sys, yaml
yaml.SafeLoader = yaml.CSafeLoader
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
with initialize_config_dir(sys.argv[1], version_base=None):
    composed = [compose("config", overrides=choice) for choice in json.loads(sys.argv[2])]
    print(json.dumps([OmegaConf.to_container(cfg, resolve=True) for cfg in composed]))
"""


@pytest.fixture(scope="module")
def composed() -> dict[tuple[str, ...], Any]:
    """What conf/ composes to; () is the default.

    In a process of its own: fairseq, once imported, has a Hydra "config" too.
    """
    wanted: list[list[str]] = [
        [],
        *([f"{group}={choice}" for group, choice in zip(GROUPS, one, strict=True)] for one in COMBINATIONS),
    ]
    done = subprocess.run(
        [sys.executable, "-c", COMPOSE, str(ROOT / "conf"), json.dumps(wanted)],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(zip([(), *COMBINATIONS], json.loads(done.stdout), strict=True))


def test_params_are_what_the_configuration_composes_to(composed: dict[tuple[str, ...], Any]) -> None:
    raw = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert raw == composed[()], "run `make params`"


def test_each_choice_is_tried_with_each_of_another_group() -> None:
    for one, other in itertools.combinations(range(len(GROUPS)), 2):
        wanted = set(itertools.product(_choices(GROUPS[one]), _choices(GROUPS[other])))
        assert wanted == {(choice[one], choice[other]) for choice in COMBINATIONS}, (
            GROUPS[one],
            GROUPS[other],
        )


@pytest.mark.parametrize("choice", COMBINATIONS, ids="-".join)
def test_every_shipped_configuration_is_valid(
    choice: tuple[str, ...], composed: dict[tuple[str, ...], Any]
) -> None:
    params.validate(composed[choice])


def test_every_scale_has_the_capacities_that_studies_name(composed: dict[tuple[str, ...], Any]) -> None:
    """And study=capacity runs the ladder of the scale."""
    for scale in _choices("scale"):
        made = composed[LADDERS[scale]]
        assert made["grid"]["capacities"] == made["ladder"]
        assert {"tiny", "small", "medium"} <= set(made["ladder"])
        assert {"gated25", "fixed25", "gated50", "fixed50"} <= made["capacities"].keys()


def test_recipes_regularise_the_teacher_alone(composed: dict[tuple[str, ...], Any]) -> None:
    found = {
        recipe: composed[choice]["teacher"]["training"].get("consistency")
        for recipe, choice in RECIPES.items()
    }
    assert found == {
        "plain": None,
        "simcut": {"kind": "simcut", "weight": 3.0, "cutoff": 0.05},
        "rdrop": {"kind": "rdrop", "weight": 5.0},
    }
