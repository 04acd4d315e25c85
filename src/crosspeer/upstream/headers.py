"""What may go on to an upstream with the handshake: headers, subprotocols, close codes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Final

from crosspeer.core.upgrade import TOKEN, HeadersLike, Upgrade, as_upgrade
from crosspeer.wire.closing import MAX_REASON_BYTES, CloseCode, may_be_received

if TYPE_CHECKING:
    from crosspeer.core.peer import Peer

ForwardProtocol = bool | str | Iterable[str] | Mapping[str, str] | Callable[["Peer"], object]

_OF_THE_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-protocol",
        "sec-websocket-version",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers of one connection and not of the next (RFC 9110 section 7.6.1), and those of the handshake itself."""


def forwarded(headers: HeadersLike | None) -> list[tuple[str, str]]:
    """The headers without those that belong to the connection they came on, also by their own `Connection` header.

    Raises:
        ValueError: a name is no token, or a value has control characters.
    """
    pairs = Upgrade(headers=headers).header_pairs
    named = {
        name.strip().lower() for known, value in pairs if known.lower() == "connection" for name in value.split(",")
    }
    kept = [(name, value) for name, value in pairs if name.lower() not in _OF_THE_HOP | named]
    return as_upgrade(Upgrade(headers=kept)).header_pairs


def echoed_protocol(offered: list[str]) -> str | None:
    """The subprotocol that the client is told, before the upstream has said anything: the first that it offers."""
    return offered[0] if offered and TOKEN.match(offered[0]) else None


def protocols_for(forward: ForwardProtocol, offered: list[str], peer: Peer) -> list[str]:
    """What to offer the upstream. What is no token (RFC 6455 section 4.1) is dropped, and each is offered once."""
    wanted: object
    if forward is False:
        wanted = None
    elif forward is True:
        wanted = offered
    elif isinstance(forward, Mapping):
        wanted = [forward.get(name, name) for name in offered]
    else:
        wanted = forward(peer) if callable(forward) else forward
    if wanted is None:
        return []
    names = [wanted] if isinstance(wanted, str) else list(wanted)  # type: ignore[call-overload]
    clean = [name.strip() for name in names if isinstance(name, str)]
    return list(dict.fromkeys(name for name in clean if TOKEN.match(name)))


def code_for_peer(code: int) -> int:
    """The code for the client, when the upstream has closed with this one (crossws)."""
    if code == CloseCode.NO_STATUS:
        return CloseCode.NORMAL
    return code if may_be_received(code) else CloseCode.INTERNAL_ERROR


def code_for_upstream(code: int) -> int | None:
    """The code for the upstream, when the peer has closed with this one. None: a close frame without a code.

    A client that vanished has gone away: 1006 itself never stands in a frame (RFC 6455 section 7.4.1).
    """
    if code == CloseCode.NO_STATUS:
        return None
    return code if may_be_received(code) else CloseCode.GOING_AWAY


def shortened(reason: str) -> str:
    """As much of a reason as a close frame holds."""
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
