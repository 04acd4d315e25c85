"""Bad handshakes and requests as data: what comes in, and the status of the one answer to it."""

from __future__ import annotations

from typing import Final, NamedTuple

from raw import handshake

SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
"""What stands behind every request: it must never be taken for one."""
GOOD: Final = "https://good.example"
"""The origin that is allowed beside the server's own."""


class Row(NamedTuple):
    """One input of a row in the table of hostile inputs."""

    name: str
    data: bytes
    status: int
    """101 means that an echo is served on it."""
    headers: dict[str, str] = {}
    """Headers of the answer, by their lower-case name; an empty value: it is not there."""


def request(*lines: str, method: str = "GET", path: str = "/", version: str = "1.1", body: str = "") -> bytes:
    """A plain request, with the lines behind its Host."""
    head = [f"{method} {path} HTTP/{version}", "Host: 127.0.0.1", *lines]
    return ("\r\n".join(head) + "\r\n\r\n" + body).encode("latin-1")


def both(name: str, status: int, *lines: str) -> list[Row]:
    """The same lines in a plain request and in a handshake."""
    return [
        Row(f"{name}, plain", request(*lines), status),
        Row(f"{name}, upgrade", handshake(lines=lines), status),
    ]


def framed(name: str, *lines: str, body: str = "0\r\n\r\n", version: str = "1.1") -> Row:
    """A request whose body another server may see end elsewhere."""
    return Row(name, request(*lines, method="POST", body=body, version=version), 400)


def chunked(name: str, body: str, status: int = 400) -> Row:
    return Row(name, request("Transfer-Encoding: chunked", method="POST", body=body), status)


def raw(name: str, data: bytes, status: int = 400) -> Row:
    return Row(name, data, status)


def reached_by(host: str, status: int, **headers: str) -> Row:
    return Row(f"as {host[:40]!r}", handshake(Host=host, **headers), status)


def offering(extensions: str, *more: str) -> Row:
    lines = tuple(f"Sec-WebSocket-Extensions: {offer}" for offer in (extensions, *more))
    return Row(extensions, handshake(lines=lines), 101, {"sec-websocket-extensions": ""})


WRONG_VERSION: Final = {"sec-websocket-version": "13", "upgrade": "websocket", "connection": "close"}

