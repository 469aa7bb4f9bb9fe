"""nmtkd.text.corpora: each reader's text, order, counts and complaints, on invented corpora; and the definitions in conf/corpus."""

import gzip
import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from nmtkd.params import Archive, Corpus, Prepare
from nmtkd.text.corpora import MULTI30K_TESTS, CorpusError, extract, needed
from nmtkd.text.parallel import ParallelTextError

CONF = Path(__file__).resolve().parents[2] / "conf" / "corpus"
COMMIT = "0123456789" * 4


def corpus(reader: str, **changes: Any) -> Corpus:
    values = {
        "name": "toy",
        "reader": reader,
        "source": "en",
        "target": "de",
        "tests": ["test"],
        "archives": [],
        "folder": "conf/corpus",
        "license": "CC0",
    }
    return Corpus.model_validate(values | changes)


def archive(name: str) -> Archive:
    return Archive(name=name, sha256="0" * 64, bytes=1, mirrors=[f"https://nowhere/{COMMIT}/{name}"])


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")


# Home Assistant


def make_wheel(path: Path, texts: dict[str, Any]) -> Path:
    """`texts`: {"component/language": content of its file}."""
    with zipfile.ZipFile(path, "w") as wheel:
        for place, content in texts.items():
            component, language = place.split("/")
            data = content if isinstance(content, str) else json.dumps(content)
            wheel.writestr(f"homeassistant/components/{component}/translations/{language}.json", data)
        wheel.writestr("homeassistant/components/lamp/strings.json", "no translation")
        wheel.writestr("toy-1.2.dist-info/METADATA", "Name: toy\nVersion: 1.2\n\nVersion: 9 of the text\n")
    return path


