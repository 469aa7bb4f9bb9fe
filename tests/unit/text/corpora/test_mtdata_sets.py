"""nmtkd.text.corpora.mtdata_sets, with a module that stands in for the package mtdata."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from nmtkd.plan.data import Corpus
from nmtkd.text.corpora.readers import extract, needed
from nmtkd.text.corpora.tally import CorpusError
from nmtkd.text.parallel import ParallelTextError
from tests.unit.text.corpora.toys import corpus, read

TEXTS: dict[str, list[list[str | None]]] = {
    "G-talks-1-deu-eng": [["ein", "one", "more"], ["zwei", ""], ["drei\nvier", "three\r\nfour\0"]],
    "G-news-2-eng-deu": [["five", "fünf"]],
    "G-dev-1-eng-deu": [["six", "sechs"], ["seven", "sieben"]],
    "G-test-1-deu-eng": [["acht", "eight"]],
    "G-holed-1-eng-deu": [["nine", "neun"], [None, "zehn"]],
    "G-offline-1-eng-deu": [],
    "G-talks-1-fra-eng": [["un", "one"]],
    "G-mono-1-eng": [["one"]],
}
CODES = {"en": "eng", "de": "deu", "fr": "fra"}


@dataclass(frozen=True)
class Name:
    """mtdata.entry.DatasetId."""

    text: str

    @classmethod
    def parse(cls, text: str) -> Name:
        if len(text.split("-")) not in (4, 5):
            raise Exception("Dataset ID expected")  # as the package does
        return cls(text)

    @property
    def langs(self) -> tuple[str, ...]:
        return tuple(self.text.split("-")[3:])

    def __str__(self) -> str:
        return self.text


class Parser:
    """mtdata.parser.Parser."""

    def __init__(self, path: Path, ext: str | None, ent: Any) -> None:
        self.name = str(ent.did)

    def read_segs(self, show_pbar: bool) -> Iterator[list[str | None]]:
        assert not show_pbar
        if "offline" in self.name:
            raise ConnectionError("no route")
        yield from TEXTS[self.name]


def tag(code: str) -> str:
    if code not in CODES:
        raise ValueError(f"unknown {code}")
    return CODES[code]


def swap(wanted: tuple[str, ...], given: tuple[str, ...]) -> tuple[bool, bool]:
    return (wanted == given or wanted == given[::-1], wanted == given[::-1])


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The package, as far as it is used. It changes the root logger, as the real one does."""
    entries = {
        Name(text): SimpleNamespace(did=Name(text), url=f"https://nowhere/{text}", in_ext=None)
        for text in TEXTS
    }

    index = type("Index", (dict,), {"entries": entries})(entries)
    modules: dict[str, dict[str, Any]] = {
        "mtdata": {"__version__": "9"},
        "mtdata.index": {"INDEX": index},
        "mtdata.entry": {"DatasetId": Name},
        "mtdata.parser": {"Parser": Parser},
        "mtdata.cache": {
            "Cache": lambda root: SimpleNamespace(get_entry=lambda entry: root / str(entry.did))
        },
        "mtdata.iso": {},
        "mtdata.iso.bcp47": {"bcp47": tag, "BCP47Tag": SimpleNamespace(check_compat_swap=swap)},
    }
    for name, content in modules.items():
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("MTDATA", str(tmp_path / "cache"))


def definition(**parts: Any) -> Any:
    named = {
        "train": ["G-talks-1-deu-eng", "G-news-2-eng-deu"],
        "valid": ["G-dev-1-eng-deu"],
        "test": ["G-test-1-deu-eng"],
    } | parts
    return corpus(
        "mtdata", parts={split: [{"archive": name} for name in names] for split, names in named.items()}
    )


@pytest.mark.usefixtures("package")
def test_datasets_become_splits_in_the_direction_of_the_corpus(tmp_path: Path) -> None:
    """Either order of their languages; several are one train; what is empty is counted, breaks are mended."""
    out = tmp_path / "out"
    card = extract(definition(), {}, out)
    assert needed(definition()) == card["archives"] == []
    assert read(out / "train.src") == ["one", "three four", "five"]
    assert read(out / "train.tgt") == ["ein", "drei vier", "fünf"]
    assert read(out / "valid.src") == ["six", "seven"]
    assert (read(out / "test.src"), read(out / "test.tgt")) == (["eight"], ["acht"])
    assert card["pairs"] == {"train": 3, "valid": 2, "test": 1}
    assert card["dropped"] == {"train: a side empty": 1, "valid: a side empty": 0, "test: a side empty": 0}
    assert card["changed"] == {"line break within a segment": 2, "NUL removed": 1}
    assert card["version"] == "mtdata 9"
    assert card["datasets"]["G-talks-1-deu-eng"] == {"url": "https://nowhere/G-talks-1-deu-eng", "pairs": 3}
    assert (tmp_path / "cache").is_dir()


@pytest.mark.usefixtures("package")
def test_names_that_are_wrong_are_listed_at_once_with_near_ones(tmp_path: Path) -> None:
    parts = {"train": ["G-talk-1-deu-eng", "G-talks-1-fra-eng"], "valid": ["talks"], "test": ["G-mono-1-eng"]}
    with pytest.raises(CorpusError) as caught:
        extract(definition(**parts), {}, tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith(
        "corpus.parts: G-talk-1-deu-eng: mtdata 9 has no such dataset; near it: G-talks-1-deu"
    )
    assert lines[1].startswith(
        "corpus.parts: G-talks-1-fra-eng: is not of the languages asked for (eng-deu); "
    )
    assert lines[2].startswith("corpus.parts: talks: no name of a dataset, as in GROUP-NAME-VERSION-")
    assert lines[3].startswith("corpus.parts: G-mono-1-eng: is not of the languages asked for (eng-deu); ")


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"test": ["G-holed-1-eng-deu"]}, r"test: G-holed-1-eng-deu: empty side in row 1 from 0"),
        (
            {"valid": ["G-offline-1-eng-deu"]},
            r"valid: .*: mtdata 9 could not give it \(ConnectionError: no route\)",
        ),
        ({"test": []}, r"corpus\.parts: test: no part"),
    ],
)
def test_what_the_package_cannot_give_is_told(tmp_path: Path, parts: dict[str, Any], told: str) -> None:
    with pytest.raises((CorpusError, ParallelTextError), match=told):
        extract(definition(**parts), {}, tmp_path / "out")


@pytest.mark.usefixtures("package")
def test_another_count_than_the_definition_has_is_an_error(tmp_path: Path) -> None:
    values = definition().model_dump()
    values["parts"]["test"][0]["pairs"] = 2
    asked = Corpus.model_validate(values)
    with pytest.raises(ParallelTextError, match=r"test: G-test-1-deu-eng: it has 1 pairs, expected 2"):
        extract(asked, {}, tmp_path / "out")


@pytest.mark.usefixtures("package")
def test_a_language_that_is_none_is_told(tmp_path: Path) -> None:
    asked = definition().model_copy(update={"source": "qq"})
    with pytest.raises(CorpusError, match=r"corpus\.source, corpus\.target: qq, de: mtdata knows no such"):
        extract(asked, {}, tmp_path / "out")


def test_the_package_is_asked_for_where_it_is_not_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mtdata", None)
    monkeypatch.setenv("MTDATA", str(tmp_path / "cache"))
    with pytest.raises(
        CorpusError, match=r"corpus\.reader: mtdata: the package is not there .*pip install mtdata"
    ):
        extract(definition(), {}, tmp_path / "out")
