"""A storm: runs are killed at random, files damaged between them, and all ends in the same bytes."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter

import psutil
import pytest

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import Lab
from tests.endtoend.test_blows import contents, processes, wait_for_the_end

pytestmark = pytest.mark.slow
KILLS = 62
LONGEST = 20.0  # seconds until a kill
SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
RUNNER, DVC = ["python", "-m", "runner", "2"], ["dvc", "repro"]


def blow(lab: Lab, run: subprocess.Popen[bytes], draw: random.Random) -> str:
    """Kills the run itself, one of the processes that it started, or all; says what."""
    number = draw.choice(SIGNALS)
    living = processes(lab)
    targets = draw.choice([[psutil.Process(run.pid)], draw.sample(living, min(1, len(living))), living])
    for target in targets:
        try:
            target.send_signal(number)
        except psutil.NoSuchProcess:
            continue
    return f"{number.name} to {'all' if len(targets) > 1 else 'one'}"


def damage(lab: Lab, draw: random.Random) -> str:
    """Cuts, empties or zeroes a file of scratch space, or cuts a file of DVC's."""
    paths = sorted(path for path in (lab.folder / ".scratch").rglob("*") if path.is_file())
    paths += [path for name in (".dvc/tmp/rwlock", "dvc.lock") if (path := lab.folder / name).exists()]
    if not paths or draw.random() < 0.5:
        return "none"
    path = draw.choice(paths)
    data = path.read_bytes()
    half = len(data) // 2
    path.write_bytes(
        draw.choice([b"", data[:half], data[: half // 2] + bytes(half) + data[half // 2 + half :]])
    )
    return path.suffix or path.name


def test_storm_of_kills(finished: tuple[Lab, str], copy: CopyLab) -> None:
    lab, draw = copy(), random.Random(16)
    wanted = contents(finished[0])
    blows: Counter[str] = Counter()
    rounds = 0
    while blows.total() < KILLS:
        rounds += 1
        for name in ("data", "models", "reports", ".dvc/cache"):
            shutil.rmtree(lab.folder / name, ignore_errors=True)
        while True:
            run = subprocess.Popen(
                draw.choice([RUNNER, RUNNER, DVC]),
                cwd=lab.folder,
                env=lab.env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            try:
                run.wait(draw.uniform(0.2, LONGEST))
            except subprocess.TimeoutExpired:
                blows[blow(lab, run, draw)] += 1
                time.sleep(0.1)
                if run.poll() is None and draw.random() < 0.5:
                    os.kill(run.pid, signal.SIGKILL)  # again, while it ends
                run.wait()
            wait_for_the_end(lab)
            print(blows.total(), "damaged:", damage(lab, draw), flush=True)
            if blows.total() >= rounds * KILLS / 2:
                break
        done = lab.ask(*RUNNER)
        assert done.returncode == 0, done.stderr[-3000:]
        assert contents(lab) == wanted
        left = [path for top in ("data", "models", "reports") for path in (lab.folder / top).rglob(".*")]
        assert left == [] and list((lab.folder / ".scratch").iterdir()) == []
        assert processes(lab) == []
        assert lab.repro() == set()
    print(rounds, "rounds:", dict(blows))
