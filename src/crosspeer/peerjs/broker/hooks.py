"""The broker's WebSocket side: hooks on a hub, whatever serves it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import PlainTextResponse, Response

from crosspeer.core.hooks import CloseDetails, Hooks
from crosspeer.core.hub import Hub
from crosspeer.core.limits import Limits
from crosspeer.peerjs.broker.door import CONTEXT, Door
from crosspeer.peerjs.broker.registry import Client
from crosspeer.peerjs.broker.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.types import Scope

    from crosspeer.core.message import Message
    from crosspeer.core.peer import Peer
    from crosspeer.core.request import Request
    from crosspeer.core.sync import Sync
    from crosspeer.peerjs.broker.metrics import Metrics
    from crosspeer.peerjs.broker.state import State

SOCKET: Final = "peerjs"
"""The last part of the path of every signalling socket."""


class BrokerHooks(Hooks):
    """What happens on a signalling socket."""

    def __init__(self, state: State, door: Door) -> None:
        self._state = state
        self._door = door
        self._relay = Relay(state)

    def open(self, peer: Peer) -> Awaitable[None] | None:
        return self._door.open(peer)

    def message(self, peer: Peer, message: Message) -> Awaitable[None] | None:
        client = peer.context[CONTEXT]
        return self._relay.receive(client, message.data) if isinstance(client, Client) else None

    def ping(self, peer: Peer, data: bytes) -> None:
        self._heard(peer)

    def pong(self, peer: Peer, data: bytes) -> None:
        self._heard(peer)

    def close(self, peer: Peer, details: CloseDetails) -> Awaitable[None] | None:
        client = peer.context[CONTEXT]
        # One that was replaced has nothing to say any more.
        return self._state.end(client) if isinstance(client, Client) and client.peer is peer else None

    def error(self, peer: Peer, error: Exception) -> Awaitable[None] | None:
        super().error(peer, error)
        return self._state.events.emit("error", error)

    def _heard(self, peer: Peer) -> None:
        client = peer.context[CONTEXT]
        if isinstance(client, Client):
            self._state.heard(client, self._state.clock.time())


class BrokerHub(Hub):
    """A hub that serves one broker's signalling socket, and nothing else."""

    def __init__(self, state: State, door: Door, sync: Sync | str | None = None) -> None:
        self._state = state
        self._door = door
        self._socket_path = state.options.path + SOCKET
        self._hooks_of_all = BrokerHooks(state, door)
        self.metrics: Final[Metrics] = state.metrics
        """What the broker has counted."""
        super().__init__(
            resolve=self._admit,
            namespace=lambda _request: self._socket_path,
            # No pings of the server's: the broker asks those alone who are silent.
            limits=Limits(max_message_size=state.limits.max_message_size, ping_interval=None),
            origins=state.options.origins,
            # Where any page may connect, a name that points here by a trick gives it nothing more.
            allowed_hosts="*" if state.options.origins == "*" else None,
            # Nothing else is served here: no `peerjs` client comes by an event stream.
            sse=False,
            sync=sync,
        )

    def join(self, sync: Sync | str) -> None:
        """Be one broker with the others of a fleet from now on, as `PeerServer(sync=...)` is from the beginning.

        Raises:
            ValueError, MissingExtra: see `Hub.join`.
        """
        # A broker that is alone needs none of it.
        from crosspeer.peerjs.broker.fleet import Fleet, relay_of

        relay = relay_of(sync, self._state.options.key)
        super().join(relay)
        self._state.fleet = Fleet(self._state, relay, self._door.judge)

    def _admit(self, request: Request) -> Hooks | Response:
        opening = self._door.read(request.scope) if route_path(request.scope) == self._socket_path else None
        if opening is None:
            return PlainTextResponse("Bad Request: there is no PeerJS broker at this address", 400)
        request.context[CONTEXT] = opening
        return self._hooks_of_all


def route_path(scope: Scope) -> str:
    """The path below the mount that the request came through."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "")
    if root and path.startswith(root) and path[len(root) :][:1] in ("", "/"):
        return path[len(root) :]
    return path
