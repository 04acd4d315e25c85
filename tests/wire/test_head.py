"""The head of a request, rows H6, H7 and H9 of the hostile inputs: what is refused before anything reads it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.head import MAX_HEAD, MAX_HEADERS, MAX_LINE, HeadReader


def status(buffer: bytes) -> int | None:
    refusal = HeadReader().look_at(buffer)
    return None if refusal is None else refusal.status


def head(*headers: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return b"\r\n".join([first, *headers]) + b"\r\n\r\n"


def line(size: int) -> bytes:
    return b"a:" + b"x" * (size - 2)


LIMITS = [
    # name, bytes, status
    ("a request line that just fits", head(first=b"GET /" + b"x" * (MAX_LINE - 14) + b" HTTP/1.1"), None),
    ("a byte more", head(first=b"GET /" + b"x" * (MAX_LINE - 13) + b" HTTP/1.1"), 414),
    ("a request line without its end", b"GET /" + b"x" * MAX_LINE, 414),
    ("a header line that just fits", head(line(MAX_LINE)), None),
    ("a byte more", head(line(MAX_LINE + 1)), 431),
    ("a header line without its end", b"GET / HTTP/1.1\r\n" + line(MAX_LINE + 2), 431),
    ("as many headers as may be", head(*[b"a:b"] * MAX_HEADERS), None),
    ("one more", head(*[b"a:b"] * (MAX_HEADERS + 1)), 431),
    ("thousands", head(*[b"a:b"] * 2000), 431),
    ("a head that just fits", head(*[line(8000)] * 4, line(MAX_HEAD - 16 - 4 * 8002 - 4)), None),
    ("a byte more", head(*[line(8000)] * 4, line(MAX_HEAD - 16 - 4 * 8002 - 3)), 431),
    ("a head without its end", head(*[line(8000)] * 5)[:-2], 431),
]


@pytest.mark.parametrize(("data", "wanted"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_limits(data: bytes, wanted: int | None) -> None:
    assert status(data) == wanted


UNSOUND = [
    b"\x16\x03\x01\x02\x00",
    b"\r\nGET / HTTP/1.1\r\n\r\n",
    b"\nGET / HTTP/1.1\r\n\r\n",
    b" GET / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\n",
    b"GET / HTTP/1.1\n\n",
    b"GET / HTTP/1.1\r\nA: b\n",
    b"GET / HTTP/1.1\r\nA: b\r\n\n",
    head(b"A: b\rc"),
    head(b"A: b\r\r"),
    head(b"A: b\x00c"),
    head(b"A: b\x01c"),
    head(b"A: b\x7fc"),
    head(b"A: b", b" c"),
    head(b"A: b", b"\tc"),
    head(b" A: b"),
    head(first=b"GET /\x00 HTTP/1.1"),
    head(first=b"GET /"),
    head(first=b"GET / HTTP/2.0"),
    head(first=b"GET / HTTP/1.2"),
    head(first=b"GET / http/1.1"),
    head(first=b"GET / HTTP/1.10"),
    head(first=b"GET / HTTP/1.1 "),
    head(b"Content-Length: 5", b"Content-Length: 5"),
    head(b"Content-Length: 5", b"Content-Length: 6"),
    head(b"Content-Length: 5, 5"),
    head(b"Content-Length: +5"),
    head(b"Content-Length: -5"),
    head(b"Content-Length: 0x5"),
    head(b"Content-Length: 5.0"),
    head(b"Content-Length: 5 5"),
    head(b"Content-Length: \xb2"),
    head(b"Content-Length:"),
    head(b"Content-Length : 5", b"Content-Length: 5"),
    head(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
    head(b"transfer-encoding: chunked", b"CONTENT-LENGTH: 5"),
    head(b"Transfer-Encoding: xchunked"),
    head(b"Transfer-Encoding: chunked, chunked"),
    head(b"Transfer-Encoding: gzip, chunked"),
    head(b"Transfer-Encoding: chunked, identity"),
    head(b"Transfer-Encoding: identity"),
    head(b"Transfer-Encoding: \x0bchunked"),
    head(b'Transfer-Encoding: "chunked"'),
    head(b"Transfer-Encoding:"),
    head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"),
    head(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    head(b"Transfer-Encoding: chunked", first=b"POST / HTTP/1.0"),
]


@pytest.mark.parametrize("data", UNSOUND)
def test_what_two_servers_may_read_in_two_ways(data: bytes) -> None:
    assert status(data) == 400


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"G",
        b"GET / HTTP/1.1\r",
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nA: b\r",
        head(),
        head(first=b"GET / HTTP/1.0"),
        head(b"A:", b"B:\t c\t", b"C: \xff d"),
        head(b"Content-Length: 5"),
        head(b"content-length:0 ") + b"\x00\n\n",
        head(b"Transfer-Encoding: Chunked"),
    ],
)
def test_what_is_sound_as_far_as_it_has_come(data: bytes) -> None:
    assert status(data) is None


PIECES = st.sampled_from(
    [b"\n", b"\r\n", b"\r", b"a", b" ", b"GET / HTTP/1.1\r\n", b"a: b\r\n", b"\x00", b"x" * 8190, b"x" * 8191, b"\x16"]
)


@given(st.lists(PIECES, max_size=12), st.lists(st.integers(1, 9000), max_size=20))
def test_pieces_do_not_matter(parts: list[bytes], sizes: list[int]) -> None:
    buffer = b"".join(parts)
    whole = buffer.find(b"\r\n\r\n")
    if whole >= 0 and not buffer.startswith(b"\r\n"):
        # Nobody asks again once the head is complete.
        buffer = buffer[: whole + 4]
    reader, end, slowly = HeadReader(), 0, None
    for size in [*sizes, len(buffer)]:
        end = min(end + size, len(buffer))
        if (refusal := reader.look_at(buffer[:end])) is not None:
            slowly = refusal.status
            break
        if buffer[:end].endswith(b"\r\n\r\n"):
            break
    assert slowly == status(buffer)
