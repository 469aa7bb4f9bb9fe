"""nmtkd.text.preparation: clean splits, held-out sets that stay whole, a card that counts every line."""

import json
import re
from pathlib import Path

import pytest
import yaml

from stages import prepare as stage

from nmtkd import files
from nmtkd.plan import layout
from nmtkd.text import preparation
from nmtkd.text.parallel import ParallelTextError, write_lines
from nmtkd.text.preparation import prepare
from tests.unit.plan.good import changed
from tests.unit.text.toys import WHOLE, corpus, given, lines, names, read, settings, unsplit

# Corpora that come split


def test_a_split_corpus_is_cleaned_tokenised_and_accounted_for(tmp_path: Path) -> None:
    raw = given(
        tmp_path / "raw",
        train=[
            ("Turn\u00a0on {name}.", "Schalte {name} ein."),
            ("Turn on {name}.", "Schalte {name} ein."),  # a duplicate of it, but for the kind of a space
            ("Count {a}", "Zahl {b}"),  # placeholders differ
            ("val one", "etwas anderes"),  # its source is held out
            ("something", "das ist tst eins"),  # its target is held out
            (" ".join("abcdefghijk"), " ".join("abcdefghijk")),  # 11 words
            ("one", "ein zwei drei vier"),  # more than twice as long, and by more than 8 characters
            ("one", "ein zwei drei"),  # within the slack
            ("Last one!", "Der letzte!"),
        ],
        valid=[("val one", "das ist val eins")],
        test=[("tst one", "das ist tst eins")],
    )
    out = tmp_path / "out"
    card = prepare(raw, out, corpus(), settings(ratio_slack=8))
    assert read(out, "train") == [
        ("Turn ￭｟ua0｠￭ on ｟0｠ ￭.", "Schalte ｟0｠ ein ￭."),
        ("one", "ein zwei drei"),
        ("Last one ￭!", "Der letzte ￭!"),
    ]
    assert card == json.loads((out / "card.json").read_text(encoding="utf-8"))
    perfect = {"BLEU": 100.0, "lines": 1, "to the letter": 1}
    perfect |= dict.fromkeys(("spaces", "invisible", "unicode form", "marks", "other"), 0)
    assert card == {
        "corpus": "toy",
        "pair": "en-de",
        "license": "CC0",
        "tokeniser": "reversible",
        "raw_pairs": 9,
        "dropped": {
            "only invisible characters": 0,
            "exact duplicates": 1,
            "placeholders differ": 1,
            "stands in a held-out set": 2,
            "empty after tokenising": 0,
            "longer than max_words": 1,
            "sides too uneven": 1,
            "a word of over 1000 characters": 0,
        },
        "target_characters_per_source_character": round(132 / 85, 3),
        "train_pairs_with_a_side_in_a_held_out_set": 2,
        "splits": {
            "train": {"pairs": 3, "source_tokens": 9, "target_tokens": 10, "groups": 0},
            "valid": {"pairs": 1, "source_tokens": 2, "target_tokens": 4, "groups": 1},
            "test": {"pairs": 1, "source_tokens": 2, "target_tokens": 4, "groups": 1},
        },
        "normalised": {},
        "ceiling": {"valid": perfect, "test": perfect},
        "near_duplicates": {"threshold": 0.8, "test": 0},
        "sha256": files.hashes(path for path in sorted(out.iterdir()) if path.name != "card.json"),
    }
    assert card["raw_pairs"] == card["splits"]["train"]["pairs"] + sum(card["dropped"].values())


def test_held_out_sets_stay_whole(tmp_path: Path) -> None:
    long = " ".join(["lang"] * 30)
    test = [("Is {b} {a}?", "Ist {a} {b} {c}?"), ("same", "gleich"), ("same", "gleich"), ("one", long)]
    raw = given(tmp_path / "raw", train=[("x", "y")], test=test)
    prepare(raw, tmp_path / "out", corpus(), settings())
    out = tmp_path / "out"
    assert read(out, "test") == [
        ("Is ｟0｠ ｟1｠ ￭?", "Ist ｟1｠ ｟0｠ ｟2｠ ￭?"),
        ("same", "gleich"),
        ("same", "gleich"),
        ("one", long),
    ]
    assert lines(out / "test.raw") == ["Is {b} {a}?", "same", "same", "one"]
    assert lines(out / "test.ref") == ["Ist {a} {b} {c}?", "gleich", "gleich", long]
    # Only the source's names: at test time there is no target to take others from.
    assert names(out, "test") == [["{b}", "{a}"], [], [], []]


