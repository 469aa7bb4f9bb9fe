"""Separate dictionaries in the real pipeline: every family learns, and nothing joint is mixed in."""

from __future__ import annotations

import csv
import io

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
    """Data stages stand; all models are trained anew. Back at joint everything comes from the cache."""
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
    ran = lab.repro()
    assert {"teacher@clean", "targets_gold@clean", "decode@clean-beam", "report"} <= ran
    assert len([name for name in ran if name.startswith(("student", "evaluate"))]) == 2 * len(KEYS) + 1
    sizes = {side: len(lab.read(f"data/bpe/dict.{side}.txt").splitlines()) for side in ("src", "tgt")}
    assert sizes["src"] != sizes["tgt"]
    for folder in ("models/teacher/clean", *(f"models/student/{key}" for key in KEYS)):
        for side, size in sizes.items():
            assert lab.read(f"{folder}/model/dict.{side}.txt") == lab.read(f"data/bpe/dict.{side}.txt")
            model = bridge.load_model(lab.folder / folder / "model", "cpu").model
            table = model.encoder.embed_tokens if side == "src" else model.decoder.embed_tokens
            assert len(table.weight) == size + 4
    rows = list(csv.DictReader(io.StringIO(lab.read("reports/results.csv").decode())))
    assert {row["method"] for row in rows} == {"teacher", *(key.split("-")[0] for key in KEYS)}
    done = lab.ask("dvc", "repro", "--quiet")
    assert done.returncode == 0, done.stderr
    lab.run("git", "checkout", "-q", "params.yaml")
    assert not {name for name in lab.repro() if name.startswith(("teacher", "student", "decode", "targets"))}
