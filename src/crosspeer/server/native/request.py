"""A `Request` from the head that the engine has read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from crosspeer_engine import parse_head

from crosspeer.core.request import HUB_KEY, Request

if TYPE_CHECKING:
    from crosspeer.core.hub import Hub

Head = tuple[bytes, tuple[str, int] | None]
"""The bytes of the request's head, and the address of the client: little to keep for as long as a peer lives."""


def request_of(head: Head, hub: Hub) -> Request:
    """Make the request of a handshake."""
    data, client = head
    target, headers = parse_head(data)
    raw_path, _, query = target.partition(b"?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "client": client,
        "server": None,
        "root_path": "",
        "path": unquote(raw_path.decode("latin-1")),
        "raw_path": raw_path,
        "query_string": query,
        "headers": headers,
        "state": {},
        HUB_KEY: hub,
    }
    return Request(scope)
