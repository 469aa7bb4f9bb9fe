"""What a user can get wrong ends at once, with one message that says what to do."""

from __future__ import annotations

import gzip

from tests.endtoend.conftest import CopyLab
from tests.endtoend.lab import write_corpus


def test_wrong_parameters_stop_the_first_stage_with_every_problem(copy: CopyLab) -> None:
    lab = copy()
    lab.edit(
        "params.yaml",
        ("training.lrr", 0.1),
        ("capacities.tiny.width", "8"),
        ("grid.noises", ["clean", "dle10"]),
        ("bpe.merges", 50),
    )
    done = lab.ask("dvc", "repro")
    assert done.returncode != 0
    message = done.stdout + done.stderr
    assert "training.lrr: unknown key" in message
    assert "capacities.tiny.width: input should be a valid integer; got '8'; remove the quotes" in message
    assert "grid.noises: 'dle10' names nothing under `noises:`" in message
    assert "Traceback" not in message


def test_a_corpus_with_the_same_sentence_in_train_and_test_is_an_error(copy: CopyLab) -> None:
    lab = copy()
    folder = lab.folder / "mine"
    write_corpus(folder)
    for side in ("src", "tgt"):
        line = (folder / f"test.{side}").read_text(encoding="utf-8").splitlines()[0]
        with open(folder / f"train.{side}", "a", encoding="utf-8") as file:
            file.write(line + "\n")
    lab.edit("params.yaml", ("corpus.folder", str(folder)))
    done = lab.ask("dvc", "repro")
    assert done.returncode != 0
    assert "1 pairs have a source or target that also stands in valid or test" in done.stderr
    assert "prepare.overlap: drop" in done.stderr


def test_unequal_sides_are_an_error(copy: CopyLab) -> None:
    lab = copy()
    folder = lab.folder / "mine"
    write_corpus(folder)
    with open(folder / "train.src", "ab") as file:
        file.write(b"one more\nbroken \xff\n")
    lab.edit("params.yaml", ("corpus.folder", str(folder)))
    done = lab.ask("dvc", "repro")
    assert done.returncode != 0
    assert "UTF-8" in done.stderr
    assert "train.src" in done.stderr


def test_packed_tables_go_through_and_a_line_with_one_column_is_an_error(copy: CopyLab) -> None:
    lab = copy()
    folder, packed = lab.folder / "mine", lab.folder / "packed"
    write_corpus(folder)
    packed.mkdir()
    for split in ("train", "valid", "test"):
        sides = [(folder / f"{split}.{side}").read_bytes().splitlines() for side in ("src", "tgt")]
        content = b"".join(b"%s\t%s\n" % pair for pair in zip(*sides, strict=True))
        (packed / f"{split}.tsv.gz").write_bytes(gzip.compress(content))
    lab.edit("params.yaml", ("corpus.folder", str(packed)))
    lab.run("dvc", "repro", "prepare")
    for split in ("train", "valid", "test"):
        for name in (f"{split}.src", f"{split}.tgt"):
            assert lab.read(f"data/raw/{name}") == (folder / name).read_bytes()
    (packed / "valid.tsv.gz").write_bytes(gzip.compress(b"a\tb\none\n"))
    done = lab.ask("dvc", "repro", "prepare")
    assert done.returncode != 0
    assert f"{packed}/valid.tsv.gz: line 2: has 1 column, must have 2: source, one TAB, target" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_space_for_scratch_is_told_before_training(copy: CopyLab) -> None:
    lab = copy()
    full = lab.folder / "sitecustomize"
    full.mkdir()
    (full / "sitecustomize.py").write_text(
        "import shutil, collections\n"
        "usage = collections.namedtuple('usage', 'total used free')\n"
        "shutil.disk_usage = lambda path: usage(10, 10, 1000)\n",
        encoding="utf-8",
    )
    lab.env["PYTHONPATH"] = str(full)
    done = lab.ask("python", "-m", "stages.teacher", "clean")
    assert done.returncode == 1
    assert "scratch space" in done.stderr
    assert "NMTKD_SCRATCH" in done.stderr
    assert "update" not in done.stdout


def test_token_targets_of_another_teacher_are_refused(copy: CopyLab) -> None:
    lab = copy()
    (lab.folder / "models/teacher/clean/model/model.sha256").write_text("0" * 64 + "\n", encoding="utf-8")
    done = lab.ask("python", "-m", "stages.student", "word", "word-tiny-clean-1")
    assert done.returncode == 1
    assert "token targets of another teacher (made with" in done.stderr


def test_misaligned_hypotheses_are_refused(copy: CopyLab) -> None:
    lab = copy()
    path = lab.folder / "data/hypotheses/clean-beam/hypotheses.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines[3], lines[4] = lines[4], lines[3]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = lab.ask("python", "-m", "stages.student", "seq", "seq-tiny-clean-beam-1")
    assert done.returncode == 1
    assert "line 4: id 4 where 3 should stand" in done.stderr