def test_raw_text_and_names_of_train_are_aligned_with_its_tokens(tmp_path: Path) -> None:
    train = [
        ("One {a}.", "Eins {a}."),
        ("One {a}.", "Eins {a}."),  # a duplicate
        ("uneven", "dies ist viel zu lang dafür"),
        ("Two\u00a0{b} {c}", "Zwei {c} {b}"),
        ("Three", "Drei\u200b"),
    ]
    out = tmp_path / "out"
    prepare(given(tmp_path / "raw", train=train), out, corpus(), settings())
    assert read(out, "train") == [
        ("One ｟0｠ ￭.", "Eins ｟0｠ ￭."),
        ("Two ￭｟ua0｠￭ ｟0｠ ｟1｠", "Zwei ｟1｠ ｟0｠"),
        ("Three", "Drei ￭\u200b"),
    ]
    assert lines(out / "train.raw") == ["One {a}.", "Two\u00a0{b} {c}", "Three"]
    assert lines(out / "train.ref") == ["Eins {a}.", "Zwei {c} {b}", "Drei\u200b"]
    assert names(out, "train") == [["{a}"], ["{b}", "{c}"], []]


RAW = [
    "10\u00a0km\u202f!",
    "a\u200bb",
    "x\x00y\x1bz\tw",
    "u\u0308ber ﬁ",  # NFD, and a ligature
    "  two  spaces ",
    "می\u200cخواهم",
    "\u2028line",
]


@pytest.mark.parametrize("tokeniser", ["reversible", "moses"])
@pytest.mark.parametrize("normalise", [[], ["nfkc", "controls", "invisible", "white_space"]])
def test_raw_text_is_what_the_corpus_holds(tmp_path: Path, tokeniser: str, normalise: list[str]) -> None:
    """To the byte, whatever is done to the text that models see."""
    pairs = [(text, f"{text} " * 2) for text in RAW]
    train = [(f"t{source}", f"t{target}") for source, target in pairs]
    out = tmp_path / "out"
    chosen = settings(tokeniser=tokeniser, normalise=normalise, words=50, ratio_slack=50)
    prepare(given(tmp_path / "raw", train=train, test=pairs), out, corpus(), chosen)
    for name in ("train", "test"):
        for kept, side in (("raw", "src"), ("ref", "tgt")):
            assert (out / f"{name}.{kept}").read_bytes() == (tmp_path / "raw" / f"{name}.{side}").read_bytes()


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
        train=[
            (like, "Licht"),
            ("Open", "Auf"),
            *[(f"Lamp number {n}", f"Lampe Nummer {n}") for n in range(9)],
        ],
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
    assert remedy == (
        "Remove them from the corpus, or set prepare.overlap: drop to have it done, keep to leave them"
    )
    assert not (tmp_path / "out").exists()
    prepare(
        given(tmp_path / "other", train=[("fine", "gut")]),
        tmp_path / "out",
        corpus(),
        settings(overlap="error"),
    )


@pytest.mark.parametrize(("overlap", "left"), [("drop", ["fine"]), ("keep", ["a", "b", "fine", "val one"])])
def test_overlap_is_counted_whether_it_is_dropped_or_kept(
    tmp_path: Path, overlap: str, left: list[str]
) -> None:
    train = [("a", "tst eins"), ("b", "tst eins"), ("fine", "gut"), ("val one", "neu")]
    out = tmp_path / "out"
    card = prepare(given(tmp_path / "raw", train=train), out, corpus(), settings(overlap=overlap))
    assert [source for source, _ in read(out, "train")] == left
    assert card["train_pairs_with_a_side_in_a_held_out_set"] == 3
    assert card["dropped"].get("stands in a held-out set", 0) == 4 - len(left)
    assert card["raw_pairs"] == len(left) + sum(card["dropped"].values())


