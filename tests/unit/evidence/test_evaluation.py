"""A model on the held-out sets: what is written where, and that no result depends on the machine."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import evaluate

from nmtkd import files
from nmtkd.decoding.search import Hypothesis, Search
from nmtkd.evidence import evaluation, results
from nmtkd.plan import layout, params
from tests.unit.evidence import report_tree
from tests.unit.evidence.test_report import ROOT

KEY = "plain-tiny-clean-1"
HASH = "ab" * 32
SETS = {
    "valid": ["open the window", "lamp"],
    "test": ["turn on the red lamp now", "turn it off", "the door is open"],
}


def _write(root: Path, trained: Path) -> None:
    """Params, held-out sets whose translation is their own source, and a model that was never trained."""
    raw: dict[str, Any] = {}
    for name in ("config", "corpus/homeassistant", "scale/quick"):
        raw |= yaml.safe_load((ROOT / f"conf/{name}.yaml").read_text(encoding="utf-8"))
    del raw["defaults"]
    raw["prepare"]["long_words"] = 4
    raw["corpus"]["tests"] = ["test"]
    raw["grid"] = report_tree.grid().model_dump()
    (root / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    for split, lines in SETS.items():
        text = "".join(f"{line}\n" for line in lines)
        files.write_text(root / layout.BPE / f"{split}.src", text)
        for suffix in ("src", "ref", "tgt"):
            files.write_text(root / layout.PREPARED / f"{split}.{suffix}", text)
        files.write_text(root / layout.PREPARED / f"{split}.names", "[]\n" * len(lines))
    model = layout.model_dir(root / trained)
    files.write_text(model / layout.MODEL, "weights")
    files.write_text(model / layout.HASH, f"{HASH}\n")
    files.write_text(root / trained / layout.CURVE, "update,valid_loss\n")
    files.write_json(
        root / trained / layout.CARD, {"parameters": 12, "updates": 30, "other": 1, "seeds": [1]}
    )


def _translate_as_is(seconds: float, folders: list[Path]) -> Any:
    def translate(
        folder: Path, sources: Sequence[str], search: Search, engine: str
    ) -> list[list[Hypothesis]]:
        folders.append(folder)
        time.sleep(seconds)
        lines = sources if search.beam > 1 else [line.replace("open", "shut") for line in sources]
        return [[Hypothesis(text=line, score=0.0, truncated=False)] for line in lines]

    return translate


def _evaluate(
    root: Path, monkeypatch: pytest.MonkeyPatch, *argv: str, seconds: float = 0.001
) -> tuple[dict[str, bytes], list[Path]]:
    """The files of the result and of the translations, and the folders that a model was read from."""
    folders: list[Path] = []
    monkeypatch.setenv("NMTKD_DEVICE", "cpu")
    monkeypatch.setattr(evaluation, "translate", _translate_as_is(seconds, folders))
    monkeypatch.chdir(root)
    evaluate.main(argv)
    outs = list(Path("data/translations").rglob("*"))
    return {str(path): path.read_bytes() for path in outs if path.is_file()}, folders


def test_a_result_is_scores_and_facts_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = layout.student_dir(KEY)
    _write(tmp_path, trained)
    outs, folders = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    assert set(folders) == {layout.model_dir(trained)}
    translations = f"data/translations/{KEY}"
    assert set(outs) == {
        f"data/translations/{KEY}/scores.json",
        f"{translations}/curve.csv",
        *(f"{translations}/{split}.{search}" for split in SETS for search in ("beam", "greedy")),
    }
    raw = json.loads(outs[f"data/translations/{KEY}/scores.json"])
    assert set(raw) == {
        *("key", "role", "corpus", "pair", "method", "capacity", "noise", "decoding", "seed"),
        *("model", "model_bytes", "parameters", "updates", "scores", "seeds"),
    }
    result = results.Result.model_validate_json(outs[f"data/translations/{KEY}/scores.json"])
    assert (result.role, result.cell, result.seed) == ("student", ("plain", "tiny", "clean", "none"), 1)
    assert (result.corpus, result.pair, result.model) == ("homeassistant", "en-de", HASH)
    assert (result.model_bytes, result.parameters, result.updates) == (len("weights"), 12, 30)
    splits = [(score.split, score.search) for score in result.scores if score.metric == "bleu"]
    sets = ["valid", "test", "test_long"]
    assert splits == [(split, search) for search in ("beam", "greedy") for split in sets]
    assert result.score("test", "beam", "bleu") == 100.0 == result.score("test_long", "beam", "bleu")
    assert (result.score("test", "greedy", "bleu") or 0.0) < 100.0
    assert outs[f"{translations}/test.greedy"].decode().splitlines()[2] == "the door is shut"


def test_equal_models_have_equal_results_whatever_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates go to reports/machine/, beside the model that they are about."""
    _write(tmp_path, layout.student_dir(KEY))
    fast, _ = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    path = tmp_path / layout.machine_file("decoding", KEY)
    first = files.read_script(path)
    slow, _ = _evaluate(tmp_path, monkeypatch, "plain", KEY, seconds=0.05)
    second = files.read_script(path)
    assert fast == slow
    assert path.read_text(encoding="utf-8").startswith("machine({")
    assert set(first) == {"kind", "key", "model", "machine", "sentences_per_second"}
    assert (first["kind"], first["key"], first["model"]) == ("decoding", KEY, HASH)
    assert set(first["machine"]) == {"processor", "device", "cores"}
    for search in ("beam", "greedy"):
        assert first["sentences_per_second"][search] > second["sentences_per_second"][search] > 0.0


