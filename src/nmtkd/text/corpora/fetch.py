"""Archives: from a local mirror, from the cache, or fetched.

Nothing is handed on before its size and checksum are right.
"""

from __future__ import annotations

import gzip
import http.client
import os
import re
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path, PurePosixPath

from nmtkd import machine
from nmtkd.files import file_hash
from nmtkd.plan.data import Archive

SHOWN = 300  # characters of pip's message: its last line, without the list of all versions that exist

# These two are facts of the machine, so they come from the environment.
MIRROR_VARIABLE = "NMTKD_ARCHIVES"  # a folder of archives that were fetched before
CACHE_VARIABLE = "NMTKD_ARCHIVE_CACHE"  # the folder where fetched archives are kept
DEFAULT_CACHE = Path(".archives")  # outside every DVC output: `dvc repro --force` then needs no network

# These set how patient a download is; they cannot change what is fetched.
TIMEOUT_S = 60.0
ATTEMPTS = 4
BACKOFF_S = 1.0  # doubles with each attempt
CHUNK = 1 << 20  # bytes read at a time
# 4xx statuses to retry after: timeout, unsatisfiable range (the part is dropped), too many requests.
PASSING_STATUS = (408, 416, 429)
# Errors to retry after.
NO_ANSWER = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError)
PIP_SPEC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")


class FetchError(ValueError):
    """An archive that no mirror gives, or that cannot be unpacked safely."""


class _MirrorError(Exception):
    """Why one mirror failed; collected into the FetchError."""


def cache_folder() -> Path:
    """Where fetched archives are kept."""
    return Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE)


def fetch(archive: Archive, folder: Path) -> Path:
    """A verified copy of `archive`.

    It comes from the folder that NMTKD_ARCHIVES names, from the cache `folder`, or from its mirrors in order.

    Raises FetchError that lists every place that was tried, with the reason and the remedy.
    """
    if PurePosixPath(archive.name).name != archive.name:
        raise FetchError(f"corpus.archives: {archive.name!r} must be a file name without a folder")
    problems: list[str] = []
    if local := _in_mirror_folder(archive, problems):
        return local
    cached = folder / archive.name
    if cached.is_file():
        if not (fault := mismatch(cached, archive)):
            return cached
        problems.append(_say(f"{cached}: {fault}; deleted"))
        cached.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for mirror in archive.mirrors:
        _say(f"{archive.name}: fetching from {mirror}")
        try:
            if mirror.startswith("pip:"):
                _from_pip(archive, mirror.removeprefix("pip:"), cached)
            elif mirror.startswith(("http://", "https://")):
                _from_http(archive, mirror, cached)
            else:
                raise _MirrorError("is neither pip:NAME==VERSION nor an http(s) address")
        except _MirrorError as error:
            problems.append(_say(f"{mirror}: {error}"))
        else:
            return cached
    raise FetchError(
        f"{archive.name}: could not be had\n"
        + "".join(f"  {problem}\n" for problem in problems or ["corpus.archives names no mirror for it"])
        + f"  remedy: fetch it by other means (sha256 {archive.sha256}, {archive.bytes} bytes), "
        f"put it into any folder and set {MIRROR_VARIABLE} to that folder; or add a mirror to corpus.archives"
    )


def mismatch(path: Path, archive: Archive) -> str:
    """What is wrong with a file's size or checksum, or "" if it is the archive."""
    size = path.stat().st_size
    if size != archive.bytes:
        return f"has {size} bytes, expected {archive.bytes}"
    got = file_hash(path)
    return "" if got == archive.sha256 else f"wrong checksum: sha256 {got}, expected {archive.sha256}"


def _say(message: str) -> str:
    print(f"[fetch] {message}", file=sys.stderr, flush=True)
    return message


def _in_mirror_folder(archive: Archive, problems: list[str]) -> Path | None:
    if not (named := os.environ.get(MIRROR_VARIABLE)):
        return None
    candidates = sorted(path for path in Path(named).rglob(archive.name) if path.is_file())
    for path in candidates:
        if not (fault := mismatch(path, archive)):
            return path
        problems.append(_say(f"{path}: {fault}"))  # the file is the user's, so it is not deleted
    if not candidates:
        lack = f"no {archive.name} in it" if Path(named).is_dir() else "no such folder"
        problems.append(_say(f"{MIRROR_VARIABLE}={named}: {lack}"))
    return None


