"""runner.forecast.missing: archives, disk and memory that are not there, each told in a line."""

from __future__ import annotations

from pathlib import Path

import pytest

from nmtkd.plan.data import Archive
from runner.forecast import missing
from tests.unit.runner.forecast.helpers import experiment

CORPUS = experiment().corpus
GONE = "http://127.0.0.1:1/nothing"  # a port where nobody listens


def archive(name: str, *mirrors: str) -> Archive:
    return Archive(name=name, bytes=1, mirrors=list(mirrors))


def test_each_archive_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMTKD_ARCHIVE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/had.zip").write_text("x")
    (tmp_path / "mirror.zip").write_text("x")
    corpus = CORPUS.model_copy(
        update={
            "reader": "homeassistant",
            "archives": [
                archive("had.zip", GONE),
                archive("wheel.whl", "pip:thing==1.0"),
                archive("near.zip", GONE, f"file:{tmp_path}/mirror.zip"),
                archive("far.zip", GONE, f"file:{tmp_path}/other.zip"),
                archive("hand.zip"),
            ],
        }
    )
    cache = tmp_path / "cache"
    assert missing.archives(corpus) == [
        f"far.zip: not in {cache}, and none of its mirrors answers from here",
        f"hand.zip: it has no mirror; put it into {cache} by hand",
    ]
    unknown = CORPUS.model_copy(update={"reader": "other"})
    assert missing.archives(unknown)[0].startswith("corpus.reader: must be one of")


def test_archives_put_by_hand_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NMTKD_ARCHIVES", str(tmp_path))
    (tmp_path / "far.zip").write_text("x")
    assert missing.archives(CORPUS.model_copy(update={"archives": [archive("far.zip", GONE)]})) == []


def test_disk_and_memory(tmp_path: Path) -> None:
    assert missing.disk(1.0, tmp_path / "not/there/yet") == []
    (line,) = missing.disk(1e18, tmp_path / "not/there/yet")
    assert line.startswith("disk: 931322574.62 GiB are needed, ")
    assert line.endswith(f"are free on that of {tmp_path}")
    assert missing.memory([("tiny", 2e9), ("huge", 17e9)], 16.0, "t4") == [
        "memory: huge takes about 17 GB in training, t4 has 16; lower its max_tokens and raise accumulate as "
        "much"
    ]
