"""nmtkd.text.corpora.multi30k: splits, counts and complaints, on invented archives; its definition."""

import gzip
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmtkd.plan.data import Corpus
from nmtkd.text.corpora.multi30k import TESTS
from nmtkd.text.corpora.readers import extract, needed
from nmtkd.text.corpora.tally import CorpusError
from nmtkd.text.parallel import ParallelTextError
from tests.unit.text.corpora.toys import COMMIT, CONF, archive, corpus, read

LANGUAGES = ("de", "en", "fr")
STEMS = ("train", "val", "test_2016_flickr", "test_2017_flickr", "test_2017_mscoco")


def multi30k(**changes: Any) -> Corpus:
    archives = [archive(f"{stem}.{language}.gz") for stem in STEMS for language in LANGUAGES]
    return corpus("multi30k", **({"tests": ["test2016", "mscoco"], "archives": archives} | changes))


def from_gzips(folder: Path, definition: Corpus, texts: dict[str, str]) -> dict[str, Any]:
    """Every needed file holds its own name as its one line unless `texts` says otherwise."""
    paths = {}
    for listed in needed(definition):
        paths[listed.name] = folder / listed.name
        paths[listed.name].write_bytes(gzip.compress(texts.get(listed.name, f"{listed.name}\n").encode()))
    return extract(definition, paths, folder / "out")


def test_multi30k_needs_only_the_files_of_its_pair_and_tests() -> None:
    assert [listed.name for listed in needed(multi30k(source="fr", target="en"))] == [
        "train.fr.gz",
        "train.en.gz",
        "val.fr.gz",
        "val.en.gz",
        "test_2016_flickr.fr.gz",
        "test_2016_flickr.en.gz",
        "test_2017_mscoco.fr.gz",
        "test_2017_mscoco.en.gz",
    ]


def test_multi30k_keeps_its_splits_and_counts(tmp_path: Path) -> None:
    texts = {"train.en.gz": "a  dog \nno german\na cat\n", "train.de.gz": "ein\u00a0Hund\n \neine Katze\n"}
    card = from_gzips(tmp_path, multi30k(), texts)
    assert read(tmp_path / "out" / "train.src") == [
        "a  dog ",
        "a cat",
    ]  # white space is no reader's to change
    assert read(tmp_path / "out" / "train.tgt") == ["ein\u00a0Hund", "eine Katze"]
    assert read(tmp_path / "out" / "valid.src") == ["val.en.gz"]
    assert read(tmp_path / "out" / "test2016.tgt") == ["test_2016_flickr.de.gz"]
    assert read(tmp_path / "out" / "mscoco.src") == ["test_2017_mscoco.en.gz"]
    assert card["pairs"] == {"train": 2, "valid": 1, "test2016": 1, "mscoco": 1}
    assert {reason: count for reason, count in card["dropped"].items() if count} == {"train: a side empty": 1}
    assert card["changed"] == {}
    assert card["version"] == COMMIT
    assert len(card["archives"]) == 8


def test_multi30k_lists_pairs_and_tests_at_once() -> None:
    with pytest.raises(CorpusError) as caught:
        needed(multi30k(target="cs", tests=["test2016", "test2018"]))
    assert str(caught.value).splitlines() == [
        "corpus.tests: 'test2018': unknown; known here: test2016, test2017, mscoco",
        "corpus.archives: no pair en-cs; pairs there: de-en, de-fr, en-de, en-fr, fr-de, fr-en",
    ]


def test_multi30k_names_archives_that_are_not_listed() -> None:
    with pytest.raises(
        CorpusError,
        match=r"corpus\.archives: the pair needs val\.de\.gz, test_2016_flickr\.en\.gz, "
        r"test_2016_flickr\.de\.gz; add",
    ):
        needed(
            multi30k(
                archives=[archive("train.en.gz"), archive("train.de.gz"), archive("val.en.gz")],
                tests=["test2016"],
            )
        )


