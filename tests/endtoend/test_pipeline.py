"""The pipeline by the real `dvc repro`: what it makes, what it runs again, and that reruns are exact."""

from __future__ import annotations

import csv
import json
import tempfile
from pathlib import Path

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import ROOT, Lab

METHODS = ("plain", "word", "seq", "both")
CAPACITIES = ("tiny", "small")


def key(method: str, capacity: str, noise: str) -> str:
    middle = "-beam" if method in ("seq", "both") else ""
    return f"{method}-{capacity}-{noise}{middle}-1"


def stages(method: str, capacities: tuple[str, ...] = CAPACITIES, noise: str = "clean") -> set[str]:
    """Training and evaluation of a method's students."""
    return {
        f"{kind}_{method}@{key(method, capacity, noise)}"
        for kind in ("student", "evaluate")
        for capacity in capacities
    }


def students(capacities: tuple[str, ...] = CAPACITIES, noise: str = "clean") -> set[str]:
    return set().union(*(stages(method, capacities, noise) for method in METHODS))


def test_everything_runs_and_every_cell_has_its_numbers(finished: tuple[Lab, str]) -> None:
    lab, printed = finished
    with open(lab.folder / "reports/results.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = "corpus,pair,method,capacity,noise,decoding,seed,split,search,metric,value,signature"
    assert list(rows[0]) == wanted.split(",")
    cells = {(row["method"], row["capacity"], row["noise"]) for row in rows}
    assert cells == {(method, capacity, "clean") for method in METHODS for capacity in CAPACITIES} | {
        ("teacher", "teacher", "clean")
    }
    one = [
        row for row in rows if (row["method"], row["capacity"], row["noise"]) == ("word", "small", "clean")
    ]
    assert {(row["split"], row["search"], row["metric"]) for row in one} == {
        (split, search, metric)
        for split in ("valid", "test", "test_long")
        for search in ("beam", "beam_at_1", "greedy")
        for metric in ("bleu", "bleu_tok_lc", "chrf2", "brevity_penalty", "length_ratio")
    }
    assert {row["decoding"] for row in rows if row["method"] == "word"} == {"gold"}
    assert {row["decoding"] for row in rows if row["method"] == "plain"} == {"none"}
    assert "reports/index.html" in printed
    assert (lab.folder / "reports/index.html").stat().st_size > 0


def test_a_second_repro_runs_nothing(finished: tuple[Lab, str]) -> None:
    lab, _ = finished
    assert lab.repro() == set()
    assert not lab.run("git", "status", "--porcelain", "--untracked-files=no")


def test_no_student_loads_the_teacher(copy: CopyLab) -> None:
    lab = copy()
    (lab.folder / "models/teacher/clean/model/model.pt").write_bytes(b"no model")
    before = lab.read("models/student/word-tiny-clean-1/model/model.pt")
    lab.run("python", "-m", "stages.student", "word", "word-tiny-clean-1")
    assert lab.read("models/student/word-tiny-clean-1/model/model.pt") == before


def test_a_capacity_reruns_its_own_students_only(copy: CopyLab) -> None:
    lab = copy()
    lab.edit("params.yaml", ("capacities.tiny.ffn", 24))
    assert lab.stale() == students(capacities=("tiny",)) | {"report"}


def test_a_teacher_parameter_leaves_plain_students_alone(copy: CopyLab) -> None:
    lab = copy()
    lab.edit("params.yaml", ("teacher.training.dropout", 0.2))
    ran = lab.stale()
    assert {"teacher@clean", "decode@clean-beam", "targets@clean-beam", "targets_gold@clean"} <= ran
    assert stages("word") | stages("seq") | stages("both") <= ran
    assert not ran & stages("plain")


def test_a_noise_rate_leaves_clean_runs_alone(copy: CopyLab) -> None:
    lab = copy()
    lab.edit("params.yaml", ("noises.del10.rate", 0.15), ("grid.noises", ["clean", "del10"]))
    assert lab.repro("noise@del10") == {"noise@del10"}
    lab.edit("params.yaml", ("noises.del10.rate", 0.2))
    ran = lab.stale()
    assert {"noise@del10", "teacher@del10"} | students(noise="del10") <= ran
    assert not {stage for stage in ran if "clean" in stage}


def test_reruns_give_the_same_bytes(finished: tuple[Lab, str], copy: CopyLab) -> None:
    lab = copy()
    again = (
        "teacher@clean",
        "decode@clean-beam",
        "targets@clean-beam",
        "student_both@both-tiny-clean-beam-1",
    )
    files = (
        "models/teacher/clean/model/model.pt",
        "models/teacher/clean/curve.csv",
        "data/hypotheses/clean-beam/hypotheses.jsonl",
        "data/targets/clean-beam/probs.npy",
        "models/student/both-tiny-clean-beam-1/model/model.pt",
    )
    for stage in again:
        lab.run("dvc", "repro", "-f", "-s", stage)
    for file in files:
        assert lab.read(file) == finished[0].read(file), file


def test_a_shrunk_grid_leaves_no_old_rows(copy: CopyLab) -> None:
    lab = copy()
    lab.edit("params.yaml", ("grid.methods.seq", []), ("grid.capacities", ["tiny"]))
    assert lab.repro() == {"report"}
    text = lab.read("reports/results.csv").decode()
    assert ",seq," not in text
    assert ",small," not in text
    assert ",both,tiny," in text


def test_cards_account_for_every_line(finished: tuple[Lab, str]) -> None:
    lab, _ = finished
    card = json.loads(lab.read("data/prepared/card.json"))
    assert card["raw_pairs"] - sum(card["dropped"].values()) == card["splits"]["train"]["pairs"]
    hypotheses = json.loads(lab.read("data/hypotheses/clean-beam/card.json"))
    assert hypotheses["lines"] == card["splits"]["train"]["pairs"]
    assert {"empty", "truncated", "copied"} <= hypotheses.keys()


def test_no_model_names_this_machine(finished: tuple[Lab, str]) -> None:
    lab, _ = finished
    content = lab.read("models/student/seq-tiny-clean-beam-1/model/model.pt")
    for path in (lab.folder, ROOT, Path.home(), Path(tempfile.gettempdir()) / "pytest"):
        assert str(path).encode() not in content


def test_a_training_does_not_import_torchs_compiler(copy: CopyLab) -> None:
    """It takes over a second, and every optimiser of torch imports it when it is first asked for anything."""
    command = ("python", "-X", "importtime", "-m", "stages.student", "plain", "plain-tiny-clean-1")
    modules = {line.rpartition("|")[2].strip() for line in copy().run(*command).splitlines()}
    assert "torch.optim.adamw" in modules
    assert "torch._dynamo" not in modules
