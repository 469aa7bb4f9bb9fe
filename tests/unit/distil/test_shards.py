"""Token targets by two processes: the bytes of one, and no line twice, never, or of another text."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from nmtkd.distil.targets import HEADER, TokenTargets
from nmtkd.files import SHOWN, lines_hash
from tests import forked
from tests.conftest import Tiny
from tests.structure.graph import ROOT
from tests.unit.distil import writings

TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
FILES = ["header.json", "ids.npy", "offsets.npy", "probs.npy"]


@pytest.fixture(scope="module")
def folder(tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token targets of all cases by one process, in `1`, and by two, in `2`."""
    made = tmp_path_factory.mktemp("shards")
    for out, launcher in (("1", []), ("2", TORCHRUN)):
        done = subprocess.run(
            [
                str(forked.commands() / "python"),
                *launcher,
                "-m",
                "tests.unit.distil.writings",
                str(tiny.folder),
                str(made / out),
            ],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": f"{ROOT}/src:{ROOT}",
                "OMP_NUM_THREADS": "1",
                "NMTKD_THREADS": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return made


def wrong(folder: Path, case: str, processes: int = 2) -> list[str]:
    """What each process said of a case, in order."""
    return [
        (folder / str(processes) / f"{case}.{number}").read_text(encoding="utf-8")
        for number in range(processes)
    ]


@pytest.mark.parametrize("case", ["gold", "other"])
def test_two_processes_write_the_bytes_of_one(folder: Path, case: str) -> None:
    assert wrong(folder, case) == ["", ""] and wrong(folder, case, 1) == [""]
    one, two = folder / "1" / case, folder / "2" / case
    assert sorted(path.name for path in two.iterdir()) == FILES
    for name in FILES:
        assert (two / name).read_bytes() == (one / name).read_bytes(), name
    prefix = writings.CASES[case]
    TokenTargets(two).check(dictionary_hash="d" * 64, teacher_hash="t" * 64, prefix=prefix)
    assert (one / "probs.npy").read_bytes() != (folder / "1/gold/probs.npy").read_bytes() or case == "gold"


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("twice", "1 lines were put more than once, the first is line 1; run the stage again"),
        ("never", "1 lines have no targets, the first is line "),
        (
            "mixed",
            f"process 1 has another prefix_hash ({lines_hash(writings.OTHER)[:SHOWN]}, "
            f"the first one has {lines_hash(writings.GOLD)[:SHOWN]}); run the stage again",
        ),
    ],
)
def test_what_does_not_fit_together_is_told_by_all(folder: Path, case: str, message: str) -> None:
    said = wrong(folder, case)
    assert said[0] == said[1] and said[0].startswith(f"{folder / '2' / case}: {message}")
    assert not (folder / "2" / case / HEADER).exists()
    assert wrong(folder, case, 1) == [""]
