"""stages.decode: the training source is translated with the chosen length penalty, and the card says so."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import decode, targets

from nmtkd import files
from nmtkd.decoding import lengths
from nmtkd.decoding.search import Hypothesis
from nmtkd.decoding.translate import translate
from nmtkd.distil import hypotheses
from nmtkd.distil.hypotheses import HypothesesError
from nmtkd.distil.targets import PROBS, TokenTargets
from nmtkd.files import DamagedError
from nmtkd.network.fairseq_bridge import ModelError, model_hash
from nmtkd.plan import layout
from nmtkd.text import provenance
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
    layout.BPE.mkdir(parents=True)
    shutil.copy(model / "dict.src.txt", layout.BPE / layout.DICTIONARY)
    for name in layout.SIDE_DICTIONARIES.values():
        files.write_text(layout.BPE / name, "w0 1\n")
    form = {"target": "de", "tokeniser": "reversible", "longest": 9}
    files.write_json(layout.BPE / layout.TEXT, form)

    def go(valid: list[str], **changes: Any) -> dict[str, Any]:
        write_pair(layout.BPE, "valid", zip(tiny.sources[20:], valid, strict=True))
        card = provenance.written(layout.BPE, [*layout.DICTIONARY_FILES, "valid.src", "valid.tgt"])
        files.write_json(layout.BPE / layout.CARD, card)
        asked = {"beam": 3, "nbest": 2, "max_length_offset": 5} | changes
        raw = changed(**{f"decodings__beam__{name}": value for name, value in asked.items()})
        Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
        decode.main(["clean", "beam"])
        return files.read_object(layout.hypotheses_dir("clean", "beam") / layout.CARD)

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
    found = hypotheses.read(
        layout.hypotheses_dir("clean", "beam"),
        tiny.sources[:20],
        teacher_hash=model_hash(tiny.folder),
        dictionary_hash=files.file_hash(tiny.folder / "dict.src.txt"),
    )
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
    """And how often it was cut: the best translation, that students read, not another of the n-best list."""
    card = run(tiny.targets[20:], length_penalties=[0.0])
    found = at(0.0, tiny, tiny.sources[:20], "ctranslate2")
    said, gold = (
        sum(len(line.split()) for line in side)
        for side in ([entries[0].text for entries in found], tiny.targets[:20])
    )
    assert card["tokens"] == said
    best, last, some = (
        sum(count([entry.truncated for entry in entries]) for entries in found)
        for count in (lambda cut: cut[0], lambda cut: cut[-1], any)
    )
    assert card["truncated"] == best and best not in (0, last, some)
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


def test_int8_decodes_and_chooses_in_int8(tiny: Tiny, run: Decode, made: list[str]) -> None:
    """By one translator, for the validation set by each penalty and for the training source."""
    card = run(tiny.targets[20:], compute="int8", length_penalties=[0.0, 1.0, 2.2])
    assert made == ["int8"]
    assert card["decoding"]["compute"] == "int8"
    how = search(beam=3, nbest=2, length_penalty=card["length_penalty"], compute="int8")
    rounded, exact = (
        [(entry.text, entry.score) for entries in found for entry in entries]
        for found in (
            translate(tiny.folder, tiny.sources[:20], one, "ctranslate2")
            for one in (how, replace(how, compute="float32"))
        )
    )
    said = hypotheses.read(
        layout.hypotheses_dir("clean", "beam"),
        tiny.sources[:20],
        teacher_hash=model_hash(tiny.folder),
        dictionary_hash=files.file_hash(tiny.folder / "dict.src.txt"),
    )
    assert [entry for entries in said for entry in entries] == rounded != exact


ONE = {"beam": 1, "nbest": 1, "length_penalties": [1.0]}


@pytest.mark.parametrize("side", ["src", "tgt"])
def test_a_teacher_of_other_text_translates_nothing(tiny: Tiny, run: Decode, side: str) -> None:
    own = layout.model_dir(layout.teacher_dir("clean")) / f"dict.{side}.txt"
    own.write_text(own.read_text(encoding="utf-8").replace("w1 ", "v1 "), encoding="utf-8")
    with pytest.raises(
        ModelError, match=rf"^{own}: not data/bpe/dict\.txt or data/bpe/dict\.{side}\.txt, the dict"
    ):
        run(tiny.targets[20:], **ONE)
    assert not layout.hypotheses_dir("clean", "beam").exists()


def test_a_condition_that_nobody_made_is_not_decoded(tiny: Tiny, run: Decode) -> None:
    run(tiny.targets[20:], **ONE)
    with pytest.raises(DamagedError, match=r"^data/noise/nosuch: no such folder; correct the name; run `dvc"):
        decode.main(["nosuch", "beam"])


def test_a_changed_validation_set_chooses_nothing(tiny: Tiny, run: Decode) -> None:
    run(tiny.targets[20:], **ONE)
    (layout.BPE / "valid.tgt").write_text("w1\n" * len(tiny.targets[20:]), encoding="utf-8")
    with pytest.raises(DamagedError, match=r"^data/bpe/valid\.tgt: not the content that was written"):
        decode.main(["clean", "beam"])


# stages.targets, on the same teacher


@pytest.mark.parametrize("prefix", ["gold", "beam"])
def test_targets_are_of_the_teacher_and_the_text_at_hand(tiny: Tiny, run: Decode, prefix: str) -> None:
    run(tiny.targets[20:], **ONE)
    targets.main(["clean", prefix])
    said = hypotheses.Records(layout.hypotheses_dir("clean", "beam") / hypotheses.RECORDS)
    lines = tiny.targets[:20] if prefix == "gold" else list(hypotheses.Chosen(said))
    TokenTargets(layout.targets_dir("clean", prefix)).check(
        dictionary_hash=files.file_hash(tiny.folder / "dict.src.txt"),
        teacher_hash=model_hash(tiny.folder),
        prefix=lines,
    )


def test_targets_are_of_the_precision_that_is_asked_for(tiny: Tiny, run: Decode) -> None:
    run(tiny.targets[20:], **ONE)
    made = []
    for precision in ("float32", "bfloat16", "float32"):
        raw = changed(targets__precision=precision)
        Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
        targets.main(["clean", "gold"])
        made.append((layout.targets_dir("clean", "gold") / PROBS).read_bytes())
    assert made[0] == made[2] != made[1]


@pytest.mark.parametrize("prefix", ["gold", "beam"])
def test_no_targets_with_another_dictionary(tiny: Tiny, run: Decode, prefix: str) -> None:
    """Its hash would go into the header, as that of the teacher's text."""
    run(tiny.targets[20:], **ONE)
    dictionary = layout.BPE / layout.DICTIONARY
    dictionary.write_text(dictionary.read_text(encoding="utf-8") + "more 1\n", encoding="utf-8")
    with pytest.raises(
        ModelError, match=r"dict\.src\.txt: not data/bpe/dict\.txt or data/bpe/dict\.src\.txt, the dict"
    ):
        targets.main(["clean", prefix])
    assert not layout.targets_dir("clean", prefix).exists()


def test_no_targets_along_another_teachers_words(tiny: Tiny, run: Decode, other: Path) -> None:
    run(tiny.targets[20:], **ONE)
    model = layout.model_dir(layout.teacher_dir("clean"))
    shutil.copy(other / layout.MODEL, model / layout.MODEL)
    files.write_text(model / layout.HASH, model_hash(model))
    with pytest.raises(HypothesesError, match=r"clean-beam: hypotheses of another teacher \(made with"):
        targets.main(["clean", "beam"])
    targets.main(["clean", "gold"])


@pytest.mark.parametrize(
    ("names", "folder"),
    [(("nosuch", "gold"), "data/noise/nosuch"), (("clean", "nosuch"), "data/hypotheses/clean-nosuch")],
)
def test_targets_of_nothing_are_named(tiny: Tiny, run: Decode, names: tuple[str, str], folder: str) -> None:
    run(tiny.targets[20:], **ONE)
    with pytest.raises(
        DamagedError, match=rf"^{folder}: no such folder; correct the name; run `dvc checkout"
    ):
        targets.main(names)
