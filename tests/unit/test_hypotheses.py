"""nmtkd.distil.hypotheses: records that know their source line, and a card that counts what is odd."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmtkd.distil.hypotheses import RECORDS, HypothesesError, NBest, line_hash, read, read_card, write

SOURCES = ["the lamp", "the door", "the lamp", "a fan"]
NBESTS: list[NBest] = [[("die Lampe", -0.5), ("Lampe", -1.25)], [("the door", -0.1)], [("", -2.0), ("x", -3.0)], [("ein Lü@@ fter", -0.75)]]


def records(folder: Path) -> list[str]:
    return (folder / RECORDS).read_text(encoding="utf-8").splitlines(keepends=True)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    assert read(tmp_path, SOURCES) == NBESTS


@given(st.lists(st.tuples(st.text(), st.lists(st.tuples(st.text(), st.floats(allow_nan=False)), min_size=1, max_size=3)), max_size=5))
def test_any_text_survives(tmp_path_factory: pytest.TempPathFactory, found: list[tuple[str, list[tuple[str, float]]]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    sources = [source.encode("utf-8", "replace").decode() for source, _ in found]
    nbest = [[(text.encode("utf-8", "replace").decode(), score) for text, score in entries] for _, entries in found]
    write(folder, sources, nbest, 0, {})
    assert read(folder, sources) == nbest


def test_the_card_counts(tmp_path: Path) -> None:
    card = write(tmp_path, SOURCES, NBESTS, 3, {"teacher_hash": "abc", "decoding": {"beam": 5}})
    assert card == read_card(tmp_path)
    assert card == {
        "teacher_hash": "abc",
        "decoding": {"beam": 5},
        "lines": 4,
        "tokens": 7,
        "empty": 1,
        "truncated": 3,
        "copied": 1,
    }


def test_equal_content_gives_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(tmp_path / name, SOURCES, NBESTS, 0, {"x": 1})
    assert [path.read_bytes() for path in sorted((tmp_path / "a").iterdir())] == [
        path.read_bytes() for path in sorted((tmp_path / "b").iterdir())
    ]


def test_line_hashes_are_short_and_of_the_content() -> None:
    assert line_hash("abc") == "ba7816bf8f01cfea"  # SHA-256's own test vector
    assert line_hash("abc") != line_hash("abc ")


def test_a_wrong_order_is_refused_though_counts_agree(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    first, second, *rest = records(tmp_path)
    (tmp_path / RECORDS).write_text("".join([second, first, *rest]), encoding="utf-8")
    with pytest.raises(
        HypothesesError, match=r"hypotheses\.jsonl, line 1: id 1 where 0 should stand: records are out of order or lost; decode again"
    ):
        read(tmp_path, SOURCES)


def test_a_lost_record_is_refused(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    (tmp_path / RECORDS).write_text("".join(records(tmp_path)[:1] + records(tmp_path)[2:]), encoding="utf-8")
    with pytest.raises(HypothesesError, match=r"line 2: id 2 where 1 should stand"):
        read(tmp_path, SOURCES)


def test_another_source_is_refused(tmp_path: Path) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    with pytest.raises(HypothesesError, match=r"line 2: made from another source line than line 2 of the training text; decode again"):
        read(tmp_path, ["the lamp", "the Door", "the lamp", "a fan"])
    with pytest.raises(HypothesesError, match=r"line 2: made from another source line"):
        read(tmp_path, ["the lamp", "the lamp", "the door", "a fan"])


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_records_are_refused(tmp_path: Path, count: int) -> None:
    write(tmp_path, SOURCES[:count], NBESTS[:count], 0, {})
    with pytest.raises(HypothesesError, match=rf"hypotheses\.jsonl: {count} records for 4 lines of training text; decode again"):
        read(tmp_path, SOURCES)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_many_records_are_refused(tmp_path: Path, count: int) -> None:
    write(tmp_path, SOURCES, NBESTS, 0, {})
    with pytest.raises(HypothesesError, match=rf"records for {count} lines of training text; decode again"):
        read(tmp_path, SOURCES[:count])


def test_records_are_one_json_object_a_line(tmp_path: Path) -> None:
    write(tmp_path, ["a\u2028b"], [[("c\u2028d", -1.0)]], 0, {})
    (line,) = (tmp_path / RECORDS).read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert json.loads(line) == {"id": 0, "source": line_hash("a\u2028b"), "hypotheses": [{"text": "c\u2028d", "score": -1.0}]}
