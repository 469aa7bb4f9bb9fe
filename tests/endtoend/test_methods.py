"""Methods with gates, samples and several teachers in the real pipeline: what they write, what reruns."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nmtkd.network import fairseq_bridge as bridge
from nmtkd.network import stamps
from tests.endtoend.lab import Lab
from tests.endtoend.test_interrupted import kill_at

HYBRID, BEST = "hybrid-gated50-clean-beam-1", "hybrid_best-tiny-clean-beam-1"
BEAM_RECORDS = "data/hypotheses/clean-beam/hypotheses.jsonl"
STUDENTS = {
    "student_word@word_js-tiny-clean-1",
    "student_seq@interp-tiny-clean-beam-1",
    f"student_hybrid@{HYBRID}",
    f"student_hybrid@{BEST}",
    "student_online@on_policy-tiny-clean-1",
}
EVALUATIONS = {f"evaluate_hybrid@{HYBRID}", f"evaluate_hybrid@{BEST}"}


@pytest.fixture(scope="module")
def wide(finished: tuple[Lab, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, set[str]]:
    """The finished laboratory with some students of a wider grid; the stages that ran. Not to be changed."""
    folder = tmp_path_factory.mktemp("wide") / "lab"
    shutil.copytree(finished[0].folder, folder, symlinks=True)
    lab = Lab(folder)
    lab.edit(
        "params.yaml",
        ("grid.methods.word", ["word", "word_js"]),
        ("grid.methods.seq", ["seq", "interp"]),
        ("grid.methods.hybrid", ["hybrid", "hybrid_best"]),
        ("grid.methods.online", ["on_policy"]),
        ("grid.capacities", ["tiny", "small", "gated50"]),
        ("methods.on_policy.on_policy.from_update", 10),
    )
    return lab, lab.repro(*sorted(STUDENTS | EVALUATIONS))


@pytest.fixture
def copy_wide(wide: tuple[Lab, set[str]], tmp_path: Path) -> Callable[[], Lab]:
    """Makes a copy to change."""

    def make() -> Lab:
        shutil.copytree(wide[0].folder, tmp_path / "lab", symlinks=True)
        return Lab(tmp_path / "lab")

    return make


def card(lab: Lab, folder: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.read(f"{folder}/card.json"))
    return found


def column(lab: Lab, key: str, name: str) -> list[str]:
    """A column of a student's learning curve."""
    with open(lab.folder / "models/student" / key / "curve.csv", newline="", encoding="utf-8") as file:
        return [row[name] for row in csv.DictReader(file)]


def result(lab: Lab, key: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.read(f"data/translations/{key}/scores.json"))
    return found


def test_new_students_need_nothing_new_of_the_teacher(wide: tuple[Lab, set[str]]) -> None:
    lab, ran = wide
    assert ran == STUDENTS | EVALUATIONS
    for stage in STUDENTS:
        folder = lab.folder / "models/student" / stage.partition("@")[2]
        assert {path.name for path in folder.iterdir()} == {"model", "curve.csv", "card.json"}
        assert {path.name for path in (folder / "model").iterdir()} == {
            "model.pt", "model.sha256", "dict.src.txt", "dict.tgt.txt",
        }  # fmt: skip


def test_curves_hold_gates_of_hybrids_and_openness_of_gated_students(wide: tuple[Lab, set[str]]) -> None:
    lab, _ = wide
    gates, opened = ([float(value) for value in column(lab, HYBRID, name)] for name in ("gate", "openness"))
    assert len(gates) == len(opened) == 4
    assert all(0.0 < value < 1.0 for value in gates + opened)
    assert len(set(gates)) == 4, "a learnt gate moves"
    chosen = card(lab, f"models/student/{BEST}")["gate"]
    assert [float(value) for value in column(lab, BEST, "gate")] == [chosen] * 4
    assert column(lab, BEST, "openness") == [""] * 4
    for key in ("word_js-tiny-clean-1", "interp-tiny-clean-beam-1", "on_policy-tiny-clean-1"):
        assert column(lab, key, "gate") == column(lab, key, "openness") == [""] * 4


def test_a_gated_student_is_cut_to_the_units_that_its_card_names(wide: tuple[Lab, set[str]]) -> None:
    lab, _ = wide
    folder = lab.folder / "models/student" / HYBRID
    facts = card(lab, f"models/student/{HYBRID}")
    gates = facts["gates"]
    weights = torch.load(folder / "model/model.pt", weights_only=True)["model"]
    for side in ("encoder", "decoder"):
        units = [
            len(value)
            for name, value in sorted(weights.items())
            if name.startswith(side) and name.endswith("fc1.gate.weight")
        ]
        assert gates[side] == units
    assert gates["units"] == 64
    assert 2 <= gates["kept"] == sum(gates["encoder"] + gates["decoder"]) <= 64
    assert gates["effective_capacity"] == round(gates["kept"] / 64, 4)
    # A gated unit of width 16 has 50 parameters: two rows and biases in, one column out.
    assert facts["parameters"] == gates["parameters_before"] - 50 * (64 - gates["kept"])
    assert facts["parameters"] == bridge.load_model(folder / "model", "cpu").parameters()
    held = {
        value.data_ptr(): value.numel()
        for name, value in weights.items()
        if "version" not in name and "_float_tensor" not in name
    }
    assert facts["parameters"] == sum(held.values()), "a shared matrix is written once"


