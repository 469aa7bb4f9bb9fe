"""runner.launching: what is asked for, and how a job ends, with programs that stand in for those of Slurm."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from nmtkd import outputs
from runner import jobs, launching, schedule
from runner.jobs import LaunchError
from runner.schedule import Plan

SRUN = r"""#!/bin/sh
echo "$SLURM_JOB_NAME|$NMTKD_THREADS|$OMP_NUM_THREADS|$*" >> "$FAKE/calls"
number=$(wc -l < "$FAKE/calls")
answer=$(sed -n "${number}p" "$FAKE/script")
echo "$SLURM_WAIT" > "$FAKE/patience"; touch "$NMTKD_JOB.5-0-0"
case "$answer" in *begun*) echo '{"host": "n1"}' > "$NMTKD_JOB";; esac
case "$answer" in *done*) echo '{"host": "n1", "done": true}' > "$NMTKD_JOB";; esac
case "$answer" in *hangs*) exec sleep 60;; esac
exit "${answer%% *}"
"""
SQUEUE = """#!/bin/sh
sed -n "$(wc -l < "$FAKE/calls")p" "$FAKE/queue"
"""
SCANCEL = """#!/bin/sh
echo "$*" >> "$FAKE/cancelled"
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with srun, squeue and scancel, which follow a script: a line for each job."""
    for name, text in (("srun", SRUN), ("squeue", SQUEUE), ("scancel", SCANCEL)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE", str(tmp_path))
    monkeypatch.setenv("NMTKD_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.setenv("NMTKD_THREADS", "7")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv(jobs.VARIABLE, "srun --gres='gpu:1 x'")
    monkeypatch.setattr(jobs, "LOOK", 0.05)
    monkeypatch.setattr(jobs, "SETTLING", 0.2)
    return tmp_path


def script(folder: Path, *planned: tuple[str, str], retries: int | None = None) -> None:
    """Each job's exit code with what it writes into its receipt, and what the queue says of it."""
    (folder / "script").write_text("".join(f"{answer}\n" for answer, _ in planned), encoding="utf-8")
    (folder / "queue").write_text("".join(f"{state}\n" for _, state in planned), encoding="utf-8")
    if retries is not None:
        file = folder / "launch.yaml"
        file.write_text(f"retries: {retries}\nstages: {{teacher: srun -n1}}\n", encoding="utf-8")
        os.environ[jobs.VARIABLE] = str(file)


def calls(folder: Path) -> list[list[str]]:
    return [line.split("|") for line in (folder / "calls").read_text(encoding="utf-8").splitlines()]


def test_an_entry_is_handed_to_the_launcher_without_this_hosts_cores(fake: Path) -> None:
    """Words are split as a shell does; the name tells the stage and is no other job's."""
    script(fake, ("0 done", "5|COMPLETED|None"))
    assert launching.launched("student", ["word", "word-tiny-clean-1"])
    ((name, threads, openmp, words),) = calls(fake)
    assert name.startswith("nmtkd-student-word-word-tiny-clean-1-")
    assert (threads, openmp) == ("", "")
    assert words == f"--gres=gpu:1 x {sys.executable} -m stages.student word word-tiny-clean-1"
    assert not list((fake / "scratch").iterdir())  # no receipt, and no mark of its tasks


@pytest.mark.parametrize(("asked", "given"), [(None, "60"), ("7", "7")])
def test_srun_ends_what_outlives_another_task_unless_said_otherwise(
    fake: Path, monkeypatch: pytest.MonkeyPatch, asked: str | None, given: str
) -> None:
    monkeypatch.delenv("SLURM_WAIT", raising=False)
    if asked:
        monkeypatch.setenv("SLURM_WAIT", asked)
    script(fake, ("0 done", "5|COMPLETED|None"))
    assert launching.launched("teacher", ["clean"])
    assert (fake / "patience").read_text(encoding="utf-8") == f"{given}\n"


@pytest.mark.parametrize("entry", ["corpus", "bpe", "noise", "report", "manifests"])
def test_stages_without_a_gpu_run_here(fake: Path, entry: str) -> None:
    assert not launching.launched(entry, []) and not (fake / "calls").exists()


