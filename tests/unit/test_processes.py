"""Processes that share a stage end as they should: with no thread of their group left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.structure.graph import ROOT

STAGE = """
import sys
from pathlib import Path
from nmtkd import processes

def threads():
    return {path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")}

with processes.group():
    import torch._dynamo  # as an optimizer does
    processes.gather(None)
    within = threads()
left = threads()
Path(sys.argv[1], str(processes.number())).write_text(f"{'pt_gloo_runloop' in within} {sorted(left)}")
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are named in Linux's /proc")
def test_no_thread_of_a_group_outlives_it(tmp_path: Path) -> None:
    """One that does may abort the process when Python ends: a stage that is done would have failed."""
    script = tmp_path / "stage.py"
    script.write_text(STAGE, encoding="utf-8")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launcher, str(script), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": f"{ROOT}/src", "OMP_NUM_THREADS": "1", "NMTKD_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for number in ("0", "1"):
        assert (tmp_path / number).read_text(encoding="utf-8") == "True ['python']"
