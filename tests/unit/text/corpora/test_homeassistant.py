"""nmtkd.text.corpora.homeassistant: text, order, counts and complaints, on an invented wheel."""

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from nmtkd.text.corpora import bounds
from nmtkd.text.corpora.readers import extract
from nmtkd.text.corpora.tally import CorpusError
from tests.unit.text.corpora.bad_wheels import BAD
from tests.unit.text.corpora.toys import archive, corpus, read


def make_wheel(path: Path, texts: dict[str, Any]) -> Path:
    """`texts`: {"component/language": content of its file}."""
    with zipfile.ZipFile(path, "w") as wheel:
        for name, content in texts.items():
            component, language = name.split("/")
            data = content if isinstance(content, str) else json.dumps(content)
            wheel.writestr(f"homeassistant/components/{component}/translations/{language}.json", data)
        wheel.writestr("homeassistant/components/lamp/strings.json", "no translation")
        wheel.writestr("toy-1.2.dist-info/METADATA", "Name: toy\nVersion: 1.2\n\nVersion: 9 of the text\n")
    return path


def from_wheel(folder: Path, texts: dict[str, Any], **changes: Any) -> dict[str, Any]:
    wheel = make_wheel(folder / "toy.whl", texts)
    return extract(
        corpus("homeassistant", archives=[archive("toy.whl")], **changes), {"toy.whl": wheel}, folder / "out"
    )


def test_homeassistant_joins_by_key_in_order(tmp_path: Path) -> None:
    card = from_wheel(
        tmp_path,
        {
            "lamp/en": {"title": "Lamp ", "step": {"b": "Turn on\n the  {name}", "a": "Brightness"}},
            "door/de": {"title": "Tür"},
            "lamp/de": {"step": {"a": "Helligkeit", "b": "Schalte {name}\u00a0ein"}, "title": "Lampe"},
            "door/en": {"title": "Door"},
            "lamp/fr": {"title": "Lampe"},
        },
    )
    assert read(tmp_path / "out" / "all.src") == ["Door", "Brightness", "Turn on the  {name}", "Lamp "]
    assert read(tmp_path / "out" / "all.tgt") == ["Tür", "Helligkeit", "Schalte {name}\u00a0ein", "Lampe"]
    assert read(tmp_path / "out" / "all.group") == ["door", "lamp", "lamp", "lamp"]
    assert card == json.loads((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    assert card == {
        "corpus": "toy",
        "reader": "homeassistant",
        "source": "en",
        "target": "de",
        "license": "CC0",
        "version": "1.2",
        "archives": [{"name": "toy.whl", "sha256": "0" * 64, "bytes": 1, "verified": ["bytes", "sha256"]}],
        "pairs": {"all": 4},
        "groups": 2,
        "dropped": {},
        "changed": {
            "source: line breaks became spaces": 1,
            "target: line breaks became spaces": 0,
            "identical sides kept": 0,
        },
    }


def test_homeassistant_order_is_that_of_names(tmp_path: Path) -> None:
    names = ["zoo", "attic", "lamp", "door", "b", "a"]
    texts: dict[str, Any] = {}
    for name in names:
        texts[f"{name}/en"] = {key: f"{name} {key} en" for key in names}
        texts[f"{name}/de"] = {key: f"{name} {key} de" for key in sorted(names)}
    from_wheel(tmp_path, texts)
    assert read(tmp_path / "out" / "all.src") == [
        f"{name} {key} en" for name in sorted(names) for key in sorted(names)
    ]


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
        (
            {"step": {"n": 3}},
            r"a/translations/de\.json: step\.n: must be text or an object of texts; got int: 3",
        ),
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
        extract(
            corpus("homeassistant", archives=[archive("toy.whl")]),
            {"toy.whl": tmp_path / "toy.whl"},
            tmp_path / "out",
        )


def test_homeassistant_is_one_wheel(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="reads one wheel; got 2 archives"):
        extract(corpus("homeassistant", archives=[archive("a"), archive("b")]), {}, tmp_path / "out")


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_wheel_is_one_message(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "FLOOR", 1 << 21)
    make, reason = BAD[kind]
    (tmp_path / "toy.whl").write_bytes(make())
    with pytest.raises(CorpusError) as caught:
        extract(
            corpus("homeassistant", archives=[archive("toy.whl")]),
            {"toy.whl": tmp_path / "toy.whl"},
            tmp_path / "out",
        )
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'toy.whl'}: ") and "\n" not in message
    assert re.search(reason, message), message
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["out", "toy.whl"]


def test_homeassistant_drops_and_counts_what_no_file_can_hold(tmp_path: Path) -> None:
    german = r'{"x": "\ud800 Lampe", "y": "T\u0000ür", "z": "Licht", "s": "\ud83d\ude00 da"}'
    english = {"x": "Lamp", "y": "Door", "z": "Light", "s": "there"}
    card = from_wheel(tmp_path, {"a/en": english, "a/de": german})
    assert read(tmp_path / "out" / "all.tgt") == ["\U0001f600 da", "Licht"]
    assert card["dropped"] == {"a side with NUL or half a surrogate pair": 2}