def test_nothing_is_launched_unless_asked_or_from_within_a_job(
    fake: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(jobs.RECEIPT, "x")
    assert not launching.launched("teacher", ["clean"])
    monkeypatch.delenv(jobs.RECEIPT)
    monkeypatch.delenv(jobs.VARIABLE)
    assert not launching.launched("teacher", ["clean"]) and not (fake / "calls").exists()


@pytest.mark.parametrize("state", jobs.RETRIED)
def test_what_is_no_fault_of_the_stage_is_tried_again(
    fake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], state: str
) -> None:
    """srun comes back with 0 where a node is lost."""
    monkeypatch.setenv(jobs.VARIABLE, "")
    script(
        fake,
        ("0 begun", f"5|{state}|x"),
        ("143 begun", f"6|{state}|x"),
        ("0 done", "7|COMPLETED|"),
        retries=2,
    )
    assert launching.launched("teacher", ["clean"])
    assert len(calls(fake)) == 3
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"[teacher clean] job 5 on n1: {state}, exit code 1; tried again, 2 times more at most",
        f"[teacher clean] job 6 on n1: {state}, exit code 143; tried again, 1 times more at most",
    ]


@pytest.mark.parametrize(
    ("answer", "state", "retries", "tries", "code"),
    [
        ("143 begun", "5|TIMEOUT|x", 0, 1, 143),
        ("143 begun", "5|TIMEOUT|x", 1, 2, 143),
        ("1 begun", "5|FAILED|NonZeroExitCode", 3, 1, 1),
        ("137 begun", "5|OUT_OF_MEMORY|x", 3, 1, 137),
        ("143 begun", "5|CANCELLED|x", 3, 1, 143),
        ("0 begun", "5|CANCELLED|x", 3, 1, 1),  # a job of several nodes that was slow to end
        ("7 begun", "", 3, 1, 7),  # of a launcher that is no Slurm
    ],
)
def test_other_ends_are_carried_with_their_reason(
    fake: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    state: str,
    retries: int,
    tries: int,
    code: int,
) -> None:
    monkeypatch.setenv(jobs.VARIABLE, "")
    script(fake, *[(answer, state)] * 9, retries=retries)
    with pytest.raises(SystemExit) as caught:
        launching.launched("teacher", ["clean"])
    assert caught.value.code == code and len(calls(fake)) == tries
    name = state.split("|")[1] if state else "ended"
    assert f": {name}, exit code {code}" in capsys.readouterr().err.splitlines()[-1]


def test_a_launcher_that_does_not_wait_is_told(fake: Path) -> None:
    script(fake, ("0", "5|PENDING|Resources"))
    with pytest.raises(
        LaunchError, match=r"srun came back before the stage was done; it must wait for it \(sbatch"
    ):
        launching.launched("teacher", ["clean"])


def test_code_that_never_began_is_told(fake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script(fake, ("1", "5|FAILED|x"))
    with pytest.raises(SystemExit):
        launching.launched("teacher", ["clean"])
    assert "its code never began there; does the job's node see" in capsys.readouterr().err


@pytest.mark.parametrize(
    "reason", ["BadConstraints", "PartitionTimeLimit", "QOSMaxCpuPerJobLimit", "JobHeldAdmin"]
)
def test_a_job_that_would_wait_for_ever_is_cancelled(
    fake: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    monkeypatch.setattr(jobs, "QUEUE_LOOK", 0.1)
    script(fake, ("0 hangs", f"5|PENDING|{reason}"))
    with pytest.raises(LaunchError, match=rf"^teacher clean: job 5 would never start \({reason}\)"):
        launching.launched("teacher", ["clean"])
    assert calls(fake)[0][0] in (fake / "cancelled").read_text(encoding="utf-8")


def test_why_a_job_waits_is_told_once(
    fake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "QUEUE_LOOK", 0.1)
    script(fake, ("0 hangs", "5|PENDING|Priority"))
    looks = iter([False] * 6 + [True])
    job = jobs.Job("teacher clean", ["srun"])
    look = job._look_at_queue

    def looked() -> None:
        look()
        if next(looks):
            raise KeyboardInterrupt

    monkeypatch.setattr(job, "_look_at_queue", looked)
    with pytest.raises(KeyboardInterrupt):
        job.run()
    assert capsys.readouterr().err == "[teacher clean] job 5 waits in the queue (Priority)\n"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("no-such-launcher -x", r"NMTKD_LAUNCH: 'no-such-launcher': no such program on this host"),
        ("srun --gres='gpu", r"NMTKD_LAUNCH: .*: No closing quotation"),
        ("none.yaml", r"NMTKD_LAUNCH: none\.yaml: no such file"),
        ("retries: 1\nstages: {teacher: srun, bpe: srun}", r"needs `retries` and `stages` .*\n  stages\.bpe"),
        ("retries: -1\nstages: {}", r"needs `retries` and `stages` .*\n  retries: "),
        ("retries: 1\nstages: {teacher: ''}", r"  stages\.teacher: "),
        ("retries: 1", r"  stages: Field required"),
    ],
)
def test_what_is_wrong_with_the_variable_is_told(
    fake: Path, monkeypatch: pytest.MonkeyPatch, value: str, told: str
) -> None:
    if "\n" in value or value == "retries: 1":
        (fake / "launch.yaml").write_text(value, encoding="utf-8")
        value = str(fake / "launch.yaml")
    monkeypatch.setenv(jobs.VARIABLE, value)
    with pytest.raises(LaunchError, match=told):
        launching.launched("teacher", ["clean"])
    assert not (fake / "calls").exists()


