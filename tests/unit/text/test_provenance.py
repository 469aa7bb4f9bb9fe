"""nmtkd.text.provenance: the BPE at hand is that of the text at hand, and both are as they were written."""

from pathlib import Path
from typing import Any

import pytest

from nmtkd import files
from nmtkd.files import DamagedError
from nmtkd.text import provenance
from nmtkd.text.parallel import ParallelTextError

NAMES = ["train", "test"]


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Prepared text and its BPE, each with its card."""
    prepared, bpe = tmp_path / "prepared", tmp_path / "bpe"
    for folder in (prepared, bpe):
        for file in provenance.sides(NAMES):
            files.write_text(folder / file, f"{folder.name} {file}\n")
    files.write_json(prepared / "card.json", provenance.written(prepared, provenance.sides(NAMES)))
    card = provenance.encoded(prepared, NAMES) | provenance.written(bpe, provenance.sides(["test"]))
    files.write_json(bpe / "card.json", card | {"merges": 3})
    return prepared, bpe


def test_sides_are_files() -> None:
    assert provenance.sides(NAMES) == ["train.src", "train.tgt", "test.src", "test.tgt"]


def test_cards_have_the_hashes_of_what_was_read_and_written(folders: tuple[Path, Path]) -> None:
    prepared, bpe = folders
    card = files.read_json(bpe / "card.json")
    assert card["encoded"] == {
        f"{name}.{side}": files.file_hash(prepared / f"{name}.{side}")
        for name in NAMES
        for side in ("src", "tgt")
    }
    assert card["sha256"] == {
        f"test.{side}": files.file_hash(bpe / f"test.{side}") for side in ("src", "tgt")
    }
    provenance.check_encoded(bpe, prepared, NAMES)
    provenance.check_written(bpe, provenance.sides(["test"]))
    provenance.check_written(prepared, provenance.sides(NAMES))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("side", ["src", "tgt"])
def test_bpe_of_other_text_is_refused(folders: tuple[Path, Path], name: str, side: str) -> None:
    prepared, bpe = folders
    files.write_text(prepared / f"{name}.{side}", "other\n")
    with pytest.raises(
        ParallelTextError,
        match=rf"bpe: made from another {name}\.{side} than .*prepared/{name}\.{side}; run the bpe",
    ):
        provenance.check_encoded(bpe, prepared, NAMES)
    provenance.check_encoded(bpe, prepared, set(NAMES) - {name})
    (prepared / f"{name}.{side}").unlink()
    with pytest.raises(DamagedError, match=rf"prepared/{name}\.{side}: missing; run"):
        provenance.check_encoded(bpe, prepared, NAMES)


def test_changed_text_is_refused(folders: tuple[Path, Path]) -> None:
    _, bpe = folders
    files.write_text(bpe / "test.tgt", "\0" * len("bpe test.tgt") + "\n")
    provenance.check_written(bpe, ["test.src"])
    with pytest.raises(DamagedError, match=r"bpe/test\.tgt: not the content that was written"):
        provenance.check_written(bpe, ["test.src", "test.tgt"])


@pytest.mark.parametrize(
    ("card", "wrong"),
    [
        ({}, "lacks sha256"),
        ({"sha256": {}}, "sha256: must hold hashes of files, has none of test.src, test.tgt"),
        (
            {"sha256": "test.src test.tgt"},
            "sha256: must hold hashes of files, has none of test.src, test.tgt",
        ),
        ({"sha256": {"test.src": "a"}}, "sha256: must hold hashes of files, has none of test.tgt"),
    ],
)
def test_a_card_without_hashes_is_refused(
    folders: tuple[Path, Path], card: dict[str, Any], wrong: str
) -> None:
    """As of an older version, or of other test sets."""
    _, bpe = folders
    files.write_json(bpe / "card.json", card)
    with pytest.raises(DamagedError, match=f"card.json: {wrong}; run `dvc checkout"):
        provenance.check_written(bpe, provenance.sides(["test"]))


# Training text


@pytest.fixture
def training(folders: tuple[Path, Path], tmp_path: Path) -> tuple[Path, Path]:
    """Training text as pieces, and the BPE whose codes made them."""
    bpe, text = folders[1], tmp_path / "clean"
    files.write_text(bpe / "codes.bpe", "#version: 0.2\na b\n")
    files.write_json(bpe / "card.json", provenance.written(bpe, ["codes.bpe"]))
    for file in provenance.sides(["train"]):
        files.write_text(text / file, f"{file}\n")
    files.write_json(text / "card.json", provenance.cut(text, bpe))
    return text, bpe


def test_training_text_knows_its_codes(training: tuple[Path, Path]) -> None:
    text, bpe = training
    card = files.read_json(text / "card.json")
    assert card["codes"] == files.file_hash(bpe / "codes.bpe")
    assert sorted(card["sha256"]) == ["train.src", "train.tgt"]
    provenance.check_cut(text, bpe)


def test_training_text_of_other_codes_is_refused(training: tuple[Path, Path]) -> None:
    text, bpe = training
    files.write_text(bpe / "codes.bpe", "#version: 0.2\na c\n")
    files.write_json(bpe / "card.json", provenance.written(bpe, ["codes.bpe"]))
    message = r"clean: its pieces are not those of .*codes\.bpe; run the noise stage again"
    with pytest.raises(ParallelTextError, match=message):
        provenance.check_cut(text, bpe)


def test_training_text_that_was_changed_is_refused(training: tuple[Path, Path]) -> None:
    text, bpe = training
    files.write_text(text / "train.tgt", "\0\0\0\0\0\0\0\0\0\n")
    with pytest.raises(DamagedError, match=r"train\.tgt: not the content that was written"):
        provenance.check_cut(text, bpe)
