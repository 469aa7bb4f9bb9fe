"""Archives: from a local mirror, from the cache, or fetched.

Nothing is handed on before all that is known of it (size, checksums, the first download) is right.
"""

from __future__ import annotations

import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from nmtkd import locks
from nmtkd.plan.data import Archive
from nmtkd.text.corpora.checksums import described, mismatch, note_first, published
from nmtkd.text.corpora.download import SHOWN, MirrorError, download, say

# These two are facts of the machine, so they come from the environment.
MIRROR_VARIABLE = "NMTKD_ARCHIVES"  # a folder of archives that were fetched before
CACHE_VARIABLE = "NMTKD_ARCHIVE_CACHE"  # the folder where fetched archives are kept
DEFAULT_CACHE = Path(".archives")  # outside every DVC output: `dvc repro --force` then needs no network
PIP_SPEC = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9][A-Za-z0-9.!+_-]*")


class FetchError(ValueError):
    """An archive that no mirror gives, or that cannot be unpacked safely."""


def cache_folder() -> Path:
    """Where fetched archives are kept."""
    return Path(os.environ.get(CACHE_VARIABLE) or DEFAULT_CACHE)


def fetch(archive: Archive, folder: Path) -> Path:
    """A verified copy of `archive`.

    It comes from the folder that NMTKD_ARCHIVES names, from the cache `folder`, or from its mirrors in order.

    Raises FetchError that lists every place that was tried, with the reason and the remedy.
    """
    name = archive.name
    if name in ("", ".", "..") or set(name) & {*"/\\"} or not name.isprintable():
        raise FetchError(
            f"corpus.archives: {name!r} must be a file name without a folder: no / or \\, no control "
            "character, not empty, not . or ..; rename it"
        )
    problems: list[str] = []
    try:
        if published(archive) and (local := _local(archive, folder, problems)):
            return local
        with locks.held(folder / f".{name}.lock", f"fetch {name}"):  # clones may share the cache
            if published(archive):
                return _into_cache(archive, folder, problems)
            # Which file is the first is decided under the lock.
            path = _local(archive, folder, problems) or _into_cache(archive, folder, problems)
            if told := note_first(path, archive, folder):
                say(told)
            return path
    except OSError as error:
        raise FetchError(
            f"{name}: cannot be kept as {folder / name} ({error}); "
            f"mend that, or name another folder in {CACHE_VARIABLE}"
        ) from None


def _local(archive: Archive, folder: Path, problems: list[str]) -> Path | None:
    cached = folder / archive.name
    return _in_mirror_folder(archive, folder, problems) or (
        cached if cached.is_file() and not mismatch(cached, archive, folder) else None
    )


def _into_cache(archive: Archive, folder: Path, problems: list[str]) -> Path:
    """The archive in the cache, fetched where it must be. `problems` lists what was tried before.

    Raises FetchError, and OSError for a fault of the disk. Nothing else writes into the cache.
    """
    cached = folder / archive.name
    if cached.is_file():
        if not (fault := mismatch(cached, archive, folder)):
            return cached
        problems.append(say(f"{cached}: {fault}; deleted"))
        cached.unlink()
    part = _part(cached)
    missing = (archive.bytes or 0) - (part.stat().st_size if part.exists() else 0)
    if (free := shutil.disk_usage(folder).free) < missing:
        raise OSError(f"{missing} bytes are to come, {free} are free there")
    for mirror in archive.mirrors:
        say(f"{archive.name}: fetching from {mirror}")
        try:
            if mirror.startswith("pip:"):
                _from_pip(archive, mirror.removeprefix("pip:"), cached)
            elif mirror.startswith(("http://", "https://")):
                _from_http(archive, mirror, cached)
            else:
                raise MirrorError("is neither pip:NAME==VERSION nor an http(s) address")
        except MirrorError as error:
            problems.append(say(f"{mirror}: {error}"))
        else:
            return cached
    raise FetchError(
        f"{archive.name}: could not be had\n"
        + "".join(f"  {problem}\n" for problem in problems or ["corpus.archives names no mirror for it"])
        + f"  remedy: fetch it by other means ({described(archive)}), "
        f"put it into any folder under this name and set {MIRROR_VARIABLE} to that folder; "
        "or add a mirror to corpus.archives"
    )


def _in_mirror_folder(archive: Archive, folder: Path, problems: list[str]) -> Path | None:
    if not (named := os.environ.get(MIRROR_VARIABLE)):
        return None
    candidates = sorted(path for path in Path(named).rglob(glob.escape(archive.name)) if path.is_file())
    for path in candidates:
        try:
            fault = mismatch(path, archive, folder)
        except OSError as error:
            fault = f"cannot be read ({error.strerror})"
        if not fault:
            return path
        problems.append(say(f"{path}: {fault}"))  # the file is the user's, so it is not deleted
    if not candidates:
        lack = f"no {archive.name} in it" if Path(named).is_dir() else "no such folder"
        problems.append(say(f"{MIRROR_VARIABLE}={named}: {lack}"))
    return None


def _from_pip(archive: Archive, spec: str, destination: Path) -> None:
    if not PIP_SPEC.fullmatch(spec):
        raise MirrorError("must be pip:NAME==VERSION")
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
        done = subprocess.run(
            command,
            stdout=sys.stderr,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode:
            lines = done.stderr.splitlines()
            errors = [line for line in lines if line.startswith("ERROR")] or lines or ["no message"]
            # The last error sums up; earlier ones list every version that exists.
            raise MirrorError(f"pip failed: {errors[-1][-SHOWN:]}")
        path = Path(folder) / archive.name
        if not path.is_file():
            raise MirrorError(f"pip brought {', '.join(sorted(os.listdir(folder))) or 'nothing'} instead")
        if fault := mismatch(path, archive, destination.parent):
            raise MirrorError(fault)
        os.replace(path, destination)


def _part(destination: Path) -> Path:
    return destination.with_name(f"{destination.name}.part")


def _from_http(archive: Archive, url: str, destination: Path) -> None:
    """Downloads to NAME.part, resuming an earlier try, and moves it into place once verified."""
    part = _part(destination)
    for resumed in (True, False) if part.exists() else (False,):
        download(archive, url, part)
        if not (fault := mismatch(part, archive, destination.parent)):
            os.replace(part, destination)
            return
        part.unlink()
        if not resumed:
            raise MirrorError(fault)
        say(f"{url}: {fault}; the part on disk may stem from another mirror: starting over")
