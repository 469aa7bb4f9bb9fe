"""nmtkd.text.corpora.download: whatever a server does, a right archive, the next mirror or one message."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nmtkd import machine
from nmtkd.text.corpora import download
from nmtkd.text.corpora.fetch import CACHE_VARIABLE, MIRROR_VARIABLE, FetchError, fetch
from tests.unit.text.corpora.servers import (
    ADDRESSES,
    BAD,
    CONTENT,
    END,
    GOOD,
    HALF,
    SIZE,
    Scripted,
    drips,
    head,
    partial,
    stalls,
)
from tests.unit.text.corpora.test_fetch import archive


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", MIRROR_VARIABLE, CACHE_VARIABLE):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    monkeypatch.setattr(download, "RETRY_AFTER_S", 0)
    monkeypatch.setattr(download, "TIMEOUT_S", 0.3)


@pytest.fixture
def good() -> Iterator[Scripted]:
    server = Scripted(GOOD)
    yield server
    server.close()


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_server_gives_a_right_archive_or_the_next_mirror(
    kind: str, tmp_path: Path, good: Scripted, caplog: pytest.LogCaptureFixture
) -> None:
    script, reason = BAD[kind]
    alone, first = Scripted(*script), Scripted(*script)
    try:
        if reason:
            with pytest.raises(FetchError) as caught:
                fetch(archive(f"{alone.address}/x"), tmp_path / "alone")
            lines = str(caught.value).splitlines()
            assert len(lines) == 3 and lines[1].startswith(f"  {alone.address}/x: ")
            assert re.search(reason, lines[1]) and lines[1].isprintable(), lines[1]
            assert set(os.listdir(tmp_path / "alone")) <= {"corpus.gz.part"}
        else:
            assert fetch(archive(f"{alone.address}/x"), tmp_path / "alone").read_bytes() == CONTENT
        got = fetch(archive(f"{first.address}/x", f"{good.address}/x"), tmp_path / "both")
        assert got.read_bytes() == CONTENT
        assert os.listdir(tmp_path / "both") == ["corpus.gz"]
        assert bool(good.requests) == bool(reason)
        assert all(b"\r\nAccept-Encoding: identity\r\n" in request for request in first.requests)
        assert len(first.requests) <= max(download.ATTEMPTS, download.REDIRECTS + 1)
    finally:
        alone.close()
        first.close()
    assert sorted(os.listdir(tmp_path)) == ["alone", "both"]
    assert not caplog.records, "a library's own words, tracebacks included, reach the user"


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_bad_address_leads_to_the_next_mirror(address: str, tmp_path: Path, good: Scripted) -> None:
    assert fetch(archive(address, f"{good.address}/x"), tmp_path / "a").read_bytes() == CONTENT
    with pytest.raises(FetchError, match=ADDRESSES[address]):
        fetch(archive(address), tmp_path / "b")


def test_a_fault_of_tls_leads_to_the_next_mirror(tmp_path: Path, good: Scripted) -> None:
    deaf = good.address.replace("http:", "https:")
    assert fetch(archive(f"{deaf}/x", f"{good.address}/x"), tmp_path / "a").read_bytes() == CONTENT
    with pytest.raises(FetchError, match=r"/x: no answer \(.*SSL.*\); gave up after 4 attempts"):
        fetch(archive(f"{deaf}/x"), tmp_path / "b")


def test_what_came_before_a_stall_is_not_asked_for_again(tmp_path: Path) -> None:
    server = Scripted(
        stalls(head("200 OK", SIZE), CONTENT[:4000]), partial(4000, END, END + 1, CONTENT[4000:])
    )
    assert fetch(archive(f"{server.address}/x"), tmp_path).read_bytes() == CONTENT
    assert server.ranges() == ["", "bytes=4000-"]
    server.close()


def test_a_slow_drip_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "PROGRESS_SECONDS", 0.0)
    server = Scripted(drips(GOOD, pieces=8, pause=0.02))
    assert fetch(archive(f"{server.address}/x"), tmp_path).read_bytes() == CONTENT
    shown = re.findall(r"\[fetch\] (\d+)/10240 bytes of corpus\.gz", capsys.readouterr().err)
    assert len(shown) >= 4 and shown[-1] == "10240"
    server.close()


def test_a_server_may_ask_for_patience_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    monkeypatch.setattr(download, "RETRY_AFTER_S", 60)
    monkeypatch.setattr(download, "BACKOFF_S", 1.0)
    server = Scripted(
        head("503 Busy", "Retry-After: 7"),
        head("429 Slow", "Retry-After: 86400"),
        head("500 Oops"),
        GOOD,
    )
    assert fetch(archive(f"{server.address}/x"), tmp_path).read_bytes() == CONTENT
    assert slept == [7, 60, 4.0]
    server.close()


def test_a_part_of_another_mirror_is_not_mixed_in(tmp_path: Path, good: Scripted) -> None:
    """The first mirror's half is of another file; the second one resumes it, and then starts over."""
    other = Scripted(head("200 OK", SIZE) + bytes(HALF), head("404 Gone"))
    good.script = [partial(HALF, END, END + 1, CONTENT[HALF:]), GOOD]
    assert fetch(archive(f"{other.address}/x", f"{good.address}/x"), tmp_path).read_bytes() == CONTENT
    assert good.ranges() == [f"bytes={HALF}-", ""]
    other.close()


def test_a_proxy_of_the_environment_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: Scripted
) -> None:
    monkeypatch.setenv("http_proxy", good.address)
    assert fetch(archive("http://archives.invalid/x"), tmp_path).read_bytes() == CONTENT
    assert good.requests[0].startswith(b"GET http://archives.invalid/x HTTP/1.1\r\n")
