"""What a kill leaves of DVC's own files, and another program's hold on git: mended, or waited for.

DVC rewrites `.dvc/tmp/rwlock` and `dvc.lock` in place, so that a kill can leave them empty or cut; and an
entry of rwlock names a process by its number alone, which another container may give to anyone.
"""

from __future__ import annotations

import json
import math
import os
import platform
import re
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import psutil
import yaml

RWLOCK = Path(".dvc/tmp/rwlock")
LOCK = Path("dvc.lock")
HOST = re.compile(r"\(on host (.+)\)$")  # how a command of the runner ends, as DVC's lock names it
TORN = (ValueError, TypeError, KeyError, AttributeError)  # of JSON that is cut or has another form
WAITING = 10.0  # seconds between two lines that say what is waited for
LOOK = 0.2  # seconds between two looks

Tell = Callable[[str], None]


def named() -> str:
    """What the runner adds to the command that DVC's locks name: a process number means nothing elsewhere."""
    return f"(on host {platform.node()})"


def living(root: Path, but: int) -> dict[int, str]:
    """Commands of the processes of DVC that work in `root`, by number, without `but`.

    One whose folder may not be seen counts as one of them.
    """
    found = {}
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if process.pid == but or not {"dvc", "runner"} & {Path(word).name for word in words[:4]}:
            continue
        try:
            place = Path(process.cwd())
        except psutil.AccessDenied:
            place = root
        except psutil.Error:
            continue
        if place == root or root in place.parents:
            found[process.pid] = " ".join(words)
    return found


def mend(tell: Tell) -> None:
    """Sets aside a rwlock that would block every command of DVC in this folder, and a dvc.lock that was cut.

    Nothing is touched while a DVC of this workspace lives, or where an entry names another host: then says
    what to do.
    """
    others = living(Path.cwd(), os.getpid())
    for path, fault in ((RWLOCK, _rwlock_fault(others)), (LOCK, _lock_fault())):
        if not fault:
            continue
        if others:
            working = "; ".join(f"{number}: {command}" for number, command in others.items())
            tell(f"{path} {fault}. It is left as it is, since DVC works here ({working}): let that end first")
        elif path == RWLOCK and (hosts := _hosts()):
            tell(f"{path} {fault}, of a run on {', '.join(hosts)}: if nothing runs there any more, delete it")
        else:
            copy = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}")
            path.replace(copy)
            tell(f"{path} {fault}, and no DVC works here: set aside as {copy}; DVC writes a new one")


def _rwlock_fault(others: Collection[int]) -> str:
    """What is wrong with rwlock; "" if nothing is. DVC itself drops entries of processes that are gone."""
    try:
        entries = _entries()
    except FileNotFoundError:
        return ""
    except TORN:
        return "is not whole"
    held = {entry["pid"] for entry in entries if psutil.pid_exists(entry["pid"])} - set(others)
    numbers = ", ".join(map(str, sorted(held)))
    return f"waits for processes that are no DVC of this workspace ({numbers})" if held else ""


def _entries() -> list[dict[str, Any]]:
    content = json.loads(RWLOCK.read_text(encoding="utf-8"))
    entries = [entry for readers in content.get("read", {}).values() for entry in readers]
    entries += content.get("write", {}).values()
    return [{"pid": int(entry["pid"]), "cmd": str(entry["cmd"])} for entry in entries]


def _hosts() -> list[str]:
    """Other hosts that rwlock names."""
    try:
        matches = [HOST.search(entry["cmd"]) for entry in _entries()]
    except TORN:
        return []
    return sorted({match[1] for match in matches if match and match[1] != platform.node()})


def _lock_fault() -> str:
    """What is wrong with dvc.lock; "" if nothing is."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        content = yaml.load(LOCK.read_text(encoding="utf-8"), Loader=loader)
    except FileNotFoundError:
        return ""
    except (yaml.YAMLError, UnicodeDecodeError):
        return "is not whole"
    stages = content.get("stages") if isinstance(content, dict) else None
    whole = isinstance(stages, dict) and all(isinstance(s, dict) and "cmd" in s for s in stages.values())
    return "" if whole else "is not whole"


def wait_for_git(index_lock: Path, tell: Tell) -> None:
    """Returns once no other program writes git's index, whose lock file is `index_lock`."""
    told = -math.inf
    while index_lock.exists():
        now = time.monotonic()
        if now - told >= WAITING:
            tell(f"waiting for {index_lock}: another git command works here; if none does, delete that file")
            told = now
        time.sleep(LOOK)