def test_a_corpus_of_which_nothing_is_left_is_an_error_that_says_why(tmp_path: Path) -> None:
    train = [("one", "ein zwei drei vier"), (" ".join("abcdefghijk"), "zu lang"), ("{a}", "{b}")]
    message = (
        "train: none of 3 pairs is left after cleaning; dropped: 1 placeholders differ, "
        "1 longer than max_words, 1 sides too uneven; see prepare.max_words and prepare.max_ratio"
    )
    with pytest.raises(ParallelTextError, match=f"^{re.escape(message)}$"):
        prepare(given(tmp_path / "raw", train=train), tmp_path / "out", corpus(), settings())


# A target without spaces whose code says nothing of it

CHINESE = [("good morning to all", "大家早上好"), ("3 books", "3本书")]


def test_text_without_spaces_in_an_unknown_language_is_an_error(tmp_path: Path) -> None:
    """Before anything is written: BLEU of words between spaces would be near 0, however good a model is."""
    raw = given(tmp_path / "raw", train=[("x", "一")], test=CHINESE)
    message = (
        "corpus.target: 100% of the letters of test are of scripts without spaces, but 'zz' is no language "
        "that BLEU is known to need another tokeniser for; correct the code (zh, ja, th, lo, km, my), "
        "or set evaluate.tokenize to one, for example char"
    )
    with pytest.raises(ParallelTextError, match=f"^{re.escape(message)}$"):
        prepare(raw, tmp_path / "out", corpus(target="zz"), settings(words=50))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("target", "tokenize"),
    [("zz", "char"), ("zz", "13a"), ("zh", "auto"), ("zh_hans", "auto"), ("ja", "auto")],
)
def test_text_without_spaces_passes_where_its_tokeniser_is_known(
    tmp_path: Path, target: str, tokenize: str
) -> None:
    raw = given(tmp_path / "raw", train=[("x", "一")], test=CHINESE)
    card = prepare(raw, tmp_path / "out", corpus(target=target), settings(words=50), tokenize)
    assert card["ceiling"]["test"]["to the letter"] == 2


@pytest.mark.parametrize("tokenize", ["auto", "char"])
def test_the_stage_goes_by_the_tokeniser_of_evaluate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenize: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given(layout.RAW, train=[("x", "一")], test=CHINESE)
    raw = changed(corpus__target="zz", evaluate__tokenize=tokenize)
    files.write_text(Path("params.yaml"), yaml.safe_dump(raw))
    if tokenize == "char":
        stage.main()
        assert (layout.PREPARED / "test.tgt").is_file()
    else:
        with pytest.raises(ParallelTextError, match=r"or set evaluate\.tokenize to one, for example char$"):
            stage.main()


