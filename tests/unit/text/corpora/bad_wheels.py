"""Wheels of the reader homeassistant that are broken, bombs or liars, each made in memory."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable

from tests.unit.text.corpora.bad_archives import CRC, FLAGS, METHOD, PACKED, PLACE, SIZE, patched, zipped


def member(language: str, component: str = "lamp") -> str:
    return f"homeassistant/components/{component}/translations/{language}.json"


def wheel_of(german: bytes, *more: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    return zipped((member("de"), german), (member("en"), b'{"x": "Lamp"}'), *more, method=method)


GERMAN = b'{"x": "Lampe"}'
WHEEL = wheel_of(GERMAN)
DE = re.escape(member("de"))
BLANKS = b" " * (17 << 20) + GERMAN
METADATA = "toy-1.dist-info/METADATA"

# What is wrong, the wheel, and the reason that is given.
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "objects nested by the thousand": (
        lambda: wheel_of(b'{"x":' * 50_000 + b'"y"' + b"}" * 50_000), f"{DE}: objects nested too deeply"),
    "lists nested by the thousand": (
        lambda: wheel_of(b"[" * 50_000 + b"]" * 50_000), f"{DE}: objects nested too deeply"),
    "a number": (lambda: wheel_of(b'{"x": 1e999}'), f"{DE}: x: must be text .* got float: inf"),
    "not a number": (lambda: wheel_of(b'{"x": NaN}'), f"{DE}: x: must be text .* got float: nan"),
    "a number of 5,000 digits": (
        lambda: wheel_of(b'{"x": %b}' % (b"9" * 5000)), f"{DE}: not readable as JSON"),
    "null": (lambda: wheel_of(b'{"x": null}'), f"{DE}: x: must be text .* got NoneType: None"),
    "a long list": (
        lambda: wheel_of(b'{"x": [%b0]}' % (b"0," * 9999)), f"{DE}: x: must be text .* got list: .{{100}}$"),
    "a key twice": (lambda: wheel_of(b'{"x": "a", "x": "b"}'), f"{DE}: 'x': stands twice, as 'a' and 'b'"),
    "a key twice, once by a dot": (
        lambda: wheel_of(b'{"x": {"y": "a"}, "x.y": "b"}'), f"{DE}: 'x.y': stands twice, as 'a' and 'b'"),
    "an empty key": (lambda: wheel_of(b'{"": {"x": "a"}}'), f"{DE}: '': a key that is empty or has"),
    "a key of two lines": (lambda: wheel_of(rb'{"x\ny": "a"}'), rf"{DE}: 'x\\ny': a key that is empty"),
    "a key of half a surrogate pair": (
        lambda: wheel_of(rb'{"\ud800": "a"}'), rf"{DE}: '\\ud800': a key that is empty or has"),
    "a byte order mark": (lambda: wheel_of(b"\xef\xbb\xbf" + GERMAN), f"{DE}: not readable as JSON.*BOM"),
    "UTF-16": (lambda: wheel_of(GERMAN.decode().encode("utf-16")), f"{DE}: not readable as JSON"),
    "an empty member": (lambda: wheel_of(b""), f"{DE}: not readable as JSON"),
    "a component of two lines": (
        lambda: wheel_of(GERMAN, (member("de", "a\nb"), GERMAN)), r"a\\nb/.*: a control character"),
    "a component with a tab": (
        lambda: wheel_of(GERMAN, (member("de", "a\tb"), GERMAN)), r"a\\tb/.*: a control character"),
    "a member cut at NUL": (
        lambda: wheel_of(GERMAN, (member("fr") + "\0x", GERMAN)), r"\\x00x.*: a control character"),
    "a member twice": (lambda: wheel_of(GERMAN, (member("de"), b'{"x": "b"}')), f"'{DE}': stands 2 times"),
    "metadata twice": (lambda: wheel_of(GERMAN, *[(METADATA, b"Version: 1")] * 2), "DATA': stands 2 times"),
    "a language by two spellings": (
        lambda: wheel_of(GERMAN, (member("pt-BR"), GERMAN), (member("pt_br"), GERMAN)),
        r"pt_br\.json': the same component and language as .*pt-BR\.json'"),
    "metadata that is not UTF-8": (
        lambda: wheel_of(GERMAN, (METADATA, b"Version: 1\nAuthor: J\xf6rg")), f"{METADATA}: not UTF-8"),
    "a member that is encrypted": (lambda: patched(WHEEL, FLAGS, "<H", 1), f"{DE}: is encrypted"),
    "a member of another method": (
        lambda: patched(WHEEL, METHOD, "<H", 9), f"{DE}: is packed by method 9; known: 0"),
    "a member by bzip2": (
        lambda: wheel_of(GERMAN, method=zipfile.ZIP_BZIP2), "json: is packed by method 12; known: 0"),
    "a bomb": (lambda: wheel_of(BLANKS), f"{DE}: unpacks to {len(BLANKS)} bytes; allowed are 16777216"),
    "a bomb that hides its size": (
        lambda: patched(wheel_of(BLANKS), SIZE, "<I", 9), f"{DE}: not a sound zip file"),
    "a bomb of many members": (
        lambda: wheel_of(GERMAN, *((member("de", f"c{n}"), BLANKS[-(1 << 19) :]) for n in range(9))),
        "unpacks to [0-9]+ bytes or more; allowed are [0-9]+"),
    "a member of 4 GB": (lambda: patched(WHEEL, SIZE, "<I", 2**32 - 2), f"{DE}: unpacks to 4294967294 bytes"),
    "a member shorter than announced": (
        lambda: patched(wheel_of(GERMAN, method=zipfile.ZIP_STORED), SIZE, "<I", 15),
        f"{DE}: not a sound zip file"),
    "a member of another checksum": (lambda: patched(WHEEL, CRC, "<I", 1), f"{DE}: not a sound zip .*CRC"),
    "a member elsewhere": (
        lambda: patched(WHEEL, PLACE, "<I", 2**31, local=False), f"{DE}: not a sound zip file"),
    "a member of half a zip64 field": (
        lambda: patched(patched(WHEEL, PACKED, "<I", 2**32 - 1), SIZE, "<I", 2**32 - 1), f"{DE}: unpacks to"),
    "nothing": (lambda: b"", "not a sound zip file"),
}  # fmt: skip
