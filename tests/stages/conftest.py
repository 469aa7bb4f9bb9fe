"""One watched laboratory for all tests of stages."""

from __future__ import annotations

import pytest

from tests.stages.laboratory import Laboratory, make


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Laboratory:
    """Not to be changed."""
    return make(tmp_path_factory.mktemp("stages") / "lab")