def test_a_teacher_is_named_by_its_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = layout.teacher_dir("clean")
    _write(tmp_path, trained)
    outs, folders = _evaluate(tmp_path, monkeypatch, "teacher", "clean")
    assert set(folders) == {layout.model_dir(trained)}
    result = results.Result.model_validate_json(outs["data/translations/teacher-clean/scores.json"])
    assert (result.key, result.role, result.seed) == ("teacher-clean", "teacher", 0)
    assert result.cell == ("teacher", "teacher", "clean", "none")
    assert (tmp_path / layout.machine_file("decoding", "teacher-clean")).is_file()


def test_an_ensemble_weighs_what_its_members_weigh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = layout.teacher_dir("clean")
    _write(tmp_path, trained)
    (layout.model_dir(tmp_path / trained) / "model2.pt").write_text("more", encoding="utf-8")
    outs, _ = _evaluate(tmp_path, monkeypatch, "teacher", "clean")
    result = results.Result.model_validate_json(outs["data/translations/teacher-clean/scores.json"])
    assert result.model_bytes == len("weights") + len("more")


def test_a_failed_evaluation_leaves_the_translations_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, layout.student_dir(KEY))
    before, _ = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    (tmp_path / layout.PREPARED / "test.ref").unlink()
    with pytest.raises(ValueError, match=r"test\.ref: no such file"):
        _evaluate(tmp_path, monkeypatch, "plain", KEY)
    monkeypatch.chdir(tmp_path)
    assert {name: Path(name).read_bytes() for name in before} == before


