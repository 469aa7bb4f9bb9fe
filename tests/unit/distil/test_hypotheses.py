"""nmtkd.distil.hypotheses: records that know their source line, and a card that counts what is odd."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd import files
from nmtkd.distil import hypotheses
from nmtkd.distil.hypotheses import RECORDS, Chosen, HypothesesError, NBest, Records, Writer, closest
from nmtkd.files import DamagedError, line_hash

SOURCES = ["the lamp", "the door", "the lamp", "a fan"]
GOLD = ["die Lampe", "die Tü@@ r ist da", "die Lampe", "ein Lü@@ fter"]
NBESTS: list[NBest] = [
    [("die Lampe", -0.5), ("Lampe", -1.25)],
    [("the door", -0.1)],
    [("", -2.0), ("x", -3.0)],
    [("ein Lü@@ fter", -0.75)],
]


MADE_BY = {"teacher_hash": "t" * 64, "dictionary_hash": "d" * 64}


def write(
    folder: Path, sources: list[str], nbest: list[Any], truncated: int, facts: dict[str, Any]
) -> dict[str, Any]:
    """The longest lines first, as a search does it; the first `truncated` of them met their limit."""
    writer = Writer(folder, sources, GOLD if sources is SOURCES else sources)
    order = sorted(range(len(sources)), key=lambda index: -len(sources[index]))
    for done, index in enumerate(order):
        writer.put(index, nbest[index], truncated=done < truncated)
    return writer.close(MADE_BY | facts)


def read(folder: Path, sources: list[str], **at_hand: str) -> Records:
    return hypotheses.read(folder, sources, **(MADE_BY | at_hand))


def records(folder: Path) -> list[str]:
    return (folder / RECORDS).read_text(encoding="utf-8").splitlines(keepends=True)


def test_hypotheses_come_back(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    assert list(read(tmp_path, SOURCES)) == NBESTS


@given(
    st.lists(
        st.tuples(
            st.text(), st.lists(st.tuples(st.text(), st.floats(allow_nan=False)), min_size=1, max_size=3)
        ),
        max_size=5,
    )
)
def test_hypotheses_of_any_text_survive(
    tmp_path_factory: pytest.TempPathFactory, found: list[tuple[str, list[tuple[str, float]]]]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    sources = [source.encode("utf-8", "replace").decode() for source, _ in found]
    nbest = [
        [(text.encode("utf-8", "replace").decode(), score) for text, score in entries] for _, entries in found
    ]
    write(folder, sources, nbest, 0, {})
    assert list(read(folder, sources)) == nbest


def test_card_of_hypotheses_counts(tmp_path: Path) -> None:
    """Of the best entries: 7 tokens beside gold's 12, and exp(1 - 12/7)."""
    card = write(tmp_path, SOURCES, NBESTS, 3, {"teacher_hash": "abc", "decoding": {"beam": 5}})
    assert card == files.read_json(tmp_path / "card.json")
    assert card == {
        "teacher_hash": "abc",
        "dictionary_hash": "d" * 64,
        "sha256": files.file_hash(tmp_path / RECORDS),
        "decoding": {"beam": 5},
        "lines": 4,
        "tokens": 7,
        "empty": 1,
        "truncated": 3,
        "copied": 1,
        "equal_to_gold": 2,
        "length_ratio": 0.5833,
        "brevity_penalty": 0.4895,
    }


def test_hypotheses_of_equal_content_are_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, SOURCES, NBESTS, 0, {"x": 1})
    assert [path.read_bytes() for path in sorted((tmp_path / "a").iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "b").iterdir())
    ]


