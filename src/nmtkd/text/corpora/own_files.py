"""The user's own files: {train,valid,TEST}.{src,tgt} in a folder, and {valid,TEST}.groups where given."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterable
from pathlib import Path

from nmtkd.outputs import is_full
from nmtkd.plan.data import Corpus
from nmtkd.plan.layout import GROUPS
from nmtkd.text.corpora.tally import CorpusError, Tally, refuse_nul
from nmtkd.text.parallel import ParallelTextError, blocks, copy_pair, decode_lines, write_lines


def read(corpus: Corpus, archives: dict[str, Path], out: Path) -> Tally:
    """Checks the files of corpus.folder and copies them, some lines at a time.

    Nothing is changed or dropped: what breaks the contract is an error.
    """
    folder = Path(corpus.folder)
    splits = ["train", "valid", *corpus.tests]
    if clash := sorted({name for name in splits if splits.count(name) > 1}):
        raise CorpusError(
            f"corpus.tests: {', '.join(clash)}: stands twice, or is no name for a test set; rename it"
        )
    paths = {split: (folder / f"{split}.src", folder / f"{split}.tgt") for split in splits}
    groups = {split: folder / f"{split}.{GROUPS}" for split in splits if split != "train"}
    groups = {split: path for split, path in groups.items() if os.path.lexists(path)}
    _check_kinds(corpus, [*itertools.chain.from_iterable(paths.values()), *groups.values()])
    tally, problems = Tally(), []
    for split, sides in paths.items():
        try:
            tally.pairs[split] = copy_pair(*sides, out, split)
            for path in sides:
                refuse_nul(blocks(path), str(path))
            if split in groups:
                content = groups[split].read_bytes()
                refuse_nul([content], str(groups[split]))
                write_lines(out / groups[split].name, decode_lines(content, str(groups[split])))
        except ParallelTextError as error:
            problems.append(str(error))
        except OSError as error:
            if is_full(error):
                raise
            problems.append(f"{error.filename or folder}: {error.strerror}; mend it and try again")
    if problems:
        raise ParallelTextError("\n".join(problems))
    tally.facts["version"] = f"sha256 {_joint_hash(itertools.chain.from_iterable(paths.values()))}"
    return tally


def _check_kinds(corpus: Corpus, paths: list[Path]) -> None:
    """Raises CorpusError that lists every path that is no file with text in it."""
    problems = []
    if missing := [str(path) for path in paths if not os.path.lexists(path)]:
        problems.append(f"{len(missing)} files missing: {', '.join(missing)}")
    for path in paths:
        if os.path.lexists(path) and (fault := _kind_fault(path)):
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


def _joint_hash(paths: Iterable[Path]) -> str:
    """SHA-256 of the files' contents, one after another: train, valid, tests."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)  # updates this digest instead of a new one
    return digest.hexdigest()