def _judged(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    tokens: list[str],
    choice: str = "auto",
    **files_of: list[str],
) -> dict[tuple[str, str], Any]:
    """Values by split and metric of `tokens` as translations of a test set into `target`.

    `choice` is evaluate.tokenize, `files_of` are the test set's files by suffix.
    """
    _write(root, layout.student_dir(KEY))
    monkeypatch.chdir(root)
    raw = yaml.safe_load(Path("params.yaml").read_text(encoding="utf-8"))
    raw["corpus"]["target"] = target
    raw["corpus"]["source"] = "fr"
    raw["evaluate"]["tokenize"] = choice
    Path("params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    for suffix, lines in files_of.items():
        files.write_text(layout.PREPARED / f"test.{suffix}", "".join(f"{line}\n" for line in lines))
    settings = params.load("corpus", "prepare", "evaluate")
    found = evaluation.judge("test", "beam", tokens, settings, Path())
    return {(one["split"], one["metric"]): one["value"] for one in found}


def test_a_right_translation_into_a_script_without_spaces_scores_100(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Joiners and codes become text again, and BLEU counts characters. Long: of four source tokens."""
    tokens = ["我的￭ ｟0｠ ￭在厨房里￭ 。", "打开￭ ｟ua0｠￭ 窗户￭ ，￭ 好￭ ！"]
    found = _judged(
        tmp_path,
        monkeypatch,
        "zh",
        tokens,
        src=["My ｟0｠ is in the kitchen ￭.", "Open ￭!"],
        tgt=tokens,
        ref=["我的{cat name}在厨房里。", "打开\u00a0窗户，好！"],
        names=['["{cat name}"]', "[]"],
    )
    assert results.read_lines(Path("test.beam")) == ["我的{cat name}在厨房里。", "打开\u00a0窗户，好！"]
    assert found == {
        (split, metric): 100.0
        for split in ("test", "test_long")
        for metric in ("bleu", "bleu_tok_lc", "chrf2")
    }


@pytest.mark.parametrize(
    ("target", "choice", "bleu", "tokenised"),
    [("zh_hans", "auto", 54.1082, 54.1082), ("zh", "13a", 0.0, 54.1082), ("en", "auto", 0.0, 54.1082)],
)
def test_bleu_is_counted_as_params_and_target_language_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, target: str, choice: str, bleu: float, tokenised: float
) -> None:
    """Characters: 6/8, 4/7, 3/6, 2/5. Words between spaces: none. The corpus's own are characters too."""
    found = _judged(
        tmp_path,
        monkeypatch,
        target,
        ["他在厨房里看书￭ 。"],
        choice,
        src=["a"],
        tgt=["他在厨房里写字￭ 。"],
        ref=["他在厨房里写字。"],
        names=["[]"],
    )
    assert (found["test", "bleu"], found["test", "bleu_tok_lc"]) == (bleu, tokenised)


def test_joiners_are_no_part_of_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In German the tokenised score counts tokens without them: of A b c , three of four match."""
    found = _judged(
        tmp_path,
        monkeypatch,
        "de",
        ["A b c￭ ,", "x y z w"],
        src=["a b", "a b c"],
        tgt=["A b c ￭.", "x y z w"],
        ref=["A b c.", "x y z w"],
        names=["[]", "[]"],
    )
    # 7/8, 5/6, 3/4 and 1/2; no source has four tokens, so there is nothing long to score apart.
    assert found["test", "bleu_tok_lc"] == 72.3127
    assert {split for split, _ in found} == {"test"}


def test_a_translation_may_be_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = _judged(
        tmp_path,
        monkeypatch,
        "ja",
        ["", ""],
        src=["a", "b"],
        tgt=["本", "木"],
        ref=["本", "木"],
        names=["[]"] * 2,
    )
    assert set(found.values()) == {0.0}
    assert Path("test.beam").read_bytes() == b"\n\n"


@pytest.mark.parametrize(
    ("source", "is_long"),
    [
        ("Hi ￭, you ￭!", True),
        ("Hello , you", False),
        ("Hel￭ lo there", False),
        ("我们走吧", True),
        ("我们走", False),
    ],
)
def test_long_segments_have_as_many_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, is_long: bool
) -> None:
    """Four tokens, or four characters of a script without spaces; a joiner is none."""
    found = _judged(tmp_path, monkeypatch, "de", ["a"], src=[source], tgt=["a"], ref=["a"], names=["[]"])
    assert ({split for split, _ in found} == {"test", "test_long"}) == is_long
