"""One file by HTTP: resumed where it broke off, retried with patience, never longer than expected.

requests carries it, so proxies and certificates come from the environment as it reads them (HTTPS_PROXY,
NO_PROXY, REQUESTS_CA_BUNDLE). urllib3's Retry counts the attempts and waits between them.
"""

from __future__ import annotations

import http.client
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import NoReturn

import requests
import urllib3
from urllib3.util.retry import Retry

from nmtkd import machine
from nmtkd.plan.data import Archive
from nmtkd.text.corpora.checksums import PAGES, is_page

# Of headers that it cannot parse urllib3 warns with a traceback; the reason below is what a user reads.
logging.getLogger("urllib3").setLevel(logging.ERROR)

SHOWN = 300  # characters of another program's message
# These set how patient a download is; they cannot change what is fetched.
TIMEOUT_S = 60.0  # without a byte
ATTEMPTS = 4
BACKOFF_S = 1.0  # doubles with each attempt
RETRY_AFTER_S = 60  # the longest wait that a server is granted: the next mirror may be free
REDIRECTS = 10  # an archive's release page needs two or three
CHUNK = 1 << 20  # most bytes read at a time
# 4xx statuses to retry after: timeout, too early, too many requests.
PASSING_STATUS = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)
NUMBER = re.compile(r"[0-9]{1,18}")  # more digits are no length
PAGE_TYPES = ("text/html", "application/xhtml+xml")
A_PAGE = (
    "sends a web page (HTML) in place of the file: a login, a confirmation or an error; "
    "open the address in a browser to see which"
)
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")


class MirrorError(Exception):
    """Why one mirror failed; collected into the FetchError."""