def test_results_carry_what_students_chose(wide: tuple[Lab, set[str]]) -> None:
    lab, _ = wide
    told = card(lab, f"models/student/{HYBRID}")
    assert {name: result(lab, HYBRID)[name] for name in ("gates", "parameters")} == {
        name: told[name] for name in ("gates", "parameters")
    }
    told = card(lab, f"models/student/{BEST}")
    assert {name: result(lab, BEST)[name] for name in ("gate", "tried")} == {
        name: told[name] for name in ("gate", "tried")
    }
    assert not {"gates", "gate", "tried"} & result(lab, "plain-tiny-clean-1").keys()


def test_a_validated_gate_is_the_best_of_what_was_tried(copy_wide: Callable[[], Lab]) -> None:
    """And its student is the one that this gate alone would have trained."""
    lab = copy_wide()
    told = card(lab, f"models/student/{BEST}")
    assert list(told["tried"]) == ["0.25", "0.5", "0.75"]
    assert told["tried"][f"{told['gate']:g}"] == max(told["tried"].values())
    lab.edit("params.yaml", ("methods.hybrid_half.gate.values", [told["gate"]]))
    lab.run("python", "-m", "stages.student", "hybrid", "hybrid_half-tiny-clean-beam-1")
    for name in ("model/model.pt", "curve.csv"):
        assert lab.read(f"models/student/hybrid_half-tiny-clean-beam-1/{name}") == lab.read(
            f"models/student/{BEST}/{name}"
        )


def test_a_gate_reruns_its_own_students_only(copy_wide: Callable[[], Lab]) -> None:
    lab = copy_wide()
    before = lab.stale()
    assert not before & (STUDENTS | EVALUATIONS)
    lab.edit("params.yaml", ("methods.hybrid_best.gate.values", [0.25, 0.5]))
    assert lab.stale() - before == {f"student_hybrid@{BEST}", f"evaluate_hybrid@{BEST}"}


def test_the_report_shows_gates(copy_wide: Callable[[], Lab]) -> None:
    lab = copy_wide()
    families: dict[str, list[str]] = {family: [] for family in ("word", "seq", "both", "online")}
    lab.edit(
        "params.yaml",
        ("grid.methods", {**families, "plain": ["plain"], "hybrid": ["hybrid_best"]}),
        ("grid.capacities", ["tiny"]),
    )
    assert lab.repro() == {"report"}
    with open(lab.folder / "reports/curves.csv", newline="", encoding="utf-8") as file:
        shown = {row["key"]: row["gate"] for row in csv.DictReader(file)}
    assert float(shown[BEST]) == card(lab, f"models/student/{BEST}")["gate"]
    assert shown["plain-tiny-clean-1"] == shown["teacher-clean"] == ""
    assert f"{BEST},gate,".encode() in lab.read("reports/adapted.csv")
    assert b"What students chose" in lab.read("reports/index.html")


def test_a_killed_hybrid_training_ends_in_the_same_bytes(
    wide: tuple[Lab, set[str]], copy_wide: Callable[[], Lab]
) -> None:
    """With the gate's own weights and their optimiser's state, which belong to no model."""
    lab = copy_wide()
    names = ("hybrid", HYBRID)
    (lab.folder / "models/student" / HYBRID / "model/model.pt").unlink()
    kill_at(lab, "student-*/weights-10.pt", "stages.student", *names)
    assert not (lab.folder / "models/student" / HYBRID / "model/model.pt").exists()
    assert "going on from update" in lab.run("python", "-m", "stages.student", *names)
    for name in ("model/model.pt", "curve.csv"):
        assert lab.read(f"models/student/{HYBRID}/{name}") == wide[0].read(f"models/student/{HYBRID}/{name}")


def test_a_student_that_asks_its_teacher_is_refused_another_one(copy_wide: Callable[[], Lab]) -> None:
    lab = copy_wide()
    (lab.folder / "models/teacher/clean/model/model.pt").write_bytes(b"no model")
    done = lab.ask("python", "-m", "stages.student", "online", "on_policy-tiny-clean-1")
    assert done.returncode == 1
    assert "models/teacher/clean/model: its model files are not those that model.sha256 names" in done.stderr
    assert "Traceback" not in done.stderr


# Teachers