ROWS: Final[dict[str, list[Row]]] = {
    "H1": [
        Row("another origin", handshake(Origin="https://evil.example", Cookie="session=1"), 403),
        Row("another port", handshake(Origin="http://127.0.0.1:81", Cookie="session=1"), 403),
        Row("another origin, to a path without hooks", handshake("/none", Origin="https://evil.example"), 403),
        Row("a path without hooks", handshake("/none"), 404),
        Row("the same origin", handshake(Origin="http://127.0.0.1"), 101),
        Row("no origin", handshake(), 101),
    ],
    "H2": [
        Row("with a domain behind it", handshake(Origin=f"{GOOD}.evil.com"), 403),
        Row("with letters before it", handshake(Origin="https://evilgood.example"), 403),
        Row("of another scheme", handshake(Origin="http://good.example"), 403),
        Row("of another port", handshake(Origin=f"{GOOD}:8443"), 403),
        Row("with a user", handshake(Origin="https://good.example@evil.com"), 403),
        Row("null", handshake(Origin="null"), 403),
        Row("empty", handshake(Origin=""), 403),
        Row("two", handshake(lines=(f"Origin: {GOOD}", "Origin: https://evil.example")), 403),
        Row("the same twice", handshake(lines=(f"Origin: {GOOD}", f"origin: {GOOD}")), 403),
        Row("two in one", handshake(Origin=f"{GOOD} https://evil.example"), 403),
        Row("in capitals, with its port", handshake(Origin="HTTPS://GOOD.EXAMPLE:443"), 101),
    ],
    "H3": [
        reached_by("evil.example", 421),
        reached_by("evil.example:3000", 421, Origin="http://evil.example:3000"),
        reached_by("localhost.evil.example", 421),
        reached_by("127.0.0.1.nip.io", 421),
        reached_by("testserver", 421),
        reached_by("0.0.0.0", 421),
        reached_by("192.0.2.1", 421),
        reached_by("", 421),
        reached_by("localhost, evil.example", 421),
        reached_by("evil.example", 421, Origin=GOOD),
        reached_by("localhost:3000", 101, Origin="http://localhost:3000"),
        reached_by("LOCALHOST", 101),
        reached_by("chat.localhost:1", 101),
        reached_by("127.9.8.7:65535", 101),
        reached_by("[::1]:80", 101),
        Row("two hosts", handshake(lines=("Host: evil.example",)), 400),
    ],
    "H6": [
        *both("a line of 8193 bytes", 431, "X: " + "a" * 8190),
        *both("a name of 8193 bytes", 431, "X" * 8191 + ": "),
        *both("a line that never ends", 431, "X: " + "a" * 40_000),
        *both("101 headers", 431, *["X: y"] * 101),
        *both("2000 headers", 431, *["X: y"] * 2000),
        *both("40 KiB", 431, *["X: " + "a" * 8000] * 5),
        *both("300 KiB", 431, *["X: " + "a" * 8000] * 38),
        Row("upgrade behind too many", request(*["X: y"] * 100, "Upgrade: websocket", "Connection: upgrade"), 431),
        Row(
            "trailers without end",
            request("Transfer-Encoding: chunked", method="POST", body="0\r\n" + "a: b\r\n" * 100_000),
            431,
        ),
        Row("a long line that fits, plain", request("X: " + "a" * 8150), 200),
        Row("a long line that fits, upgrade", handshake(lines=("X: " + "a" * 8150,)), 101),
        Row("many lines that fit, plain", request(*["X: y"] * 99), 200),
        Row("many lines that fit, upgrade", handshake(lines=("X: y",) * 95), 101),
        Row("31 KiB, plain", request(*["X: " + "a" * 7900] * 4), 200),
        Row("31 KiB, upgrade", handshake(lines=("X: " + "a" * 7900,) * 4), 101),
    ],
    "H7": [
        Row("9 KiB, plain", request(path="/" + "a" * 9000), 414),
        Row("9 KiB, upgrade", handshake("/" + "a" * 9000), 414),
        Row("9 KiB of a query, upgrade", handshake("/?" + "a" * 9000), 414),
        Row("8193 bytes", request(path="/" + "a" * (8193 - 14)), 414),
        Row("300 KiB", request(path="/" + "a" * 300_000), 414),
        Row("without its end", b"GET /" + b"a" * 9000, 414),
        Row("8 KiB that fit, plain", request(path="/" + "a" * 8150), 200),
        Row("8 KiB that fit, upgrade", handshake("/?" + "a" * 8150), 101),
    ],
    "H8": [
        Row("a protocol with 7000 spaces in it", handshake(Sec_WebSocket_Protocol="b" + " " * 7000 + "x"), 400),
        Row("a protocol with 7000 spaces behind it", handshake(Sec_WebSocket_Protocol="b" + " " * 7000 + ","), 101),
        Row("7000 commas", handshake(Sec_WebSocket_Protocol="," * 7000), 101),
        Row("an extension with quotes", handshake(Sec_WebSocket_Extensions='a;b="' + "\\" * 7000 + '"'), 101),
        Row("an extension that is not closed", handshake(Sec_WebSocket_Extensions='a;b="' + "\\a" * 3500), 101),
        Row("7000 extensions", handshake(Sec_WebSocket_Extensions="permessage-deflate;" + " ;" * 3500), 101),
        Row("7000 spaces before a NUL", handshake(X=" " * 7000 + "\0"), 400),
        Row("7000 tabs before a CR", handshake(X="\t" * 7000 + "\rx"), 400),
        Row("a connection of 7000 parts", handshake(Connection="a," * 3500 + "Upgrade"), 101),
        Row("an origin of dots", handshake(Origin="https://" + "." * 7000), 403),
        Row("a host of dots", handshake(Host="." * 7000), 421),
        Row("a long key", handshake(Sec_WebSocket_Key="=" * 7000), 400),
    ],
    "H9": [
        framed("length and coding", "Content-Length: 4", "Transfer-Encoding: chunked"),
        framed("coding and length", "Transfer-Encoding: chunked", "Content-Length: 4"),
        framed("no length and coding", "Content-Length: 0", "Transfer-Encoding: chunked"),
        framed("two lengths", "Content-Length: 5", "Content-Length: 6"),
        framed("the same length twice", "Content-Length: 5", "Content-Length: 5"),
        framed("two lengths in one", "Content-Length: 5, 6"),
        framed("the same length twice in one", "Content-Length: 5, 5"),
        framed("a length with a sign", "Content-Length: +5"),
        framed("a negative length", "Content-Length: -5"),
        framed("a length in hex", "Content-Length: 0x5"),
        framed("a length with a space in it", "Content-Length: 0 5"),
        framed("a length with a point", "Content-Length: 5.0"),
        framed("a length of 30 digits", "Content-Length: " + "0" * 29 + "5"),
        framed("a length that is none", "Content-Length: five"),
        framed("an empty length", "Content-Length: "),
        framed("an unknown coding", "Transfer-Encoding: xchunked"),
        framed("no coding", "Transfer-Encoding: identity"),
        framed("an empty coding", "Transfer-Encoding: "),
        framed("the same coding twice", "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        framed("two codings", "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        framed("two codings in one", "Transfer-Encoding: chunked, chunked"),
        framed("a coding before chunked", "Transfer-Encoding: gzip, chunked"),
        framed("a coding behind chunked", "Transfer-Encoding: chunked, gzip"),
        framed("a coding in quotes", 'Transfer-Encoding: "chunked"'),
        framed("a coding behind a vertical tab", "Transfer-Encoding: \x0bchunked"),
        framed("a coding on a folded line", "Transfer-Encoding:\r\n chunked"),
        framed("a coding in HTTP/1.0", "Transfer-Encoding: chunked", version="1.0"),
        framed("a space before the colon", "Transfer-Encoding : chunked"),
        framed("a tab before the colon", "Content-Length\t: 5"),
        framed("a NUL in the name", "Content-Length\0: 5"),
        framed("a NUL in the value", "Content-Length: 5\0"),
        framed("a CR alone before a header", "X: y\rContent-Length: 5"),
        framed("an LF alone before a header", "X: y\nContent-Length: 5"),
        framed("a folded line", "X: y", " Content-Length: 5"),
        framed("a line folded with a tab", "X: y", "\tContent-Length: 5"),
        framed("a line without a colon", "Content-Length"),
        framed("a line without a name", ": 5"),
        raw("a space before the first header", b"POST / HTTP/1.1\r\n Host: 127.0.0.1\r\nContent-Length: 5\r\n\r\n"),
        raw("lines that end with LF", b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n"),
        raw("a last line that ends with LF", b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\n"),
        raw("an empty line first", b"\r\nGET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
        raw("two spaces behind the method", b"GET  / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
        raw("two spaces behind the target", b"GET /  HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
        raw("a tab for a space", b"GET\t/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
        raw("no target", b"GET HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
        raw("no version", b"GET /\r\nHost: 127.0.0.1\r\n\r\n"),
        raw("a version in small letters", b"GET / http/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
        raw("another version", b"GET / HTTP/1.2\r\nHost: 127.0.0.1\r\n\r\n"),
        raw("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        raw("TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
        raw("a target of other letters", "GET /ü HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()),
        raw("a method of other characters", b"G(T / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"),
        raw("no host", b"GET / HTTP/1.1\r\n\r\n"),
        raw("two hosts", request("Host: 127.0.0.1")),
        Row("a handshake with a body", handshake(Content_Length="5") + b"hello", 400),
        Row("a handshake in chunks", handshake(Transfer_Encoding="chunked") + b"0\r\n\r\n", 400),
        Row("a handshake with two lengths", handshake(lines=("Content-Length: 0", "Content-Length: 0")), 400),
        Row("a handshake with a folded line", handshake(lines=("X: y", " z")), 400),
        Row("a handshake with two keys", handshake(lines=("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",)), 400),
        Row("a handshake without connection", handshake(drop=("Connection",)), 400),
        chunked("a chunk in decimal with a sign", "+5\r\nhello\r\n0\r\n\r\n"),
        chunked("a negative chunk", "-5\r\nhello\r\n0\r\n\r\n"),
        chunked("a chunk in C's hex", "0x5\r\nhello\r\n0\r\n\r\n"),
        chunked("a chunk of 30 digits", "0" * 29 + "5\r\nhello\r\n0\r\n\r\n"),
        chunked("a chunk that is longer than it says", "4\r\nhello\r\n0\r\n\r\n"),
        chunked("a chunk that ends with LF", "5\r\nhello\n0\r\n\r\n"),
        chunked("a size that ends with LF", "5\nhello\r\n0\r\n\r\n"),
        chunked("an extension that ends with LF", "5;a\nhello\r\n0\r\n\r\n"),
        chunked("an empty size", "\r\nhello\r\n0\r\n\r\n"),
        chunked("a size that never ends", "5" + ";" * 600_000, 431),
    ],
    "H10": [
        Row(f"version {version!r}", handshake(Sec_WebSocket_Version=version), 426, WRONG_VERSION)
        for version in ("777", "8", "0", "-1", "013", "13, 8", "", "x")
    ]
    + [
        Row("no version", handshake(drop=("Sec-WebSocket-Version",)), 426, WRONG_VERSION),
        Row("two versions", handshake(lines=("Sec-WebSocket-Version: 8",)), 426, WRONG_VERSION),
        Row("the version twice", handshake(lines=("Sec-WebSocket-Version: 13",)), 426, WRONG_VERSION),
    ],
    "H13": [
        offering("permessage-deflate; client_max_window_bits=99"),
        offering("permessage-deflate; client_max_window_bits=7"),
        offering("permessage-deflate; client_max_window_bits=16"),
        offering("permessage-deflate; client_max_window_bits=-8"),
        offering("permessage-deflate; client_max_window_bits=015"),
        offering("permessage-deflate; client_max_window_bits=1e1"),
        offering('permessage-deflate; server_max_window_bits=""'),
        offering("permessage-deflate; server_max_window_bits"),
        offering("permessage-deflate; server_max_window_bits=7"),
        offering("permessage-deflate; server_max_window_bits=99999999999999999999"),
        offering("permessage-deflate; server_max_window_bits=10; server_max_window_bits=10"),
        offering("permessage-deflate; client_no_context_takeover; client_no_context_takeover"),
        offering("permessage-deflate; client_no_context_takeover=1"),
        offering("permessage-deflate; unknown"),
        offering("permessage-deflate; unknown=1"),
        offering("x-webkit-deflate-frame"),
        offering("x-a", "permessage-deflate; client_max_window_bits=7"),
    ],
}