class _PassingError(MirrorError):
    """A fault that may be gone at the next attempt; `answer` may say when."""

    def __init__(self, reason: str, answer: urllib3.BaseHTTPResponse | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


class _Session(requests.Session):
    """Follows redirects without reading their bodies, which requests would hold in memory, however long."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target is not None:
            resp.close()
        return target


def say(message: str) -> str:
    """Prints a line of progress to stderr and returns it."""
    print(f"[fetch] {message}", file=sys.stderr, flush=True)
    return message


def download(archive: Archive, url: str, part: Path) -> None:
    """Leaves exactly archive.bytes bytes in `part`; where that is unknown, as many as the server announces.

    Raises MirrorError, and OSError for a fault of the disk; what has arrived by then stays for the next try.
    """
    retry = Retry(total=ATTEMPTS - 1, backoff_factor=BACKOFF_S, retry_after_max=RETRY_AFTER_S)
    with _Session() as session:
        session.max_redirects = REDIRECTS
        while True:
            have = part.stat().st_size if part.exists() else 0
            if have == archive.bytes:
                return
            if archive.bytes is not None and have > archive.bytes:
                part.unlink()
                have = 0
            try:
                _receive(session, archive, url, part, have)
                return
            except _PassingError as fault:
                retry = _waited(retry, url, fault)


def _waited(retry: Retry, url: str, fault: _PassingError) -> Retry:
    """What is left of the attempts, after the wait before the next one. Raises MirrorError for none."""
    try:
        retry = retry.increment("GET", url)
    except urllib3.exceptions.MaxRetryError:
        raise MirrorError(f"{fault}; gave up after {ATTEMPTS} attempts") from None
    say(f"{url}: {fault}; attempt {len(retry.history) + 1} of {ATTEMPTS}")
    try:
        retry.sleep(fault.answer)
    except (urllib3.exceptions.HTTPError, ValueError, OverflowError):  # a Retry-After that is no time
        retry.sleep()
    return retry


def _receive(session: requests.Session, archive: Archive, url: str, part: Path, have: int) -> None:
    """One request. Appends to `part` if the server resumes at byte `have`; else writes `part` anew."""
    # The bytes on disk are the archive's own: no encoding is asked for, and none is undone.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with _translated("no answer"):
        answer = session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S)
    with answer:
        if answer.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            _refuse(answer, part, have)
        resumes = answer.status_code == HTTPStatus.PARTIAL_CONTENT
        have = have if resumes else 0
        offered = _offered(answer, have)
        _refuse_page(answer, archive)
        if archive.bytes is not None and offered is not None and offered != archive.bytes:
            raise MirrorError(f"offers a file of {offered} bytes{_coded(answer)}, expected {archive.bytes}")
        total = archive.bytes or offered  # None: the end of the stream is the end of the file
        with part.open("ab" if resumes else "wb") as stream:
            while chunk := _chunk(answer, have, total):
                if not have and is_page(chunk, archive.name):
                    raise MirrorError(A_PAGE)
                have += len(chunk)
                if total is not None and have > total:
                    raise MirrorError(f"sends more than the expected {total} bytes{_coded(answer)}")
                stream.write(chunk)
                machine.progress("fetch", have, total or have, f"bytes of {archive.name}")
    if total is not None and have != total:
        raise _PassingError(f"the connection ended after {have} of {total} bytes")


def _chunk(answer: requests.Response, have: int, total: int | None) -> bytes:
    """The next bytes as soon as some are there: a later stall must not lose them."""
    with _translated(f"the connection ended after {have} of {total or 'unknown many'} bytes"):
        return answer.raw.read1(CHUNK, decode_content=False)


def _refuse_page(answer: requests.Response, archive: Archive) -> None:
    """Raises MirrorError for an answer that calls itself a web page."""
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in PAGE_TYPES and not archive.name.endswith(PAGES):
        raise MirrorError(A_PAGE)


def _refuse(answer: requests.Response, part: Path, have: int) -> NoReturn:
    """Raises what an answer without a body of ours means."""
    status = answer.status_code
    reason = f"the server answers {status} {_shown(str(answer.reason or ''))}".rstrip()
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and have:
        part.unlink(missing_ok=True)
    elif status < HTTPStatus.INTERNAL_SERVER_ERROR and status not in PASSING_STATUS:
        raise MirrorError(reason)
    raise _PassingError(reason, answer.raw)


def _offered(answer: requests.Response, have: int) -> int | None:
    """The size of the whole file as far as the headers say it. Raises for another range than asked for."""
    length = answer.headers.get("Content-Length", "")
    announced = have + int(length) if NUMBER.fullmatch(length) else None
    if answer.status_code != HTTPStatus.PARTIAL_CONTENT:
        return announced
    match = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", "").strip())
    if match is None or int(match[1]) != have:
        raise _PassingError("no answer (answers with another range than asked for)")
    return announced if match[2] == "*" else int(match[2])


def _coded(answer: requests.Response) -> str:
    coding = answer.headers.get("Content-Encoding", "identity")
    return "" if coding == "identity" else f", encoded as {_shown(coding)} without being asked"


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Makes a MirrorError of whatever requests, urllib3 and http.client raise."""
    try:
        yield
    except (ValueError, requests.TooManyRedirects) as error:  # an address that nobody can ask
        raise MirrorError(f"{what} ({_cause(error)})") from None
    except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException) as error:
        raise _PassingError(f"{what} ({_cause(error)})") from None


def _cause(error: BaseException) -> str:
    """The innermost error's own words: requests and urllib3 wrap it several times."""
    seen: list[BaseException | None] = []
    inner: BaseException | None = error
    while inner is not None and inner not in seen:
        seen.append(inner)
        error = inner
        nested = (getattr(error, "reason", None), *error.args, error.__cause__)
        inner = next((each for each in nested if isinstance(each, BaseException)), None)
    return _shown(str(error)) or type(error).__name__


def _shown(text: str) -> str:
    """Words of a server or a library on one line, without control characters."""
    return "".join(char if char.isprintable() else " " for char in text)[-SHOWN:].strip()
