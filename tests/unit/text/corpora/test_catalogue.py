"""nmtkd.text.corpora.catalogue: data sets by name, with a stand-in for the package mtdata."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from nmtkd.plan.data import Corpus
from nmtkd.text.corpora.readers import extract, needed
from nmtkd.text.corpora.tally import CorpusError
from nmtkd.text.parallel import ParallelTextError
from tests.unit.text.corpora.toys import archive, corpus, read

CODES = {"en": "eng", "de": "deu", "fr": "fra"}


class Tag(str):
    def is_compatible(self, other: str) -> bool:
        return self.partition("_")[0] == other.partition("_")[0]


class Id(NamedTuple):
    """A name in the catalogue, as the package spells it."""

    group: str
    name: str
    version: str
    langs: tuple[Tag, ...]

    def __str__(self) -> str:
        return "-".join([self.group, self.name, self.version, self.lang_str])

    @property
    def lang_str(self) -> str:
        return "-".join(self.langs)

    @classmethod
    def parse(cls, text: str) -> "Id":
        group, name, version, *langs = text.split("-")
        if not 1 <= len(langs) <= 2:
            raise Exception("Dataset ID expected in format")
        return cls(group, name, version, tuple(map(Tag, langs)))


class Entry(NamedTuple):
    did: Id
    url: str | tuple[str, str]
    in_ext: str | None = None


class Index:
    def __init__(self, *names: str) -> None:
        self.entries = {did: Entry(did, f"https://nowhere/{did.name}") for did in map(Id.parse, names)}

    def __getitem__(self, did: Id) -> Entry:
        return self.entries[did]


ROWS: dict[str, list[tuple[str | None, ...]]] = {
    "OPUS-a-v1-eng-deu": [("one", "eins"), ("two", None), ("three\nlines", "drei\r\nZeilen\0", "more")],
    "OPUS-b-v1-deu-eng_US": [("vier", "four")],
    "WMT-dev-1-eng-deu": [("five", "fünf")],
    "WMT-test-1-deu-eng": [("sechs", "six")],
    "WMT-test-1-deu-fra": [("sept", "sieben")],
    "WMT-mono-1-deu": [("acht",)],
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A stand-in for mtdata: what it brings, by name, and where its cache is."""
    monkeypatch.setenv("NMTKD_ARCHIVE_CACHE", str(tmp_path / "archives"))
    monkeypatch.delenv("MTDATA", raising=False)
    state: dict[str, Any] = {"rows": dict(ROWS)}

    class Cache:
        def __init__(self, root: Path) -> None:
            self.root = state["root"] = root

        def get_entry(self, entry: Entry) -> Path:
            assert state.get("status", 200) == 200, state["status"]
            path = self.root / entry.did.name
            path.write_text(str(entry.did))
            return path

    class Parser:
        def __init__(self, paths: list[Path], ext: str | None, ent: Entry) -> None:
            self.rows = state["rows"][str(ent.did)]

        def read_segs(self, show_pbar: bool) -> Iterator[tuple[str | None, ...]]:
            for row in self.rows:
                if not row:
                    raise IndexError("list index out of range")
                yield row

    def tag(code: str) -> Tag:
        return Tag(CODES[code])

    contents: dict[str, dict[str, Any]] = {
        "mtdata": {"__version__": "9.9"},
        "mtdata.index": {"INDEX": Index(*ROWS)},
        "mtdata.entry": {"DatasetId": Id},
        "mtdata.iso": {},
        "mtdata.iso.bcp47": {"bcp47": tag},
        "mtdata.parser": {"Parser": Parser},
        "mtdata.cache": {"Cache": Cache},
    }
    for name, values in contents.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    return state


def of(**changes: Any) -> Corpus:
    parts = {
        "train": [{"archive": "OPUS-a-v1-eng-deu"}, {"archive": "OPUS-b-v1-deu-eng_US"}],
        "valid": [{"archive": "WMT-dev-1-eng-deu"}],
        "test": [{"archive": "WMT-test-1-deu-eng"}],
    }
    values = dict(changes)
    return corpus("mtdata", parts=parts | values.pop("parts", {}), **values)


def test_data_sets_are_joined_in_the_direction_asked_for(tmp_path: Path, package: dict[str, Any]) -> None:
    out = tmp_path / "out"
    card = extract(of(), {}, out)
    assert read(out / "train.src") == ["one", "three lines", "four"]
    assert read(out / "train.tgt") == ["eins", "drei Zeilen", "vier"]
    assert (read(out / "valid.src"), read(out / "valid.tgt")) == (["five"], ["fünf"])
    assert (read(out / "test.src"), read(out / "test.tgt")) == (["six"], ["sechs"])
    assert card["pairs"] == {"train": 3, "valid": 1, "test": 1}
    assert card["dropped"]["train: a side empty"] == 1
    assert card["changed"] == {"train: line breaks became spaces": 2, "train: NUL removed": 1}
    assert card["version"].startswith("mtdata 9.9: OPUS-a-v1-eng-deu, ")
    assert card["datasets"][1] == {
        "split": "train",
        "id": "OPUS-b-v1-deu-eng_US",
        "url": ["https://nowhere/b"],
        "swapped": True,
        "pairs": 1,
        # sha256sum of the stand-in's file, which holds its name
        "sha256": ["a8b3070c763ee8b031d97953d07401c9cb1a7646cb335885ad59fbe0bd09768f"],
    }
    assert [each["pairs"] for each in card["datasets"]] == [2, 1, 1, 1]


