"""Separate dictionaries in the real pipeline: every family learns, and nothing joint is mixed in."""

from __future__ import annotations

import json

from nmtkd.network import fairseq_bridge as bridge
from tests.endtoend.conftest import CopyLab

METHODS = {"plain": ["plain"], "word": ["word"], "seq": ["seq"], "both": ["both"]}
METHODS |= {"hybrid": ["hybrid"], "online": ["on_policy"]}
KEYS = [
    "plain-tiny-clean-1",
    "word-tiny-clean-1",
    "seq-tiny-clean-beam-1",
    "both-tiny-clean-beam-1",
    "hybrid-tiny-clean-beam-1",
    "on_policy-tiny-clean-1",
]


def test_all_families_learn_with_separate_dictionaries(copy: CopyLab) -> None:
    """Data stages stand; all models are trained anew. The teacher and one student translate.

    Back at joint everything comes from the cache.
    """
    lab = copy()
    lab.edit("params.yaml", ("architecture.embeddings", "separate"))
    assert not {name for name in lab.stale() if name.split("@")[0] in ("corpus", "prepare", "bpe", "noise")}
    lab.edit(
        "params.yaml",
        ("teacher.training.updates", 40),  # nothing is asked of what it says
        ("teacher.training.average", 1),
        ("training.checkpoint_every", 10),
        ("grid.methods", METHODS),
        ("grid.capacities", ["tiny"]),
        ("methods.on_policy.on_policy.from_update", 10),
    )
    students = {f"student_{family}@{key}" for family, key in zip(METHODS, KEYS, strict=True)}
    evaluations = {"evaluate_teacher@clean", f"evaluate_plain@{KEYS[0]}"}
    ran = lab.repro(*sorted(students | evaluations))
    assert students | evaluations | {"teacher@clean", "targets_gold@clean", "decode@clean-beam"} <= ran
    sizes = {side: len(lab.read(f"data/bpe/dict.{side}.txt").splitlines()) for side in ("src", "tgt")}
    assert sizes["src"] != sizes["tgt"]
    for folder in ("models/teacher/clean", *(f"models/student/{key}" for key in KEYS)):
        for side, size in sizes.items():
            assert lab.read(f"{folder}/model/dict.{side}.txt") == lab.read(f"data/bpe/dict.{side}.txt")
            model = bridge.load_model(lab.folder / folder / "model", "cpu").model
            table = model.encoder.embed_tokens if side == "src" else model.decoder.embed_tokens
            assert len(table.weight) == size + 4
    for key in ("teacher-clean", KEYS[0]):
        scores = json.loads(lab.read(f"data/translations/{key}/scores.json"))["scores"]
        assert {score["split"] for score in scores} >= {"valid", "test"}
    lab.run("git", "checkout", "-q", "params.yaml")
    assert not {name for name in lab.repro() if name.startswith(("teacher", "student", "decode", "targets"))}