def test_multi30k_refuses_unequal_sides(tmp_path: Path) -> None:
    with pytest.raises(ParallelTextError, match=r"val\.en\.gz has 1 lines and .*val\.de\.gz has 2"):
        from_gzips(tmp_path, multi30k(), {"val.de.gz": "eins\nzwei\n"})


def test_multi30k_keeps_held_out_sets_whole(tmp_path: Path) -> None:
    texts = {"val.en.gz": "one\n \nthree\n", "val.de.gz": "eins\nzwei\n\n"}
    with pytest.raises(
        ParallelTextError,
        match=r"val\.en\.gz, val\.de\.gz: empty side in line 2, 3; held-out sets stay whole",
    ):
        from_gzips(tmp_path, multi30k(), texts)


def test_multi30k_names_a_truncated_archive(tmp_path: Path) -> None:
    definition = multi30k()
    from_gzips(tmp_path, definition, {})
    paths = {listed.name: tmp_path / listed.name for listed in needed(definition)}
    paths["val.de.gz"].write_bytes(gzip.compress(b"gut\n" * 99)[:-10])
    with pytest.raises(
        ValueError, match=r"val\.de\.gz: not a sound gzip file \(.*\); fetch or pack it again"
    ):
        extract(definition, paths, tmp_path / "out2")


def test_multi30k_names_broken_utf8(tmp_path: Path) -> None:
    definition = multi30k()
    from_gzips(tmp_path, definition, {})
    paths = {listed.name: tmp_path / listed.name for listed in needed(definition)}
    paths["val.de.gz"].write_bytes(gzip.compress(b"gut\n\xff\n"))
    with pytest.raises(ParallelTextError, match=r"val\.de\.gz: line 2: not UTF-8"):
        extract(definition, paths, tmp_path / "out2")


@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("de", "en"), ("en", "fr"), ("fr", "en")])
def test_multi30k_offers_each_published_pair(source: str, target: str) -> None:
    values = yaml.safe_load((CONF / "multi30k.yaml").read_text(encoding="utf-8"))["corpus"]
    definition = Corpus.model_validate(values | {"source": source, "target": target})
    assert definition.tests == list(TESTS)
    assert len(needed(definition)) == 10
    assert all(
        re.search(r"/dataset/(raw/)?[0-9a-f]{40}/data/task1/raw/", url)
        for listed in definition.archives
        for url in listed.mirrors
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            gzip.compress("\ufeffgut\n".encode(), mtime=0),
            r"val\.de\.gz: line 1: starts with a byte order mark",
        ),
        (
            gzip.compress("gut\n".encode("utf-16-le"), mtime=0),
            r"val\.de\.gz: line 1: holds a NUL character; if",
        ),
        (gzip.compress(b"gut\0\n", mtime=0), r"val\.de\.gz: line 1: holds a NUL character"),
        (gzip.compress(b"", mtime=0), r"val\.en\.gz has 1 lines and .*val\.de\.gz has 0"),
        (b"", r"val\.de\.gz: not a sound gzip file \(it is empty\); fetch or pack it again"),
        (None, r"val\.de\.gz: cannot be read \(Is a directory\); mend that and try again"),
    ],
)
def test_multi30k_names_what_is_no_text(tmp_path: Path, content: bytes | None, message: str) -> None:
    definition = multi30k()
    from_gzips(tmp_path, definition, {})
    paths = {listed.name: tmp_path / listed.name for listed in needed(definition)}
    paths["val.de.gz"].unlink()
    if content is None:
        paths["val.de.gz"].mkdir()
    else:
        paths["val.de.gz"].write_bytes(content)
    with pytest.raises(ValueError, match=message):
        extract(definition, paths, tmp_path / "out2")


def test_multi30k_names_archives_without_a_line(tmp_path: Path) -> None:
    with pytest.raises(ParallelTextError, match=r"val\.en\.gz, val\.de\.gz: no line in them; correct corpus"):
        from_gzips(tmp_path, multi30k(), {"val.en.gz": "", "val.de.gz": ""})