def test_the_other_direction_swaps_the_others(tmp_path: Path, package: dict[str, Any]) -> None:
    card = extract(of(source="de", target="en"), {}, tmp_path / "out")
    assert read(tmp_path / "out" / "train.src") == ["eins", "drei Zeilen", "vier"]
    assert [each["swapped"] for each in card["datasets"]] == [True, False, True, False]


def test_the_package_keeps_its_files_beside_the_archives(tmp_path: Path, package: dict[str, Any]) -> None:
    extract(of(), {}, tmp_path / "out")
    assert package["root"] == tmp_path / "archives" / "mtdata"


def test_what_is_unknown_or_of_other_languages_is_listed_at_once(
    tmp_path: Path, package: dict[str, Any]
) -> None:
    listed = ["WMT-tset-1-deu-eng", "nonsense", "WMT-test-1-deu-fra", "WMT-mono-1-deu"]
    definition = of(parts={"train": [{"archive": name} for name in listed]})
    with pytest.raises(CorpusError) as caught:
        extract(definition, {}, tmp_path / "out")
    lines = str(caught.value).splitlines()
    assert lines[0].startswith(
        "corpus.parts: mtdata 9.9 knows no data set 'WMT-tset-1-deu-eng'; near: WMT-test-1-deu-eng"
    )
    assert "WMT-test-1-deu-fra" not in lines[0]
    assert "knows no data set 'nonsense'; no name of this pair is near; `mtdata list -id`" in lines[1]
    assert "WMT-test-1-deu-fra: is of deu-fra, asked for is eng-deu" in lines[2]
    assert "WMT-mono-1-deu: is of deu, asked for is eng-deu" in lines[3]
    assert len(lines) == 4


def break_network(package: dict[str, Any]) -> None:
    package["status"] = 404


def break_text(package: dict[str, Any]) -> None:
    package["rows"] |= {name: [()] for name in ROWS}


def empty_side(package: dict[str, Any]) -> None:
    package["rows"]["WMT-test-1-deu-eng"] = [("sechs", " ")]


@pytest.mark.parametrize(
    ("harm", "message", "lines"),
    [
        (
            break_network,
            r"test: WMT-test-1-deu-eng: could not be fetched by mtdata \(AssertionError: 404\b.*\); "
            "look whether https://nowhere/test can be had",
            3,
        ),
        (
            break_text,
            r"valid: WMT-dev-1-eng-deu: could not be read by mtdata \(IndexError: list index.*\); leave",
            3,
        ),
        (empty_side, r"test: WMT-test-1-deu-eng: empty side in row 0", 1),
    ],
)
def test_trouble_is_one_line_for_each_split(
    tmp_path: Path,
    package: dict[str, Any],
    harm: Callable[[dict[str, Any]], None],
    message: str,
    lines: int,
) -> None:
    harm(package)
    with pytest.raises(ParallelTextError, match=message) as caught:
        extract(of(), {}, tmp_path / "out")
    assert len(str(caught.value).splitlines()) == lines
    assert not (tmp_path / "out" / "test.src").exists()


def test_a_wrong_count_is_an_error(tmp_path: Path, package: dict[str, Any]) -> None:
    definition = of(parts={"test": [{"archive": "WMT-test-1-deu-eng", "pairs": 2}]})
    with pytest.raises(ParallelTextError, match="WMT-test-1-deu-eng: it has 1 pairs, expected 2"):
        extract(definition, {}, tmp_path / "out")


def test_an_unknown_language_is_named(tmp_path: Path, package: dict[str, Any]) -> None:
    with pytest.raises(CorpusError, match=r"corpus\.target: 'xx' is no language that mtdata knows"):
        extract(of(target="xx"), {}, tmp_path / "out")


def test_without_the_package_the_command_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTDATA", str(tmp_path))
    monkeypatch.setitem(sys.modules, "mtdata", None)
    with pytest.raises(
        CorpusError, match=r"mtdata is not installed \(.*\); python -m pip install --no-deps mtdata"
    ):
        extract(of(), {}, tmp_path / "out")


def test_what_the_reader_has_no_use_for_is_refused_before_anything_is_fetched() -> None:
    definition = of(
        archives=[archive("a.tgz").model_dump()],
        parts={"valid": [{"archive": "WMT-dev-1-eng-deu", "member": "x"}], "test": []},
    )
    with pytest.raises(CorpusError) as caught:
        needed(definition)
    split, archives, member = str(caught.value).splitlines()
    assert split.startswith("corpus.parts: test: no part")
    assert archives.startswith("corpus.archives: the package mtdata fetches")
    assert member.startswith("corpus.parts: valid: 'WMT-dev-1-eng-deu' is a data set, which has no member")
    assert needed(of()) == []
