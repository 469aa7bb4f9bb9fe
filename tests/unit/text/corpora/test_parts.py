"""Readers wit3 and wmt: what they take from made-up archives, what they count, what they refuse."""

from __future__ import annotations

import gzip
import hashlib
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmtkd.plan.data import Corpus
from nmtkd.text.corpora.readers import extract, needed
from nmtkd.text.corpora.tally import CorpusError
from tests.structure import graph
from tests.unit.text.corpora.look_alikes import TAGS, sgm, tgz, train_tags, wit3_members, wit3_parts, xml
from tests.unit.text.corpora.toys import CONF, archive, corpus, read

GENUINE = Path(os.environ.get("NMTKD_SHARED", graph.ROOT.parent / "shared")) / "corpora/iwslt14/xml"


def wit3(parts: dict[str, Any] | None = None, **changes: Any) -> Corpus:
    values = {"source": "de", "target": "en", "tags": TAGS, "archives": [archive("toy.tgz")]}
    return corpus("wit3", parts=wit3_parts() if parts is None else parts, **(values | changes))


def made(folder: Path, definition: Corpus, members: dict[str, bytes]) -> dict[str, Any]:
    return extract(definition, {"toy.tgz": tgz(folder / "toy.tgz", members)}, folder / "out")


def wmt_made(folder: Path, train: tuple[bytes, bytes], **train_part: Any) -> dict[str, Any]:
    parts = {
        "train": [{"archive": "toy.tgz", "member": "training/toy.{language}", **train_part}],
        "test": [{"archive": "toy.tgz", "member": "dev/toy-{role}.{language}.sgm", "pairs": 3}],
    }
    members = {"training/toy.en": train[0], "training/toy.de": train[1], "training/toy.fr": b"x\n"}
    members |= {"dev/toy-src.en.sgm": sgm("en"), "dev/toy-ref.de.sgm": sgm("de")}
    return made(folder, corpus("wmt", parts=parts, archives=[archive("toy.tgz")]), members)


def test_wit3_drops_metadata_keeps_titles_and_unescapes_nothing(tmp_path: Path) -> None:
    card = made(tmp_path, wit3(wit3_parts(pairs=10)), wit3_members())
    assert read(tmp_path / "out/train.src")[:4] == [
        "Talk 0 in de", "About 0 in de", "Line 0 of talk 0 in de.", "Line 1 of talk 0 in de.",
    ]  # fmt: skip
    assert read(tmp_path / "out/test.tgt")[0] == "piece 0 of 0, R&amp;D en"
    assert read(tmp_path / "out/test.groups") == ["7", "7", "7", "8", "8", "8"]
    assert card["pairs"] == {"train": 10, "test": 6}
    assert sorted(os.listdir(tmp_path / "out")) == [
        "card.json", "test.groups", "test.src", "test.tgt", "train.src", "train.tgt",
    ]  # fmt: skip


def test_the_other_direction_swaps_the_sides(tmp_path: Path) -> None:
    made(tmp_path, wit3(source="en", target="de"), wit3_members())
    assert read(tmp_path / "out/train.src")[0] == "Talk 0 in en"


def test_a_caret_drops_at_the_start_of_a_line_alone(tmp_path: Path) -> None:
    parts = {"train": wit3_parts()["train"], "test": wit3_parts()["test"]}
    members = wit3_members()
    for name in ("de-en/train.tags.de-en.de", "de-en/train.tags.de-en.en"):
        members[name] = b"<speaker>x</speaker>\nI <3 you\n"
    made(tmp_path, wit3(parts, tags={"drop": ["^<"], "strip": []}), members)
    assert read(tmp_path / "out/train.src") == ["I <3 you"]


def test_lines_end_at_lf_alone_and_what_goes_is_counted(tmp_path: Path) -> None:
    source = "\ufeffa\u2028b\u0085c\x0bd\x0ce\nf\rg\r\n\nlast".encode()
    card = wmt_made(tmp_path, (source, b"1\n2\n3\n4\n"), pairs=4)
    assert read(tmp_path / "out/train.src") == ["a\u2028b\u0085c\x0bd\x0ce", "fg", "last"]
    assert read(tmp_path / "out/train.tgt") == ["1", "2", "4"]
    assert card["dropped"]["train: a side empty"] == 1
    assert card["changed"] == {"train: source: byte order mark removed": 1, "train: source: CR removed": 1}
    assert read(tmp_path / "out/test.src")[0] == "A & B\u00ad0 en < C"
    assert read(tmp_path / "out/test.groups") == ["paper.1"] * 3


