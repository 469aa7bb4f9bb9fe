"""A loopback server that answers with whatever bytes it is told to, and forty-odd ways of being a bad one."""

from __future__ import annotations

import gzip
import re
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

CONTENT = bytes(range(256)) * 40
HALF = len(CONTENT) // 2

Answer = bytes | Callable[[socket.socket, bytes], None]


class Scripted:
    """Gives each request the next answer of `script`; the last one again and again."""

    def __init__(self, *script: Answer) -> None:
        self.script = list(script)
        self.requests: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        try:
            with connection:
                request = b""
                while b"\r\n\r\n" not in request and (piece := connection.recv(65536)):
                    if piece.startswith(b"\x16"):  # of TLS, which this server does not speak
                        request += b"\r\n\r\n"
                    request += piece
                self.requests.append(request)
                answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
                if callable(answer):
                    answer(connection, request)
                else:
                    connection.sendall(answer)
                    connection.shutdown(socket.SHUT_WR)
                    while connection.recv(65536):
                        pass
        except OSError:
            pass  # the client has gone, which is its right

    def ranges(self) -> list[str]:
        """The range that each request asked for, "" for none."""
        return [
            match[1].decode() if (match := re.search(rb"\r\nrange: (\S+)", request, re.IGNORECASE)) else ""
            for request in self.requests
        ]

    def close(self) -> None:
        self.listener.close()


