"""Handshakes: every request gets a sound answer, and nothing in it can become a line of ours."""

from __future__ import annotations

import base64
import hashlib

import h11
from hypothesis import given
from hypothesis import strategies as st

from crosspeer.wire.handshake import Headers, Refusal, accept_head, check_handshake, refusal

NAMES = st.sampled_from(
    [b"host", b"upgrade", b"connection", b"sec-websocket-key", b"sec-websocket-version", b"content-length"]
)
VALUES = st.one_of(
    st.sampled_from([b"websocket", b"h2c , WebSocket", b"keep-alive, Upgrade", b"13", b"8", b"13, 8", b"0", b"5"]),
    st.binary(max_size=24),
    st.binary(min_size=16, max_size=16).map(base64.b64encode),
    st.binary(min_size=24, max_size=24),
)
SOUND = [
    (b"host", b"example.com"),
    (b"upgrade", b"websocket"),
    (b"connection", b"Upgrade"),
    (b"sec-websocket-key", b"dGhlIHNhbXBsZSBub25jZQ=="),
    (b"sec-websocket-version", b"13"),
]
REQUESTS = st.tuples(
    st.lists(st.sampled_from(SOUND), unique=True, min_size=3),
    st.lists(st.tuples(NAMES | st.just(b"transfer-encoding"), VALUES), max_size=3),
).flatmap(lambda parts: st.permutations(parts[0] + parts[1]))


def parsed(answer: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """An answer as a client's HTTP parser reads it."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "example.com")]))
    client.send(h11.EndOfMessage())
    client.receive_data(answer)
    client.receive_data(b"")
    head, body = client.next_event(), b""
    assert isinstance(head, h11.Response)
    while isinstance(event := client.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    return head.status_code, dict(head.headers), body


@given(st.sampled_from(["GET", "POST"]), st.sampled_from(["1.1", "1.0"]), REQUESTS)
def test_every_request_gets_a_sound_answer(method: str, version: str, headers: Headers) -> None:
    wrong = check_handshake(method, version, headers)
    if wrong is None:
        keys = [value.strip() for name, value in headers if name == b"sec-websocket-key"]
        digest = hashlib.sha1(keys[0] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
        lines = accept_head(headers, "chat", "", [("x-a", "b")]).split(b"\r\n")
        assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
        assert b"sec-websocket-accept: " + base64.b64encode(digest) in lines
        assert len(lines) == 8, "six headers and the empty line, whatever the client sent"
    else:
        status, answered, body = parsed(refusal(wrong))
        assert status in (400, 426)
        assert answered[b"connection"] == b"close"
        assert body == wrong.body


@given(
    st.integers(200, 599),
    st.lists(
        st.tuples(st.sampled_from([b"content-length", b"Connection", b"date", b"x-a"]), st.just(b"1")), max_size=4
    ),
    st.binary(max_size=50),
)
def test_a_refusal_says_its_length_and_its_end_once(status: int, headers: Headers, body: bytes) -> None:
    if status in (204, 304):
        # Answers without a body by their status; nobody refuses with them.
        body = b""
    answer = refusal(Refusal(status, headers, body))
    head = answer[: answer.index(b"\r\n\r\n")].lower()
    assert head.count(b"content-length:") == head.count(b"connection:") == 1
    assert parsed(answer)[::2] == (status, body)


@given(st.binary(max_size=30))
def test_a_key_is_sixteen_bytes_and_nothing_else(key: bytes) -> None:
    headers = [(name, key if name == b"sec-websocket-key" else value) for name, value in SOUND]
    try:
        is_key = len(base64.b64decode(key.strip(), validate=True)) == 16 and len(key.strip()) == 24
    except ValueError:
        is_key = False
    assert (check_handshake("GET", "1.1", headers) is None) == is_key
