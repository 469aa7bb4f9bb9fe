"""nmtkd.machine: what the environment says, scratch folders that outlive a failure, and progress."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from nmtkd import machine
from nmtkd.machine import MachineError, device, progress, scratch_root, threads

# The environment


def test_threads_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMTKD_THREADS", "3")
    assert threads() == 3
    monkeypatch.setenv("NMTKD_THREADS", "")
    assert threads() == len(os.sched_getaffinity(0))
    monkeypatch.delenv("NMTKD_THREADS")
    assert threads() == len(os.sched_getaffinity(0))


def test_threads_without_affinity_are_all_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NMTKD_THREADS")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert threads() == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert threads() == 1


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", " ", "²", "000", "0²"])
def test_threads_that_are_no_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("NMTKD_THREADS", value)
    with pytest.raises(MachineError, match=rf"NMTKD_THREADS: must be a positive whole number; got '{value}'"):
        threads()


@pytest.mark.parametrize("value", ["4", "8", "0008"])
def test_threads_may_be_some_more_than_cores(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("NMTKD_THREADS", value)
    assert threads() == int(value)


@pytest.mark.parametrize(("value", "got"), [("9", "9"), ("100000", "100000"), ("9" * 5000, "9" * 40 + "...")])
def test_threads_far_above_the_cores(monkeypatch: pytest.MonkeyPatch, value: str, got: str) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    monkeypatch.setenv("NMTKD_THREADS", value)
    with pytest.raises(MachineError) as caught:
        threads()
    assert str(caught.value) == (
        f"NMTKD_THREADS: at most 8 on this machine's 2 cores, 4 each; got '{got}'; lower it, or "
        "unset it to use all cores"
    )


@pytest.mark.parametrize(
    ("wanted", "there", "got"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cpu", True, "cpu"),
        ("cpu", False, "cpu"),
        ("cuda", True, "cuda"),
        (None, True, "cuda"),
    ],
)
def test_device_is_what_is_wanted_and_there(
    monkeypatch: pytest.MonkeyPatch, wanted: str | None, there: bool, got: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: there)
    if wanted is None:
        monkeypatch.delenv("NMTKD_DEVICE", raising=False)
    else:
        monkeypatch.setenv("NMTKD_DEVICE", wanted)
    assert device() == got


def test_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setenv("NMTKD_DEVICE", "cuda")
    with pytest.raises(
        MachineError, match="NMTKD_DEVICE: cuda was asked for, but torch finds no GPU; set it to auto or cpu"
    ):
        device()
    monkeypatch.setenv("NMTKD_DEVICE", "gpu")
    with pytest.raises(MachineError, match="NMTKD_DEVICE: must be auto, cpu or cuda; got 'gpu'"):
        device()


@pytest.mark.parametrize(
    ("asked", "gpus", "count"),
    [
        (None, 0, 1),
        (None, 1, 1),
        (None, 4, 4),
        ("", 4, 4),
        ("3", 0, 3),
        ("3", 3, 3),
        ("2", 4, 2),
        ("1024", 0, 1024),
    ],
)
def test_processes_are_one_a_gpu_unless_said_otherwise(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, gpus: int, count: int
) -> None:
    """On a CPU as many as are asked for."""
    monkeypatch.setattr(machine, "gpus", lambda: gpus)
    monkeypatch.delenv("NMTKD_PROCESSES", raising=False)
    if asked is not None:
        monkeypatch.setenv("NMTKD_PROCESSES", asked)
    assert machine.processes() == count


@pytest.mark.parametrize(
    ("asked", "gpus", "why"),
    [
        ("0", 0, "must be a whole number from 1 to 1024; got '0'"),
        ("1025", 0, "must be a whole number from 1 to 1024; got '1025'"),
        ("two", 0, "must be a whole number from 1 to 1024; got 'two'"),
        ("²", 0, "must be a whole number from 1 to 1024; got '²'"),
        ("9" * 5000, 0, "got '9{40}\\.\\.\\.'"),
        ("3", 2, "each has a GPU of its own; 3 were asked for, there are 2; lower it"),
    ],
)
def test_processes_that_cannot_be(monkeypatch: pytest.MonkeyPatch, asked: str, gpus: int, why: str) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: gpus)
    monkeypatch.setenv("NMTKD_PROCESSES", asked)
    with pytest.raises(MachineError, match=rf"NMTKD_PROCESSES: .*{why}"):
        machine.processes()


@pytest.mark.parametrize(("wanted", "count"), [("auto", 2), ("cpu", 0)])
def test_gpus_are_those_that_may_be_used(monkeypatch: pytest.MonkeyPatch, wanted: str, count: int) -> None:
    monkeypatch.setenv("NMTKD_DEVICE", wanted)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert machine.gpus() == count


def test_machine_errors_are_shown_as_a_users_mistake() -> None:
    assert issubclass(MachineError, OSError)


def test_keep_freed_memory_takes_another_libc(monkeypatch: pytest.MonkeyPatch) -> None:
    machine.keep_freed_memory()
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    machine.keep_freed_memory()


@pytest.mark.parametrize(
    ("device", "gpus", "told"),
    [
        ("cpu", 1, "cpu"),
        ("cpu", 3, "cpu"),
        ("cuda", 0, "cuda"),
        ("cuda", 1, "cuda"),
        ("cuda", 3, "cuda on 3 GPUs"),
    ],
)
def test_a_measurement_says_how_many_gpus_it_is_of(
    monkeypatch: pytest.MonkeyPatch, device: str, gpus: int, told: str
) -> None:
    monkeypatch.setattr(machine, "device", lambda: device)
    found = machine.measurement("decoding", "k", "m", gpus, rate=2.5)
    assert found["machine"]["device"] == told
    assert {name: found[name] for name in ("kind", "key", "model", "rate")} == {
        "kind": "decoding", "key": "k", "model": "m", "rate": 2.5,
    }  # fmt: skip


# Scratch


def test_scratch_root_of_a_repository(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NMTKD_SCRATCH", raising=False)
    monkeypatch.chdir(tmp_path)
    assert scratch_root() == tmp_path / ".scratch"
    monkeypatch.setenv("NMTKD_SCRATCH", "fast")
    assert scratch_root() == tmp_path / "fast"


@pytest.mark.parametrize(
    "workspace", [".dvc/tmp/exps/abc", ".dvc/tmp/exps/standalone/abc", ".dvc/tmp/exps/abc/deep/er"]
)
def test_scratch_root_of_a_queued_experiment_is_its_repositorys(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, workspace: str
) -> None:
    monkeypatch.delenv("NMTKD_SCRATCH", raising=False)
    (tmp_path / workspace).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / workspace)
    assert scratch_root() == tmp_path / ".scratch"


@pytest.mark.parametrize(
    "folder", ["dvc/tmp/exps/abc", ".dvc/exps/abc", ".dvc/tmp/abc", ".dvc/tmp/rundir/abc", "tmp/exps/abc"]
)
def test_scratch_root_of_other_folders_is_their_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, folder: str
) -> None:
    monkeypatch.delenv("NMTKD_SCRATCH", raising=False)
    (tmp_path / folder).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / folder)
    assert scratch_root() == tmp_path / folder / ".scratch"


def test_progress_is_shown_now_and_then_and_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for done in range(1, 31):
        progress("shown", done, 30, "lines")
        now += 1.0
    assert capsys.readouterr().err.splitlines() == [
        f"[shown] {done}/30 lines" for done in (6, 11, 16, 21, 26, 30)
    ]


def test_memory_is_that_of_the_smallest_gpu_or_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    assert machine.memory_bytes() == psutil.virtual_memory().total
    sizes = [24 * machine.GIB, 16 * machine.GIB]
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda number: SimpleNamespace(total_memory=sizes[number])
    )
    assert machine.memory_bytes() == 16 * machine.GIB


@pytest.mark.parametrize(
    ("facts", "has"),
    [
        ("flags\t\t: fpu avx2 avx512_bf16 avx512f\nflags\t\t: fpu\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx512f avx512_vnni\n", False),
        ("Features\t: fp svebf16x\n", False),
        ("", False),
    ],
)
def test_a_processor_with_bfloat16_is_known_by_its_flags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, facts: str, has: bool
) -> None:
    path = tmp_path / "cpuinfo"
    path.write_text(facts, encoding="utf-8")
    monkeypatch.setattr(machine, "Path", lambda _: path)
    assert machine.multiplies_bfloat16() is has


def test_a_measurement_names_the_cores_that_were_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "threads", lambda: 3)
    assert machine.description()["cores"] == 3


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        ("processor\t: 0\nmodel name\t: A: fast one\nprocessor\t: 1\nmodel name\t: B\n", "A: fast one"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\n", "arm"),  # ARM's kernels give no name
        (None, "arm"),
    ],
)
def test_a_measurement_names_the_processor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, facts: str | None, name: str
) -> None:
    path = tmp_path / "cpuinfo"
    if facts is not None:
        path.write_text(facts, encoding="utf-8")
    monkeypatch.setattr(machine, "Path", lambda _: path)
    monkeypatch.setattr("platform.processor", lambda: "arm")
    assert machine.description()["processor"] == name