def head(status: str = "200 OK", *lines: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode("latin-1")


def length(count: int) -> str:
    return f"Content-Length: {count}"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def stalls(*pieces: bytes, seconds: float = 3.0) -> Answer:
    """Sends the pieces and then nothing for a while."""

    def answer(connection: socket.socket, _: bytes) -> None:
        for piece in pieces:
            connection.sendall(piece)
        connection.settimeout(seconds)
        connection.recv(1)  # until the client leaves

    return answer


def drips(data: bytes, pieces: int, pause: float) -> Answer:
    def answer(connection: socket.socket, _: bytes) -> None:
        step = -(-len(data) // pieces)
        for start in range(0, len(data), step):
            connection.sendall(data[start : start + step])
            time.sleep(pause)

    return answer


def endless(first: bytes, more: bytes) -> Answer:
    def answer(connection: socket.socket, _: bytes) -> None:
        connection.sendall(first)
        while True:
            connection.sendall(more)

    return answer


def resets(connection: socket.socket, _: bytes) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # close sends a reset


def from_range(make: Callable[[int], bytes]) -> Answer:
    """Answers a request by the first byte that it asks for."""

    def answer(connection: socket.socket, request: bytes) -> None:
        match = re.search(rb"\r\nrange: bytes=(\d+)-", request, re.IGNORECASE)
        connection.sendall(make(int(match[1]) if match else 0))

    return answer


def partial(first: int, last: int, total: Any, body: bytes) -> bytes:
    return (
        head("206 Partial Content", f"Content-Range: bytes {first}-{last}/{total}", length(len(body))) + body
    )


END = len(CONTENT) - 1
SIZE = length(len(CONTENT))
GOOD = head("200 OK", SIZE) + CONTENT
CUT = head("200 OK", SIZE) + CONTENT[:HALF]
ZIPPED = gzip.compress(CONTENT)
EVIL = b"<html>please log in</html>"

# What a server does, and the reason that is given where no right archive comes of it ("" where one does).
BAD: dict[str, tuple[list[Answer], str]] = {
    "closes at once": ([b""], "no answer"),
    "resets at once": ([resets], "no answer"),
    "says nothing": ([stalls()], "no answer .*timed out"),
    "is no web server": ([b"220 smtp.example ESMTP\r\n"], "no answer"),
    "speaks TLS only": ([b"\x15\x03\x01\x00\x02\x02\x50"], "no answer"),
    "speaks HTTP/0.9": ([CONTENT], "no answer"),
    "has a status that is no number": ([head("abc OK")], "no answer"),
    "has a status of four digits": ([head("2000 OK")], "no answer"),
    "stops within its headers": ([b"HTTP/1.1 200 OK\r\nContent-Le"], "ended after 0 of 10240"),
    "sends half a status line": ([b"HTTP/1.1 2"], "the server answers 2|no answer"),
    "sends a header of 100 kB": ([head("200 OK", "X: " + "x" * 100_000, SIZE) + CONTENT], "no answer"),
    "sends 200 headers": ([head("200 OK", *["X: y"] * 200, SIZE) + CONTENT], "no answer"),
    "sends headers for ever": ([endless(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n")], "no answer"),
    "sends headers beyond latin-1": (
        [b"HTTP/1.1 200 OK\r\nX-\xff\xfe: \xe2\x82\xac\r\n%b\r\n\r\n%b" % (SIZE.encode(), CONTENT)], ""),
    "has a reason of control characters": ([head("404 \x1b[31mgone\x07")], r"answers 404 \[31mgone"),
    "length is no number": ([head("200 OK", "Content-Length: many") + CONTENT], ""),
    "length is negative": ([head("200 OK", "Content-Length: -5") + CONTENT], ""),
    "length is foreign digits": ([head("200 OK", "Content-Length: \xb2") + CONTENT], ""),
    "length has 5,000 digits": ([head("200 OK", "Content-Length: " + "9" * 5000) + CONTENT], ""),
    "length comes twice, unequal": ([head("200 OK", length(5), SIZE) + CONTENT], "no answer|offers"),
    "length is short": ([head("200 OK", length(100)) + CONTENT], "offers a file of 100 bytes, expected"),
    "length is long": ([head("200 OK", length(10**12)) + CONTENT], "offers a file of 1000000000000 bytes"),
    "length is zero": ([head("200 OK", length(0))], "offers a file of 0 bytes"),
    "sends no length and nothing": ([head()], "the connection ended after 0 of 10240 bytes; gave up"),
    # Of wrong bytes: where the first ones come alone, a whole file is there before it is too much.
    "sends no length and too much": (
        [endless(head(), CONTENT[::-1])], "sends more than the expected 10240 bytes"),
    "sends more than announced": ([GOOD + CONTENT], ""),
    "sends other bytes": ([head("200 OK", SIZE) + CONTENT[::-1]], "wrong checksum"),
    "sends a page instead": ([head("200 OK", length(len(EVIL))) + EVIL], "offers a file of 26 bytes"),
    "sends a page of no length": ([head() + EVIL], r"sends a web page \(HTML\)"),
    "calls its answer a page": (
        [head("200 OK", "Content-Type: Text/HTML; charset=x", SIZE) + CONTENT], r"sends a web page \(HTML\)"),
    "cuts, then resumes": ([CUT, partial(HALF, END, END + 1, CONTENT[HALF:])], ""),
    "cuts, then answers from the start": ([CUT, GOOD], ""),
    "cuts for ever": ([CUT], "ended after 5120 of 10240 bytes.*gave up after 4 attempts"),
    "cuts, then resumes with other bytes": (
        [CUT, partial(HALF, END, END + 1, CONTENT[:HALF][::-1])], "wrong checksum"),
    "cuts, then lies about its range": ([CUT, partial(0, END, END + 1, CONTENT)], "another range than asked"),
    "cuts, then ranges without saying which": (
        [CUT, head("206 Partial Content", length(HALF)) + CONTENT[HALF:]], "another range than asked"),
    "cuts, then ranges in parts": (
        [CUT, head("206 Partial", "Content-Type: multipart/byteranges; boundary=x") + EVIL],
        "another range than asked"),
    "cuts, then has another total": ([CUT, partial(HALF, END, 99999, CONTENT[HALF:])], "offers .* 99999"),
    "cuts, then refuses the range": ([CUT, head("416 No"), GOOD], ""),
    "refuses a range that nobody asked for": ([head("416 No")], "the server answers 416 No$"),
    "gives a range that nobody asked for": ([partial(5, END, END + 1, CONTENT[5:])], "another range"),
    "gives a range a hundred bytes at a time": (
        [from_range(lambda at: partial(at, at + 99, END + 1, CONTENT[at : at + 100]))], "gave up after 4"),
    "is cut in mid-chunk": (
        [head("200 OK", "Transfer-Encoding: chunked") + chunk(CONTENT)[:HALF]], "ended after .* gave up"),
    "has a chunk size that is no number": (
        [head("200 OK", "Transfer-Encoding: chunked") + b"zz\r\n" + CONTENT], "ended after 0 of 10240"),
    "chunks without an end": (
        [endless(head("200 OK", "Transfer-Encoding: chunked"), chunk(CONTENT[::-1]))], "sends more than"),
    "chunks it right": ([head("200 OK", "Transfer-Encoding: chunked") + chunk(CONTENT) + b"0\r\n\r\n"], ""),
    "zips unasked": (
        [head("200 OK", "Content-Encoding: gzip", length(len(ZIPPED))) + ZIPPED], "as gzip without being"),
    "calls the archive itself encoded": ([head("200 OK", "Content-Encoding: gzip", SIZE) + CONTENT], ""),
    "names an encoding that there is not": ([head("200 OK", "Content-Encoding: \xfc", SIZE) + CONTENT], ""),
    "is not there": ([head("404 Not Found", length(0))], "the server answers 404 Not Found$"),
    "wants a password": ([head("401 Who?", 'WWW-Authenticate: Basic realm="x"')], "the server answers 401"),
    "has no content": ([head("204 No Content")], "the server answers 204"),
    "has not changed": ([head("304 Not Modified")], "the server answers 304"),
    "is busy, then well": ([head("503 Busy", "Retry-After: 0"), head("429 Slow"), GOOD], ""),
    "is busy until a time that is none": ([head("503 Busy", "Retry-After: soon"), GOOD], ""),
    "is busy until the year 99999": (
        [head("429 Slow", "Retry-After: Fri, 31 Dec 99999 23:59:59 GMT"), GOOD], ""),
    "is busy for 5,000 digits": ([head("503 Busy", "Retry-After: " + "9" * 5000), GOOD], ""),
    "is broken": ([head("500 Oops")], "the server answers 500 Oops; gave up after 4 attempts"),
    "leads to a file of this machine": (
        [head("302 Found", "Location: file:///etc/passwd", length(0))], "no answer .*file:///etc/passwd"),
    "leads to FTP": ([head("301 Moved", "Location: ftp://127.0.0.1/x", length(0))], "no answer .*ftp://"),
    "leads to itself": ([head("302 Found", "Location: /again", length(0))], "no answer .*10 redirects"),
    "leads nowhere": ([head("302 Found", length(0))], "the server answers 302 Found$"),
    "leads to half an address": ([head("302 Found", "Location: http://[bad", length(0))], "no answer"),
    "leads to bytes that are no text": ([head("302 Found", "Location: /\xff\xfe", length(0))], "no answer"),
    "leads on with an endless page": (
        [endless(head("302 Found", "Location: /again"), CONTENT)], "no answer .*10 redirects"),
    "leads on with a bomb": (
        [head("302 Found", "Location: /good", "Content-Encoding: gzip", length(99)) + ZIPPED, GOOD], ""),
    "leads on well": ([head("302 Found", "Location: /g%C3%A4", length(0)), GOOD], ""),
    "stalls after half": (
        [stalls(head("200 OK", SIZE), CONTENT[:HALF]), partial(HALF, END, END + 1, CONTENT[HALF:])], ""),
}  # fmt: skip
ADDRESSES = {
    "http://[bad": "no answer",
    "http://": "no answer",
    "http:///x": "no answer",
    "http://exämple.invalid/ä": "no answer",
    "http://" + "a" * 300 + ".invalid/": "no answer",
    "http://.invalid/": "no answer",
    "http://127.0.0.1:99999/": "no answer",
    "http://127.0.0.1:port/": "no answer",
    "http://127.0.0.1:1/\ud800": "no answer",
    "http://a b/\n": "no answer",
    "https://127.0.0.1:1/x": "no answer .*refused",
    "file:///etc/passwd": "is neither pip:NAME==VERSION nor an http\\(s\\) address",
    "": "is neither",
}
