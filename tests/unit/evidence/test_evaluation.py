"""A model on the held-out sets: what is written where, and that no result depends on the machine."""

import hashlib
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from stages import evaluate

from nmtkd import files, machine
from nmtkd.decoding.search import Hypothesis, Search
from nmtkd.evidence import evaluation, results
from nmtkd.network.fairseq_bridge import model_hash
from nmtkd.plan import layout, params
from nmtkd.text import provenance
from tests.unit.plan import good

KEY = "plain-tiny-clean-1"
DATA = {
    "updates": 30,
    "sentences": 90,
    "passes": 1.5,
    "source_tokens": 400,
    "target_tokens": 410,
    "trainings": 1,
}
HASH = hashlib.sha256(b"weights").hexdigest()
SEARCHES = ("beam", "beam_at_1", "greedy")
METRICS = ("bleu", "bleu_tok_lc", "chrf2", "brevity_penalty", "length_ratio")
SETS = {
    "valid": ["open the window of the room", "lamp"],
    "test": ["turn on the red lamp now", "turn it off", "the door is open"],
}


def _write(root: Path, trained: Path, penalties: Sequence[float] = (0.6, 1.0, 1.4)) -> None:
    """Params, held-out sets whose translation is their own source, and a model that was never trained."""
    raw = good.changed(evaluate__long_words=4, evaluate__length_penalties=list(penalties))
    (root / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    for split, lines in SETS.items():
        text = "".join(f"{line}\n" for line in lines)
        for side in ("src", "tgt"):
            files.write_text(root / layout.BPE / f"{split}.{side}", text)
        for suffix in ("src", "ref", "tgt"):
            files.write_text(root / layout.PREPARED / f"{split}.{suffix}", text)
        files.write_text(root / layout.PREPARED / f"{split}.names", "[]\n" * len(lines))
    model = layout.model_dir(root / trained)
    files.write_text(model / layout.MODEL, "weights")
    files.write_text(model / layout.HASH, f"{HASH}\n")
    for path in (root / layout.BPE / "dict.txt", model / "dict.src.txt", model / "dict.tgt.txt"):
        files.write_text(path, "lamp 1\n")
    for name in layout.SIDE_DICTIONARIES.values():
        files.write_text(root / layout.BPE / name, "stair 1\n")
    _stamp(root)
    files.write_text(root / trained / layout.CURVE, "update,valid_loss\n")
    files.write_json(
        root / trained / layout.CARD,
        {
            "parameters": 12,
            "updates": 30,
            "precision": "float32",
            "model": HASH,
            "other": 1,
            "seeds": [1],
            "data": DATA,
        },
    )


def _stamp(root: Path) -> None:
    """The cards of the held-out sets as they are."""
    prepared, bpe = root / layout.PREPARED, root / layout.BPE
    ends = ("src", "tgt", "ref", "names")
    card = provenance.written(prepared, [f"{split}.{end}" for split in SETS for end in ends])
    files.write_json(prepared / layout.CARD, card)
    card = provenance.written(bpe, provenance.sides(SETS)) | provenance.encoded(prepared, SETS)
    files.write_json(bpe / layout.CARD, card)


Asked = tuple[Path, str, Search]  # the folder of a model, the first line of a set, and the search


def _translate(seconds: float, asked: list[Asked], best: float) -> Any:
    """Says what it reads: all of it with the length penalty `best`, else one word less or more.

    Greedy search takes another word.
    """

    def said(line: str, search: Search) -> str:
        if search.beam == 1:
            return line.replace("open", "shut")
        if search.length_penalty < best:
            return line.rpartition(" ")[0] or line
        return line if search.length_penalty == best else f"{line} again"

    def translate(
        folder: Path, sources: Sequence[str], search: Search, engine: str
    ) -> list[list[Hypothesis]]:
        asked.append((folder, sources[0], search))
        time.sleep(seconds)
        return [[Hypothesis(text=said(line, search), score=0.0, truncated=False)] for line in sources]

    return translate


def _evaluate(
    root: Path, monkeypatch: pytest.MonkeyPatch, *argv: str, seconds: float = 0.001, best: float = 1.4
) -> tuple[dict[str, bytes], list[Asked]]:
    """The files of the result and of the translations, and what was translated by what."""
    asked: list[Asked] = []
    monkeypatch.setenv("NMTKD_DEVICE", "cpu")
    monkeypatch.setattr(evaluation, "translate", _translate(seconds, asked, best))
    monkeypatch.setattr(evaluation, "load", lambda *_: None)
    monkeypatch.chdir(root)
    evaluate.main(argv)
    outs = list(Path("data/translations").rglob("*"))
    return {str(path): path.read_bytes() for path in outs if path.is_file()}, asked


def test_a_result_is_scores_and_facts_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = layout.student_dir(KEY)
    _write(tmp_path, trained)
    outs, asked = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    assert {folder for folder, _, _ in asked} == {layout.model_dir(trained)}
    translations = f"data/translations/{KEY}"
    assert set(outs) == {
        f"data/translations/{KEY}/scores.json",
        f"{translations}/curve.csv",
        *(f"{translations}/{split}.{search}" for split in SETS for search in SEARCHES),
    }
    raw = json.loads(outs[f"data/translations/{KEY}/scores.json"])
    assert set(raw) == {
        *("key", "role", "corpus", "pair", "method", "capacity", "noise", "decoding", "seed"),
        *("model", "model_bytes", "parameters", "updates", "precision", "scores", "seeds", "data"),
        *("compute", "length_penalty", "length_penalties", "sha256", "references"),
    }
    assert raw["sha256"] == {
        Path(name).name: hashlib.sha256(content).hexdigest()
        for name, content in outs.items()
        if not name.endswith("scores.json")
    }
    assert raw["references"] == {
        split: files.file_hash(layout.PREPARED / f"{split}.ref") for split in ("valid", "test")
    }
    assert raw["data"] == DATA
    result = results.Result.model_validate_json(outs[f"data/translations/{KEY}/scores.json"])
    assert (result.role, result.cell, result.seed) == ("student", ("plain", "tiny", "clean", "none"), 1)
    assert (result.corpus, result.pair, result.model) == ("toy", "en-de", HASH)
    assert (result.model_bytes, result.parameters, result.updates) == (len("weights"), 12, 30)
    places = [(score.search, score.split, score.metric) for score in result.scores]
    assert places == list(itertools.product(SEARCHES, ("valid", "test", "test_long"), METRICS))
    assert result.score("test", "beam", "bleu") == 100.0 == result.score("test_long", "beam", "bleu")
    assert (result.score("test", "greedy", "bleu") or 0.0) < 100.0
    assert outs[f"{translations}/test.greedy"].decode().splitlines()[2] == "the door is shut"


SHORT, LONG = 84.6482, 75.9836  # 6 of 7 words: exp(1 - 7/6); 9 of which 7 are right: (1/3) ** (1/4)


@pytest.mark.parametrize(
    ("penalties", "best", "chosen", "tried", "beams"),
    [
        (
            (0.6, 1.0, 1.4),
            1.4,
            "1.4, the longest asked for",
            {"0.6": SHORT, "1.0": SHORT, "1.4": 100.0},
            [("valid", 0.6), ("valid", 1.0), ("valid", 1.4), ("test", 1.4), ("test", 1.0)],
        ),
        # The chosen search is the one at 1: it is not done again.
        (
            (0.6, 1.0, 1.4),
            1.0,
            "1.0",
            {"0.6": SHORT, "1.0": 100.0, "1.4": LONG},
            [("valid", 0.6), ("valid", 1.0), ("valid", 1.4), ("test", 1.0)],
        ),
        # What is not among the penalties is searched all the same at 1.
        (
            (1.4, 0.6),
            0.6,
            "0.6, the shortest asked for",
            {"1.4": LONG, "0.6": 100.0},
            [("valid", 1.4), ("valid", 0.6), ("test", 0.6), ("valid", 1.0), ("test", 1.0)],
        ),
        # Of equals the nearest to 1.
        (
            (0.6, 0.8, 1.8),
            1.4,
            "0.8",
            {"0.6": SHORT, "0.8": SHORT, "1.8": LONG},
            [("valid", 0.6), ("valid", 0.8), ("valid", 1.8), ("test", 0.8), ("valid", 1.0), ("test", 1.0)],
        ),
        ((1.0,), 1.4, "1.0", {"1.0": SHORT}, [("valid", 1.0), ("test", 1.0)]),
    ],
)
def test_a_models_own_penalty_is_its_best_on_the_validation_set(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    penalties: tuple[float, ...],
    best: float,
    chosen: str,
    tried: dict[str, float],
    beams: list[tuple[str, float]],
) -> None:
    """And each set is translated by each search once."""
    _write(tmp_path, layout.student_dir(KEY), penalties)
    outs, asked = _evaluate(tmp_path, monkeypatch, "plain", KEY, best=best)
    first = {lines[0]: split for split, lines in SETS.items()}
    assert [(first[line], how.length_penalty) for _, line, how in asked if how.beam == 5] == beams
    assert [(first[line], how.beam) for _, line, how in asked[len(beams) :]] == [("valid", 1), ("test", 1)]
    raw = json.loads(outs[f"data/translations/{KEY}/scores.json"])
    assert raw["length_penalties"] == tried
    assert raw["length_penalty"] == float(chosen.partition(",")[0])
    values = {(s["search"], s["split"], s["metric"]): s["value"] for s in raw["scores"]}
    assert values["beam", "valid", "bleu"] == max(tried.values())
    right = "turn on the red lamp now"
    for search, penalty in (("beam", raw["length_penalty"]), ("beam_at_1", 1.0)):
        text = outs[f"data/translations/{KEY}/test.{search}"].decode().splitlines()[0]
        assert text == ("turn on the red lamp", right, f"{right} again")[(penalty >= best) + (penalty > best)]
    said = f"{values['beam', 'test', 'bleu']:.2f} by beam (length penalty {chosen}), "
    said += f"{values['beam_at_1', 'test', 'bleu']:.2f} at 1.0, {values['greedy', 'test', 'bleu']:.2f} greedy"
    assert f"[evaluate {KEY}] BLEU on test: {said}; " in capsys.readouterr().out


def test_a_primary_score_of_tokens_chooses_and_leaves_the_tokens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """References have a capital that lower-cased models cannot write: it costs nothing in any score."""
    _write(tmp_path, layout.student_dir(KEY))
    raw = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    raw["evaluate"]["primary"], raw["prepare"]["lowercase"] = "bleu_tok_lc", True
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    files.write_text(tmp_path / layout.PREPARED / "test.ref", "".join(f"{x.upper()}\n" for x in SETS["test"]))
    _stamp(tmp_path)
    outs, _ = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    folder = f"data/translations/{KEY}"
    stored = json.loads(outs[f"{folder}/scores.json"])
    values = {(s["search"], s["split"], s["metric"]): s["value"] for s in stored["scores"]}
    assert values["beam", "test", "bleu"] == values["beam", "test", "bleu_tok_lc"] == 100.0
    assert stored["length_penalties"] == {"0.6": SHORT, "1.0": SHORT, "1.4": 100.0}
    tokens = outs[f"{folder}/test.greedy.tokens"]
    assert tokens.decode().splitlines()[2] == "the door is shut"
    assert stored["sha256"]["test.greedy.tokens"] == hashlib.sha256(tokens).hexdigest()
    assert "tok-lc BLEU on test: 100.00 by beam" in capsys.readouterr().out


def test_a_penalty_is_chosen_by_words_wherever_their_joiners_stand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A score of tokens counts none: where a model joins other tokens than the reference, all words match."""
    _write(tmp_path, layout.student_dir(KEY))
    raw = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    raw["evaluate"]["primary"] = "bleu_tok_lc"
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    for folder, joined in ((layout.BPE, "it is on￭ , then off"), (layout.PREPARED, "it is on ￭, then off")):
        files.write_text(tmp_path / folder / "valid.src", f"{joined}\nlamp\n")
        files.write_text(tmp_path / folder / "valid.tgt", f"{joined}\nlamp\n")
    _stamp(tmp_path)
    outs, _ = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    stored = json.loads(outs[f"data/translations/{KEY}/scores.json"])
    assert stored["length_penalties"] == {"0.6": SHORT, "1.0": SHORT, "1.4": 100.0}
    assert stored["length_penalty"] == 1.4


def test_length_stands_beside_each_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each line lacks its last word, by both beams: 10 words of 13 are worth exp(1 - 13/10)."""
    _write(tmp_path, layout.student_dir(KEY), (1.2,))
    outs, _ = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    raw = json.loads(outs[f"data/translations/{KEY}/scores.json"])
    values = {(s["search"], s["split"], s["metric"]): s["value"] for s in raw["scores"]}
    for search in ("beam", "beam_at_1"):
        assert values[search, "test", "length_ratio"] == 0.7692
        assert (values[search, "test", "bleu"], values[search, "test", "brevity_penalty"]) == (
            74.0818,
            0.7408,
        )
        assert values[search, "valid", "length_ratio"] == 0.8571
    assert values["greedy", "test", "length_ratio"] == values["greedy", "test", "brevity_penalty"] == 1.0


def test_a_model_of_unknown_data_has_a_result_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = layout.student_dir(KEY)
    _write(tmp_path, trained)
    files.write_json(
        tmp_path / trained / layout.CARD,
        {"parameters": 12, "updates": 30, "precision": "float32", "model": HASH},
    )
    outs, _ = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    assert not {"data", "seeds"} & json.loads(outs[f"data/translations/{KEY}/scores.json"]).keys()


def test_rates_are_those_of_one_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """2 lines in 4 s and 3 in 1 s; another penalty's time is its own, and what is known takes none."""
    _write(tmp_path, layout.student_dir(KEY))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(evaluation, "translate", _translate(0.0, [], 1.4))
    clock = iter([0.0, 4.0, 10.0, 90.0, 100.0, 101.0])
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    settings = params.load("corpus", "evaluate")
    held_out = evaluation.HeldOut(KEY, Path("m"), settings)
    one, other = (Search.of(settings.evaluate, penalty) for penalty in (1.0, 1.4))
    for search, split in ((one, "valid"), (other, "valid"), (one, "test"), (one, "valid")):
        held_out.tokens(search, split)
    assert (held_out.rate(one), held_out.rate(other)) == (1.0, 0.025)


def test_each_search_has_its_own_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beams take 4 seconds a set, greedy search takes half of one: of 5 lines in two sets 0.625 and 5.

    The model is loaded before, which counts for none.
    """
    _write(tmp_path, layout.student_dir(KEY))
    monkeypatch.chdir(tmp_path)
    now, said = [0.0], _translate(0.0, [], 1.4)

    def translate(folder: Path, sources: Sequence[str], search: Search, engine: str) -> Any:
        now[0] += 4.0 if search.beam > 1 else 0.5
        return said(folder, sources, search, engine)

    def load(folder: Path, engine: str, compute: str) -> None:
        loaded.append((folder, engine, compute))
        now[0] += 100.0

    loaded: list[tuple[Path, str, str]] = []
    monkeypatch.setattr(evaluation, "load", load)
    monkeypatch.setattr(evaluation, "translate", translate)
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(monotonic=lambda: now[0]))
    evaluate.main(["plain", KEY])
    measured = files.read_script(layout.machine_file("decoding", KEY))
    assert measured["sentences_per_second"] == {"beam": 0.6, "greedy": 5.0}
    assert loaded == [(layout.model_dir(layout.student_dir(KEY)), "ctranslate2", "float32")]


@pytest.mark.parametrize("compute", ["float32", "int8"])
def test_all_searches_compute_as_asked_and_the_result_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compute: str
) -> None:
    _write(tmp_path, layout.student_dir(KEY))
    raw = yaml.safe_load((tmp_path / "params.yaml").read_text(encoding="utf-8"))
    raw["evaluate"]["compute"] = compute
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(raw), encoding="utf-8")
    outs, asked = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    assert len(asked) > 5 and {how.compute for _, _, how in asked} == {compute}
    assert json.loads(outs[f"data/translations/{KEY}/scores.json"])["compute"] == compute


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


def test_a_rate_of_several_gpus_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "device", lambda: "cuda")
    monkeypatch.setattr(machine, "gpus", lambda: 3)
    _write(tmp_path, layout.student_dir(KEY))
    _evaluate(tmp_path, monkeypatch, "plain", KEY)
    measured = files.read_script(tmp_path / layout.machine_file("decoding", KEY))
    assert measured["machine"]["device"] == "cuda on 3 GPUs"


def test_a_teacher_is_named_by_its_noise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = layout.teacher_dir("clean")
    _write(tmp_path, trained)
    outs, asked = _evaluate(tmp_path, monkeypatch, "teacher", "clean")
    assert {folder for folder, _, _ in asked} == {layout.model_dir(trained)}
    result = results.Result.model_validate_json(outs["data/translations/teacher-clean/scores.json"])
    assert (result.key, result.role, result.seed) == ("teacher-clean", "teacher", 0)
    assert result.cell == ("teacher", "teacher", "clean", "none")
    assert (tmp_path / layout.machine_file("decoding", "teacher-clean")).is_file()


def test_an_ensemble_weighs_what_its_members_weigh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = layout.teacher_dir("clean")
    _write(tmp_path, trained)
    model = layout.model_dir(tmp_path / trained)
    (model / "model2.pt").write_text("more", encoding="utf-8")
    files.write_text(model / layout.HASH, model_hash(model))
    facts = {
        "parameters": 12,
        "updates": 30,
        "precision": "float32",
        "model": model_hash(model),
        "data": DATA,
    }
    files.write_json(tmp_path / trained / layout.CARD, facts)
    outs, _ = _evaluate(tmp_path, monkeypatch, "teacher", "clean")
    result = results.Result.model_validate_json(outs["data/translations/teacher-clean/scores.json"])
    assert result.model_bytes == len("weights") + len("more")


def test_a_failed_evaluation_leaves_the_translations_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, layout.student_dir(KEY))
    before, _ = _evaluate(tmp_path, monkeypatch, "plain", KEY)
    (tmp_path / layout.PREPARED / "test.ref").unlink()
    with pytest.raises(ValueError, match=r"test\.ref: missing"):
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
    values = dict(zip(METRICS, (100.0, 100.0, 100.0, 1.0, 1.0), strict=True))
    assert found == {
        (split, metric): value for split in ("test", "test_long") for metric, value in values.items()
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


# What is scored belongs to the model and to the references


def _refused(root: Path, monkeypatch: pytest.MonkeyPatch, *argv: str) -> str:
    with pytest.raises(ValueError) as error:  # noqa: PT011  the message is looked at
        _evaluate(root, monkeypatch, *(argv or ("plain", KEY)))
    assert not (root / layout.translations_dir(KEY)).exists()
    return str(error.value)


@pytest.mark.parametrize("argv", [("word", "word-nosuch-clean-1"), ("teacher", "nosuch")])
def test_a_run_that_nobody_trained_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: tuple[str, str]
) -> None:
    _write(tmp_path, layout.student_dir(KEY))
    folder = f"models/{'teacher' if argv[0] == 'teacher' else 'student'}/{argv[1]}"
    assert _refused(tmp_path, monkeypatch, *argv) == (
        f"{folder}: no such folder; correct the name; run `dvc checkout --force {folder}`, "
        "or the stage that writes it again"
    )


def test_a_model_of_other_text_is_not_scored_on_this(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, layout.student_dir(KEY))
    files.write_text(tmp_path / layout.BPE / "dict.txt", "door 1\n")
    own = layout.model_dir(layout.student_dir(KEY)) / "dict.src.txt"
    assert _refused(tmp_path, monkeypatch).startswith(
        f"{own}: not data/bpe/dict.txt or data/bpe/dict.src.txt, the dictionary of the te"
    )


def test_a_changed_model_is_not_scored_under_its_old_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(tmp_path, layout.student_dir(KEY))
    files.write_text(layout.model_dir(tmp_path / layout.student_dir(KEY)) / layout.MODEL, "other")
    assert "its model files are not those that model.sha256 names" in _refused(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    "file", [f"{split}.{end}" for split in SETS for end in ("src", "tgt", "ref", "names")]
)
def test_prepared_text_is_what_its_card_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Equal numbers of lines are not enough."""
    _write(tmp_path, layout.student_dir(KEY))
    path = layout.PREPARED / file
    other = '["x"]\n' if file.endswith("names") else "x\n"
    files.write_text(tmp_path / path, other * len(SETS[path.stem]))
    assert _refused(tmp_path, monkeypatch).startswith(f"{path}: not the content that was written")


@pytest.mark.parametrize("side", ["src", "tgt"])
def test_bpe_of_another_test_set_is_not_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: str
) -> None:
    """Both folders are whole, and as long as each other; the one was not made from the other."""
    _write(tmp_path, layout.student_dir(KEY))
    path = tmp_path / layout.PREPARED / f"test.{side}"
    files.write_text(path, "".join(path.read_text(encoding="utf-8").splitlines(keepends=True)[::-1]))
    encoded = files.read_json(tmp_path / layout.BPE / layout.CARD)
    _stamp(tmp_path)
    files.write_json(tmp_path / layout.BPE / layout.CARD, encoded)
    assert _refused(tmp_path, monkeypatch) == (
        f"data/bpe: made from another test.{side} than data/prepared/test.{side}; run the bpe stage again"
    )


