"""nmtkd.text.preparation: clean splits, held-out sets that stay whole, a card that counts every line."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nmtkd.plan.data import Corpus, Prepare
from nmtkd.text import preparation
from nmtkd.text.parallel import ParallelTextError, read_pair, write_lines
from nmtkd.text.preparation import prepare
from nmtkd.text.splitting import Pair


def corpus(**changes: Any) -> Corpus:
    values = {
        "name": "toy",
        "reader": "files",
        "source": "en",
        "target": "de",
        "tests": ["test"],
        "archives": [],
        "folder": "x",
    }
    return Corpus.model_validate(values | {"license": "CC0"} | changes)


def settings(**changes: Any) -> Prepare:
    values = {
        "seed": 1,
        "valid_pairs": 1,
        "test_pairs": 1,
        "max_words": 10,
        "max_ratio": 2.0,
        "ratio_slack": 1,
        "overlap": "drop",
    }
    return Prepare.model_validate(values | {"long_words": 0, "near_duplicate": 0.8} | changes)


def given(folder: Path, **splits: list[Pair]) -> Path:
    """A corpus that comes split; valid and test hold one pair of their own unless told otherwise."""
    defaults: dict[str, list[Pair]] = {"valid": [("val one", "val eins")], "test": [("tst one", "tst eins")]}
    for name, pairs in (defaults | splits).items():
        write_lines(folder / f"{name}.src", [pair[0] for pair in pairs])
        write_lines(folder / f"{name}.tgt", [pair[1] for pair in pairs])
    return folder


def unsplit(folder: Path, rows: list[tuple[str, str, str]]) -> Path:
    """A corpus that comes whole: (source, target, group)."""
    for name, column in (("all.src", 0), ("all.tgt", 1), ("all.group", 2)):
        write_lines(folder / name, [row[column] for row in rows])
    return folder


def read(folder: Path, name: str) -> list[Pair]:
    return list(zip(*read_pair(folder / f"{name}.src", folder / f"{name}.tgt"), strict=True))


def lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


# Corpora that come split


def test_a_split_corpus_is_cleaned_tokenised_and_accounted_for(tmp_path: Path) -> None:
    raw = given(
        tmp_path / "raw",
        train=[
            ("Turn\u00a0on {name}.", "Schalte {name} ein."),
            ("Turn on {name}.", "Schalte {name} ein."),  # a duplicate after normalisation
            ("Count {a}", "Zahl {b}"),  # placeholders differ
            ("val one", "etwas anderes"),  # its source is held out
            ("something", "tst eins"),  # its target is held out
            (" ".join("abcdefghijk"), " ".join("abcdefghijk")),  # 11 words
            ("one", "ein zwei drei vier"),  # 4 > 2.0 * 1, and 3 more words than slack allows
            ("one", "ein zwei"),  # within the slack
            ("Last one!", "Der letzte!"),
        ],
    )
    card = prepare(raw, tmp_path / "out", corpus(), settings())
    assert read(tmp_path / "out", "train") == [
        ("Turn on {0} .", "Schalte {0} ein ."),
        ("one", "ein zwei"),
        ("Last one !", "Der letzte !"),
    ]
    assert card == json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert card == {
        "corpus": "toy",
        "pair": "en-de",
        "license": "CC0",
        "raw_pairs": 9,
        "dropped": {
            "only invisible characters": 0,
            "exact duplicates": 1,
            "placeholders differ": 1,
            "stands in a held-out set": 2,
            "empty after tokenising": 0,
            "longer than max_words": 1,
            "sides too uneven": 1,
        },
        "splits": {
            "train": {"pairs": 3, "source_tokens": 8, "target_tokens": 9},
            "valid": {"pairs": 1, "source_tokens": 2, "target_tokens": 2},
            "test": {"pairs": 1, "source_tokens": 2, "target_tokens": 2},
        },
        "near_duplicates": {"threshold": 0.8, "test": 0},
    }
    assert card["raw_pairs"] == card["splits"]["train"]["pairs"] + sum(card["dropped"].values())


def test_held_out_sets_stay_whole(tmp_path: Path) -> None:
    long = " ".join(["lang"] * 30)
    test = [("Is {b} {a}?", "Ist {a} {b} {c}?"), ("same", "gleich"), ("same", "gleich"), ("one", long)]
    raw = given(tmp_path / "raw", train=[("x", "y")], test=test)
    prepare(raw, tmp_path / "out", corpus(), settings())
    out = tmp_path / "out"
    assert read(out, "test") == [
        ("Is {0} {1} ?", "Ist {1} {0} {2} ?"),
        ("same", "gleich"),
        ("same", "gleich"),
        ("one", long),
    ]
    assert lines(out / "test.raw") == ["Is {b} {a}?", "same", "same", "one"]
    assert lines(out / "test.ref") == ["Ist {a} {b} {c}?", "gleich", "gleich", long]
    # Only the source's names: at test time there is no target to take others from.
    assert [json.loads(line) for line in lines(out / "test.names")] == [["{b}", "{a}"], [], [], []]
    assert not (out / "train.raw").exists()


def test_every_test_set_gets_its_count_of_near_duplicates(tmp_path: Path) -> None:
    raw = given(
        tmp_path / "raw",
        train=[("Turn on the lamp in room 12", "Lampe in Zimmer 12 an")],
        test=[("Turn on the lamp in room 97!", "Licht an"), ("Open", "Auf")],
        extra=[("Open the door", "Tür auf")],
    )
    card = prepare(raw, tmp_path / "out", corpus(tests=["test", "extra"]), settings())
    assert card["near_duplicates"] == {"threshold": 0.8, "test": 1, "extra": 0}


def test_what_never_reaches_training_is_no_near_duplicate(tmp_path: Path) -> None:
    """The pair that resembles a test source is too uneven to be learnt from."""
    like = "Turn on the lamp in room 12"
    raw = given(
        tmp_path / "raw",
        train=[(like, "Licht"), ("Open", "Auf")],
        test=[("Turn on the lamp in room 97!", "Licht an")],
    )
    card = prepare(raw, tmp_path / "out", corpus(), settings())
    assert card["dropped"]["sides too uneven"] == 1
    assert card["near_duplicates"]["test"] == 0


def test_overlap_may_be_an_error(tmp_path: Path) -> None:
    train = [(f"s{number}", "tst eins") for number in range(7)] + [("fine", "gut")]
    raw = given(tmp_path / "raw", train=train)
    with pytest.raises(ParallelTextError) as caught:
        prepare(raw, tmp_path / "out", corpus(), settings(overlap="error"))
    head, *quoted, remedy = str(caught.value).split("\n")
    assert head.startswith("train: 7 pairs have a source or target that also stands in valid or test")
    assert quoted == [f"  's{number}' | 'tst eins'" for number in range(5)]
    assert remedy == "Remove them from the corpus, or set prepare.overlap: drop to have it done"
    assert not (tmp_path / "out").exists()
    prepare(
        given(tmp_path / "other", train=[("fine", "gut")]),
        tmp_path / "out",
        corpus(),
        settings(overlap="error"),
    )


def test_a_corpus_of_which_nothing_is_left_is_an_error(tmp_path: Path) -> None:
    raw = given(tmp_path / "raw", train=[("one", "ein zwei drei vier")])
    with pytest.raises(
        ParallelTextError,
        match=r"train: no pair is left after cleaning; see prepare\.max_words and prepare\.max_ratio",
    ):
        prepare(raw, tmp_path / "out", corpus(), settings())


@pytest.mark.parametrize(
    ("words", "slack", "stays"),
    [
        ((4, 2), 0, True),
        ((5, 2), 0, False),
        ((5, 2), 3, True),
        ((2, 5), 3, True),
        ((2, 5), 2, False),
        ((10, 10), 0, True),
        ((11, 11), 0, False),
    ],
)
def test_length_and_evenness(tmp_path: Path, words: tuple[int, int], slack: int, stays: bool) -> None:
    pair = (" ".join(["a"] * words[0]), " ".join(["b"] * words[1]))
    prepare(
        given(tmp_path / "raw", train=[("x", "y"), pair]),
        tmp_path / "out",
        corpus(),
        settings(ratio_slack=slack),
    )
    assert read(tmp_path / "out", "train") == [("x", "y"), pair][: 1 + stays]


# Corpora that come whole

ROWS = [
    ("Battery", "Batterie", "lamp"),
    ("Lamp", "Lampe", "lamp"),
    ("Battery", "Batterie", "door"),
    ("Door {n}", "Tür {n}", "door"),
    ("Lock", "Schloss {n}", "door"),  # placeholders differ
    ("Fan", "Lüfter", "fan"),
    ("Fan", "Lüfter", "fan"),  # a duplicate
    (" ".join("abcdefghijk"), "zu lang", "fan"),
    ("Pump", "Pumpe", "pump"),
]


@pytest.mark.parametrize("seed", range(6))
def test_a_whole_corpus_is_split_by_group_and_accounted_for(tmp_path: Path, seed: int) -> None:
    card = prepare(
        unsplit(tmp_path / "raw", ROWS), tmp_path / "out", corpus(reader="homeassistant"), settings(seed=seed)
    )
    sets = {name: read(tmp_path / "out", name) for name in ("train", "valid", "test")}
    every = sets["train"] + sets["valid"] + sets["test"]
    assert sorted(every) == sorted(
        [
            ("Battery", "Batterie"),
            ("Lamp", "Lampe"),
            ("Door {0}", "Tür {0}"),
            ("Fan", "Lüfter"),
            ("Pump", "Pumpe"),
        ]
    )
    assert ("Battery", "Batterie") in sets["train"]
    assert len(sets["valid"]) == len(sets["test"]) == 1
    assert {name: count for name, count in card["dropped"].items() if count} == {
        "placeholders differ": 1,
        "longer than max_words before the split": 1,
        "exact duplicates": 2,
    }
    assert (
        card["raw_pairs"]
        == 9
        == sum(split["pairs"] for split in card["splits"].values()) + sum(card["dropped"].values())
    )


def test_the_bound_on_length_holds_for_held_out_sets_too(tmp_path: Path) -> None:
    rows = [
        (" ".join([name] * length), name, name) for name, length in zip("abcd", (10, 10, 10, 11), strict=True)
    ]
    out = tmp_path / "out"
    card = prepare(
        unsplit(tmp_path / "raw", rows), out, corpus(reader="homeassistant"), settings(max_ratio=99.0)
    )
    assert [len(read(out, name)) for name in ("train", "valid", "test")] == [1, 1, 1]
    assert card["dropped"]["longer than max_words before the split"] == 1


def test_placeholders_may_change_places_but_not_their_number(tmp_path: Path) -> None:
    train = [("{a} of {b}", "{b} von {a}"), ("{a} {a}", "{a} x"), ("{a} x", "{a} {a}")]
    card = prepare(given(tmp_path / "raw", train=train), tmp_path / "out", corpus(), settings())
    assert read(tmp_path / "out", "train") == [("{0} of {1}", "{1} von {0}")]
    assert card["dropped"]["placeholders differ"] == 2


def test_a_side_that_stands_in_both_parts_of_a_drawn_group_leaves_train(tmp_path: Path) -> None:
    # If door is drawn, ("Open", "Auf") is held out. ("Open", "Öffnen") is not, as lamp uses its target: in
    # train it would leak its source.
    rows = [
        ("Open", "Auf", "door"),
        ("Open", "Öffnen", "door"),
        ("Unfold", "Öffnen", "lamp"),
        ("Lamp", "Lampe", "lamp"),
        ("Fan", "Lüfter", "fan"),
    ]
    drawn = 0
    for seed in range(8):
        out = tmp_path / f"out{seed}"
        card = prepare(
            unsplit(tmp_path / "raw", rows), out, corpus(reader="homeassistant"), settings(seed=seed)
        )
        held = read(out, "valid") + read(out, "test")
        drawn += ("Open", "Auf") in held
        assert card["dropped"]["stands in a held-out set"] == (("Open", "Auf") in held)
        assert not {pair[0] for pair in read(out, "train")} & {pair[0] for pair in held}
    assert 0 < drawn < 8


def test_what_is_nothing_but_invisible_characters_does_not_get_into_a_set(tmp_path: Path) -> None:
    """They pass for text when raw files are read, and are gone after normalisation."""
    rows = [(f"source {name}", f"target {name}", name) for name in "abcd"] + [
        ("\u200b", f"leer {name}", name) for name in "a"
    ]
    for seed in range(6):
        out = tmp_path / f"out{seed}"
        card = prepare(
            unsplit(tmp_path / "raw", rows), out, corpus(reader="homeassistant"), settings(seed=seed)
        )
        assert (
            sum(len(read(out, name)) for name in ("train", "valid", "test")) == 4
        )  # read() refuses an empty line
        assert sum(card["dropped"].values()) == 1
    raw = given(tmp_path / "given", train=[("x", "y")], test=[("fine", "gut"), ("\u200b", "leer")])
    with pytest.raises(
        ParallelTextError, match="test: empty but for invisible characters: line 2; remove the pair"
    ):
        prepare(raw, tmp_path / "out", corpus(), settings())
    card = prepare(
        given(tmp_path / "train", train=[("x", "\u200b"), ("y", "z")]), tmp_path / "out", corpus(), settings()
    )
    assert read(tmp_path / "out", "train") == [("y", "z")]
    assert card["dropped"]["only invisible characters"] == 1
    assert card["raw_pairs"] == 2


def test_groups_must_fit_their_corpus(tmp_path: Path) -> None:
    raw = unsplit(tmp_path / "raw", ROWS)
    write_lines(raw / "all.group", ["lamp"])
    with pytest.raises(
        ParallelTextError, match=r"all\.group: 1 lines, but all\.src has 9; fetch the corpus again"
    ):
        prepare(raw, tmp_path / "out", corpus(), settings())


def test_a_whole_corpus_gives_one_test_set(tmp_path: Path) -> None:
    message = re.escape(
        "corpus.tests: a corpus that comes whole is split into one test set; got ['test', 'extra']; name one"
    )
    with pytest.raises(ParallelTextError, match=message):
        prepare(
            unsplit(tmp_path / "raw", ROWS), tmp_path / "out", corpus(tests=["test", "extra"]), settings()
        )


def test_workers_keep_the_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparation, "CHUNK", 2)
    # The test set is tokenised by workers, valid and train are not.
    monkeypatch.setattr(preparation, "SERIAL_BELOW", 5)
    monkeypatch.setenv("NMTKD_THREADS", "2")
    pairs = [(f"It's {number}.", f"l'eau {number}.") for number in range(7)]
    prepare(
        given(tmp_path / "raw", train=[("x", "y")], test=pairs),
        tmp_path / "out",
        corpus(target="fr"),
        settings(),
    )
    assert read(tmp_path / "out", "test") == [
        (f"It 's {number} .", f"l' eau {number} .") for number in range(7)
    ]


def test_a_held_out_set_may_be_empty(tmp_path: Path) -> None:
    card = prepare(unsplit(tmp_path / "raw", ROWS), tmp_path / "out", corpus(), settings(valid_pairs=0))
    assert read(tmp_path / "out", "valid") == []
    assert card["splits"]["valid"] == {"pairs": 0, "source_tokens": 0, "target_tokens": 0}
