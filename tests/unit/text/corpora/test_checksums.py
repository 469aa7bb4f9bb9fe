"""nmtkd.text.corpora.checksums: md5, git blob, the first download; sizes that nobody published."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from nmtkd.plan.data import Archive
from nmtkd.text.corpora import checksums
from nmtkd.text.corpora.fetch import MIRROR_VARIABLE, FetchError, fetch
from tests.unit.text.corpora.servers import CONTENT, EVIL, GOOD, SIZE, Scripted, head
from tests.unit.text.corpora.test_download import impatient

__all__ = ["impatient"]  # a fixture

MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
BLOB = hashlib.sha1(b"blob 10240\0" + CONTENT, usedforsecurity=False).hexdigest()
SHA = hashlib.sha256(CONTENT).hexdigest()


def listed(*mirrors: str, **known: Any) -> Archive:
    return Archive.model_construct(name="toy.tgz", mirrors=list(mirrors), **known)


def test_git_names_content_as_git_does(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"hello\n")
    assert checksums.git_blob(tmp_path / "x") == "ce013625030ba8dba906f756967f9e9ca394464a"


@pytest.mark.parametrize(
    "known", [{"md5": MD5}, {"git_blob": BLOB}, {"sha256": SHA}, {"md5": MD5, "bytes": 10240}]
)
@pytest.mark.parametrize("answer", [GOOD, head() + CONTENT], ids=["length", "no length"])
def test_any_checksum_will_do_and_a_size_need_not_be_known(
    tmp_path: Path, known: dict[str, Any], answer: bytes
) -> None:
    server = Scripted(answer)
    assert fetch(listed(f"{server.address}/x", **known), tmp_path).read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["toy.tgz"]
    server.close()


@pytest.mark.parametrize("kind", ["md5", "git_blob"])
def test_a_wrong_checksum_is_told_by_its_kind(tmp_path: Path, kind: str) -> None:
    server = Scripted(GOOD)
    wrong = "0" * (32 if kind == "md5" else 40)
    with pytest.raises(
        FetchError, match=rf"wrong checksum: {kind} .*expected 0+\n.*by other means \({kind} 0"
    ):
        fetch(listed(f"{server.address}/x", **{kind: wrong}), tmp_path)
    server.close()


def test_the_first_download_is_kept_and_another_file_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, local = tmp_path / "cache", tmp_path / "local"
    server = Scripted(GOOD, head("200 OK", SIZE) + CONTENT[::-1])
    known = listed(f"{server.address}/x", bytes=10240)
    path = fetch(known, cache)
    assert (cache / "toy.tgz.sha256").read_text() == f"{SHA}  toy.tgz\n"
    assert f"`sha256: {SHA}`" in capsys.readouterr().err
    assert checksums.card(known, path) == {
        "name": "toy.tgz", "bytes": 10240, "sha256": SHA, "verified": ["bytes", "first download"],
    }  # fmt: skip
    assert fetch(known, cache) == path and len(server.requests) == 1
    other = hashlib.sha256(CONTENT[::-1]).hexdigest()
    both = rf"another file than the first download: sha256 {other}, the first had {SHA}"
    path.unlink()
    with pytest.raises(FetchError, match=both):
        fetch(known, cache)
    local.mkdir()
    (local / "toy.tgz").write_bytes(CONTENT[::-1])
    monkeypatch.setenv(MIRROR_VARIABLE, str(local))
    with pytest.raises(FetchError, match=rf"local/toy\.tgz: {both}"):
        fetch(known, cache)
    server.close()


def test_a_page_is_no_first_download(tmp_path: Path) -> None:
    server = Scripted(head() + EVIL)
    with pytest.raises(FetchError, match=r"sends a web page \(HTML\) in place of the file"):
        fetch(listed(f"{server.address}/x", bytes=None), tmp_path)
    assert not (tmp_path / "toy.tgz.sha256").exists()
    server.close()


def test_a_page_that_was_saved_by_hand_is_no_first_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "local/toy.tgz").write_bytes(b"\n<!DOCTYPE html><title>Download anyway?</title>")
    monkeypatch.setenv(MIRROR_VARIABLE, str(tmp_path / "local"))
    with pytest.raises(FetchError, match=r"local/toy\.tgz: is a web page \(HTML\), not the archive"):
        fetch(listed(bytes=None), tmp_path / "cache")


@pytest.mark.parametrize("wrong", [{"md5": "0" * 32, "git_blob": BLOB}, {"md5": MD5, "git_blob": "0" * 40}])
def test_all_checksums_that_are_known_must_hold(tmp_path: Path, wrong: dict[str, str]) -> None:
    server = Scripted(GOOD)
    with pytest.raises(FetchError, match="wrong checksum"):
        fetch(listed(f"{server.address}/x", **wrong), tmp_path)
    server.close()
