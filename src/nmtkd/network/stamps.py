"""Whether a model is the one that training wrote, and was trained on the text at hand: by hashes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nmtkd.files import SHOWN, damaged, file_hash, read_object, read_text
from nmtkd.network.fairseq_bridge import SOURCE, TARGET, Dictionaries, ModelError, dictionary_of, model_hash
from nmtkd.plan.layout import CARD, DICTIONARIES, HASH, MODEL, model_dir

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


def card_of(run: Path, *names: str) -> dict[str, Any]:
    """The card of a trained run, which must have these entries.

    Raises files.DamagedError if it has not, or is the card of another model than the one beside it.
    """
    card, own = read_object(run / CARD, "model", *names), stamp(model_dir(run))
    if card["model"] != own:
        raise damaged(
            run / CARD, f"of model {str(card['model'])[:SHOWN]}, the one beside it is {own[:SHOWN]}"
        )
    return card


def checked_hash(folder: Path, allowed: Iterable[Dictionaries] = DICTIONARIES.values()) -> str:
    """stamped_hash of a model that is about to be used with text in the pieces of these dictionaries.

    Raises ModelError if its own are none of the `allowed` pairs: it was trained on another corpus, with other
    codes, or with embeddings of the other kind.
    """
    digest, pairs = stamped_hash(folder), list(allowed)
    own = [dictionary_of(folder, side) for side in (SOURCE, TARGET)]
    texts = [read_text(path) for path in own]
    fits = [[read_text(path) == text for path, text in zip(pair, texts, strict=True)] for pair in pairs]
    if not any(map(all, fits)):
        side = int(
            any(source for source, _ in fits)
        )  # the source's, or else the target's that is not its own
        named = " or ".join(dict.fromkeys(str(pair[side]) for pair in pairs))
        raise ModelError(
            f"{own[side]}: not {named}, the dictionary of the text at hand: the model was trained on "
            f"other text; train it again, or run `dvc checkout --force {folder} {pairs[0][side].parent}`"
        )
    return digest


def dictionary_hash(folder: Path) -> str:
    """Content hash of a model's target dictionary: that of the tokens it writes and scores."""
    return file_hash(dictionary_of(folder, TARGET))
