"""`proxy`: hooks that forward every peer to an upstream WebSocket."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from crosspeer.core.hooks import CloseDetails, Hooks
from crosspeer.core.limits import MIB
from crosspeer.core.upgrade import Upgrade
from crosspeer.runtime.tasks import Tasks
from crosspeer.upstream.allow import Allow
from crosspeer.upstream.dial import Dialer
from crosspeer.upstream.headers import ForwardProtocol, echoed_protocol
from crosspeer.upstream.link import Link
from crosspeer.upstream.options import Options, UpstreamClosed

if TYPE_CHECKING:
    from crosspeer.core.message import Message
    from crosspeer.core.peer import Peer
    from crosspeer.core.request import Request
    from crosspeer.upstream.options import Connect, PeerHeaders, PeerOptions, Target


class Proxy(Hooks):
    """The hooks that `proxy` makes. Subclass it to add to them, or put other hooks in front of it by a hub's."""

    def __init__(
        self, target: Target, *, allow: str | Iterable[str] | None = None, options: Options | None = None
    ) -> None:
        self._options = options or Options()
        self._dialer = Dialer(target, Allow(allow, trusting=not callable(target)), self._options)
        self._links: dict[Peer, Link] = {}
        self._tasks = Tasks()

    def upgrade(self, request: Request) -> Upgrade:
        options = self._options
        protocol = None if options.forward_protocol is False else echoed_protocol(request.offered_protocols)
        return Upgrade(protocol=protocol, compress=options.compress)

    def open(self, peer: Peer) -> None:
        self._links[peer] = Link(peer, self._dialer, self._options, self._tasks)

    def message(self, peer: Peer, message: Message) -> Awaitable[None] | None:
        return self._links[peer].forward(message.data)

    def ping(self, peer: Peer, data: bytes) -> None:
        self._links[peer].heard()

    def pong(self, peer: Peer, data: bytes) -> None:
        self._links[peer].heard()

    def close(self, peer: Peer, details: CloseDetails) -> Awaitable[None] | None:
        link = self._links.pop(peer, None)
        return None if link is None else link.leave(details)


def proxy(
    target: Target,
    *,
    allow: str | Iterable[str] | None = None,
    forward_protocol: ForwardProtocol = True,
    headers: PeerHeaders = None,
    websocket_options: PeerOptions = None,
    max_buffer_size: int | None = MIB,
    connect_timeout: float | None = 10.0,
    client_idle_timeout: float | None = None,
    compress: bool | None = None,
    connect: Connect | None = None,
    on_upstream_connect: Callable[[Peer, str], Any] | None = None,
    on_upstream_open: Callable[[Peer, str], Any] | None = None,
    on_upstream_close: Callable[[Peer, UpstreamClosed], Any] | None = None,
) -> Proxy:
    """Make hooks that forward every peer to an upstream WebSocket, and back (crossws `createWebSocketProxy`).

    Whatever may be a function of the peer may be `async`. Times are seconds, sizes bytes.

    Args:
        target: `ws://`, `wss://` or `ws+unix:///socket:/path`, as a string or a URL, or a function of the peer that
            returns one.
        allow: where it may lead: names (`example.com`, `*.example.com`), addresses, networks (`10.0.0.0/8`), paths of
            Unix sockets; "*" is any host. A name stands for whatever it resolves to. Without a list a fixed target
            may be anywhere, and that of a function at public addresses only.
        forward_protocol: the subprotocols to offer upstream: True, those of the client; False, none; one or several
            instead of those; a mapping that replaces some of them; or a function of the peer. The client is told
            the first that it offers, whatever the upstream will choose; with False none.
        headers: of the handshake with the upstream, or a function of the peer. None of the client's are sent by
            themselves, and those that belong to a single connection never.
        websocket_options: further arguments of `websockets.connect`, `ssl` for instance, or a function of the peer.
        max_buffer_size: what a client may send until the upstream is open; more closes it with 1011. None: it is
            not read further instead.
        connect_timeout: from the peer's `open` to that of its upstream; later it is closed with 1011. None: no bound.
        client_idle_timeout: silence of the client after which both sides are closed with 1001. None: no bound.
        compress: permessage-deflate for the client (`Upgrade.compress`).
        connect: takes the place of `websockets.connect`, with the same arguments.
        on_upstream_connect: called with the peer and the URL before the upstream is dialled. It may close the peer;
            what it raises closes it with 1011.
        on_upstream_open: called with the same once what had waited is sent.
        on_upstream_close: called with the peer and an `UpstreamClosed`, once for each `on_upstream_connect`.

    Raises:
        TypeError, ValueError: an option, or a target that is no function, is not a possible one.
    """
    options = Options(
        forward_protocol=_kept(forward_protocol),
        headers=_kept(headers),
        websocket_options=websocket_options,
        max_buffer_size=max_buffer_size,
        connect_timeout=connect_timeout,
        client_idle_timeout=client_idle_timeout,
        compress=compress,
        connect=connect,
        on_upstream_connect=on_upstream_connect,
        on_upstream_open=on_upstream_open,
        on_upstream_close=on_upstream_close,
    )
    return Proxy(target, allow=allow, options=options)


def _kept(value: Any) -> Any:
    """An iterable as a list: it serves many peers."""
    is_iterable = isinstance(value, Iterable) and not isinstance(value, (str, Mapping))
    return list(value) if is_iterable else value
