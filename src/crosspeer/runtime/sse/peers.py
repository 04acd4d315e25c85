"""The peers of one hub that come by `EventSource`, found by their secrets."""

from __future__ import annotations

import asyncio
import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from weakref import WeakKeyDictionary

from crosspeer.runtime.sse.connection import EventConnection
from crosspeer.runtime.tasks import Tasks
from crosspeer.runtime.ticks import Ticks
from crosspeer.wire.streamed import read_position

if TYPE_CHECKING:
    from crosspeer.core.hub import Hub
    from crosspeer.core.request import Request
    from crosspeer.core.session import Session
    from crosspeer.core.sse import SSE
    from crosspeer.runtime.exchange import Exchange

TOKEN_HEADER: Final = "x-crossws-id"
"""Where a POST has the secret for the way back. A page of another origin needs our permission to send it."""
BATCH: Final = 100
"""Streams that are kept alive in one turn of the loop."""


class EventPeers:
    """Who is there, or may come back."""

    def __init__(self, options: SSE) -> None:
        self.loop = asyncio.get_running_loop()
        self._options = options
        self._tokens: dict[bytes, EventConnection] = {}
        self._keys: dict[bytes, EventConnection] = {}
        self._ends = Tasks()
        self._ticks: Ticks | None = None

    def add(self, session: Session, exchange: Exchange) -> EventConnection:
        """Make the connection of an admitted peer."""
        connection = EventConnection(session, self._options, exchange, self._remove)
        self._tokens[_digest(connection.channel.token)] = connection
        self._keys[_digest(connection.channel.key)] = connection
        if self._ticks is None and self._options.keep_alive > 0:
            # Twice in that time, so that no silence is longer.
            self._ticks = Ticks(self.loop, self._options.keep_alive / 2, self._beat)
        return connection

    def discard(self, connection: EventConnection) -> None:
        """Forget one that has not begun."""
        self._tokens.pop(_digest(connection.channel.token), None)
        self._keys.pop(_digest(connection.channel.key), None)
        if not self._tokens and self._ticks is not None:
            self._ticks.stop()
            self._ticks = None

    def by_token(self, request: Request) -> EventConnection | None:
        """Whose way back a request is: by its secret, from the same page, on the same path."""
        sent = request.headers.getlist(TOKEN_HEADER)
        connection = self._tokens.get(_digest(sent[0])) if len(sent) == 1 else None
        if connection is None or not _is_same(connection.channel.token, sent[0]):
            return None
        return connection if connection.belongs_to(request) else None

    def by_position(self, request: Request) -> tuple[EventConnection, int] | None:
        """Whose stream a request goes on with, and behind which message: in the same way."""
        sent = request.headers.getlist("last-event-id")
        found = read_position(sent[0]) if len(sent) == 1 else None
        connection = None if found is None else self._keys.get(_digest(found[0]))
        if found is None or connection is None or not _is_same(connection.channel.key, found[0]):
            return None
        return (connection, found[1]) if connection.is_open and connection.belongs_to(request) else None

    def _remove(self, connection: EventConnection) -> None:
        self.discard(connection)
        self._ends.start(connection.end())

    def _beat(self) -> None:
        connections = list(self._tokens.values())
        for turn, start in enumerate(range(0, len(connections), BATCH)):
            # Spread out: thousands of writes at once would hold up everybody.
            self.loop.call_later(turn / 1000, _beat_all, connections[start : start + BATCH])


def _beat_all(connections: list[EventConnection]) -> None:
    for connection in connections:
        if not connection.is_over:
            connection.beat()


def _digest(secret: str) -> bytes:
    """What secrets are looked up by: how long that takes says nothing of them."""
    return sha256(secret.encode("utf-8", "surrogateescape")).digest()


def _is_same(secret: str, sent: str) -> bool:
    return hmac.compare_digest(secret.encode(), sent.encode("utf-8", "surrogateescape"))


_peers: WeakKeyDictionary[Hub, EventPeers] = WeakKeyDictionary()


def peers_of(hub: Hub, options: SSE) -> EventPeers:
    """Those of a hub, whichever of its adapters asks."""
    peers = _peers.get(hub)
    if peers is None or peers.loop is not asyncio.get_running_loop():
        peers = _peers[hub] = EventPeers(options)
    return peers