def test_half_a_held_out_set_is_not_translated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path, layout.student_dir(KEY))
    files.write_text(tmp_path / layout.BPE / "test.src", "turn on the red lamp now\n\0\n\0\n")
    assert _refused(tmp_path, monkeypatch).startswith("data/bpe/test.src: not the content that was written")


@pytest.mark.parametrize(
    ("file", "text", "wrong"),
    [
        ("curve.csv", "update,valid_loss\n1", "no whole table"),
        ("card.json", '{"parameters": 12', "no whole JSON (JSONDecodeError: "),
        ("card.json", '{"parameters": 12}', "lacks model, updates, precision; run `dvc checkout --force "),
        (
            "card.json",
            f'{{"parameters": 12, "updates": 30, "precision": "float32", "model": "{"1" * 64}"}}',
            f"of model {'1' * 12}, the one beside it is {HASH[:12]}; run `dvc checkout --force ",
        ),
        ("card.json", "[1]", "must hold a JSON object, holds a list; run "),
    ],
)
def test_damaged_facts_of_a_model_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, text: str, wrong: str
) -> None:
    _write(tmp_path, layout.student_dir(KEY))
    path = layout.student_dir(KEY) / file
    files.write_text(tmp_path / path, text)
    assert _refused(tmp_path, monkeypatch).startswith(f"{path}: {wrong}")


@pytest.mark.parametrize(
    ("names", "wrong"),
    [
        ("[]\n", "1 lines of names for 3 translations"),
        ("[]\n[\n[]\n", r"no whole list of names \(JSONDecodeError"),
        ("[]\n1\n[]\n", r"no whole list of names \(TypeError"),
    ],
)
def test_each_translation_has_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: str, wrong: str
) -> None:
    _write(tmp_path, layout.student_dir(KEY))
    monkeypatch.chdir(tmp_path)
    files.write_text(layout.PREPARED / "test.names", names)
    with pytest.raises(files.DamagedError, match=rf"^data/prepared/test\.names: {wrong}"):
        evaluation.as_text("test", ["a", "b", "c"], params.load("corpus", "prepare"))
