"""Made-up archives by the recipes of iwslt14 and wmt14: WIT3 through the pipeline, WMT to training text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.endtoend.lab import ROOT, Lab, make_lab, write_corpus
from tests.unit.text.corpora.look_alikes import TAGS, tgz

PAIR = {"src": "de", "tgt": "en"}
HELD_OUT = {"wit3": ["test"], "wmt": ["valid", "test"]}  # iwslt14 takes valid from train
EVEN = 1.1  # a bound on the ratio of pieces that some pairs of the toy corpus are beyond
RECIPES = {"wit3": "iwslt14", "wmt": "wmt14"}
STAGES = {"wit3": ["report"], "wmt": ["noise@clean"]}  # what a plain student needs; what reads text alone


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
        for split in HELD_OUT[reader]:
            made[f"toy/{split}.{language}.{ending}"] = held_out(lines(folder, split, side))
    return made


def definition(reader: str) -> dict[str, Any]:
    ending = "xml" if reader == "wit3" else "sgm"
    parts = {"train": [{"archive": "toy.tgz", "member": "toy/train.{language}", "pairs": 300}]}
    for split in HELD_OUT[reader]:
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


def with_recipe(params: dict[str, Any], reader: str, size: int) -> dict[str, Any]:
    """Params with the shipped recipe of a corpus, and this archive's definition."""
    shipped = yaml.safe_load((ROOT / f"conf/corpus/{RECIPES[reader]}.yaml").read_text(encoding="utf-8"))
    for section in ("prepare", "bpe", "evaluate"):
        params[section] |= shipped.get(section, {})
    params["corpus"] = definition(reader)
    params["corpus"]["archives"][0]["bytes"] = size
    params["grid"]["methods"] = {family: [] for family in params["grid"]["methods"]} | {"plain": ["plain"]}
    params["grid"]["capacities"] = ["tiny"]
    params["teacher"]["training"] |= {"updates": 40, "average": 1}  # how well it translates is not looked at
    if reader == "wit3":
        params["prepare"]["expected"] = {"clean": 300, "train": 287, "valid": 13}
    else:
        params["bpe"]["max_ratio"] = EVEN
    return params


@pytest.mark.parametrize("reader", ["wit3", "wmt"])
def test_a_made_up_archive_goes_through_the_pipeline(tmp_path: Path, reader: str) -> None:
    text, archives = tmp_path / "text", tmp_path / "archives"
    write_corpus(text)
    archives.mkdir()
    path = tgz(archives / "toy.tgz", members(text, reader))
    lab = make_lab(tmp_path / "lab", text)
    lab.env["NMTKD_ARCHIVES"] = str(archives)
    params = with_recipe(yaml.safe_load(lab.read("params.yaml")), reader, path.stat().st_size)
    (lab.folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")
    lab.run("dvc", "repro", *STAGES[reader])
    raw = lab.folder / "data/raw"
    for split in ("train", *HELD_OUT[reader]):
        for side in PAIR:
            assert lines(raw, split, side) == lines(text, split, side)
    card = json.loads(lab.read("data/raw/card.json"))
    assert card["pairs"] == {"train": 300, **dict.fromkeys(HELD_OUT[reader], 24)}
    assert card["archives"][0]["verified"] == ["bytes", "first download"]
    assert set(lines(raw, "test", "groups")) == {"0", "1"}
    assert (lab.folder / ".archives/toy.tgz.sha256").exists()
    check = by_iwslt14 if reader == "wit3" else by_wmt14
    check(lab, text)


def by_iwslt14(lab: Lab, text: Path) -> None:
    """Every 23rd pair is valid, and scores are by lower-cased tokens first."""
    train = lines(text, "train", "src")
    assert lines(lab.folder / "data/prepared", "valid", "raw") == train[22::23]
    assert len(lines(lab.folder / "data/noise/clean", "train", "src")) == 287
    scores = json.loads(lab.read("data/translations/plain-tiny-clean-1/scores.json"))["scores"]
    signatures = {score["metric"]: score["signature"] for score in scores}
    assert "case:lc" in signatures["bleu"] and "tok:13a" in signatures["bleu"]
    assert "case:lc" in signatures["bleu_tok_lc"] and "tok:none" in signatures["bleu_tok_lc"]
    assert "tok-lc BLEU" in lab.read("reports/table.md").decode()


def by_wmt14(lab: Lab, text: Path) -> None:
    """Pairs of uneven pieces are dropped by `bpe`, and none of them is trained on."""
    bpe, noise = (json.loads(lab.read(f"data/{name}/card.json")) for name in ("bpe", "noise/clean"))
    dropped = sum(bpe["dropped"].values())
    assert 0 < dropped < 300
    assert bpe["pairs"] == noise["pairs"] == 300 - dropped
    sides = [lines(lab.folder / "data/noise/clean", "train", side) for side in PAIR]
    pieces = [sorted(len(line.split()) for line in pair) for pair in zip(*sides, strict=True)]
    assert len(pieces) == 300 - dropped and all(long <= EVEN * short for short, long in pieces)