def test_a_teacher_of_clean_text_is_the_clean_teacher(copy_wide: Callable[[], Lab]) -> None:
    lab = copy_wide()
    lab.edit("params.yaml", ("grid.noises", ["clean", "del30_clean"]))
    printed = lab.run("dvc", "repro", "teacher@del30_clean")
    assert "[teacher del30_clean] the same as models/teacher/clean: copied" in printed
    assert "[teacher del30_clean] update" not in printed
    for name in ("model/model.pt", "model/model.sha256", "curve.csv", "card.json"):
        assert lab.read(f"models/teacher/del30_clean/{name}") == lab.read(f"models/teacher/clean/{name}")
    for side in ("src", "tgt"):
        clean = lab.read(f"data/noise/clean/train.{side}")
        assert (
            lab.read(f"data/noise/del30_clean/teacher/train.{side}")
            == clean
            != lab.read(f"data/noise/del30_clean/train.{side}")
        )
    lab.edit(
        "params.yaml", ("teacher.training.updates", 40), ("teacher.training.average", 1)
    )  # not the recipe of what stands there
    assert "copied" not in lab.run("python", "-m", "stages.teacher", "del30_clean")
    assert lab.read("models/teacher/del30_clean/model/model.pt") != lab.read(
        "models/teacher/clean/model/model.pt"
    )


def test_several_seeds_are_one_teacher(finished: tuple[Lab, str], copy_wide: Callable[[], Lab]) -> None:
    lab = copy_wide()
    lab.edit("params.yaml", ("teacher.seeds", [1, 2]))
    assert lab.repro("decode@clean-beam", "targets_gold@clean", "evaluate_teacher@clean") == {
        "teacher@clean",
        "decode@clean-beam",
        "targets_gold@clean",
        "evaluate_teacher@clean",
    }
    folder = lab.folder / "models/teacher/clean/model"
    first, second = (
        lab.read(f"models/teacher/clean/{name}") for name in ("model/model.pt", "model/model2.pt")
    )
    assert first == finished[0].read("models/teacher/clean/model/model.pt") != second
    stamp = lab.read("models/teacher/clean/model/model.sha256").decode().strip()
    assert stamp == stamps.stamped_hash(folder)
    assert stamp == card(lab, "data/hypotheses/clean-beam")["teacher_hash"]
    assert stamp == json.loads(lab.read("data/targets/clean-gold/header.json"))["teacher_hash"]
    for name in ("data/hypotheses/clean-beam/hypotheses.jsonl", "data/targets/clean-gold/probs.npy"):
        assert lab.read(name) != finished[0].read(name)
    both, alone = result(lab, "teacher-clean"), result(finished[0], "teacher-clean")
    assert (both["seeds"], alone["seeds"]) == ([1, 2], [1])
    assert both["parameters"] == 2 * alone["parameters"]
    assert both["model_bytes"] == len(first) + len(second)
    assert both["scores"] != alone["scores"]
    before = lab.read("models/student/on_policy-tiny-clean-1/model/model.pt")
    lab.run("python", "-m", "stages.student", "online", "on_policy-tiny-clean-1")
    assert lab.read("models/student/on_policy-tiny-clean-1/model/model.pt") != before
    (folder / "model2.pt").unlink()
    for command in (
        ("decode", "clean", "beam"),
        ("targets", "clean", "gold"),
        ("student", "online", "on_policy-tiny-clean-1"),
    ):
        done = lab.ask("python", "-m", f"stages.{command[0]}", *command[1:])
        assert done.returncode == 1
        assert "its model files are not those that model.sha256 names" in done.stderr


def test_a_sampled_decoding_goes_through_its_stage_and_repeats(copy_wide: Callable[[], Lab]) -> None:
    lab = copy_wide()
    found = []
    for _ in range(2):
        lab.run("python", "-m", "stages.decode", "clean", "sample")
        found.append(lab.read("data/hypotheses/clean-sample/hypotheses.jsonl"))
    assert found[0] == found[1]
    texts = [
        [json.loads(line)["hypotheses"] for line in lines.splitlines()]
        for lines in (found[0], lab.read(BEAM_RECORDS))
    ]
    assert len(texts[0]) == len(texts[1])
    assert sum(ours[0]["text"] != beam[0]["text"] for ours, beam in zip(*texts, strict=True)) > 0


@pytest.mark.parametrize(
    "consistency",
    [{"kind": "rdrop", "weight": 5.0}, {"kind": "simcut", "weight": 3.0, "cutoff": 0.05}],
    ids=str,
)
def test_a_regularised_teacher_trains_and_is_another(
    copy_wide: Callable[[], Lab], consistency: dict[str, Any]
) -> None:
    lab = copy_wide()
    before = lab.read("models/teacher/clean/model/model.pt")
    lab.edit("params.yaml", ("teacher.training.consistency", consistency))
    lab.run("python", "-m", "stages.teacher", "clean")
    assert lab.read("models/teacher/clean/model/model.pt") != before