def from_wheel(folder: Path, texts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    wheel = make_wheel(folder / "toy.whl", texts)
    return extract(corpus("homeassistant", archives=[archive("toy.whl")], **changes), {"toy.whl": wheel}, folder / "out")


def test_homeassistant_joins_by_key_in_order(tmp_path: Path) -> None:
    card = from_wheel(
        tmp_path,
        {
            "lamp/en": {"title": "Lamp", "step": {"b": "Turn on\n the {name}", "a": "Brightness"}},
            "door/de": {"title": "Tür"},
            "lamp/de": {"step": {"a": "Helligkeit", "b": "Schalte {name}\u00a0ein"}, "title": "Lampe"},
            "door/en": {"title": "Door"},
            "lamp/fr": {"title": "Lampe"},
        },
    )
    assert read(tmp_path / "out" / "all.src") == ["Door", "Brightness", "Turn on the {name}", "Lamp"]
    assert read(tmp_path / "out" / "all.tgt") == ["Tür", "Helligkeit", "Schalte {name} ein", "Lampe"]
    assert read(tmp_path / "out" / "all.group") == ["door", "lamp", "lamp", "lamp"]
    assert card == json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert card == {
        "corpus": "toy",
        "reader": "homeassistant",
        "source": "en",
        "target": "de",
        "license": "CC0",
        "version": "1.2",
        "archives": [{"name": "toy.whl", "sha256": "0" * 64, "bytes": 1}],
        "pairs": {"all": 4},
        "groups": 2,
        "dropped": {},
        "changed": {"source: white space collapsed": 1, "target: white space collapsed": 1, "identical sides kept": 0},
    }


def test_homeassistant_order_is_that_of_names(tmp_path: Path) -> None:
    names = ["zoo", "attic", "lamp", "door", "b", "a"]
    texts: dict[str, Any] = {}
    for name in names:
        texts[f"{name}/en"] = {key: f"{name} {key} en" for key in names}
        texts[f"{name}/de"] = {key: f"{name} {key} de" for key in sorted(names)}
    from_wheel(tmp_path, texts)
    assert read(tmp_path / "out" / "all.src") == [f"{name} {key} en" for name in sorted(names) for key in sorted(names)]


def test_homeassistant_counts_every_drop(tmp_path: Path) -> None:
    card = from_wheel(
        tmp_path,
        {
            "a/en": {
                "1": "Wi-Fi",
                "2": "12",
                "3": "{value}",
                "4": " \n",
                "5": "only here",
                "6": "{a}: {b}",
                "7": "10 %",
                "8": "Open",
                "9": "Open",
            },
            "a/de": {
                "1": "Wi-Fi",
                "2": "12",
                "3": "Wert",
                "4": "leer",
                "0": "nur hier",
                "6": "{a}: {b}",
                "7": "10%",
                "8": "Offen",
                "9": "Offen",
            },
            "b/en": {"1": "[%key:x%]", "2": "alone"},
        },
    )
    assert list(zip(read(tmp_path / "out" / "all.src"), read(tmp_path / "out" / "all.tgt"), strict=True)) == [
        ("Wi-Fi", "Wi-Fi"),
        ("10 %", "10%"),
        ("Open", "Offen"),
        ("Open", "Offen"),
    ]
    assert card["dropped"] == {
        "identical sides without a letter": 2,
        "a side only a placeholder": 1,
        "a side empty": 1,
        "target missing": 3,
        "source missing": 1,
    }
    assert card["changed"]["identical sides kept"] == 1
    assert card["pairs"]["all"] + sum(card["dropped"].values()) == 12


def test_homeassistant_reads_any_two_languages(tmp_path: Path) -> None:
    texts = {"a/en": {"x": "Lamp"}, "a/fr": {"x": "Lampe"}, "a/pt-BR": {"x": "Luminária"}}
    from_wheel(tmp_path, texts, source="fr", target="pt_br")
    assert read(tmp_path / "out" / "all.src") == ["Lampe"]
    assert read(tmp_path / "out" / "all.tgt") == ["Luminária"]


def test_homeassistant_lists_its_languages(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"toy\.whl: no texts in xx; languages there: de, en, pt_br"):
        from_wheel(tmp_path, {"a/en": {}, "a/de": {}, "a/pt-BR": {}}, target="xx")


def test_homeassistant_without_a_pair_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no pair of en and de is left; dropped: \{'target missing': 1\}"):
        from_wheel(tmp_path, {"a/en": {"x": "Lamp"}, "a/de": {}})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"step": {"n": 3}}, r"a/translations/de\.json: step\.n: must be text or an object of texts; got int: 3"),
        ({"step": ["x"]}, r"de\.json: step: must be text or an object of texts; got list"),
        ('"text"', r"de\.json: top level: must be text or an object"),
        ("{broken", r"de\.json: not readable as JSON"),
    ],
)
def test_homeassistant_refuses_what_is_no_text(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        from_wheel(tmp_path, {"a/en": {"x": "Lamp"}, "a/de": content})


def test_homeassistant_names_a_corrupt_wheel(tmp_path: Path) -> None:
    make_wheel(tmp_path / "toy.whl", {"a/en": {"x": "Lamp"}})
    (tmp_path / "toy.whl").write_bytes((tmp_path / "toy.whl").read_bytes()[:-30])
    with pytest.raises(CorpusError, match=r"toy\.whl: not a sound zip file"):
        extract(corpus("homeassistant", archives=[archive("toy.whl")]), {"toy.whl": tmp_path / "toy.whl"}, tmp_path / "out")


def test_homeassistant_is_one_wheel(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="reads one wheel; got 2 archives"):
        extract(corpus("homeassistant", archives=[archive("a"), archive("b")]), {}, tmp_path / "out")


# Multi30k

LANGUAGES = ("de", "en", "fr")
STEMS = ("train", "val", "test_2016_flickr", "test_2017_flickr", "test_2017_mscoco")


def multi30k(**changes: Any) -> Corpus:
    archives = [archive(f"{stem}.{language}.gz") for stem in STEMS for language in LANGUAGES]
    return corpus("multi30k", **({"tests": ["test2016", "mscoco"], "archives": archives} | changes))


def from_gzips(folder: Path, definition: Corpus, texts: dict[str, str]) -> dict[str, Any]:
    """Every needed file holds its own name as its one line unless `texts` says otherwise."""
    paths = {}
    for wanted in needed(definition):
        paths[wanted.name] = folder / wanted.name
        paths[wanted.name].write_bytes(gzip.compress(texts.get(wanted.name, f"{wanted.name}\n").encode()))
    return extract(definition, paths, folder / "out")


def test_multi30k_needs_only_the_files_of_its_pair_and_tests() -> None:
    assert [wanted.name for wanted in needed(multi30k(source="fr", target="en"))] == [
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
    assert read(tmp_path / "out" / "train.src") == ["a dog", "a cat"]
    assert read(tmp_path / "out" / "train.tgt") == ["ein Hund", "eine Katze"]
    assert read(tmp_path / "out" / "valid.src") == ["val.en.gz"]
    assert read(tmp_path / "out" / "test2016.tgt") == ["test_2016_flickr.de.gz"]
    assert read(tmp_path / "out" / "mscoco.src") == ["test_2017_mscoco.en.gz"]
    assert card["pairs"] == {"train": 2, "valid": 1, "test2016": 1, "mscoco": 1}
    assert {reason: count for reason, count in card["dropped"].items() if count} == {"train: a side empty": 1}
    assert {reason: count for reason, count in card["changed"].items() if count} == {
        "train: source: white space collapsed": 1,
        "train: target: white space collapsed": 2,
    }
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
        CorpusError, match=r"corpus\.archives: the pair needs val\.de\.gz, test_2016_flickr\.en\.gz, test_2016_flickr\.de\.gz; add"
    ):
        needed(multi30k(archives=[archive("train.en.gz"), archive("train.de.gz"), archive("val.en.gz")], tests=["test2016"]))


def test_multi30k_refuses_unequal_sides(tmp_path: Path) -> None:
    with pytest.raises(ParallelTextError, match=r"val\.en\.gz has 1 lines and .*val\.de\.gz has 2"):
        from_gzips(tmp_path, multi30k(), {"val.de.gz": "eins\nzwei\n"})


def test_multi30k_keeps_held_out_sets_whole(tmp_path: Path) -> None:
    texts = {"val.en.gz": "one\n \nthree\n", "val.de.gz": "eins\nzwei\n\n"}
    with pytest.raises(ParallelTextError, match=r"val\.en\.gz, val\.de\.gz: empty side in line 2, 3; held-out sets stay whole"):
        from_gzips(tmp_path, multi30k(), texts)


def test_multi30k_names_a_truncated_archive(tmp_path: Path) -> None:
    definition = multi30k()
    from_gzips(tmp_path, definition, {})
    paths = {wanted.name: tmp_path / wanted.name for wanted in needed(definition)}
    paths["val.de.gz"].write_bytes(gzip.compress(b"gut\n" * 99)[:-10])
    with pytest.raises(ValueError, match=r"val\.de\.gz: not a sound gzip file \(.*\); delete it and fetch it again"):
        extract(definition, paths, tmp_path / "out2")


def test_multi30k_names_broken_utf8(tmp_path: Path) -> None:
    definition = multi30k()
    from_gzips(tmp_path, definition, {})
    paths = {wanted.name: tmp_path / wanted.name for wanted in needed(definition)}
    paths["val.de.gz"].write_bytes(gzip.compress(b"gut\n\xff\n"))
    with pytest.raises(ParallelTextError, match=r"val\.de\.gz: line 2: not UTF-8"):
        extract(definition, paths, tmp_path / "out2")


# files


def user_files(folder: Path, **texts: str) -> Path:
    """train, valid and test of one line each unless `texts` says otherwise ({"train_src": ...}); "" for no such file."""
    folder.mkdir()
    for split in ("train", "valid", "test"):
        for side in ("src", "tgt"):
            text = texts.get(f"{split}_{side}", f"{split} {side}\n")
            if text:
                (folder / f"{split}.{side}").write_bytes(text.encode())
    return folder


def test_files_are_taken_as_they_are(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="a  b \nc", train_tgt="d\ne\u2028f\n")
    definition = corpus("files", folder=str(folder))
    assert needed(definition) == []
    card = extract(definition, {}, tmp_path / "out")
    assert read(tmp_path / "out" / "train.src") == ["a  b ", "c"]
    assert read(tmp_path / "out" / "train.tgt") == ["d", "e\u2028f"]
    assert read(tmp_path / "out" / "test.tgt") == ["test tgt"]
    assert card["pairs"] == {"train": 2, "valid": 1, "test": 1}
    assert re.fullmatch("sha256 [0-9a-f]{64}", card["version"])
    (folder / "test.tgt").write_text("changed\n")
    assert extract(definition, {}, tmp_path / "out2")["version"] != card["version"]


def test_missing_files_are_listed_at_once(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="", test_tgt="")
    with pytest.raises(CorpusError, match=r"2 files missing: .*train\.src, .*test\.tgt; see docs/corpora\.md"):
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")


def test_bad_files_are_listed_at_once(tmp_path: Path) -> None:
    folder = user_files(tmp_path / "mine", train_src="a\nb\n", valid_tgt="\n", test_src="x\r\n")
    with pytest.raises(ParallelTextError) as caught:
        extract(corpus("files", folder=str(folder)), {}, tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert len(lines) == 3
    for line, fault in zip(lines, ("has 2 lines and", "line 1: empty", "line 1: holds a CR"), strict=True):
        assert fault in line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"folder": "x", "tests": ["train"]}, r"corpus\.tests: train: stands twice, or is no name for a test set"),
        ({"folder": "x", "tests": ["a", "a"]}, r"corpus\.tests: a: stands twice"),
    ],
)
def test_files_needs_a_folder_and_proper_names(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        extract(corpus("files", **changes), {}, tmp_path / "out")


# The definitions


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_definitions_are_valid_and_name_themselves(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# @package _global_\n"), "without it the file would compose into corpus.corpus"
    values = yaml.safe_load(text)
    definition = Corpus.model_validate(values["corpus"])
    Prepare.model_validate(values["prepare"])
    assert definition.name == path.stem
    assert all(wanted.mirrors for wanted in definition.archives)
    assert len({wanted.name for wanted in definition.archives}) == len(definition.archives)
    needed(definition)


@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("de", "en"), ("en", "fr"), ("fr", "en")])
def test_multi30k_offers_each_published_pair(source: str, target: str) -> None:
    values = yaml.safe_load((CONF / "multi30k.yaml").read_text(encoding="utf-8"))["corpus"]
    definition = Corpus.model_validate(values | {"source": source, "target": target})
    assert definition.tests == list(MULTI30K_TESTS)
    assert len(needed(definition)) == 10
    assert all(re.search(r"/dataset/(raw/)?[0-9a-f]{40}/data/task1/raw/", url) for wanted in definition.archives for url in wanted.mirrors)
