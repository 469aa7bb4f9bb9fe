"""The user's own files: {train,valid,TEST}.{src,tgt} in a folder, and {valid,TEST}.groups where given."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from pathlib import Path

from nmtkd.plan.data import Corpus
from nmtkd.plan.layout import GROUPS
from nmtkd.text.corpora.tally import CorpusError, Tally
from nmtkd.text.parallel import ParallelTextError, copy_pair, read_lines, write_lines


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
    if missing := [str(path) for sides in paths.values() for path in sides if not path.is_file()]:
        raise CorpusError(
            f"corpus.folder: {corpus.folder}: {len(missing)} files missing: {', '.join(missing)}; "
            "see docs/corpora.md"
        )
    tally, problems = Tally(), []
    for split, sides in paths.items():
        try:
            tally.pairs[split] = copy_pair(*sides, out, split)
            if split != "train" and (groups := folder / f"{split}.{GROUPS}").is_file():
                write_lines(out / groups.name, read_lines(groups))
        except ParallelTextError as error:
            problems.append(str(error))
    if problems:
        raise ParallelTextError("\n".join(problems))
    tally.facts["version"] = f"sha256 {_joint_hash(itertools.chain.from_iterable(paths.values()))}"
    return tally


def _joint_hash(paths: Iterable[Path]) -> str:
    """SHA-256 of the files' contents, one after another: train, valid, tests."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)  # updates this digest instead of a new one
    return digest.hexdigest()
