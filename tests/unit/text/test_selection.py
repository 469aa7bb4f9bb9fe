"""nmtkd.text.selection: valid as a part of train, a part of train, and counts that a recipe is known for."""

from pathlib import Path
from typing import Any

import pytest

from nmtkd.text.parallel import ParallelTextError, write_lines
from nmtkd.text.preparation import prepare
from tests.unit.text.toys import corpus, lines, settings

RECIPE: dict[str, Any] = {
    "tokeniser": "moses_escaped",
    "lowercase": True,
    "placeholders": False,
    "duplicates": "keep",
    "overlap": "keep",
    "ratio_of": "tokens",
    "max_ratio": 1.5,
    "ratio_slack": 0,
    "valid_every": 3,
}


def raw(folder: Path) -> Path:
    """Twelve pairs, of which the third and the eighth are no translations; no validation set."""
    pairs = [(f"It's {number} A.", f"Es ist {number} A.") for number in range(12)]
    pairs[2] = ("One two three four five six.", "Eins.")
    pairs[7] = ("Thank you.", "Danke schön, sehr.")  # 3 tokens and 5
    pairs[8] = pairs[4]  # a duplicate
    for name, rows in (("train", pairs), ("test", [("It's 4 A.", "Es ist 4 A.")])):
        write_lines(folder / f"{name}.src", [pair[0] for pair in rows])
        write_lines(folder / f"{name}.tgt", [pair[1] for pair in rows])
    return folder


def test_every_third_clean_pair_is_valid(tmp_path: Path) -> None:
    card = prepare(raw(tmp_path / "raw"), tmp_path / "out", corpus(), settings(**RECIPE))
    # Clean are 0 1 3 4 5 6 8 9 10 11, of which 3, 6 and 10 are the third, the sixth and the ninth.
    assert lines(tmp_path / "out/valid.src") == ["it &apos;s 3 a .", "it &apos;s 6 a .", "it &apos;s 10 a ."]
    assert lines(tmp_path / "out/valid.ref") == ["Es ist 3 A.", "Es ist 6 A.", "Es ist 10 A."]
    numbers = ["0", "1", "4", "5", "4", "9", "11"]  # the eighth pair is the fourth one's twin
    assert lines(tmp_path / "out/train.tgt") == [f"es ist {number} a ." for number in numbers]
    assert lines(tmp_path / "out/test.tgt") == ["es ist 4 a ."]
    assert card["steps"] == {"clean": 10, "train": 7, "valid": 3}
    assert card["train_pairs_with_a_side_in_a_held_out_set"] == 2  # with the test set: overlap stays
    counts = {name: split["pairs"] for name, split in card["splits"].items()}
    assert counts == {"valid": 3, "test": 1, "train": 7}
    assert card["raw_pairs"] == counts["train"] + counts["valid"] + sum(card["dropped"].values())
    assert card["ceiling"]["valid"]["BLEU"] == 100.0  # references are compared without their case, too


def test_counts_of_a_recipe_are_checked(tmp_path: Path) -> None:
    known = {"clean": 10, "train": 7, "valid": 3}
    prepare(raw(tmp_path / "raw"), tmp_path / "out", corpus(), settings(**RECIPE, expected=known))
    with pytest.raises(ParallelTextError) as caught:
        prepare(
            tmp_path / "raw",
            tmp_path / "b",
            corpus(),
            settings(**RECIPE, expected=known | {"clean": 11, "train": 8}),
        )
    message = str(caught.value)
    assert "prepare.expected.clean: 11 expected, got 10 pairs after cleaning" in message
    assert "prepare.expected.train: 8 expected, got 7 pairs of train" in message
    assert "expected.valid" not in message and "-S prepare.expected=null" in message


def test_a_part_of_train_lies_in_a_larger_one(tmp_path: Path) -> None:
    folder, parts = raw(tmp_path / "raw"), {}
    for size in (0, 2, 5, 7):
        asked = settings(**RECIPE, train_pairs=size, expected={"clean": 10, "train": 7, "valid": 3})
        card = prepare(folder, tmp_path / str(size), corpus(), asked)
        parts[size] = lines(tmp_path / f"{size}/train.tgt")
        assert len(parts[size]) == card["splits"]["train"]["pairs"] == (size or 7)
        assert card["dropped"].get("not in the part that train_pairs asks for", 0) == (
            7 - size if size else 0
        )
        assert lines(tmp_path / f"{size}/valid.src") == lines(tmp_path / "0/valid.src")
    assert parts[7] == parts[0]
    whole = list(enumerate(parts[0]))
    places = {size: [at for at, line in whole if line in set(parts[size])] for size in (2, 5)}
    assert set(parts[2]) <= set(parts[5]) and places[2] == sorted(places[2])
    assert [line for line in parts[0] if line in set(parts[5])][: len(parts[5])] == parts[
        5
    ]  # in corpus order
    other = settings(**RECIPE, train_pairs=5).model_copy(update={"seed": 2})
    prepare(folder, tmp_path / "other", corpus(), other)
    assert lines(tmp_path / "other/train.tgt") != parts[5]


def test_a_part_may_not_be_larger_than_train(tmp_path: Path) -> None:
    with pytest.raises(ParallelTextError, match="train_pairs: 8 pairs wanted, train has 7 after cleaning"):
        prepare(raw(tmp_path / "raw"), tmp_path / "out", corpus(), settings(**RECIPE, train_pairs=8))


def test_there_is_one_validation_set(tmp_path: Path) -> None:
    folder = raw(tmp_path / "raw")
    with pytest.raises(ParallelTextError, match="no validation set; set prepare"):
        prepare(folder, tmp_path / "a", corpus(), settings(**RECIPE | {"valid_every": 0}))
    for side in ("src", "tgt"):
        write_lines(folder / f"valid.{side}", ["a"])
    with pytest.raises(ParallelTextError, match="has a validation set, and prepare"):
        prepare(folder, tmp_path / "b", corpus(), settings(**RECIPE))


@pytest.mark.parametrize("duplicates", ["keep", "drop"])
def test_selection_in_small_blocks_is_that_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, duplicates: str
) -> None:
    """Also where a block in the middle holds nothing of train: copies of the block before it."""
    folder, written = raw(tmp_path / "raw"), []
    for side in ("src", "tgt"):
        rows = lines(folder / f"train.{side}")
        write_lines(folder / f"train.{side}", [*rows[:5], *rows[:5], *rows[5:]])
    for name, chunk in (("whole", 500), ("blocks", 5)):
        monkeypatch.setattr("nmtkd.text.selection.CHUNK", chunk)
        out = tmp_path / name
        card = prepare(folder, out, corpus(), settings(**RECIPE | {"duplicates": duplicates}))
        written.append((card["steps"], [lines(out / f"{split}.src") for split in ("train", "valid")]))
    assert written[0] == written[1]
    assert written[0][0]["clean"] == {"keep": 14, "drop": 9}[duplicates]
