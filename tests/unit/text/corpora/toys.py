"""What the tests of readers share: definitions of invented corpora."""

from pathlib import Path
from typing import Any

from nmtkd.plan.data import Archive, Corpus

CONF = Path(__file__).resolve().parents[4] / "conf" / "corpus"
COMMIT = "0123456789" * 4


def corpus(reader: str, **changes: Any) -> Corpus:
    values = {
        "name": "toy",
        "reader": reader,
        "source": "en",
        "target": "de",
        "tests": ["test"],
        "archives": [],
        "folder": "conf/corpus",
        "license": "CC0",
    }
    return Corpus.model_validate(values | changes)


def archive(name: str) -> Archive:
    return Archive(name=name, sha256="0" * 64, bytes=1, mirrors=[f"https://nowhere/{COMMIT}/{name}"])


def read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").removesuffix("\n").split("\n")