# Within a job


def test_a_job_writes_its_receipt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    receipt = tmp_path / "a.job"
    receipt.write_text("", encoding="utf-8")
    monkeypatch.setenv(jobs.RECEIPT, str(receipt))
    monkeypatch.setenv("SLURM_JOB_ID", "5")
    with launching.job(several=False):
        said = json.loads(receipt.read_text(encoding="utf-8"))
        assert said["job"] == "5" and "done" not in said
    assert json.loads(receipt.read_text(encoding="utf-8")) == said | {"done": True}


@pytest.mark.parametrize(
    ("given", "threads", "openmp"),
    [
        ({"SLURM_CPUS_PER_TASK": "3", "SLURM_CPUS_ON_NODE": "8"}, "3", "3"),
        ({"SLURM_CPUS_ON_NODE": "8"}, "8", "8"),  # srun without --cpus-per-task
        ({}, None, None),  # of another launcher, which binds the job to its cores or does not
        ({"SLURM_CPUS_PER_TASK": "3", "NMTKD_THREADS": "2"}, "2", "3"),  # asked for on the node itself
    ],
)
def test_a_job_uses_its_own_cores(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: dict[str, str],
    threads: str | None,
    openmp: str | None,
) -> None:
    (tmp_path / "a.job").write_text("", encoding="utf-8")
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE", *jobs.HOSTS_OWN):
        monkeypatch.setenv(name, "9")  # so that the test puts back what it was
        monkeypatch.delenv(name)
    for name, value in {jobs.RECEIPT: str(tmp_path / "a.job"), **given}.items():
        monkeypatch.setenv(name, value)
    with launching.job(several=False):
        assert [os.environ.get(name) for name in ("NMTKD_THREADS", "OMP_NUM_THREADS")] == [threads, openmp]


@pytest.mark.parametrize(("error", "done"), [(ValueError, False), (outputs.AlreadyMade, True)])
def test_a_receipt_says_whether_the_stage_was_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Any, done: bool
) -> None:
    receipt = tmp_path / "a.job"
    receipt.write_text("", encoding="utf-8")
    monkeypatch.setenv(jobs.RECEIPT, str(receipt))
    with pytest.raises(error), launching.job(several=False):
        raise error("x")
    assert json.loads(receipt.read_text(encoding="utf-8")).get("done", False) == done


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({jobs.RECEIPT: "/no/scratch/x.job"}, r"^/no/scratch: .* does not see this scratch space"),
        ({"SLURM_NTASKS": "2"}, r"2 tasks were asked for; .* --ntasks=1"),
    ],
)
def test_a_job_that_cannot_work_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], told: str
) -> None:
    (tmp_path / "a.job").write_text("", encoding="utf-8")
    for name, value in {jobs.RECEIPT: str(tmp_path / "a.job"), **changes}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LaunchError, match=told), launching.job(several=False):
        pass


# The schedule


def test_stages_elsewhere_run_beside_each_other(fake: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Teachers are alone here only. This host's stages are as many as its cores."""
    monkeypatch.setenv("NMTKD_THREADS", "2")
    names = ["teacher@a", "teacher@b", "noise@a", "noise@b", "noise@c", "student_seq@x", "evaluate_teacher@a"]
    plan = Plan({name: [] for name in names}, names)
    assert set(schedule.following(plan, [], 32)) == {*names} - {"noise@c"}
    assert len(schedule.following(plan, ["noise@d", "noise@e"], 32)) == 4
    assert schedule.following(plan, ["teacher@c"] * 3, 3) == []
    monkeypatch.delenv(jobs.VARIABLE)
    assert schedule.following(plan, [], 32) == ["teacher@a"]
    assert schedule.following(plan, ["teacher@a"], 32) == []


def test_only_a_launched_stage_is_without_this_hosts_numbers(fake: Path) -> None:
    seen: dict[str, Any] = {}

    def begin(stage: str, environment: Any) -> Any:
        seen[stage] = dict(environment)
        raise RuntimeError

    for stage in ("teacher@a", "noise@a"):
        with pytest.raises(RuntimeError):
            schedule.run(Plan({stage: []}, [stage]), 4, begin, {}, print)
    assert seen == {"teacher@a": {}, "noise@a": {"NMTKD_THREADS": "1", "OMP_NUM_THREADS": "1"}}