@pytest.mark.parametrize(
    ("train", "count", "message"),
    [
        ((b"a\nb\n", b"1\n"), {}, r"2 lines on the source side, 1 on the target side"),
        ((b"a\n", b"1\n"), {"pairs": 2}, r"train: toy\.tgz: .*it has 1 pairs, expected 2"),
        ((b"a\n", b"1\n"), {"total": 7}, r"the split has 1 pairs, expected 7"),
        ((b"a\n\xff\n", b"1\n2\n"), {}, r"training/toy\.en: line 2: not UTF-8: byte 0xff"),
    ],
)
def test_a_count_that_differs_is_an_error(
    tmp_path: Path, train: tuple[bytes, bytes], count: dict[str, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        wmt_made(tmp_path, train, **count)


def test_a_missing_member_is_told_with_near_ones(tmp_path: Path) -> None:
    members = wit3_members()
    members["de-en/toy.dee.xml"] = members.pop("de-en/toy.de.xml")
    with pytest.raises(ValueError, match=r"no member 'de-en/toy\.de\.xml'; near: .*de-en/toy\.dee\.xml"):
        made(tmp_path, wit3(), members)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<html>\n", "toy.de.xml: no <seg> in it"),
        (b'<seg id="1">cut\n</seg>\n', "line 1: must hold one whole <seg"),
        (
            xml("de").replace(b"piece 0 of 0, R&amp;D de", b""),
            "empty side in row 0 from 0; held-out sets stay",
        ),
    ],
)
def test_a_bad_xml_is_one_message(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        made(tmp_path, wit3(), wit3_members() | {"de-en/toy.de.xml": content})


@pytest.mark.parametrize(("wanted", "pairs"), [("keep", 6), ("drop", 4)])
def test_misaligned_rows_are_counted_and_go_on_request(tmp_path: Path, wanted: str, pairs: int) -> None:
    parts = wit3_parts()
    parts["test"][0]["misaligned"] = [1, 2]
    card = made(tmp_path, wit3(parts, misaligned=wanted), wit3_members())
    assert card["pairs"]["test"] == pairs
    assert list(card["misaligned"].values()) == [2]
    rows = read(tmp_path / "out/test.src")
    assert [row.startswith(("piece 1 of 0", "piece 2 of 0")) for row in rows].count(True) == (6 - pairs) ^ 2


def test_tags_at_other_places_are_counted(tmp_path: Path) -> None:
    members = wit3_members()
    members["de-en/train.tags.de-en.en"] = (
        members["de-en/train.tags.de-en.en"].replace(b"<talkid>1</talkid>\n", b"") + b"<talkid>1</talkid>\n"
    )
    card = made(tmp_path, wit3(), members)
    assert list(card["shifted"].values()) == [5]


def test_a_split_without_a_part_and_an_unknown_archive_are_told_at_once() -> None:
    parts = wit3_parts()
    parts["train"][0]["archive"] = "nowhere.tgz"
    with pytest.raises(CorpusError) as caught:
        needed(wit3(parts, tests=["test", "other"]))
    assert str(caught.value).splitlines() == [
        "corpus.parts: other: no part; splits that have some: test, train",
        "corpus.parts: archive 'nowhere.tgz' is not listed; corpus.archives has toy.tgz",
    ]


def test_files_without_an_archive_round_them_are_parts_too(tmp_path: Path) -> None:
    names = ["train.de", "train.en", "test.de.gz", "test.en.gz"]
    parts = {"train": [{"archive": "train.{language}"}], "test": [{"archive": "test.{language}.gz"}]}
    definition = corpus(
        "wmt", source="de", target="en", parts=parts, archives=[archive(name) for name in names]
    )
    for name in names:
        content = f"{name}\n".encode()
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    extract(definition, {name: tmp_path / name for name in names}, tmp_path / "out")
    assert read(tmp_path / "out/train.src") == ["train.de"]
    assert read(tmp_path / "out/test.tgt") == ["test.en.gz"]


@pytest.mark.parametrize(
    ("name", "source", "target", "archives"),
    [
        ("iwslt14", "en", "de", ["iwslt14-de-en.tgz"]),
        ("iwslt17", "fr", "en", ["iwslt17-en-fr.tgz"]),
        ("iwslt17", "de", "en", ["iwslt17-de-en.tgz"]),
        ("iwslt13", "en", "fr",
         ["iwslt13-train.tags.fr-en.en", "iwslt13-train.tags.fr-en.fr", "iwslt17-en-fr.tgz"]),
        ("wmt14", "en", "de",
         ["training-parallel-europarl-v7.tgz", "training-parallel-commoncrawl.tgz",
          "training-parallel-nc-v9.tgz", "wmt19-dev.tgz"]),
    ],
)  # fmt: skip
def test_a_definition_needs_the_archives_of_its_pair(
    name: str, source: str, target: str, archives: list[str]
) -> None:
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))["corpus"]
    definition = Corpus.model_validate(values | {"source": source, "target": target})
    assert sorted(each.name for each in needed(definition)) == sorted(archives)


def test_a_pair_that_a_corpus_lacks_is_told_with_those_it_has() -> None:
    values = yaml.safe_load((CONF / "iwslt17.yaml").read_text(encoding="utf-8"))["corpus"]
    with pytest.raises(CorpusError, match=r"train: no part for cs-en; pairs there.*: en-fr, de-en, ar-en"):
        needed(Corpus.model_validate(values | {"source": "cs", "target": "en"}))


BLOBS = {
    "IWSLT14.TED.dev2010.de-en": (887, "fa315a2f9cef6d70bf6ff07f2b5f44509f9c21c1"),
    "IWSLT14.TEDX.dev2012.de-en": (1165, "39322f5219c9795d0e4aaa1e1a7e3242d39a87af"),
    "IWSLT14.TED.tst2010.de-en": (1565, "9af19c55fcf817c3b8d5dcdb57cf012cc36ac14a"),
}  # segments; git's name of the German file


@pytest.mark.skipif(not GENUINE.is_dir(), reason="the genuine files are not here")
@pytest.mark.parametrize("name", BLOBS)
def test_genuine_xml_has_its_segments(tmp_path: Path, name: str) -> None:
    count, blob = BLOBS[name]
    content = (GENUINE / f"{name}.de.xml").read_bytes()
    assert hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest() == blob
    members = wit3_members() | {
        f"de-en/toy.{each}.xml": (GENUINE / f"{name}.{each}.xml").read_bytes() for each in ("de", "en")
    }
    parts = wit3_parts()
    parts["test"][0]["pairs"] = count
    assert made(tmp_path, wit3(parts), members)["pairs"]["test"] == count
    assert train_tags("de")  # the look-alike beside it is read too
