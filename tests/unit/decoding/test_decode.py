"""stages.decode: the training source is translated with the chosen length penalty, and the card says so."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import decode

from nmtkd import files
from nmtkd.decoding import lengths
from nmtkd.decoding.search import Hypothesis
from nmtkd.decoding.translate import translate
from nmtkd.distil import hypotheses
from nmtkd.network.fairseq_bridge import model_hash
from nmtkd.plan import layout
from nmtkd.text.parallel import write_pair
from tests.conftest import Tiny
from tests.unit.decoding.helpers import ENGINES, search
from tests.unit.plan.good import changed

DRAWS = {"temperature": 1.0, "top_p": 0.9, "seed": 1}
Decode = Callable[..., dict[str, Any]]


def at(penalty: float, tiny: Tiny, sources: list[str], engine: str) -> list[list[Hypothesis]]:
    return translate(tiny.folder, sources, search(beam=3, nbest=2, length_penalty=penalty), engine)


@pytest.fixture
def run(tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Decode:
    """Decodes 20 lines with the tiny model as teacher. Gives the card."""
    monkeypatch.chdir(tmp_path)
    model = layout.model_dir(layout.teacher_dir("clean"))
    shutil.copytree(tiny.folder, model)
    files.write_text(model / layout.HASH, f"{model_hash(model)}\n")
    write_pair(layout.noise_dir("clean"), "train", zip(tiny.sources[:20], tiny.targets[:20], strict=True))
    files.write_text(layout.BPE / layout.DICTIONARY, "w1 1\n")
    form = {"target": "de", "tokeniser": "reversible", "longest": 9}
    files.write_json(layout.BPE / layout.TEXT, form)

    def go(valid: list[str], **changes: Any) -> dict[str, Any]:
        write_pair(layout.BPE, "valid", zip(tiny.sources[20:], valid, strict=True))
        asked = {"beam": 3, "nbest": 2, "max_length_offset": 5} | changes
        raw = changed(**{f"decodings__beam__{name}": value for name, value in asked.items()})
        Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
        decode.main(["clean", "beam"])
        return hypotheses.read_card(layout.hypotheses_dir("clean", "beam"))

    return go


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("best", [0.0, 1.0, 2.2])
def test_training_source_is_translated_with_the_best_penalty(
    tiny: Tiny, run: Decode, capsys: pytest.CaptureFixture[str], best: float, engine: str
) -> None:
    """Which is the one that wrote the validation set's references. The n-best list is of the same search."""
    valid = [entries[0].text for entries in at(best, tiny, tiny.sources[20:], engine)]
    card = run(valid, engine=engine, length_penalties=[0.0, 1.0, 2.2])
    assert card["length_penalty"] == best
    assert card["decoding"]["length_penalties"] == [0.0, 1.0, 2.2]
    assert list(card["validation"]) == ["0.0", "1.0", "2.2"]
    assert card["validation"][str(best)] == {"bleu": 100.0, "brevity_penalty": 1.0, "length_ratio": 1.0}
    ratios = [facts["length_ratio"] for facts in card["validation"].values()]
    assert ratios == sorted(ratios) and ratios[0] < ratios[2]
    wanted = at(best, tiny, tiny.sources[:20], engine)
    found = hypotheses.read(layout.hypotheses_dir("clean", "beam"), tiny.sources[:20])
    assert [[text for text, _ in entries] for entries in found] == [
        [entry.text for entry in entries] for entries in wanted
    ]
    out, err = capsys.readouterr()
    end = {0.0: ", the shortest asked for", 1.0: "", 2.2: ", the longest asked for"}[best]
    assert f"[decode clean beam] length penalty {best}{end}: validation BLEU " in out
    assert "[decode clean beam] 20/20 validation lines translated, length penalty 2.2\n" in err
    assert "[decode clean beam] 20/20 lines translated\n" in err


def test_card_tells_how_long_the_text_is_beside_gold(
    tiny: Tiny, run: Decode, capsys: pytest.CaptureFixture[str]
) -> None:
    card = run(tiny.targets[20:], length_penalties=[0.0])
    said, gold = (
        sum(len(line.split()) for line in side)
        for side in ([e[0].text for e in at(0.0, tiny, tiny.sources[:20], "ctranslate2")], tiny.targets[:20])
    )
    assert card["tokens"] == said
    assert card["length_ratio"] == round(said / gold, 4)
    assert f"; {said / gold:.2f} of gold's length, brevity penalty {card['brevity_penalty']:.2f}\n" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"beam": 1, "nbest": 1, "length_penalties": [1.0]},
        {"kind": "forced", "beam": 1, "nbest": 1, "length_penalties": [1.0]},
        {"kind": "sample", "engine": "fairseq", "sampling": DRAWS, "length_penalties": [1.0]},
        {"length_penalties": [1.4]},
    ],
    ids=["greedy", "forced", "sample", "one penalty"],
)
def test_decodings_without_a_choice_have_nothing_to_validate(
    tiny: Tiny, run: Decode, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    monkeypatch.setattr(lengths, "translate", lambda *_: pytest.fail("never asked"))
    card = run(tiny.targets[20:], **changes)
    assert card["length_penalty"] == changes["length_penalties"][0]
    assert card["validation"] == {}
    assert card["lines"] == 20
