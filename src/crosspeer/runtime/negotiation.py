"""From what an HTTP server has read of a handshake to the answer: the 101, or one that refuses."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from crosspeer.core.admission import Admission
from crosspeer.core.request import Request
from crosspeer.runtime.deflating import Deflating, agree
from crosspeer.runtime.handshake import admit, rendered
from crosspeer.wire.handshake import Refusal, accept_key, check_handshake

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crosspeer.core.hub import Hub
    from crosspeer.wire.handshake import Headers

_CONTROL: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")


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


@dataclass(frozen=True, slots=True)
class Accepted:
    """A handshake that is to be answered with 101. If nothing comes of it, it MUST be released."""

    admission: Admission
    deflating: Deflating | None
    """The compression that was agreed on."""

    @property
    def headers(self) -> list[tuple[str, str]]:
        """All headers of the 101 that are ours or the application's."""
        accepted = self.admission.accepted
        headers = [
            ("upgrade", "websocket"),
            ("connection", "Upgrade"),
            ("sec-websocket-accept", accept_key(self.admission.request.scope["headers"])),
        ]
        if accepted.protocol is not None:
            headers.append(("sec-websocket-protocol", accepted.protocol))
        if self.deflating is not None:
            headers.append(("sec-websocket-extensions", self.deflating.params.header))
        return headers + accepted.header_pairs

    @property
    def head(self) -> bytes:
        """The 101 as it is written, for servers that leave it to us."""
        lines = [f"{name}: {value}\r\n" for name, value in self.headers]
        return f"HTTP/1.1 101 Switching Protocols\r\n{''.join(lines)}\r\n".encode("latin-1")

    def release(self) -> None:
        """The handshake came to nothing."""
        self.admission.release()


async def negotiate(hub: Hub, request: Request) -> Accepted | Refusal:
    """Ask whether this is a handshake (RFC 6455 section 4.2.1), and then whether the hub admits it."""
    scope = request.scope
    wrong = check_handshake(scope["method"], scope["http_version"], scope["headers"])
    if wrong is not None:
        return wrong
    if not _is_sound(scope["headers"]):
        return Refusal(400, [], b"this is no sound HTTP request")
    admitted = await admit(hub, request)
    if not isinstance(admitted, Admission):
        return await rendered(admitted)
    return Accepted(admitted, agree(hub, scope["headers"], admitted.accepted.compress))


def _is_sound(headers: Headers) -> bool:
    """What a kind HTTP server lets pass: a Host that is missing or there twice, control characters in a value."""
    hosts = sum(name == b"host" for name, _ in headers)
    return hosts == 1 and not any(_CONTROL.search(value) for _, value in headers)


def _address(name: object) -> tuple[str, int] | None:
    """Host and port; None for a Unix socket, whose name is a string."""
    return (str(name[0]), int(name[1])) if isinstance(name, (tuple, list)) and len(name) >= 2 else None
