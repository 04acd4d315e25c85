"""From what an HTTP server has read of a handshake to an admission, or to the answer that refuses it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from crosspeer.core.admission import Admission
from crosspeer.core.request import Request
from crosspeer.runtime.handshake import admit, rendered
from crosspeer.wire.handshake import Refusal, check_handshake

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crosspeer.core.hub import Hub


def request_of(
    method: str,
    target: bytes,
    headers: Iterable[tuple[bytes, bytes]],
    *,
    client: object,
    secure: bool = False,
    http_version: str = "1.1",
) -> Request:
    """Make the request that hooks see.

    Args:
        target: path and query as they were sent.
        client: the address of the other side, in the form of a socket's `getpeername`.
        secure: whether it came over TLS.
    """
    raw_path, _, query = target.partition(b"?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": http_version,
        "method": method,
        "scheme": "https" if secure else "http",
        "client": _address(client),
        "server": None,
        "root_path": "",
        "path": unquote(raw_path.decode("latin-1")),
        "raw_path": raw_path,
        "query_string": query,
        "headers": [(name.lower(), value) for name, value in headers],
        "state": {},
    }
    return Request(scope)


async def negotiate(hub: Hub, request: Request) -> Admission | Refusal:
    """Ask whether this is a handshake (RFC 6455 section 4.2.1), and then whether the hub admits it."""
    scope = request.scope
    wrong = check_handshake(scope["method"], scope["http_version"], scope["headers"])
    if wrong is not None:
        return wrong
    admitted = await admit(hub, request)
    return admitted if isinstance(admitted, Admission) else await rendered(admitted)


def _address(name: object) -> tuple[str, int] | None:
    """Host and port; None for a Unix socket, whose name is a string."""
    return (str(name[0]), int(name[1])) if isinstance(name, (tuple, list)) and len(name) >= 2 else None
