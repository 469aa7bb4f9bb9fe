"""nmtkd.plan: it computes nothing that a result could follow from, and decides nothing by itself."""

import ast
import importlib
import pkgutil
import sys
from pathlib import Path

import pytest

import nmtkd.plan
from nmtkd.plan.schema import Params
from nmtkd.plan.values import Section

MODULES = [module.name for module in pkgutil.iter_modules(nmtkd.plan.__path__, "nmtkd.plan.")]


def sections() -> list[type[Section]]:
    """All subclasses of Section, near and far."""
    for module in MODULES:
        importlib.import_module(module)
    found, waiting = [], [Section]
    while waiting:
        following = waiting.pop().__subclasses__()
        found += following
        waiting += following
    return found


@pytest.mark.parametrize("module", MODULES)
def test_plan_imports_pydantic_yaml_and_itself_alone(module: str) -> None:
    path = importlib.import_module(module).__file__
    assert path is not None
    for node in ast.walk(ast.parse(Path(path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module
            names = [node.module]
        else:
            continue
        for name in names:
            allowed = name.partition(".")[0] in {"pydantic", "yaml", *sys.stdlib_module_names}
            assert allowed or name == "nmtkd.plan" or name.startswith("nmtkd.plan."), f"{path}: {name}"


def test_sections_are_all_parts_of_params() -> None:
    assert Params in sections() and len(sections()) > 15


@pytest.mark.parametrize("section", sections(), ids=lambda section: section.__name__)
def test_section_has_no_default_but_none(section: type[Section]) -> None:
    for name, field in section.model_fields.items():
        assert field.default_factory is None, name
        assert field.is_required() or field.default is None, f"{name} = {field.default!r}"
