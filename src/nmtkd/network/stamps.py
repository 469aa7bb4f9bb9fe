"""Whether a model is the one that training wrote, and was trained on the text at hand: by hashes."""

from __future__ import annotations

import re
from pathlib import Path

from nmtkd.files import SHOWN, damaged, read_text
from nmtkd.network.fairseq_bridge import SOURCE, TARGET, ModelError, model_hash
from nmtkd.plan.layout import HASH, MODEL

DIGEST = re.compile("[0-9a-f]{64}")  # SHA-256


def stamp(folder: Path) -> str:
    """The hash of a folder's model by the file that training wrote. The model itself need not be there.

    Raises files.DamagedError if the file is missing or holds no hash.
    """
    found = read_text(folder / HASH).strip()
    if not DIGEST.fullmatch(found):
        raise damaged(folder / HASH, f"must hold a SHA-256, holds {found[:SHOWN]!r}")
    return found


def stamped_hash(folder: Path) -> str:
    """model_hash, checked against the file that training wrote.

    Raises ModelError if a member is missing or was changed, files.DamagedError if there is no model.
    """
    if not (folder / MODEL).is_file():
        raise damaged(folder / MODEL, "missing")
    digest = model_hash(folder)
    if digest != stamp(folder):
        raise ModelError(
            f"{folder}: its model files are not those that {HASH} names; "
            f"run `dvc checkout --force {folder}`, or `dvc pull {folder}`"
        )
    return digest


def checked_hash(folder: Path, dictionary: Path) -> str:
    """stamped_hash of a model that is about to be used with text in the pieces of `dictionary`.

    Raises ModelError if its own dictionaries are other ones: it was trained on another corpus or other codes.
    """
    digest = stamped_hash(folder)
    wanted = read_text(dictionary)
    for own in (folder / f"dict.{side}.txt" for side in (SOURCE, TARGET)):
        if read_text(own) != wanted:
            raise ModelError(
                f"{own}: not {dictionary}, the dictionary of the text at hand: the model was trained on "
                f"other text; train it again, or run `dvc checkout --force {folder} {dictionary.parent}`"
            )
    return digest
