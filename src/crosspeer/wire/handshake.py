"""The opening handshake: what is wrong with a request, and the bytes of the answers (RFC 6455 section 4.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple

Headers = list[tuple[bytes, bytes]]
"""Raw headers with lower-case names, as ASGI has them."""

_TOKENS: Final = re.compile(rb"(?:[ \t]*(?:[!#$%&'*+\-.^_`|~0-9A-Za-z]+[ \t]*)?(?:,|\Z))*")
"""A list that may have empty members (RFC 9110 section 5.6.1)."""

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refusal(NamedTuple):
    """An answer that is not 101."""

    status: int
    headers: Headers
    body: bytes


def is_upgrade(http_version: str, headers: Headers) -> bool:
    """Whether a request wants to become a WebSocket. HTTP/1.0 knows no upgrades (RFC 9110 section 7.8)."""
    return http_version == "1.1" and _has_token(headers, b"upgrade", b"websocket")


def check_handshake(method: str, http_version: str, headers: Headers) -> Refusal | None:
    """Say what is wrong with an upgrade request, None if nothing is (RFC 6455 section 4.2.1)."""
    if method != "GET" or http_version != "1.1":
        return _bad("a handshake is a GET of HTTP/1.1")
    if _values(headers, b"sec-websocket-version") != [b"13"]:
        # Section 4.4; closed behind it, for a proxy in front may believe that a tunnel is open.
        versions = [(b"sec-websocket-version", b"13"), (b"upgrade", b"websocket")]
        return Refusal(426, versions, b"WebSocket version 13 is required.")
    if not _has_token(headers, b"upgrade", b"websocket") or not _has_token(headers, b"connection", b"upgrade"):
        return _bad("no upgrade to websocket")
    keys = _values(headers, b"sec-websocket-key")
    if len(keys) != 1 or not _is_key(keys[0]):
        return _bad("invalid Sec-WebSocket-Key")
    if not all(_TOKENS.fullmatch(value) for value in _values(headers, b"sec-websocket-protocol")):
        return _bad("a subprotocol that is no token")
    if _values(headers, b"content-length") not in ([], [b"0"]) or _values(headers, b"transfer-encoding"):
        return _bad("a handshake has no body")
    return None


def accept_key(request: Headers) -> str:
    """The answer to the key of a request that was checked (RFC 6455 section 4.2.2)."""
    key = _values(request, b"sec-websocket-key")[0]
    return base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()).decode()


def accept_head(request: Headers, protocol: str | None, extensions: str, headers: list[tuple[str, str]]) -> bytes:
    """Write the 101 for a request that was checked."""
    accept = accept_key(request).encode()
    lines = [b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "]
    lines.append(accept)
    if protocol is not None:
        lines.append(b"\r\nsec-websocket-protocol: " + protocol.encode("latin-1"))
    if extensions:
        lines.append(b"\r\nsec-websocket-extensions: " + extensions.encode("latin-1"))
    lines += [f"\r\n{name}: {value}".encode("latin-1") for name, value in headers]
    lines.append(b"\r\n\r\n")
    return b"".join(lines)


def refusal(answer: Refusal) -> bytes:
    """Write an answer that refuses, and after which the connection is closed."""
    try:
        phrase = HTTPStatus(answer.status).phrase
    except ValueError:
        phrase = ""
    names = {name.lower() for name, _ in answer.headers}
    headers = [
        (name, value) for name, value in answer.headers if name.lower() not in (b"connection", b"content-length")
    ]
    headers += [(b"content-length", b"%d" % len(answer.body)), (b"connection", b"close")]
    if b"date" not in names:
        headers.append((b"date", formatdate(usegmt=True).encode()))
    if b"content-type" not in names and answer.body:
        headers.append((b"content-type", b"text/plain; charset=utf-8"))
    head = f"HTTP/1.1 {answer.status} {phrase}\r\n".encode()
    return head + b"".join(b"%s: %s\r\n" % pair for pair in headers) + b"\r\n" + answer.body


def _bad(reason: str) -> Refusal:
    return Refusal(400, [], reason.encode())


def _values(headers: Headers, name: bytes) -> list[bytes]:
    return [value.strip() for known, value in headers if known == name]


def _has_token(headers: Headers, name: bytes, token: bytes) -> bool:
    return any(part.strip().lower() == token for value in _values(headers, name) for part in value.split(b","))


def _is_key(key: bytes) -> bool:
    try:
        return len(key) == 24 and len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False
