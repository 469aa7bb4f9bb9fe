"""nmtkd.training.trained: what a training cost, kept apart from what it made."""

from pathlib import Path

import pytest

from nmtkd import machine, processes
from nmtkd.files import read_script
from nmtkd.plan import layout
from nmtkd.training.trained import Seen, Trained, together

SEEN = Seen(pairs=300, updates=5, sentences=1000, source_tokens=3900, target_tokens=4020, largest_norm=2.5)
TRAINED = Trained(card={"parameters": 123}, seconds=8.04, seen=SEEN)


def test_cost_is_seconds_and_tokens_a_second() -> None:
    assert TRAINED.cost == {"seconds": 8.0, "target_tokens_per_second": 500.0}
    assert Trained(card={}, seconds=0.0, seen=Seen(pairs=1)).cost["target_tokens_per_second"] == 0.0


def test_several_trainings_saw_what_all_of_them_saw() -> None:
    """Also where one of them is several."""
    three = together([TRAINED, together([TRAINED, TRAINED], {})], {"gate": 0.5})
    assert three.card == {
        "gate": 0.5,
        "data": {
            "updates": 15,
            "sentences": 3000,
            "passes": 10.0,
            "source_tokens": 11700,
            "target_tokens": 12060,
            "trainings": 3,
        },
    }
    assert three.cost == {"seconds": 24.1, "target_tokens_per_second": 500.0}
    assert SEEN.facts()["passes"] == 3.3333


@pytest.mark.parametrize("norms", [(0.5, 2.5), (2.5, 0.5)])
def test_the_largest_norm_of_all_updates_and_trainings_is_kept(norms: tuple[float, float]) -> None:
    log = {"nsentences": 2, "source_tokens": 7, "ntokens": 8}
    found = Seen(pairs=300)
    for norm in norms:
        found = found.after({**log, "gradient_norm": norm})
    assert (found.largest_norm, found.updates, found.target_tokens) == (2.5, 2, 16)
    one, other = (Seen(pairs=300, largest_norm=norm) for norm in norms)
    assert (one + other).largest_norm == 2.5


def test_record_keeps_the_cost_beside_the_models_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = layout.model_dir(tmp_path / "out")
    folder.mkdir(parents=True)
    (folder / layout.HASH).write_text(f"{'ab' * 32}\n", encoding="utf-8")
    line = TRAINED.record("word-tiny-clean-1", tmp_path / "out")
    assert line == "123 parameters, 8 s, 500 target tokens/s"
    assert read_script(layout.machine_file("training", "word-tiny-clean-1")) == {
        "kind": "training",
        "key": "word-tiny-clean-1",
        "model": "ab" * 32,
        "machine": machine.description(),
        "seconds": 8.0,
        "target_tokens_per_second": 500.0,
        "largest_gradient_norm": 2.5,
    }


def test_a_process_that_helped_records_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no model, and no card."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(processes, "first", lambda: False)
    TRAINED.write_card(tmp_path / "out")
    assert TRAINED.record("word-tiny-clean-1", tmp_path / "out") == ""
    assert not list(tmp_path.iterdir())