def test_a_few_names_without_spaces_are_no_language_without_spaces(tmp_path: Path) -> None:
    raw = given(tmp_path / "raw", train=[("x", "y")], test=[("Beijing (北京)", "Peking heißt 北京")])
    prepare(raw, tmp_path / "out", corpus(target="zz"), settings(words=50))


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
        unsplit(tmp_path / "raw", ROWS), tmp_path / "out", corpus(reader=WHOLE), settings(seed=seed)
    )
    sets = {name: read(tmp_path / "out", name) for name in ("train", "valid", "test")}
    every = sets["train"] + sets["valid"] + sets["test"]
    assert sorted(every) == sorted(
        [
            ("Battery", "Batterie"),
            ("Lamp", "Lampe"),
            ("Door ｟0｠", "Tür ｟0｠"),
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
    card = prepare(unsplit(tmp_path / "raw", rows), out, corpus(reader=WHOLE), settings(max_ratio=99.0))
    assert [len(read(out, name)) for name in ("train", "valid", "test")] == [1, 1, 1]
    assert card["dropped"]["longer than max_words before the split"] == 1


def test_placeholders_may_change_places_but_not_their_number(tmp_path: Path) -> None:
    train = [("{a} of {b}", "{b} von {a}"), ("{a} {a}", "{a} x"), ("{a} x", "{a} {a}")]
    card = prepare(given(tmp_path / "raw", train=train), tmp_path / "out", corpus(), settings())
    assert read(tmp_path / "out", "train") == [("｟0｠ of ｟1｠", "｟1｠ von ｟0｠")]
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
        card = prepare(unsplit(tmp_path / "raw", rows), out, corpus(reader=WHOLE), settings(seed=seed))
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
        card = prepare(unsplit(tmp_path / "raw", rows), out, corpus(reader=WHOLE), settings(seed=seed))
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


def test_held_out_segments_keep_their_groups(tmp_path: Path) -> None:
    out = tmp_path / "out"
    card = prepare(unsplit(tmp_path / "raw", ROWS), out, corpus(reader=WHOLE), settings())
    group_of = {row[:2]: row[2] for row in ROWS}
    for name in ("valid", "test"):
        groups = lines(out / f"{name}.groups")
        raw_pairs = zip(lines(out / f"{name}.raw"), lines(out / f"{name}.ref"), strict=True)
        assert groups == [group_of[pair] for pair in raw_pairs]
        assert card["splits"][name]["groups"] == len(set(groups))


def test_segments_of_a_split_corpus_are_groups_of_their_own_unless_named(tmp_path: Path) -> None:
    two = [("one", "eins"), ("two", "zwei")]
    raw = given(tmp_path / "raw", train=[("x", "y")], valid=two, test=two)
    write_lines(raw / "test.groups", ["talk a", "talk a"])
    card = prepare(raw, tmp_path / "out", corpus(), settings(overlap="keep"))
    assert (lines(tmp_path / "out/valid.groups"), lines(tmp_path / "out/test.groups")) == (
        ["0", "1"],
        ["talk a", "talk a"],
    )
    assert [card["splits"][name]["groups"] for name in ("valid", "test")] == [2, 1]
    write_lines(raw / "test.groups", ["talk a"])
    with pytest.raises(ParallelTextError, match=r"test\.groups: 1 lines for 2 pairs; name a group for each"):
        prepare(raw, tmp_path / "out2", corpus(), settings())


def test_overlap_is_looked_for_in_what_models_read(tmp_path: Path) -> None:
    train = [("{name} is hot", "{name} ist heiß"), ("{x} and {y}", "{y} und {x}"), ("keep", "bleibt")]
    test = [("{0} is hot", "{0} glüht"), ("{b} or {a}", "{a} und {b}")]
    raw = given(tmp_path / "raw", train=train, test=test)
    card = prepare(raw, tmp_path / "out", corpus(), settings())
    assert card["dropped"]["stands in a held-out set"] == 2
    assert read(tmp_path / "out", "train") == [("keep", "bleibt")]


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
        settings(tokeniser="moses"),
    )
    assert read(tmp_path / "out", "test") == [
        (f"It 's {number} .", f"l' eau {number} .") for number in range(7)
    ]


def test_a_held_out_set_may_be_empty(tmp_path: Path) -> None:
    card = prepare(unsplit(tmp_path / "raw", ROWS), tmp_path / "out", corpus(), settings(valid_pairs=0))
    assert read(tmp_path / "out", "valid") == []
    assert card["splits"]["valid"] == {"pairs": 0, "source_tokens": 0, "target_tokens": 0, "groups": 0}


def test_train_holds_nothing_of_any_test_set(tmp_path: Path) -> None:
    """Of two of them, not of the first alone."""
    train = [("a", "tst eins"), ("b", "other eins"), ("fine", "gut")]
    raw = given(tmp_path / "raw", train=train, other=[("other one", "other eins")])
    card = prepare(raw, tmp_path / "out", corpus(tests=["test", "other"]), settings(overlap="drop"))
    assert [source for source, _ in read(tmp_path / "out", "train")] == ["fine"]
    assert card["train_pairs_with_a_side_in_a_held_out_set"] == 2
