"""nmtkd.network.slim_fairseq: what a stage's start-up leaves out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nmtkd.network.slim_fairseq import only_used

LOOK = """
import sys
import importlib
importlib.import_module(sys.argv[1])
import nmtkd_fairseq
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq.tasks import TASK_REGISTRY
known = [name in ARCH_MODEL_REGISTRY for name in ("transformer", "gated_transformer")]
print("sklearn" in sys.modules, *known)
print("distillation" in TASK_REGISTRY, "translation" in TASK_REGISTRY, "translation_lev" in TASK_REGISTRY)
"""


@pytest.mark.parametrize("module", ["nmtkd.training.loop", "nmtkd.decoding.scoring"])
def test_slim_fairseq_imports_what_is_used(module: str) -> None:
    """Whichever module asks for fairseq first."""
    src = Path(__file__).resolve().parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-c", LOOK, module],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(src)},
    )
    assert done.stdout.splitlines()[-2:] == ["False True True", "True True False"]


def test_only_used_leaves_folders_whole(tmp_path: Path) -> None:
    for name in ("tasks/translation.py", "tasks/speech.py", "other/speech.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with only_used(tmp_path):
        assert os.listdir(tmp_path / "tasks") == os.listdir(str(tmp_path / "tasks")) == ["translation.py"]
        assert os.listdir(tmp_path / "other") == ["speech.py"]
        assert len(os.listdir(tmp_path)) == 2
    assert len(os.listdir(tmp_path / "tasks")) == 2