def test_read_refuses_a_wrong_order_though_counts_agree(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    first, second, *rest = records(tmp_path)
    (tmp_path / RECORDS).write_text("".join([second, first, *rest]), encoding="utf-8")
    with pytest.raises(
        HypothesesError,
        match=(
            r"hypotheses\.jsonl, line 1: id 1 where 0 should stand: records are out of order or lost; "
            r"decode again"
        ),
    ):
        read(tmp_path, SOURCES)


@given(st.integers(1, 5), st.randoms(use_true_random=False))
def test_shuffled_shards_merge_by_their_ids(
    tmp_path_factory: pytest.TempPathFactory, shards: int, draw: random.Random
) -> None:
    """Records bring their line and their n-best order along: sorting by id is all that putting them
    together takes."""
    folder = tmp_path_factory.mktemp("shards")
    write(folder, SOURCES, NBESTS, 0, {})
    whole = records(folder)
    parts = [whole[start::shards] for start in range(shards)]
    draw.shuffle(parts)
    for part in parts:
        draw.shuffle(part)
    merged = sorted((line for part in parts for line in part), key=lambda line: int(json.loads(line)["id"]))
    assert merged == whole
    (folder / RECORDS).write_text("".join(merged), encoding="utf-8")
    assert list(read(folder, SOURCES)) == NBESTS


def test_swapped_records_with_repaired_ids_are_refused_by_their_sources(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    first, second, *rest = map(json.loads, records(tmp_path))
    lines = [
        json.dumps(record | {"id": number}) + "\n" for number, record in enumerate([second, first, *rest])
    ]
    (tmp_path / RECORDS).write_text("".join(lines), encoding="utf-8")
    with pytest.raises(
        HypothesesError,
        match=r"line 1: made from another source line than line 1 of the training text; decode again",
    ):
        read(tmp_path, SOURCES)


@pytest.mark.parametrize("at", range(3))
def test_read_refuses_any_swapped_pair_of_lines(tmp_path: Path, at: int) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    lines = records(tmp_path)
    lines[at], lines[at + 1] = lines[at + 1], lines[at]
    (tmp_path / RECORDS).write_text("".join(lines), encoding="utf-8")
    with pytest.raises(HypothesesError, match=rf"line {at + 1}: id {at + 1} where {at} should stand"):
        read(tmp_path, SOURCES)


def test_read_refuses_a_lost_record(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    (tmp_path / RECORDS).write_text("".join(records(tmp_path)[:1] + records(tmp_path)[2:]), encoding="utf-8")
    with pytest.raises(HypothesesError, match=r"line 2: id 2 where 1 should stand"):
        read(tmp_path, SOURCES)


def test_read_refuses_another_source(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    with pytest.raises(
        HypothesesError,
        match=r"line 2: made from another source line than line 2 of the training text; decode again",
    ):
        read(tmp_path, ["the lamp", "the Door", "the lamp", "a fan"])
    with pytest.raises(HypothesesError, match=r"line 2: made from another source line"):
        read(tmp_path, ["the lamp", "the lamp", "the door", "a fan"])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_read_refuses_too_few_records(tmp_path: Path, count: int) -> None:
    write(tmp_path, SOURCES[:count], NBESTS[:count], 0, {})
    with pytest.raises(
        HypothesesError,
        match=rf"hypotheses\.jsonl: {count} records for 4 lines of training text; decode again",
    ):
        read(tmp_path, SOURCES)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_read_refuses_too_many_records(tmp_path: Path, count: int) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    with pytest.raises(HypothesesError, match=rf"records for {count} lines of training text; decode again"):
        read(tmp_path, SOURCES[:count])


def test_records_are_one_json_object_a_line(tmp_path: Path) -> None:
    write(tmp_path, ["a\u2028b"], [[("c\u2028d", -1.0)]], 0, {})
    (line,) = (tmp_path / RECORDS).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert json.loads(line) == {
        "id": 0,
        "source": line_hash("a\u2028b"),
        "hypotheses": [{"text": "c\u2028d", "score": -1.0}],
    }


def test_a_line_without_hypotheses_is_a_bug(tmp_path: Path) -> None:
    writer = Writer(tmp_path, SOURCES, GOLD)
    writer.put(1, NBESTS[1])
    with pytest.raises(AssertionError, match="a hypothesis for each source line"):
        writer.close({})
    assert not (tmp_path / RECORDS).exists()


def test_one_text_of_each_line_is_its_best_or_the_chosen(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    found = read(tmp_path, SOURCES)
    assert list(Chosen(found)) == ["die Lampe", "the door", "", "ein Lü@@ fter"]
    assert list(Chosen(found, [1, 0, 1, 0])) == ["Lampe", "the door", "x", "ein Lü@@ fter"]
    assert len(Chosen(found)) == len(found) == 4


# The entry most like the gold text


def nbest(*texts: str) -> NBest:
    """Best first."""
    return [(text, -float(place)) for place, text in enumerate(texts)]


def test_closest_entry_by_hand() -> None:
    """Against "a b": "c d" scores 0, "a c" sqrt(1/2 * 1/2) = 50, "b a" sqrt(1 * 1/2) = 71, "a b" 100
    (exponential smoothing)."""
    assert closest(nbest("c d", "a c"), "a b") == 1
    assert closest(nbest("c d", "a c", "b a"), "a b") == 2
    assert closest(nbest("c d", "a b", "b a", "a c"), "a b") == 1
    assert closest(nbest("a c", "b a", "c d"), "a b") == 1
    assert closest(nbest("", "c d"), "a b") == 0
    assert closest(nbest("", "a"), "a b") == 1


def test_closest_scores_the_entry_against_gold() -> None:
    """Not gold against the entry, where the first one would win, with 61 to 59 instead of 51 to 59."""
    assert closest(nbest("a b c d q q", "a b c x"), "a b c d") == 1


def test_closest_of_equals_is_the_better_scored() -> None:
    assert closest(nbest("b c", "a b", "a b"), "a b") == 1
    assert closest(nbest("a x", "a y", "y b"), "a b") == 0
    assert closest(nbest("x", "y", "z"), "a b") == 0


def test_closest_compares_words_not_pieces() -> None:
    """The first entry holds all pieces of gold and none of its words, "low" and "lamp"."""
    entries = nbest("lo@@ lam@@ p w", "a fan is lo@@ w")
    assert closest(entries, "lo@@ w lam@@ p") == 1


def test_closest_counts_characters_where_no_space_stands_between_words() -> None:
    """Of "今天天气很好" the first entry has no character, the second all but one, each in one token.

    A mark is the same whether or not it is joined to its word.
    """
    assert closest(nbest("他们不来了", "今天@@ 气很好"), "今天天@@ 气很好") == 1
    assert closest(nbest("Lampe ￭!", "Lampe ."), "Lampe ￭.") == 1


def test_closest_of_one_entry_takes_no_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nmtkd.distil.hypotheses._units", lambda text: pytest.fail("never asked"))
    assert closest(nbest("anything"), "a b") == 0


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join), min_size=1, max_size=5))
def test_closest_is_gold_where_it_is_among_the_entries(texts: list[str]) -> None:
    assert closest(nbest(*texts, "a b c d a"), "a b c d a") == [*texts, "a b c d a"].index("a b c d a")


# Of this teacher, and whole


@pytest.mark.parametrize("name", ["teacher", "dictionary"])
def test_hypotheses_of_another_teacher_or_dictionary_are_refused(tmp_path: Path, name: str) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    made = MADE_BY[f"{name}_hash"][:12]
    with pytest.raises(
        HypothesesError,
        match=rf"{tmp_path}: hypotheses of another {name} \(made with {made}, at hand is a{{12}}\); decode",
    ):
        read(tmp_path, SOURCES, **{f"{name}_hash": "a" * 64})


def test_another_text_of_the_same_sources_is_refused(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    path = tmp_path / RECORDS
    path.write_text(path.read_text(encoding="utf-8").replace("die Lampe", "der Lampe"), encoding="utf-8")
    with pytest.raises(
        DamagedError, match=r"hypotheses\.jsonl: not the records that card\.json names: their hash"
    ):
        read(tmp_path, SOURCES)


@pytest.mark.parametrize("line", [b'{"id": 1, "sour', b"\0\0\0", b"[]", b'{"id": 1}', b"\xff", b""], ids=str)
def test_a_torn_record_is_named(tmp_path: Path, line: bytes) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    path = tmp_path / RECORDS
    lines = path.read_bytes().split(b"\n")
    path.write_bytes(b"\n".join([lines[0], line, *lines[2:]]))
    with pytest.raises(
        DamagedError, match=r"hypotheses\.jsonl: line 2 is no whole record \(.*Error\); run `dvc"
    ):
        read(tmp_path, SOURCES)


def test_missing_records_are_named(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    (tmp_path / RECORDS).unlink()
    with pytest.raises(DamagedError, match=r"hypotheses\.jsonl: missing; run `dvc checkout --force "):
        read(tmp_path, SOURCES)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{", "no whole JSON"),
        ("3", "the whole: "),
        ("{}", "teacher_hash: "),
        ('{"teacher_hash": 1}', "teacher_hash: Input should be a valid string"),
    ],
)
def test_a_damaged_card_of_hypotheses_is_named(tmp_path: Path, text: str, wrong: str) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    (tmp_path / "card.json").write_text(text, encoding="utf-8")
    with pytest.raises(DamagedError, match=rf"card\.json: {wrong}.*; run `dvc checkout --force "):
        read(tmp_path, SOURCES)
