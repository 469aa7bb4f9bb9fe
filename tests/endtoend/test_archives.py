"""Made-up archives of WIT3 and of WMT through the whole pipeline, with definitions of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.endtoend.lab import Lab, make_lab, write_corpus
from tests.unit.text.corpora.look_alikes import TAGS, tgz

PAIR = {"src": "de", "tgt": "en"}


def lines(folder: Path, split: str, side: str) -> list[str]:
    return (folder / f"{split}.{side}").read_text(encoding="utf-8").removesuffix("\n").split("\n")


def held_out(rows: list[str]) -> bytes:
    """The segments of two documents, as XML of WIT3 and as sgm of WMT: they differ in what is not read."""
    made = ["<mteval>"]
    for number, row in enumerate(rows):
        made += [f'<doc docid="{number % 2}">', f'<seg id="{number}"> {row} </seg>', "</doc>"]
    return "".join(f"{row}\n" for row in made).encode()


def members(folder: Path, reader: str) -> dict[str, bytes]:
    made = {}
    for side, language in PAIR.items():
        train = lines(folder, "train", side)
        if reader == "wit3":
            train = [f"<url>http://example.org/{language}</url>", f"<title>{train[0]}</title>", *train[1:]]
        made[f"toy/train.{language}"] = "".join(f"{row}\n" for row in train).encode()
        ending = "xml" if reader == "wit3" else "sgm"
        for split in ("valid", "test"):
            made[f"toy/{split}.{language}.{ending}"] = held_out(lines(folder, split, side))
    return made


def definition(reader: str) -> dict[str, Any]:
    ending = "xml" if reader == "wit3" else "sgm"
    parts = {"train": [{"archive": "toy.tgz", "member": "toy/train.{language}", "pairs": 300}]}
    for split in ("valid", "test"):
        member = f"toy/{split}.{{language}}.{ending}"
        parts[split] = [{"archive": "toy.tgz", "member": member, "pairs": 24}]
    return {
        "name": "archives",
        "reader": reader,
        "source": "de",
        "target": "en",
        "tests": ["test"],
        "archives": [{"name": "toy.tgz", "bytes": 1, "mirrors": []}],
        "parts": parts,
        "tags": TAGS if reader == "wit3" else None,
        "folder": "conf/corpus/files.yaml",
        "license": "CC0",
    }


@pytest.mark.parametrize("reader", ["wit3", "wmt"])
def test_a_made_up_archive_goes_through_the_pipeline(tmp_path: Path, reader: str) -> None:
    text, archives = tmp_path / "text", tmp_path / "archives"
    write_corpus(text)
    archives.mkdir()
    path = tgz(archives / "toy.tgz", members(text, reader))
    lab = make_lab(tmp_path / "lab", text)
    lab.env["NMTKD_ARCHIVES"] = str(archives)
    params = yaml.safe_load(lab.read("params.yaml"))
    params["corpus"] = definition(reader)
    params["corpus"]["archives"][0]["bytes"] = path.stat().st_size
    (lab.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    lab.run("dvc", "repro", "corpus")
    for split in ("train", "valid", "test"):
        for side in PAIR:
            assert lines(lab.folder / "data/raw", split, side) == lines(text, split, side)
    card = json.loads(lab.read("data/raw/card.json"))
    assert card["pairs"] == {"train": 300, "valid": 24, "test": 24}
    assert card["archives"][0]["verified"] == ["bytes", "first download"]
    assert set(lines(lab.folder / "data/raw", "test", "groups")) == {"0", "1"}
    assert (lab.folder / ".archives/toy.tgz.sha256").exists()
    whole(lab)


def whole(lab: Lab) -> None:
    """The rest of the pipeline, down to the table."""
    lab.run("dvc", "repro")
    assert b"plain" in lab.read("reports/table.md")
