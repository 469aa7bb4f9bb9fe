"""nmtkd.text in blocks: text is read, counted, surveyed, picked and made as it would be in one piece."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from nmtkd.plan.data import Bpe, Noise
from nmtkd.plan.layout import CODES
from nmtkd.text import cleaning, frequencies, noise, parallel, preparation, subwords, survey
from nmtkd.text.frequencies import WordCounter
from nmtkd.text.merges import merges
from nmtkd.text.parallel import (
    ParallelTextError,
    blocks,
    copy_pair,
    count_lines,
    count_pairs,
    lines_of,
    read_lines,
    write_lines,
)
from nmtkd.text.subwords import Subwords, count_pieces
from nmtkd.text.survey import SAME_PLACEHOLDERS, SHORT, VISIBLE, Survey, digests, pick
from nmtkd.text.words import SEPARATOR, WHOLE, compared
from tests.unit.text import toys
from tests.unit.text.counts import counted

# Blocks


def result_or_message(read: Callable[..., Any], path: Path, allow_empty: bool) -> tuple[Any, str]:
    """What `read` returns, or what it says is wrong with the file."""
    try:
        return read(path, allow_empty=allow_empty), ""
    except ParallelTextError as error:
        return None, str(error)


awkward = st.lists(
    st.sampled_from(
        [
            b"a",
            b"\n",
            b"\n",
            b"\r",
            b" ",
            b"\xc3\xa9",
            b"\xc3",
            b"\xff",
            b"\xef\xbb\xbf",
            "\u2028\u0085".encode(),
        ]
    )
)


@given(awkward, st.booleans())
@example([b"a\n"] * 7 + [b"\xff\n"] * 7, False)
@example([b"\xef\xbb\xbfa\n"] * 7 + [b"\n"] * 7, False)
def test_blocks_are_checked_as_the_whole_file(
    tmp_path_factory: pytest.TempPathFactory, parts: list[bytes], allow_empty: bool
) -> None:
    path = tmp_path_factory.mktemp("text") / "a"
    path.write_bytes(b"".join(parts))
    lines, problem = result_or_message(read_lines, path, allow_empty)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel.blocks, "__defaults__", (2,))
        assert b"".join(blocks(path)) == path.read_bytes()
        counted = result_or_message(count_lines, path, allow_empty)
        assert counted == (None if problem else len(lines), problem)


def test_faults_are_numbered_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.blocks, "__defaults__", (2,))
    path = tmp_path / "a"
    path.write_bytes(b"gut\nsch\xffn\ngut\n\xc3\n")
    with pytest.raises(ParallelTextError) as caught:
        count_lines(path)
    assert str(caught.value).splitlines() == [
        f"{path}: line 2: not UTF-8: byte 0xff at offset 7 of the file; convert the file to UTF-8",
        f"{path}: line 4: not UTF-8: byte 0xc3 at offset 14 of the file; convert the file to UTF-8",
    ]
    path.write_bytes(b"a\n\nb\n\xef\xbb\xbfc\n\r\n \n")
    with pytest.raises(ParallelTextError) as caught:
        count_lines(path)
    assert [line.split(": ")[1:3] for line in str(caught.value).splitlines()] == [
        ["line 5", "holds a CR character; convert the line ends to LF"],
        ["line 2", "empty; remove the pair from both sides"],
        ["line 5", "empty; remove the pair from both sides"],
        ["line 6", "empty; remove the pair from both sides"],
    ]


def test_pairs_are_counted_and_copied(tmp_path: Path) -> None:
    source, target = tmp_path / "t.src", tmp_path / "t.tgt"
    source.write_bytes("a\nb\u2028c".encode())  # no LF at the end
    target.write_bytes(b"d\ne\n")
    assert count_pairs(source, target) == copy_pair(source, target, tmp_path / "out", "x") == 2
    assert (tmp_path / "out" / "x.src").read_bytes() == "a\nb\u2028c\n".encode()
    assert (tmp_path / "out" / "x.tgt").read_bytes() == b"d\ne\n"
    target.write_bytes(b"d\ne\nf\n")
    with pytest.raises(ParallelTextError, match=r"t\.src has 2 lines and .*t\.tgt has 3: line n of one"):
        count_pairs(source, target)
    target.write_bytes(b"\n")
    with pytest.raises(ParallelTextError, match=r"nowhere: no such file\n.*t\.tgt: line 1: empty"):
        count_pairs(tmp_path / "nowhere", target)
    for path in (source, target):
        path.write_bytes(b"")
    with pytest.raises(ParallelTextError, match="x: no pair to write; a corpus needs at least one"):
        copy_pair(source, target, tmp_path / "out", "x")


# The survey


def test_a_survey_says_what_each_pair_is(tmp_path: Path) -> None:
    pairs = [
        ("a b c", "d"),
        ("a b c d", "e"),
        ("\u200b", "x"),
        ("{a} {b}", "{b} {a}"),
        ("{a}", "{a} {a}"),
        ("x", "{a}"),
    ]
    write_lines(tmp_path / "a", [source for source, _ in pairs])
    write_lines(tmp_path / "b", [target for _, target in pairs])
    corpus, settings = toys.corpus(), toys.settings(words=3)
    result = survey.survey(tmp_path / "a", tmp_path / "b", len(pairs), settings, corpus)
    assert result.which(VISIBLE).tolist() == [True, True, False, True, True, True]
    assert result.which(SHORT).tolist() == [True, False, True, True, True, True]
    assert result.which(SAME_PLACEHOLDERS).tolist() == [True, True, True, True, False, False]
    free = survey.survey(tmp_path / "a", tmp_path / "b", len(pairs), settings)
    assert free.which(SHORT).all() and (free.digests == result.digests).all()


@pytest.mark.parametrize(
    ("pair", "source", "target", "short"),
    [
        (("a b c", "d"), 3, 1, True),
        (("a b c", "d"), 2, 1, False),
        (("a", "b c d"), 1, 3, True),
        (("a", "b c d"), 3, 2, False),  # each side has a bound of its own
        (("it's", "x"), 2, 9, False),  # it ￭'￭ s
        (("{some name} of {a}", "x"), 3, 9, True),
        (("他在家", "at home"), 3, 2, True),
        (("他在家", "at home"), 2, 2, False),  # characters are its words
        (("น้ำใส", "x"), 3, 9, True),  # a character with its marks is one
        (("10\u00a0km", "x"), 3, 9, True),
        (("10\u00a0km", "x"), 2, 9, False),  # the no-break space is a token
    ],
)
def test_short_is_what_has_few_units(
    tmp_path: Path, pair: tuple[str, str], source: int, target: int, short: bool
) -> None:
    write_lines(tmp_path / "a", [pair[0]])
    write_lines(tmp_path / "b", [pair[1]])
    corpus, settings = toys.corpus(), toys.settings(max_words={"source": source, "target": target})
    assert survey.survey(tmp_path / "a", tmp_path / "b", 1, settings, corpus).which(SHORT).tolist() == [short]


def test_short_is_what_has_few_units_after_normalisation(tmp_path: Path) -> None:
    write_lines(tmp_path / "a", ["㍿", "ok"])
    write_lines(tmp_path / "b", ["x", "y"])
    corpus, settings = toys.corpus(), toys.settings(words=3, normalise=["nfkc"])  # four characters of one
    assert survey.survey(tmp_path / "a", tmp_path / "b", 2, settings, corpus).which(SHORT).tolist() == [
        False,
        True,
    ]


def test_characters_are_those_of_the_pairs_with_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.blocks, "__defaults__", (2,))
    write_lines(tmp_path / "a", ["abcd  e", "\u200b", "u\u0308"])
    write_lines(tmp_path / "b", ["fg\u00a0h ", "ijklmnop", "qr"])
    result = survey.survey(tmp_path / "a", tmp_path / "b", 3, toys.settings())
    assert result.characters == (6 + 1, 4 + 2)  # in the compared form
    assert result.ratio == 6 / 7
    assert Survey(digests([]), np.zeros(0, np.uint8), (0, 0)).ratio == 1.0


texts = st.sampled_from(["a", "b", "a\u00a0b", "a b", "ab", "", "u\u0308", "ü"])


@given(st.lists(st.tuples(texts, texts, st.booleans()), max_size=30))
def test_of_equal_pairs_the_first_is_unique(rows: list[tuple[str, str, bool]]) -> None:
    pairs = [compared(row[0], row[1]) for row in rows]
    mask = np.array([row[2] for row in rows], bool)
    first = {pair: index for index, pair in reversed(list(enumerate(pairs))) if mask[index]}
    unique = Survey(digests(pairs), np.zeros(len(rows), np.uint8), (0, 0)).unique(mask)
    assert np.flatnonzero(unique).tolist() == sorted(first.values())


def test_duplicates_are_found_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel.blocks, "__defaults__", (2,))
    write_lines(tmp_path / "a", ["x", "y", "x", "x\u00a0", "z"])
    write_lines(tmp_path / "b", ["1", "2", "1", "1", "2"])
    result = survey.survey(tmp_path / "a", tmp_path / "b", 5, toys.settings())
    assert result.unique(np.ones(5, bool)).tolist() == [True, True, False, False, True]


def test_pairs_are_picked_as_they_stand_at_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parallel.blocks, "__defaults__", (3,))
    monkeypatch.setattr(survey, "BLOCK", 3)
    write_lines(tmp_path / "a", [f"s  {number}" for number in range(11)])
    write_lines(tmp_path / "b", [f"t{number}" for number in range(11)])
    assert pick(tmp_path / "a", tmp_path / "b", [0, 2, 3, 9, 10]) == [
        (f"s  {n}", f"t{n}") for n in (0, 2, 3, 9, 10)
    ]
    assert pick(tmp_path / "a", tmp_path / "b", []) == []


# Words, pieces and merges

lines = st.lists(st.text(alphabet="ab\u00a0 ｟0｠￭@.漢น้", max_size=12), max_size=8)


@given(lines)
def test_words_between_single_spaces_are_counted(text: list[str]) -> None:
    counts, size = WordCounter()("".join(f"{line}\n" for line in text).encode())
    assert size == len(text)
    assert counts == Counter(word for line in text for word in line.split(" ") if word)


@pytest.fixture(scope="module")
def codes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("codes") / CODES
    subwords.learn(
        counted(["low lower lowest ab abab ｟0｠", "abc low"]), Bpe(merges=9, min_frequency=1), path
    )
    return path


@given(st.lists(st.text(alphabet="lowerstabc ｟0｠￭@\u00a0\r\n", max_size=12), max_size=8))
def test_split_is_subword_nmts_whatever_it_has_cached(codes: Path, text: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subwords, "CACHED", 2)
        with codes.open(encoding="utf-8") as file:
            theirs = BPE(file, separator=SEPARATOR, glossaries=[WHOLE])
        ours = Subwords(codes)
        for line in text * 2:
            assert ours.split(line) == theirs.process_line(line)
            assert ours.cached_words <= 2


@given(lines)
def test_pieces_counted_by_words_are_those_of_the_text(codes: Path, text: list[str]) -> None:
    counts, _ = WordCounter()("".join(f"{line}\n" for line in text).encode())
    splitter = Subwords(codes)
    pieces = Counter(piece for line in text for piece in splitter.split(line).split())
    assert count_pieces(counts, codes)[0] == pieces


@given(
    st.lists(st.text(alphabet="abc", min_size=2, max_size=9), min_size=1, max_size=40),
    st.integers(1, 30),
    st.integers(1, 3),
)
def test_merges_are_subword_nmts(words: list[str], limit: int, least: int) -> None:
    counts = sorted(Counter(words * 2 + words[:3]).items())
    path: list[str] = []

    class Out:
        write = path.append

    learn_bpe((f"{word} {count}\n" for word, count in counts), Out, limit, min_frequency=least, is_dict=True)
    assert list(merges(counts, limit, least)) == [line.rstrip("\n") for line in path[1:]]


# All cores

PAIRS = [
    (
        f"It's number {number % 37} of {{name}}, or {number * 7919 % 101}!",
        f"Das ist {number % 37}, {{name}}:\u00a0{number}漢\u00ad字.",
    )
    for number in range(300)
]


def made(folder: Path) -> dict[str, bytes]:
    """Every file that the data stages make of a split corpus, and `prepare` of an unsplit one."""
    corpus, settings = toys.corpus(), toys.settings(words=16, near_duplicate=0.6, normalise=["invisible"])
    rates = {"deletion": 0.2, "substitution": 0.2, "swap": 0.2}
    bad = Noise.model_validate(
        {"kind": "mixed", "rates": rates, "side": "source", "seed": 1, "teacher_sees": "clean"}
    )
    names: dict[str, list[tuple[str, str]]] = {
        "train": PAIRS + PAIRS[:50],
        "valid": [("a b", "c d")],
        "test": PAIRS[7:9],
    }
    toys.given(folder / "split", **names)
    toys.unsplit(folder / "unsplit", [(*pair, f"g{number // 3}") for number, pair in enumerate(PAIRS)])
    for kind in ("split", "unsplit"):
        preparation.prepare(folder / kind, folder / kind / "prepared", corpus, settings)
    prepared, bpe, noisy = (folder / "split" / name for name in ("prepared", "bpe", "noise"))
    bpe.mkdir()
    noisy.mkdir()
    subwords.encode(prepared, bpe, ["valid", "test"], Bpe(merges=60, min_frequency=2))
    noise.apply(prepared, bpe, noisy, bad, {"training.max_tokens": 1000})
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_all_cores_and_small_blocks_write_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NMTKD_THREADS", "2")
    alone = made(tmp_path / "alone")
    for module in (preparation, survey, frequencies, subwords, noise):
        monkeypatch.setattr(module, "SERIAL_BELOW", 0)
    for module in (preparation, frequencies, subwords, noise):
        monkeypatch.setattr(module, "CHUNK", 7)
    monkeypatch.setattr(parallel.blocks, "__defaults__", (9,))
    monkeypatch.setattr(survey, "BLOCK", 9)
    assert made(tmp_path / "together") == alone
    assert (
        alone["split/prepared/train.src"].count(b"\n") == 298
    )  # but for the test pairs and the repeated ones
    card = json.loads(alone["split/prepared/card.json"])
    assert card["near_duplicates"]["test"] == 2
    assert card["normalised"]["train"] == {"invisible": 298}


def test_cleaner_finds_the_tests_that_train_resembles() -> None:
    cleaner = cleaning.Cleaner(
        toys.corpus(), toys.settings(), ["Open the door", "Lamp in room 12", "Off"], ratio=1.0
    )
    cleaned = cleaner(
        (
            b"Lamp in room 97!\nx\nOff\n",
            b"Lampe in Zimmer {n}\ny\nAus und nochmals aus\n",
            np.array([True, False, True]),
        )
    )
    assert {name: lines_of(block) for name, block in cleaned.files.items()} == {
        "src": ["Lamp in room 97 ￭!"],
        "tgt": ["Lampe in Zimmer ｟0｠"],
        "raw": ["Lamp in room 97!"],
        "ref": ["Lampe in Zimmer {n}"],
        "names": ["[]"],
    }
    assert (cleaned.sizes, dict(cleaned.dropped)) == (
        {"pairs": 1, "source_tokens": 5, "target_tokens": 4},
        {"sides too uneven": 1},
    )
    assert cleaned.near == {1}
    later = cleaner(
        (b"Lamp in room 11\nopen: the door\n", b"Zimmer Nummer 11\nTuer auf\n", np.array([True, True]))
    )
    assert later.near == {0}  # 1 was found before


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ({"kind": "substitution", "rate": 0.5}, ("the on sat on a cat mat , too", {"substitution": 2})),
        ({"kind": "deletion", "rate": 0.4}, ("the on a mat ,", {"deletion": 4})),
        ({"kind": "swap", "rate": 0.4}, ("the dog sat a on red mat , too", {"swap": 1})),
        (
            {"kind": "mixed", "rates": {"deletion": 0.2, "substitution": 0.4, "swap": 0.3}},
            ("the a on mat , too", {"substitution": 2, "swap": 1, "deletion": 3}),
        ),
    ],
)
def test_corrupt_draws_as_it_ever_did(kind: dict[str, Any], expected: tuple[str, dict[str, int]]) -> None:
    """Where words stand between spaces, joiners and units of text/words.py change nothing."""
    vocabulary = noise.Vocabulary(["the cat sat on the mat", "a dog ate the cat , too"])
    condition = Noise.model_validate(kind | {"side": "both", "seed": 3})
    assert noise.corrupt("the dog sat on a red mat , too", condition, "target", vocabulary) == expected
