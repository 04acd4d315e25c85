from __future__ import annotations

import pytest

from crosspeer.wire.handshake import Refusal, accept_head, check_handshake, refusal

GOOD = [
    (b"host", b"example.com"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]


def but(**changes: bytes | None) -> list[tuple[bytes, bytes]]:
    """The good request with some headers replaced, added, or (None) left out."""
    named = {name.replace("_", "-").encode(): value for name, value in changes.items()}
    kept = [(name, named.pop(name, value)) for name, value in GOOD]
    return [(name, value) for name, value in [*kept, *named.items()] if value is not None]


@pytest.mark.parametrize(
    "headers",
    [
        GOOD,
        but(upgrade=b"WebSocket"),
        but(upgrade=b"h2c, websocket"),
        but(connection=b"keep-alive, Upgrade"),
        but(content_length=b"0"),
        but(sec_websocket_protocol=b""),
        but(sec_websocket_protocol=b" chat ,,\tv2.a~b,"),
        [*GOOD, (b"sec-websocket-protocol", b"a"), (b"sec-websocket-protocol", b"b")],
    ],
)
def test_good_handshakes(headers: list[tuple[bytes, bytes]]) -> None:
    assert check_handshake("GET", "1.1", headers) is None


@pytest.mark.parametrize(
    ("method", "version", "headers", "status"),
    [
        ("POST", "1.1", GOOD, 400),
        ("GET", "1.0", GOOD, 400),
        ("GET", "1.1", but(upgrade=b"h2c"), 400),
        ("GET", "1.1", but(upgrade=None), 400),
        ("GET", "1.1", but(connection=b"close"), 400),
        ("GET", "1.1", but(sec_websocket_key=None), 400),
        ("GET", "1.1", but(sec_websocket_key=b"c2hvcnQ="), 400),
        ("GET", "1.1", but(sec_websocket_key=b"!" * 24), 400),
        ("GET", "1.1", [*GOOD, (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ==")], 400),
        ("GET", "1.1", but(sec_websocket_version=b"8"), 426),
        ("GET", "1.1", but(sec_websocket_version=None), 426),
        ("GET", "1.1", but(sec_websocket_version=b"13, 8"), 426),
        ("GET", "1.1", but(sec_websocket_protocol=b"a b"), 400),
        ("GET", "1.1", but(sec_websocket_protocol=b"a, b;c"), 400),
        ("GET", "1.1", but(sec_websocket_protocol="grün".encode()), 400),
        ("GET", "1.1", [*GOOD, (b"sec-websocket-protocol", b"a"), (b"sec-websocket-protocol", b"<b>")], 400),
        ("GET", "1.1", but(content_length=b"5"), 400),
        ("GET", "1.1", but(transfer_encoding=b"chunked"), 400),
    ],
)
def test_bad_handshakes(method: str, version: str, headers: list[tuple[bytes, bytes]], status: int) -> None:
    wrong = check_handshake(method, version, headers)
    assert wrong is not None
    assert wrong.status == status
    if status == 426:
        assert (b"sec-websocket-version", b"13") in wrong.headers


def test_the_accept_key_is_that_of_the_rfc() -> None:
    head = accept_head(GOOD, "chat", "permessage-deflate", [("set-cookie", "a=1"), ("set-cookie", "b=2")])
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert head.endswith(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in lines
    assert b"sec-websocket-protocol: chat" in lines
    assert b"sec-websocket-extensions: permessage-deflate" in lines
    assert lines.count(b"set-cookie: a=1") == lines.count(b"set-cookie: b=2") == 1


def test_a_refusal_is_a_complete_answer() -> None:
    data = refusal(Refusal(401, [(b"www-authenticate", b"Bearer"), (b"Content-Length", b"99")], b"who?"))
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"http/1.1 401 unauthorized"
    assert body == b"who?"
    assert lines.count(b"content-length: 4") == 1
    assert b"content-length: 99" not in lines
    assert b"connection: close" in lines
    assert b"content-type: text/plain; charset=utf-8" in lines
    assert b"www-authenticate: bearer" in lines
