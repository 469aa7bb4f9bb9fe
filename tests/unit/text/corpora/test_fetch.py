"""nmtkd.text.corpora.fetch: where archives come from, and that nothing unverified gets through."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from nmtkd import locks
from nmtkd.plan.data import Archive
from nmtkd.text.corpora import checksums, download
from nmtkd.text.corpora import fetch as module
from nmtkd.text.corpora.fetch import FetchError, cache_folder, fetch

CONTENT = bytes(range(256)) * 40


class Server:
    """A loopback web server. Its attributes set how it behaves.

    Paths: /good, /other (same size, other bytes), /short, /long, /gone.
    """

    def __init__(self) -> None:
        self.files = {
            "/good": CONTENT,
            "/other": CONTENT[::-1],
            "/short": CONTENT[:-1],
            "/long": CONTENT * 300,
        }
        self.ignores_range = False
        self.hides_length = False
        self.shifts_range = False  # answers 206 with another range than asked for
        self.cut_after: list[
            int
        ] = []  # so many bytes of the body for the next request, then the connection ends
        self.statuses: list[int] = []  # answers for the next requests, before any body
        self.requests: list[tuple[str, str | None]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.answer(self)

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked_range = handler.headers.get("Range")
        self.requests.append((handler.path, asked_range))
        if self.statuses and (status := self.statuses.pop(0)) != 200:
            handler.send_error(status)
            return
        if handler.path not in self.files:
            handler.send_error(404)
            return
        content = self.files[handler.path]
        start = (
            0
            if self.ignores_range or not asked_range
            else int(asked_range.removeprefix("bytes=").rstrip("-"))
        )
        body = content[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header(
                "Content-Range", f"bytes {start + self.shifts_range}-{len(content) - 1}/{len(content)}"
            )
        if not self.hides_length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body[: self.cut_after.pop(0)] if self.cut_after else body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in (
        "http_proxy",
        "HTTP_PROXY",
        "all_proxy",
        "ALL_PROXY",
        module.MIRROR_VARIABLE,
        module.CACHE_VARIABLE,
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(download, "BACKOFF_S", 0.0)
    server = Server()
    yield server
    server.http.shutdown()
    server.http.server_close()


def archive(*mirrors: str, content: bytes = CONTENT, name: str = "corpus.gz") -> Archive:
    # whatever the plan thinks of its name and its mirrors
    return Archive.model_construct(
        name=name, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), mirrors=list(mirrors)
    )


def test_fetch_downloads_once_and_then_needs_no_network(server: Server, tmp_path: Path) -> None:
    listed = archive(f"{server.address}/good")
    assert fetch(listed, tmp_path / "cache") == tmp_path / "cache" / "corpus.gz"
    assert fetch(listed, tmp_path / "cache").read_bytes() == CONTENT
    assert server.requests == [("/good", None)]
    assert os.listdir(tmp_path / "cache") == ["corpus.gz"]


def test_a_wrong_file_in_the_cache_is_replaced(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "corpus.gz").write_bytes(CONTENT[::-1])
    assert fetch(archive(f"{server.address}/good"), tmp_path).read_bytes() == CONTENT
    assert "corpus.gz: wrong checksum: sha256" in capsys.readouterr().err


def test_mirrors_are_tried_in_order_and_the_first_good_one_ends_it(server: Server, tmp_path: Path) -> None:
    mirrors = [f"{server.address}/{path}" for path in ("gone", "short", "other", "good", "never")]
    assert fetch(archive(*mirrors), tmp_path).read_bytes() == CONTENT
    assert [path for path, _ in server.requests] == ["/gone", "/short", "/other", "/good"]
    assert os.listdir(tmp_path) == ["corpus.gz"]


def test_all_mirrors_failing_lists_each_reason_and_the_remedy(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    local = tmp_path / "local" / "deep"
    local.mkdir(parents=True)
    (local / "corpus.gz").write_bytes(b"x" * len(CONTENT))
    monkeypatch.setenv(module.MIRROR_VARIABLE, str(tmp_path / "local"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "corpus.gz").write_bytes(b"x")
    mirrors = [f"{server.address}/{path}" for path in ("gone", "short", "other")] + [
        "ftp://nowhere/x",
        "pip:--evil",
    ]
    with pytest.raises(FetchError) as caught:
        fetch(archive(*mirrors), tmp_path / "cache")
    lines = str(caught.value).splitlines()
    expected = [
        r"corpus\.gz: could not be had",
        rf"  {local}/corpus\.gz: wrong checksum: sha256 [0-9a-f]{{64}}, expected [0-9a-f]{{64}}",
        r"  .*/cache/corpus\.gz: has 1 bytes, expected 10240; deleted",
        r"  .*/gone: the server answers 404 Not Found",
        r"  .*/short: offers a file of 10239 bytes, expected 10240",
        r"  .*/other: wrong checksum: sha256 [0-9a-f]{64}, expected [0-9a-f]{64}",
        r"  ftp://nowhere/x: is neither pip:NAME==VERSION nor an http\(s\) address",
        r"  pip:--evil: must be pip:NAME==VERSION",
        r"  remedy: .*sha256 [0-9a-f]{64}, 10240 bytes.*NMTKD_ARCHIVES.*",
    ]
    assert [bool(re.fullmatch(pattern, line)) for pattern, line in zip(expected, lines, strict=True)] == [
        True
    ] * len(expected)
    assert (local / "corpus.gz").exists(), "the user's own file stays"
    assert not list((tmp_path / "cache").iterdir()), "nothing unverified stays"


def test_a_cut_download_goes_on_where_it_stopped(server: Server, tmp_path: Path) -> None:
    server.cut_after = [4000, 100]
    assert fetch(archive(f"{server.address}/good"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/good", None), ("/good", "bytes=4000-"), ("/good", "bytes=4100-")]


def test_a_part_of_an_earlier_run_is_resumed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "corpus.gz.part").write_bytes(CONTENT[:5000])
    assert fetch(archive(f"{server.address}/good"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/good", "bytes=5000-")]


def test_fetch_starts_over_if_the_server_ignores_ranges(server: Server, tmp_path: Path) -> None:
    server.ignores_range = True
    (tmp_path / "corpus.gz.part").write_bytes(CONTENT[:5000])
    assert fetch(archive(f"{server.address}/good"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/good", "bytes=5000-")]


def test_fetch_starts_over_if_the_part_is_too_long(server: Server, tmp_path: Path) -> None:
    (tmp_path / "corpus.gz.part").write_bytes(CONTENT + b"x")
    assert fetch(archive(f"{server.address}/good"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/good", None)]


def test_fetch_starts_over_if_the_part_stems_from_another_file(server: Server, tmp_path: Path) -> None:
    (tmp_path / "corpus.gz.part").write_bytes(b"x" * 5000)
    assert fetch(archive(f"{server.address}/good"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/good", "bytes=5000-"), ("/good", None)]


def test_another_range_than_asked_for_is_not_appended(server: Server, tmp_path: Path) -> None:
    server.shifts_range = True
    (tmp_path / "corpus.gz.part").write_bytes(CONTENT[:5000])
    with pytest.raises(
        FetchError, match=r"no answer \(answers with another range than asked for\); gave up after 4 attempts"
    ):
        fetch(archive(f"{server.address}/good"), tmp_path)


def test_a_server_that_never_ends_is_cut_off(server: Server, tmp_path: Path) -> None:
    server.hides_length = True
    with pytest.raises(FetchError, match=r"/long: sends more than the expected 10240 bytes"):
        fetch(archive(f"{server.address}/long"), tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= len(CONTENT)
    assert fetch(archive(f"{server.address}/good"), tmp_path).read_bytes() == CONTENT


def test_passing_faults_are_retried_but_not_for_ever(server: Server, tmp_path: Path) -> None:
    server.statuses = [503, 429, 200]
    assert fetch(archive(f"{server.address}/good"), tmp_path / "a").read_bytes() == CONTENT
    server.statuses = [500] * 9
    server.requests.clear()
    with pytest.raises(FetchError, match=r"the server answers 500 .*; gave up after 4 attempts"):
        fetch(archive(f"{server.address}/good"), tmp_path / "b")
    assert len(server.requests) == 4


def test_a_refused_range_drops_the_part(server: Server, tmp_path: Path) -> None:
    server.statuses = [416]
    (tmp_path / "corpus.gz.part").write_bytes(CONTENT[:5000])
    assert fetch(archive(f"{server.address}/good"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/good", "bytes=5000-"), ("/good", None)]


def test_fetch_says_that_nobody_listens(server: Server, tmp_path: Path) -> None:
    server.http.shutdown()
    server.http.server_close()
    with pytest.raises(FetchError, match=r"/good: no answer \(.*refused.*\); gave up after 4 attempts"):
        fetch(archive(f"{server.address}/good"), tmp_path)


def test_the_local_mirror_comes_first(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder, content in (("a", b"x" * len(CONTENT)), ("b/c", CONTENT)):
        (tmp_path / "local" / folder).mkdir(parents=True)
        (tmp_path / "local" / folder / "corpus.gz").write_bytes(content)
    monkeypatch.setenv(module.MIRROR_VARIABLE, str(tmp_path / "local"))
    assert (
        fetch(archive(f"{server.address}/good"), tmp_path / "cache")
        == tmp_path / "local" / "b" / "c" / "corpus.gz"
    )
    assert server.requests == []
    monkeypatch.setenv(module.MIRROR_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FetchError, match=r"NMTKD_ARCHIVES=.*nowhere: no such folder"):
        fetch(archive(), tmp_path / "cache")


@pytest.mark.parametrize(
    "name", ["../corpus.gz", "", ".", "..", "a/b", "/a", "a\\b", "..\\a", "a\0b", "a\nb", "\ud800", "a/"]
)
def test_a_name_cannot_lead_out_of_the_cache(tmp_path: Path, name: str) -> None:
    named = archive().model_copy(update={"name": name})  # whatever the plan thinks of it
    with pytest.raises(
        FetchError, match=r"^corpus\.archives: '.*' must be a file name without a folder"
    ) as caught:
        fetch(named, tmp_path / "cache")
    assert str(caught.value).isprintable()
    assert not list(tmp_path.iterdir())


def test_cache_folder_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(module.CACHE_VARIABLE, raising=False)
    assert cache_folder() == Path(".archives")
    monkeypatch.setenv(module.CACHE_VARIABLE, "/some/where")
    assert cache_folder() == Path("/some/where")


PIP_SAYS = {
    1: "ERROR: versions: 1, 2\nERROR: No matching distribution\n\n[notice] A new release of pip\n",
    -9: "WARNING: Retrying\nLooking in indexes\n",
}


@pytest.mark.parametrize(
    ("name", "brought", "code", "message"),
    [
        ("toy-1.0-py3-none-any.whl", {"toy-1.0-py3-none-any.whl": CONTENT}, 0, ""),
        ("toy-1.0.tar.gz", {"toy-1.0.tar.gz": CONTENT}, 0, ""),
        (
            "toy-1.0.tar.gz",
            {"toy-1.1.tar.gz": CONTENT},
            0,
            r"pip:toy==1\.0: pip brought toy-1\.1\.tar\.gz instead",
        ),
        ("toy-1.0.tar.gz", {"toy-1.0.tar.gz": b"x"}, 0, r"pip:toy==1\.0: has 1 bytes, expected 10240"),
        ("toy-1.0.tar.gz", {}, 1, r"pip:toy==1\.0: pip failed: ERROR: No matching distribution"),
        ("toy-1.0.tar.gz", {}, -9, r"pip:toy==1\.0: pip failed: Looking in indexes"),
        ("toy-1.0.tar.gz", {}, -15, r"pip:toy==1\.0: pip failed: no message"),
    ],
)
def test_pip_mirrors(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    brought: dict[str, bytes],
    code: int,
    message: str,
) -> None:
    commands: list[list[str]] = []

    def pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        for file, content in brought.items():
            (Path(command[command.index("-d") + 1]) / file).write_bytes(content)
        return subprocess.CompletedProcess(command, code, stderr=PIP_SAYS.get(code, ""))

    monkeypatch.setattr(subprocess, "run", pip)
    listed = archive("pip:toy==1.0", name=name)
    if message:
        with pytest.raises(FetchError, match=message):
            fetch(listed, tmp_path)
        assert not list(tmp_path.iterdir())
    else:
        assert fetch(listed, tmp_path).read_bytes() == CONTENT
        assert os.listdir(tmp_path) == [name]
    assert commands[0][:5] == [sys.executable, "-m", "pip", "download", "--no-deps"]
    assert ("--only-binary" in commands[0], "--no-binary" in commands[0]) == (
        name.endswith(".whl"),
        not name.endswith(".whl"),
    )
    assert commands[0][-1] == "toy==1.0"


def test_a_name_is_no_pattern_in_the_local_mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "corpus[1]*.gz").write_bytes(CONTENT)
    (tmp_path / "corpus1.gz").write_bytes(CONTENT)
    monkeypatch.setenv(module.MIRROR_VARIABLE, str(tmp_path))
    got = fetch(archive(name="corpus[1]*.gz"), tmp_path / "cache")
    assert got == tmp_path / "a" / "corpus[1]*.gz"


@pytest.mark.parametrize("kind", ["long", "file", "folder", "part", "full"])
def test_a_fault_of_the_cache_is_one_message(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    cache, name = tmp_path / "cache", "x" * 300 if kind == "long" else "corpus.gz"
    if kind == "file":
        cache.write_text("no folder")
    elif kind in ("folder", "part"):
        (cache / ("corpus.gz" if kind == "folder" else "corpus.gz.part")).mkdir(parents=True)
    elif kind == "full":
        usage = shutil.disk_usage(tmp_path)._replace(free=len(CONTENT) - 1)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(
        FetchError, match=rf"^{name}: cannot be kept as .*{name} \(.*\); mend .*NMTKD_ARCHIVE_CACHE$"
    ):
        fetch(archive(f"{server.address}/good", name=name), cache)


def test_a_part_needs_room_for_its_rest_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpus.gz.part").write_bytes(CONTENT[:5000])
    usage = shutil.disk_usage(tmp_path)._replace(free=len(CONTENT) - 5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert fetch(archive(f"{server.address}/good"), tmp_path).read_bytes() == CONTENT


def test_a_file_of_the_local_mirror_that_cannot_be_read_is_one_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "corpus.gz").write_bytes(CONTENT)
    monkeypatch.setenv(module.MIRROR_VARIABLE, str(tmp_path))
    monkeypatch.setitem(checksums.KINDS, "sha256", denied)
    with pytest.raises(FetchError, match=r"corpus\.gz: cannot be read \(Permission denied\)\n.*remedy"):
        fetch(archive(), tmp_path / "cache")


def test_two_processes_fetch_an_archive_once(
    server: Server, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Clones may share a cache; both would write into one NAME.part."""
    listed = archive(f"{server.address}/good")
    threads = [threading.Thread(target=fetch, args=(listed, tmp_path)) for _ in range(2)]
    with locks.held(tmp_path / ".corpus.gz.lock", "another clone"):
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        assert server.requests == []
    for thread in threads:
        thread.join()
    assert server.requests == [("/good", None)]
    assert os.listdir(tmp_path) == ["corpus.gz"]
    assert f"[fetch corpus.gz] waiting for process {os.getpid()} on " in capfd.readouterr().err


def test_cache_that_nobody_may_write_serves_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpus.gz").write_bytes(CONTENT)

    def held(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(locks, "held", held)
    assert fetch(archive(), tmp_path) == tmp_path / "corpus.gz"
