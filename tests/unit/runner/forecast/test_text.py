"""runner.forecast.text: sizes that were counted, and sizes that are assumed."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from runner.forecast import text
from tests.unit.runner.forecast.helpers import ASSUMED, experiment


def test_what_bpe_wrote_is_counted(tmp_path: Path) -> None:
    np.save(tmp_path / "lengths.npy", np.array([[3, 5], [5, 9], [7, 4]]))
    (tmp_path / "dict.txt").write_text("a 3\nb 2\nc 1\n")
    (tmp_path / "dict.tgt.txt").write_text("a 3\n")
    (tmp_path / "valid.src").write_text("a\nb\n")
    (tmp_path / "test.src").write_text("a\nb\nc\n")
    (tmp_path / "other.src").write_text("a\n")

    def file(path: str) -> Path | None:
        found = tmp_path / Path(path).name
        return found if found.exists() else None

    found = text.found(file, experiment())
    assert found is not None
    sizes, pieces = found
    # Means of 5 and 6 tokens, of which one is the end; three pieces and fairseq's four.
    assert (sizes.train, sizes.valid, sizes.tests, sizes.source, sizes.target) == (3, 2, 3, 4.0, 5.0)
    assert pieces == 7
    two = text.found(file, experiment(corpus__tests=["test", "other"]))
    assert two is not None and two[0].tests == 3 + 1
    separate = text.found(file, experiment(architecture__embeddings="separate"))
    assert separate is not None
    assert separate[1] == 5
    (tmp_path / "lengths.npy").unlink()
    assert text.found(file, experiment()) is None


def test_what_is_not_there_is_assumed_and_told() -> None:
    sizes, pieces, remarks = text.expected(experiment(corpus__name="known"), ASSUMED)
    assert (sizes.train, sizes.target, remarks) == (5000, 6.0, [])
    assert pieces == 4000 + 4
    # A dictionary of one side has four fifths of the pieces, and fairseq's own ones besides.
    changes = {"corpus__name": "known", "architecture__embeddings": "separate"}
    assert text.expected(experiment(**changes), ASSUMED)[1] == 3200 + 4
    sizes, _, remarks = text.expected(experiment(corpus__name="mine"), ASSUMED)
    assert sizes.train == 7000
    assert list(remarks) == [
        "the size of mine is not known before stage bpe has run: 7,000 pairs are assumed"
    ]
    part, _, _ = text.expected(experiment(corpus__name="known", prepare__train_pairs=800), ASSUMED)
    assert part.train == 800
    more, _, _ = text.expected(experiment(corpus__name="known", prepare__train_pairs=8000), ASSUMED)
    assert more.train == 5000
