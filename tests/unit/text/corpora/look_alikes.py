"""Made-up archives of WIT3 and WMT, with the quirks of the genuine ones."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

TAGS = {
    "drop": ["<url>", "<talkid>", "<keywords>"],
    "strip": ["<title>", "</title>", "<description>", "</description>"],
}


def tgz(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as opened:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
    return path


def train_tags(language: str, talks: int = 2, lines: int = 3) -> bytes:
    """A training file of WIT3: metadata between tags, then a line for each piece of a talk."""
    rows = []
    for talk in range(talks):
        rows += [
            f"<url>http://example.org/{talk}</url>",
            f"<keywords>toy, {language}</keywords>",
            f"<talkid>{talk}</talkid>",
            f"<title>Talk {talk} in {language}</title>",
            f"<description>About {talk} in {language}</description>",
            *(f"Line {line} of talk {talk} in {language}. " for line in range(lines)),
        ]
    return "".join(f"{row}\n" for row in rows).encode()


def xml(language: str, talks: int = 2, segments: int = 3, text: str = "piece") -> bytes:
    """A held-out set of WIT3. Its entities stay as they are, and metadata is no segment."""
    rows = ['<?xml version="1.0" encoding="UTF-8"?>', "<mteval>", f'<srcset srclang="{language}">']
    for talk in range(talks):
        rows += [f'<doc docid="{talk + 7}" genre="lectures">', f"<title>{text} &amp; title</title>"]
        rows += [f'<seg id="{n}">  {text} {n} of {talk}, R&amp;D {language} </seg>' for n in range(segments)]
        rows.append("</doc>")
    return "".join(f"{row}\n" for row in [*rows, "</srcset>", "</mteval>"]).encode()


def sgm(language: str, segments: int = 3) -> bytes:
    """A test set of WMT: raw ampersands and a soft hyphen, which no XML parser takes."""
    rows = [
        f'<srcset setid="toy" srclang="{language}">',
        '<DOC sysid="ref" docid="paper.1" genre="news">',
        "<p>",
    ]
    rows += [f'<seg id="{n}">A & B\u00ad{n} {language} < C</seg>' for n in range(segments)]
    return "".join(f"{row}\n" for row in [*rows, "</p>", "</DOC>", "</srcset>"]).encode()


def wit3_parts(**train: Any) -> dict[str, Any]:
    member = "de-en/train.tags.de-en.{language}"
    return {
        "train": [{"archive": "toy.tgz", "member": member, **train}],
        "test": [{"archive": "toy.tgz", "member": "de-en/toy.{language}.xml", "pairs": 6}],
    }


def wit3_members() -> dict[str, bytes]:
    made = {f"de-en/train.tags.de-en.{each}": train_tags(each) for each in ("de", "en")}
    return made | {f"de-en/toy.{each}.xml": xml(each) for each in ("de", "en")}
