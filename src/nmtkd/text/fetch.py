"""Archives: found in a local mirror, in the cache, or fetched; nothing is handed on before its size and checksum are right."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import os
import re
import ssl
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from nmtkd import machine
from nmtkd.params import Archive

# Facts of the machine, so they come from the environment: a folder of archives that were fetched before, and where fetched ones are kept.
SHOWN = 300  # characters of a message of pip's: its last line, without the list of all versions there are
UNIX_MODE = 16  # bits of a zip entry's external attributes below its Unix mode (the format's definition)
MIRROR_VARIABLE = "NMTKD_ARCHIVES"
CACHE_VARIABLE = "NMTKD_ARCHIVE_CACHE"
DEFAULT_CACHE = Path(".archives")  # outside every DVC output: `dvc repro --force` then needs no network

# None of these can change what is fetched, only how patiently.
TIMEOUT_S = 60.0
ATTEMPTS = 4
BACKOFF_S = 1.0  # doubles with each attempt
CHUNK = 1 << 20
PASSING_STATUS = (408, 416, 429)  # timeout, unsatisfiable range (the part is dropped), too many requests: of 4xx, those to ask again after
PIP_SPEC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")


class FetchError(ValueError):
    """An archive that no mirror gives, or that cannot be unpacked safely."""


class _MirrorError(Exception):
    """Why one mirror failed; collected into the FetchError."""


def cache_folder() -> Path:
    """Where fetched archives are kept."""
    return Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE)


def fetch(archive: Archive, folder: Path) -> Path:
    """A verified copy of `archive`: from the folder that NMTKD_ARCHIVES names, from `folder`, or from its mirrors in order.

    Raises FetchError that lists every place that was tried, with the reason and the remedy.
    """
    if PurePosixPath(archive.name).name != archive.name:
        raise FetchError(f"corpus.archives: {archive.name!r} must be a file name without a folder")
    problems: list[str] = []
    if found := _in_mirror_folder(archive, problems):
        return found
    kept = folder / archive.name
    if kept.is_file():
        if not (fault := mismatch(kept, archive)):
            return kept
        problems.append(_say(f"{kept}: {fault}; deleted"))
        kept.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    for mirror in archive.mirrors:
        _say(f"{archive.name}: fetching from {mirror}")
        try:
            if mirror.startswith("pip:"):
                _from_pip(archive, mirror.removeprefix("pip:"), kept)
            elif mirror.startswith(("http://", "https://")):
                _from_http(archive, mirror, kept)
            else:
                raise _MirrorError("is neither pip:NAME==VERSION nor an http(s) address")
        except _MirrorError as error:
            problems.append(_say(f"{mirror}: {error}"))
        else:
            return kept
    raise FetchError(
        f"{archive.name}: could not be had\n"
        + "".join(f"  {problem}\n" for problem in problems or ["corpus.archives names no mirror for it"])
        + f"  remedy: fetch it by other means (sha256 {archive.sha256}, {archive.bytes} bytes), put it into any folder and set "
        f"{MIRROR_VARIABLE} to that folder; or add a mirror to corpus.archives"
    )


def mismatch(path: Path, archive: Archive) -> str:
    """What is wrong with a file's size or checksum, or "" if it is the archive."""
    size = path.stat().st_size
    if size != archive.bytes:
        return f"has {size} bytes, expected {archive.bytes}"
    with path.open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
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
        problems.append(_say(f"{path}: {fault}"))  # it is the user's: said, not deleted
    if not candidates:
        lack = f"no {archive.name} in it" if Path(named).is_dir() else "no such folder"
        problems.append(_say(f"{MIRROR_VARIABLE}={named}: {lack}"))
    return None


