"""The user's own files: a folder with a pair of files, or one TSV, for train, valid and each test set.

A split is SPLIT.src and SPLIT.tgt, or SPLIT.tsv; any of them may be packed by gzip, with .gz behind its name.
SPLIT.groups of a held-out set may be there too.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from nmtkd.outputs import is_full
from nmtkd.plan.data import Corpus
from nmtkd.plan.layout import GROUPS, TRAIN, VALID
from nmtkd.text.corpora import tsv
from nmtkd.text.corpora.fetch import FetchError
from nmtkd.text.corpora.tally import CorpusError, Tally, refuse_nul
from nmtkd.text.corpora.unpack import take_gz
from nmtkd.text.parallel import ParallelTextError, blocks, copy_pair, decode_lines, write_lines

PACKED = ".gz"
FORMS = "SPLIT.src and SPLIT.tgt, or SPLIT.tsv, each also with .gz behind"


def read(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Checks the files of corpus.folder and copies them, some lines at a time.

    Nothing is changed or dropped: what breaks the contract is an error. The version on the card is the hash
    of the text's files as they lie in the folder, packed or not: to pack them anew changes it.
    """
    folder = Path(corpus.folder)
    splits = [TRAIN, VALID, *corpus.tests]
    paths = {split: _split_files(folder, split) for split in splits}
    groups = {split: _present(folder, f"{split}.{GROUPS}") for split in splits if split != TRAIN}
    _check_forms(corpus, paths, groups)
    tally, problems = Tally(), []
    for split, files in paths.items():
        try:
            tally.pairs[split] = _copy(files, groups.get(split, []), out, split)
        except (ParallelTextError, FetchError) as error:
            problems.append(str(error))
        except OSError as error:
            if is_full(error):
                raise
            problems.append(f"{error.filename or folder}: {error.strerror}; mend it and try again")
    if problems:
        raise ParallelTextError("\n".join(problems))
    tally.facts["version"] = f"sha256 {_joint_hash(itertools.chain.from_iterable(paths.values()))}"
    return tally


def _present(folder: Path, name: str) -> list[Path]:
    """The file of this name and the packed one, where they are there."""
    return [path for path in (folder / name, folder / f"{name}{PACKED}") if os.path.lexists(path)]


def _split_files(folder: Path, split: str) -> list[Path]:
    """The files that there are of a split, in whatever forms."""
    return [path for side in ("src", "tgt", "tsv") for path in _present(folder, f"{split}.{side}")]


def _stem(path: Path) -> str:
    return path.name.removesuffix(PACKED)


def _check_forms(corpus: Corpus, paths: dict[str, list[Path]], groups: dict[str, list[Path]]) -> None:
    """Raises CorpusError that lists every file that is missing, stands there twice or has no text in it."""
    missing, problems = list[str](), list[str]()
    for split, files in paths.items():
        names = [_stem(path) for path in files]
        if f"{split}.tsv" in names:
            clash = files if len(files) > 1 else []
        else:
            sides = (f"{split}.src", f"{split}.tgt")
            missing += [f"{Path(corpus.folder) / side}" for side in sides if side not in names]
            clash = [path for path in files if names.count(_stem(path)) > 1]
        for several in (clash, groups.get(split, [])):
            if len(several) > 1:
                shown = " and ".join(path.name for path in several)
                problems.append(f"{split} has {shown}: two forms of one text; remove all but one")
    if missing:
        problems.insert(0, f"{len(missing)} files missing: {', '.join(missing)} (a split is {FORMS})")
    for path in itertools.chain(*paths.values(), *groups.values()):
        if fault := _kind_fault(path):
            problems.append(f"{path} {fault}")
    if problems:
        raise CorpusError(
            "\n".join(f"corpus.folder: {corpus.folder}: {each}; see docs/corpora.md" for each in problems)
        )


def _kind_fault(path: Path) -> str:
    try:
        if path.is_file():
            return "" if path.stat().st_size else "is empty; write a segment a line"
        if path.is_dir():
            return "is a folder; put a file there"
        return "is a pipe or a device; put a file there" if path.exists() else "is a link to nothing; mend it"
    except OSError as error:  # a loop of links, a folder that may not be read
        return f"cannot be read ({error.strerror})"


def _copy(files: list[Path], groups: list[Path], out: Path, split: str) -> int:
    """Writes the text of a split and its groups. Returns the number of pairs."""
    with tempfile.TemporaryDirectory(dir=out, prefix=".unpacked-") as folder:
        plain = [_unpacked(path, Path(folder)) for path in files]
        if len(files) == 1:
            count = tsv.copy(plain[0], out, split, str(files[0]))
        else:
            count = copy_pair(plain[0], plain[1], out, split, (str(files[0]), str(files[1])))
        for path, packed in zip(plain, files, strict=True):
            refuse_nul(blocks(path), str(packed))
        for packed in groups:
            content = _unpacked(packed, Path(folder)).read_bytes()
            refuse_nul([content], str(packed))
            write_lines(out / f"{split}.{GROUPS}", decode_lines(content, str(packed)))
    return count


def _unpacked(path: Path, folder: Path) -> Path:
    """The path itself, or of a packed file its content, which ends with this call's folder."""
    return take_gz(path, folder / _stem(path)) if path.name.endswith(PACKED) else path


def _joint_hash(paths: Iterable[Path]) -> str:
    """SHA-256 of the files' contents, one after another: train, valid, tests."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)  # updates this digest instead of a new one
    return digest.hexdigest()
