"""What stages say: the numbers of their last lines, help, and names that are given to `main`."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from pathlib import Path

import pytest

from tests.stages.laboratory import SIZES, Laboratory

NAMED = ("decode", "evaluate", "noise", "report", "student", "targets", "teacher")


def last(lab: Laboratory, stage: str) -> str:
    return lab.printed[stage][-1]


def test_corpus_counts_pairs(lab: Laboratory) -> None:
    assert lab.printed["corpus"] == [f"[corpus] {name}: {size} pairs" for name, size in SIZES.items()]


def test_prepare_gives_its_account(lab: Laboratory) -> None:
    """Moses leaves a space before a French exclamation mark: it says so, and of how many."""
    printed = "\n".join(lab.printed["prepare"])
    for split in ("valid", "test", "other"):
        marks = sum(line.endswith("!") for line in lab.text(f"corpus/{split}.tgt"))
        assert re.search(rf"\[prepare\] warning: {split}: .* \({marks} spaces\)", printed)


def test_bpe_counts_pieces(lab: Laboratory) -> None:
    merges = len(lab.text("data/bpe/codes.bpe")) - 1
    joint, src, tgt = (len(lab.text(f"data/bpe/dict{side}.txt")) for side in ("", ".src", ".tgt"))
    assert lab.printed["bpe"] == [
        f"[bpe] {merges} merges, {joint} pieces in the joint dictionary, "
        f"{src} and {tgt} in those of the sides"
    ]


@pytest.mark.parametrize("noise", ["clean", "del30"])
def test_noise_counts_words_hit(lab: Laboratory, noise: str) -> None:
    card = lab.json(f"data/noise/{noise}/card.json")
    hit = [card[side]["hit"] for side in ("source", "target")]
    assert last(lab, f"noise@{noise}") == f"[noise] {noise}: {hit[0]} source and {hit[1]} target words hit"
    assert (hit == [0, 0]) == (noise == "clean")


@pytest.mark.parametrize(
    ("stage", "name", "model"),
    [
        ("teacher@clean", "teacher clean", "teacher/clean"),
        ("student_word@word-tiny-clean-1", "student word-tiny-clean-1", "student/word-tiny-clean-1"),
    ],
)
def test_trainings_tell_size_and_speed(lab: Laboratory, stage: str, name: str, model: str) -> None:
    size = lab.json(f"models/{model}/card.json")["parameters"]
    assert re.fullmatch(rf"\[{name}\] {size} parameters, [\d.]+ s, [\d.]+ target tokens/s", last(lab, stage))
    cost = lab.text(f"reports/machine/training/{model.split('/')[1]}.js" if "student" in model else
                    "reports/machine/training/teacher-clean.js")  # fmt: skip
    assert any("target_tokens_per_second" in line for line in cost)


def test_a_copied_teacher_says_of_what(lab: Laboratory) -> None:
    assert lab.printed["teacher@del30_clean"] == [
        "[teacher del30_clean] the same as models/teacher/clean: copied"
    ]


def test_decode_tells_its_card(lab: Laboratory) -> None:
    card = lab.json("data/hypotheses/clean-beam/card.json")
    counts = ", ".join(f"{card[name]} {name}" for name in ("empty", "truncated", "copied", "equal_to_gold"))
    ratio, penalty = card["length_ratio"], card["brevity_penalty"]
    assert last(lab, "decode@clean-beam") == (
        f"[decode clean beam] 260 lines: {counts}; {ratio:.2f} of gold's length, "
        f"brevity penalty {penalty:.2f}"
    )
    tried = card["decoding"]["length_penalties"]  # at either end a better one may lie beyond
    end = {min(tried): ", the shortest asked for", max(tried): ", the longest asked for"}
    chosen = f"length penalty {card['length_penalty']}{end.get(card['length_penalty'], '')}"
    bleu = ", ".join(f"{quality['bleu']:.1f} at {penalty}" for penalty, quality in card["validation"].items())
    said, *_ = lab.printed["decode@clean-beam"]
    assert said.startswith(f"[decode clean beam] {chosen}: validation BLEU {bleu}; brevity penalty ")


@pytest.mark.parametrize(
    ("stage", "prefix"), [("targets_gold@clean", "gold"), ("targets@clean-beam", "beam")]
)
def test_targets_tell_their_size(lab: Laboratory, stage: str, prefix: str) -> None:
    folder = lab.folder / f"data/targets/clean-{prefix}"
    size = sum(path.stat().st_size for path in folder.iterdir())
    positions = json.loads((folder / "header.json").read_text(encoding="utf-8"))
    vocabulary = positions["vocabulary"]
    tokens = lab.json("data/hypotheses/clean-beam/card.json")["tokens"] + 260
    if prefix == "gold":
        tokens = sum(len(line.split()) + 1 for line in lab.text("data/noise/clean/train.tgt"))
    assert last(lab, stage) == (
        f"[targets clean {prefix}] top 5 of {vocabulary} tokens, {size / tokens:.0f} bytes a token"
    )


def test_evaluate_tells_the_headline(lab: Laboratory) -> None:
    scores = lab.json("data/translations/plain-tiny-clean-1/scores.json")
    found = {
        one["search"]: one["value"]
        for one in scores["scores"]
        if (one["split"], one["metric"]) == ("test", "bleu")
    }
    said = last(lab, "evaluate_plain@plain-tiny-clean-1")
    assert said.startswith(f"[evaluate plain-tiny-clean-1] BLEU on test: {found['beam']:.2f} by beam (")
    assert f", {found['beam_at_1']:.2f} at 1.0, {found['greedy']:.2f} greedy; " in said


@pytest.mark.parametrize(
    ("stage", "end"),
    [
        ("bpe", r"\[bpe\] 3/3 held-out sets encoded"),
        ("teacher@clean", r"\[teacher clean\] 200/200 updates, loss [\d.]+, lr [\d.]+, about 0 s left"),
        ("decode@clean-beam", r"\[decode clean beam\] 260/260 lines translated"),
        ("targets_gold@clean", r"\[targets clean gold\] 260/260 lines done"),
        ("targets@clean-beam", r"\[targets clean beam\] 260/260 lines done"),
        (
            "student_hybrid@hybrid_best-tiny-clean-beam-1",
            r"\[student hybrid_best-tiny-clean-beam-1, gate 0\.75\] 120/120 updates, loss .*",
        ),
        (
            "evaluate_plain@plain-tiny-clean-2",
            r"\[evaluate plain-tiny-clean-2\] 16/16 lines of other translated, beam 1, length penalty 1\.0",
        ),
    ],
)
def test_long_work_tells_how_far_it_is(lab: Laboratory, stage: str, end: str) -> None:
    assert re.fullmatch(end, lab.told[stage][-1])


def test_report_shows_its_table_and_shows_it_again(
    lab: Laboratory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--show` writes nothing."""
    monkeypatch.chdir(lab.folder)
    before = {path: path.stat().st_mtime_ns for path in Path("reports").rglob("*")}
    importlib.import_module("stages.report").main(["--show"])
    assert capsys.readouterr().out.splitlines() == lab.printed["report"]
    assert {path: path.stat().st_mtime_ns for path in Path("reports").rglob("*")} == before
    head, *_ = (line for line in lab.printed["report"] if line.startswith("method"))
    assert head.split()[:2] == ["method", "capacity"]
    for method in ("teacher", "plain", "seq"):
        assert any(line.startswith(f"{method} ") for line in lab.printed["report"])


