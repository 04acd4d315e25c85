"""The head of an HTTP/1.1 request, looked at while it comes in: its lines, their sizes, and what frames its body.

An HTTP library that is kind to odd requests gives whoever sits behind a proxy two readings of the same bytes (request
smuggling), so what RFC 9112 leaves to the server's taste is refused here. The native engine holds to the same rules.
"""

from __future__ import annotations

import re
from typing import Final

from crosspeer.wire.handshake import Refusal

MAX_LINE: Final = 8 * 1024
"""Bytes of the request line, and of each header line."""
MAX_HEADERS: Final = 100
MAX_HEAD: Final = 32 * 1024
"""Bytes of a request up to its body."""

_TOKEN: Final = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_UNSOUND: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|\n[ \t]")
"""Control characters, a CR alone, a folded line."""
_VERSIONS: Final = (b"HTTP/1.1", b"HTTP/1.0")


class HeadReader:
    """Reads one head from a buffer that grows."""

    __slots__ = ("_complete", "_seen", "_start")

    def __init__(self) -> None:
        self._start = 0
        """Where the line begins that is not complete, and how much of the buffer was looked at."""
        self._seen = 0
        self._complete = 0

    def look_at(self, buffer: bytes) -> Refusal | None:
        """Say what is wrong with a request, None if nothing is, as far as it has come in.

        The buffer begins with the request and has everything that has come in since. Each byte is looked at twice at
        most, however many pieces it came in; nothing behind the head is looked at.
        """
        if buffer and buffer[0] not in _TOKEN:
            # TLS, for example. It may never send the end of a line.
            return _bad("this is no HTTP request")
        while (end := buffer.find(b"\n", self._seen, MAX_HEAD)) >= 0:
            if (refusal := self._check_size(end)) is not None:
                return refusal
            # RFC 9112 section 2.2 lets a bare LF end a line; another server on the way may not.
            if buffer[end - 1 : end] != b"\r" or end == self._start:
                return _bad("a line that does not end with CR LF")
            is_empty = end - self._start == 1
            self._start = self._seen = end + 1
            if is_empty:
                return _check_whole(buffer[: end + 1])
            self._complete += 1
            if self._complete > 1 + MAX_HEADERS:
                return _HEADERS_TOO_LARGE
        self._seen = len(buffer)
        return self._check_size(self._seen)

    def _check_size(self, end: int) -> Refusal | None:
        """The line that is not complete reaches at least up to here, perhaps with its CR."""
        if end - self._start > MAX_LINE + 1:
            return _HEADERS_TOO_LARGE if self._complete else _LINE_TOO_LONG
        return _HEADERS_TOO_LARGE if end >= MAX_HEAD else None


def _check_whole(head: bytes) -> Refusal | None:
    if _UNSOUND.search(head):
        return _bad("this is no sound HTTP request")
    first, *lines = head[:-4].split(b"\r\n")
    version = first.rpartition(b" ")[2]
    if version not in _VERSIONS:
        return _bad("only HTTP/1.1 is spoken here")
    lengths, codings = _values(lines, b"content-length"), _values(lines, b"transfer-encoding")
    if len(lengths) > 1 or not all(length.isdigit() for length in lengths):
        return _bad("the content-length is no number, or there is more than one")
    if codings and (len(codings) > 1 or codings[0].lower() != b"chunked" or version != b"HTTP/1.1" or lengths):
        # RFC 9112 section 6.1: with a length beside it, it "ought to be handled as an error".
        return _bad("the transfer-encoding is not chunked alone")
    return None


def _values(lines: list[bytes], wanted: bytes) -> list[bytes]:
    pairs = (line.partition(b":") for line in lines)
    return [value.strip() for name, _, value in pairs if name.strip().lower() == wanted]


def _bad(reason: str) -> Refusal:
    return Refusal(400, [], reason.encode())


_LINE_TOO_LONG: Final = Refusal(414, [], b"the request line is too long")
_HEADERS_TOO_LARGE: Final = Refusal(431, [], b"the headers are too large")
