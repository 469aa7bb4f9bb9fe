"""What an edit makes stale: a stage depends on its manifest, so it is the manifests that an edit changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.structure import edits
from tests.structure.graph import ROOT

READ = ("src", "stages", "requirements.lock")  # what the stage `manifests` depends on
EDITS: list[tuple[Callable[[Path], None], set[str]]] = [
    (edits.reword_a_docstring, set()),
    (edits.add_an_option, set()),
    (edits.take_another_build_of_torch, set()),
    (edits.add_a_stage, {"export"}),
    (edits.add_a_reader, {"corpus"}),
    (edits.add_a_noise_kind, {"noise"}),
    (edits.change_a_divergence, {"student"}),
    (edits.change_the_merges, {"bpe", "noise"}),
    (edits.change_a_familys_row, {"student"}),
    (edits.change_a_familys_sentence, {"report"}),
    (edits.take_another_torch, {"teacher", "decode", "targets", "student", "evaluate"}),
]


def manifests(root: Path) -> dict[str, bytes]:
    """What the stage writes for the code in `root`, by entry."""
    subprocess.run(
        [sys.executable, "-m", "stages.manifests"], cwd=root, env={"PYTHONPATH": "src"}, check=True
    )
    return {path.stem: path.read_bytes() for path in (root / "manifests").iterdir()}


@pytest.mark.parametrize(("edit", "entries"), EDITS, ids=lambda value: getattr(value, "__name__", ""))
def test_an_edit_changes_the_manifests_of_what_it_can_change(
    edit: Callable[[Path], None], entries: set[str], tmp_path: Path
) -> None:
    for name in READ:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    before = manifests(tmp_path)
    edit(tmp_path)
    after = manifests(tmp_path)
    assert {entry for entry in after if after[entry] != before.get(entry)} == entries