@pytest.mark.parametrize("entry", NAMED)
def test_help_says_what_an_entry_does(
    entry: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    module = importlib.import_module(f"stages.{entry}")
    with pytest.raises(SystemExit, match=r"^0$"):
        module.main(["--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert module.__doc__ is not None and " ".join(module.__doc__.split()) in said


@pytest.mark.parametrize(
    ("entry", "names", "out"),
    [
        ("noise", ["del30"], "data/noise/del30"),
        ("decode", ["clean", "beam"], "data/hypotheses/clean-beam"),
        ("targets", ["clean", "gold"], "data/targets/clean-gold"),
        ("teacher", ["del30_clean"], "models/teacher/del30_clean"),
        ("student", ["plain", "plain-tiny-clean-1"], "models/student/plain-tiny-clean-1"),
    ],
)
def test_main_takes_names_and_makes_the_same_again(
    lab: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, names: list[str], out: str
) -> None:
    """Whatever stands in the process's own command line."""
    folder = tmp_path / "lab"
    shutil.copytree(lab.folder, folder, symlinks=True, ignore=shutil.ignore_patterns(".dvc"))
    before = {path.name: path.read_bytes() for path in (folder / out).rglob("*") if path.is_file()}
    shutil.rmtree(folder / out)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NMTKD_SCRATCH", str(folder / ".scratch"))
    monkeypatch.setattr("sys.argv", ["other", "names"])
    importlib.import_module(f"stages.{entry}").main(names)
    after = {path.name: path.read_bytes() for path in (folder / out).rglob("*") if path.is_file()}
    assert after == before


@pytest.mark.parametrize("section", ["training", "teacher.training"])
def test_a_line_too_long_for_a_batch_names_the_param(
    lab: Laboratory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, section: str
) -> None:
    for name in ("data/prepared", "data/bpe"):
        shutil.copytree(lab.folder / name, tmp_path / name)
    text = (lab.folder / "params.yaml").read_text(encoding="utf-8")
    lines, inside = [], ""
    for line in text.splitlines():
        inside = line.rstrip(":") if line.endswith(":") and not line.startswith(" ") else inside
        own = "training" if section == "training" else "teacher"
        lines.append(re.sub(r"max_tokens: 256", "max_tokens: 5", line) if inside == own else line)
    (tmp_path / "params.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=rf"(^|\s){re.escape(section)}\.max_tokens"):
        importlib.import_module("stages.noise").main(["clean"])