def _from_pip(archive: Archive, spec: str, destination: Path) -> None:
    if not PIP_SPEC.fullmatch(spec):
        raise _MirrorError("must be pip:NAME==VERSION")
    form = "--only-binary" if archive.name.endswith(".whl") else "--no-binary"
    with tempfile.TemporaryDirectory(dir=destination.parent, prefix=".pip-") as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--no-deps",
            "--ignore-requires-python",
            "--no-input",
        ]
        command += ["--disable-pip-version-check", form, ":all:", "-d", folder, spec]
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            lines = done.stderr.splitlines()
            errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no message"]
            # The last error sums up; earlier ones list every version that exists.
            raise _MirrorError(f"pip failed: {errors[-1][-SHOWN:]}")
        path = Path(folder) / archive.name
        if not path.is_file():
            raise _MirrorError(f"pip brought {', '.join(sorted(os.listdir(folder))) or 'nothing'} instead")
        if fault := mismatch(path, archive):
            raise _MirrorError(fault)
        os.replace(path, destination)


def _from_http(archive: Archive, url: str, destination: Path) -> None:
    """Downloads to NAME.part, resuming an earlier try, and moves it into place once verified."""
    part = destination.with_name(destination.name + ".part")
    for resumed in (True, False) if part.exists() else (False,):
        _download(archive, url, part)
        if not (fault := mismatch(part, archive)):
            os.replace(part, destination)
            return
        part.unlink()
        if not resumed:
            raise _MirrorError(fault)
        _say(f"{url}: {fault}; the part on disk may stem from another mirror: starting over")


def _download(archive: Archive, url: str, part: Path) -> None:
    """Leaves exactly archive.bytes bytes in `part`.

    Raises _MirrorError; what has arrived by then stays for the next try.
    """
    reason = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            _say(f"{url}: {reason}; attempt {attempt + 1} of {ATTEMPTS}")
            time.sleep(BACKOFF_S * 2 ** (attempt - 1))
        have = part.stat().st_size if part.exists() else 0
        if have == archive.bytes:
            return
        if have > archive.bytes:
            part.unlink()
            have = 0
        try:
            _receive(archive, url, part, have)
            if (size := part.stat().st_size) == archive.bytes:
                return
            reason = f"the connection ended after {size} of {archive.bytes} bytes"
        except urllib.error.HTTPError as error:
            reason = f"the server answers {error.code} {error.reason}"
            if error.code < http.HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in PASSING_STATUS:
                raise _MirrorError(reason) from None
            if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                part.unlink(missing_ok=True)
        except NO_ANSWER as error:
            reason = f"no answer ({getattr(error, 'reason', error) or type(error).__name__})"
    raise _MirrorError(f"{reason}; gave up after {ATTEMPTS} attempts")


def _receive(archive: Archive, url: str, part: Path, have: int) -> None:
    """One request. Appends to `part` if the server resumes at byte `have`; else writes `part` anew."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        resumes = response.status == http.HTTPStatus.PARTIAL_CONTENT
        content_range = response.headers.get("Content-Range", "")
        if resumes and not content_range.startswith(f"bytes {have}-"):
            raise http.client.HTTPException("answers with another range than asked for")
        have = have if resumes else 0
        announced = response.headers.get("Content-Length")
        if announced and have + int(announced) != archive.bytes:
            raise _MirrorError(f"offers a file of {have + int(announced)} bytes, expected {archive.bytes}")
        with part.open("ab" if resumes else "wb") as stream:
            while chunk := response.read(CHUNK):
                have += len(chunk)
                if have > archive.bytes:
                    raise _MirrorError(f"sends more than the expected {archive.bytes} bytes")
                stream.write(chunk)
                machine.progress("fetch", have, archive.bytes, f"bytes of {archive.name}")


def gunzip(path: Path) -> bytes:
    """The content of a gzip file. Raises FetchError for a corrupt one."""
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FetchError(f"{path}: not a sound gzip file ({error}); delete it and fetch it again") from None
