"""stages.corpus: each archive of a corpus is fetched into the user's cache, and handed to its reader."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from stages import corpus

from nmtkd.plan import params
from nmtkd.text.corpora import readers
from nmtkd.text.corpora.fetch import cache_folder
from tests.structure.graph import ROOT


def test_archives_are_fetched_into_the_cache_and_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NMTKD_ARCHIVE_CACHE", str(tmp_path / "cache"))
    shutil.copy(ROOT / "params.yaml", tmp_path)
    asked: list[tuple[str, Path]] = []
    read: list[dict[str, Path]] = []

    def fetch(archive: Any, folder: Path) -> Path:
        asked.append((archive.name, folder))
        return folder / f"{archive.name}.fetched"

    def extract(definition: Any, archives: dict[str, Path], out: Path) -> dict[str, Any]:
        read.append(archives)
        (out / "all.src").write_text("", encoding="utf-8")
        return {"pairs": {"all": 7}}

    monkeypatch.setattr(corpus, "fetch", fetch)
    monkeypatch.setattr(readers, "extract", extract)
    corpus.main()
    names = [archive.name for archive in readers.needed(params.load("corpus").corpus)]
    assert names and asked == [(name, cache_folder()) for name in names]
    assert read == [{name: cache_folder() / f"{name}.fetched" for name in names}]
    assert capsys.readouterr().out == "[corpus] all: 7 pairs\n"
    assert (tmp_path / "data/raw/all.src").is_file()