def _from_pip(archive: Archive, spec: str, kept: Path) -> None:
    if not PIP_SPEC.fullmatch(spec):
        raise _MirrorError("must be pip:NAME==VERSION")
    form = "--only-binary" if archive.name.endswith(".whl") else "--no-binary"
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".pip-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--ignore-requires-python", "--no-input"]
        command += ["--disable-pip-version-check", form, ":all:", "-d", folder, spec]
        done = subprocess.run(command, stdout=sys.stderr, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines() or ["no message"]
            raise _MirrorError(f"pip failed: {errors[-1][-SHOWN:]}")  # the last one sums up; earlier ones list every version there is
        path = Path(folder) / archive.name
        if not path.is_file():
            raise _MirrorError(f"pip brought {', '.join(sorted(os.listdir(folder))) or 'nothing'} instead")
        if fault := mismatch(path, archive):
            raise _MirrorError(fault)
        os.replace(path, kept)


def _from_http(archive: Archive, url: str, kept: Path) -> None:
    """Downloads to NAME.part, going on where an earlier try stopped, and moves it into place once verified."""
    part = kept.with_name(kept.name + ".part")
    for resumed in (True, False) if part.exists() else (False,):
        _download(archive, url, part)
        if not (fault := mismatch(part, archive)):
            os.replace(part, kept)
            return
        part.unlink()
        if not resumed:
            raise _MirrorError(fault)
        _say(f"{url}: {fault}; the part on disk may stem from another mirror: starting over")


def _download(archive: Archive, url: str, part: Path) -> None:
    """Leaves exactly archive.bytes bytes in `part`. Raises _MirrorError; what has arrived by then stays for the next try."""
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
        except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
            reason = f"no answer ({getattr(error, 'reason', error) or type(error).__name__})"
    raise _MirrorError(f"{reason}; gave up after {ATTEMPTS} attempts")


def _receive(archive: Archive, url: str, part: Path, have: int) -> None:
    """One request. Appends to `part` if the server goes on at byte `have`, else writes it anew."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
        goes_on = response.status == http.HTTPStatus.PARTIAL_CONTENT
        if goes_on and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            raise http.client.HTTPException("answers with another range than asked for")
        have = have if goes_on else 0
        announced = response.headers.get("Content-Length")
        if announced and have + int(announced) != archive.bytes:
            raise _MirrorError(f"offers a file of {have + int(announced)} bytes, expected {archive.bytes}")
        with part.open("ab" if goes_on else "wb") as stream:
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


def unpack(archive: Path, folder: Path) -> None:
    """Unpacks .zip, .whl, .tar, .tar.gz, .tgz or .gz as `folder`, whole or not at all.

    Raises FetchError for a corrupt archive, an unknown kind, and any member that is a link, a device or lies outside `folder`.
    """
    try:
        with machine.whole(folder) as part:
            if archive.name.endswith((".zip", ".whl")):
                with zipfile.ZipFile(archive) as opened_zip:
                    for info in opened_zip.infolist():
                        _check_member(archive, info.orig_filename, not stat.S_ISLNK(info.external_attr >> UNIX_MODE))
                    opened_zip.extractall(part)
            elif archive.name.endswith((".tar", ".tar.gz", ".tgz")):
                with tarfile.open(archive, "r:" if archive.name.endswith(".tar") else "r:gz") as opened_tar:
                    for member in opened_tar.getmembers():
                        _check_member(archive, member.name, member.isfile() or member.isdir())
                    # Python before 3.11.4 has no filters; by now every member is a plain file or folder inside.
                    if hasattr(tarfile, "data_filter"):
                        opened_tar.extractall(part, filter="data")
                    else:
                        opened_tar.extractall(part)
            elif archive.name.endswith(".gz"):
                (part / archive.name.removesuffix(".gz")).write_bytes(gunzip(archive))
            else:
                raise FetchError(f"{archive}: unknown kind; known: .zip, .whl, .tar, .tar.gz, .tgz, .gz")
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise FetchError(f"{archive}: corrupt ({error}); delete it and fetch it again") from None


def _check_member(archive: Path, name: str, plain: bool) -> None:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", name):
        raise FetchError(f"{archive}: {name!r} would be written outside its folder; the archive is refused")
    if not plain:  # a chain of links, each one inside the folder, can still lead out of it: no link at all is let in
        raise FetchError(f"{archive}: {name!r} is a link or a device; an archive that holds one is refused")
