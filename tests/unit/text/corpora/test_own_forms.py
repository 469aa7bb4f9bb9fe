"""nmtkd.text.corpora.own_forms: gzip and TSV are the same text as plain files, and their faults are told."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest

from nmtkd.text.corpora import bounds
from nmtkd.text.corpora.readers import extract
from nmtkd.text.corpora.tally import CorpusError
from nmtkd.text.parallel import ParallelTextError
from tests.unit.text.corpora.test_own_files import user_files
from tests.unit.text.corpora.toys import corpus, read

TRAIN = [("a  b ", "d"), ("c", "e\u2028f\u0085")]


def pack(path: Path, text: str) -> None:
    path.write_bytes(gzip.compress(text.encode()))


def as_gzip(folder: Path) -> None:
    for name, lines in zip(("train.src.gz", "train.tgt.gz"), zip(*TRAIN, strict=True), strict=True):
        pack(folder / name, "".join(f"{line}\n" for line in lines))


def as_tsv(folder: Path) -> None:
    (folder / "train.tsv").write_bytes("\n".join(map("\t".join, TRAIN)).encode())  # no LF at the very end


def as_packed_tsv(folder: Path) -> None:
    pack(folder / "train.tsv.gz", "".join(f"{source}\t{target}\n" for source, target in TRAIN))


def extracted(tmp_path: Path, write: Callable[[Path], None]) -> dict[str, object]:
    """The card of a corpus whose train is written so."""
    folder = user_files(tmp_path / f"mine-{write.__name__}", train_src="", train_tgt="")
    write(folder)
    out = tmp_path / f"out-{write.__name__}"
    card = extract(corpus("files", folder=str(folder)), {}, out)
    for column, side in enumerate(("src", "tgt")):
        assert read(out / f"train.{side}") == [pair[column] for pair in TRAIN]
    assert sorted(path.name for path in out.iterdir()) == [
        "card.json", "test.src", "test.tgt", "train.src", "train.tgt", "valid.src", "valid.tgt",
    ]  # fmt: skip
    return card


def test_every_form_is_the_same_text(tmp_path: Path) -> None:
    """The same version too. LF alone ends a line."""
    cards = [extracted(tmp_path, write) for write in (as_gzip, as_tsv, as_packed_tsv)]
    assert cards[0]["pairs"] == {"train": 2, "valid": 1, "test": 1}
    assert cards[0] == cards[1] == cards[2]


def refused(folder: Path, out: Path) -> str:
    with pytest.raises((CorpusError, ParallelTextError)) as caught:
        extract(corpus("files", folder=str(folder)), {}, out)
    return str(caught.value)


@pytest.mark.parametrize("second", ["train.tsv", "train.src.gz", "train.tsv.gz"])
def test_a_split_in_two_forms_is_refused(tmp_path: Path, second: str) -> None:
    folder = user_files(tmp_path / "mine")
    (folder / second).write_bytes(b"x")
    told = refused(folder, tmp_path / "out")
    assert told.startswith(
        f"{folder}/train.src, {folder}/train.tgt, {folder}/{second}: train is there in two"
    )


def test_lines_of_other_columns_are_counted_and_the_first_told(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="", train_tgt="")
    lines = ["a\tb", "one", "c\td\te", *["two"] * 6, "f\tg"]
    (folder / "train.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert refused(folder, tmp_path / "out") == (
        f"{folder}/train.tsv: line 2, 3, 4, 5, 6 and others: a line must have 2 columns, source TAB target; "
        "by number of columns: 7 with 1, 1 with 3; mend them, or write a file for each side"
    )


def test_faults_of_a_column_name_the_users_file(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="", train_tgt="", valid_src="", valid_tgt="")
    (folder / "train.tsv").write_bytes(b"a\tb\nc\t\n")
    (folder / "valid.src.gz").write_bytes(gzip.compress(b"x\ny\n"))
    (folder / "valid.tgt.gz").write_bytes(gzip.compress(b"z\n"))
    first, second = refused(folder, tmp_path / "out").splitlines()
    assert first.startswith(f"{folder}/train.tsv (target column): line 2: empty")
    assert second.startswith(f"{folder}/valid.src.gz has 2 lines and {folder}/valid.tgt.gz has 1")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"no gzip", "not a sound gzip file (Not a gzipped file (b'no')); pack it again"),
        (gzip.compress(b"a\n" * 99)[:-9], "not a sound gzip file (Compressed file ended before"),
        (b"\x1f\x8b" + b"\0" * 30, "not a sound gzip file ("),
    ],
)
def test_gzip_that_is_not_sound_is_told(tmp_path: Path, content: bytes, told: str) -> None:
    folder = user_files(tmp_path / "mine", train_src="")
    (folder / "train.tgt").unlink()
    for side in ("src", "tgt"):
        (folder / f"train.{side}.gz").write_bytes(content)
    assert refused(folder, tmp_path / "out").startswith(f"{folder}/train.src.gz: {told}")


def test_a_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FLOOR", 1000)
    folder = user_files(tmp_path / "mine", train_src="", train_tgt="")
    pack(folder / "train.tsv.gz", "a\tb\n" * 10**6)
    assert "unpacks to" in refused(folder, tmp_path / "out")
    assert not (tmp_path / "out/train.src").exists()


def test_half_of_a_form_is_told(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="", train_tgt="")
    (folder / "train.src.gz").write_bytes(gzip.compress(b"a\n"))
    told = refused(folder, tmp_path / "out")
    assert f"1 files missing: {folder}/train.tgt.gz (or .tsv; either also as .gz)" in told
