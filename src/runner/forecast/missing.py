"""What a plan lacks: archives that cannot be had, disk, memory."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import requests

from nmtkd import outputs
from nmtkd.plan.data import Archive, Corpus
from nmtkd.text.corpora import fetch, readers

TIMEOUT = 5.0  # seconds that a mirror has to answer
PIP, FILES = "pip:", "file:"


def archives(corpus: Corpus) -> list[str]:
    """A line for each archive that is neither in the cache nor offered by a mirror."""
    folder = fetch.cache_folder()
    try:
        needed = readers.needed(corpus)
    except (ValueError, OSError) as error:
        return [str(error)]
    lines = []
    for archive in needed:
        if _kept(archive, folder):
            continue
        if not archive.mirrors:
            lines.append(f"{archive.name}: it has no mirror; put it into {folder} by hand")
        elif not _offered(archive):
            lines.append(f"{archive.name}: not in {folder}, and none of its mirrors answers from here")
    return lines


def _kept(archive: Archive, folder: Path) -> bool:
    """Whether a file of its name is in the cache, or in the folder of archives that were fetched before."""
    named = os.environ.get(fetch.MIRROR_VARIABLE)
    by_hand = Path(named).rglob(glob.escape(archive.name)) if named else ()
    return (folder / archive.name).exists() or any(by_hand)


def _offered(archive: Archive) -> bool:
    return any(_answers(mirror) for mirror in archive.mirrors)


def _answers(mirror: str) -> bool:
    """Whether a mirror has its file. pip is trusted: what it knows is asked by downloading."""
    if mirror.startswith(PIP):
        return True
    if mirror.startswith(FILES):
        return Path(mirror.removeprefix(FILES)).exists()
    try:
        with requests.get(mirror, timeout=TIMEOUT, stream=True) as answer:
            return answer.ok
    except requests.RequestException:
        return False


def disk(need: float, folder: Path) -> list[str]:
    """A line where a disk has not so many bytes left."""
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if need <= free:
        return []
    return [f"disk: {outputs.size(int(need))} are needed, {outputs.size(free)} are free on that of {there}"]


def memory(models: Sequence[tuple[str, float]], gb: float, where: str) -> list[str]:
    """A line for each model whose training takes more than `gb`."""
    return [
        f"memory: {name} takes about {bytes_ / 1e9:.0f} GB in training, {where} has {gb:.0f}; "
        "lower its max_tokens and raise accumulate as much"
        for name, bytes_ in models
        if bytes_ > gb * 1e9
    ]
