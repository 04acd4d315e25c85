"""The connections of one peer, and which of them a message of the broker is for."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from crosspeer.peerjs.client.data import DataConnection
from crosspeer.peerjs.client.errors import ErrorType, PeerError
from crosspeer.peerjs.client.media import MediaConnection
from crosspeer.peerjs.rtc.port import RTCError
from crosspeer.wire import signalling
from crosspeer.wire.peerjs import ANSWER, CANDIDATE, EXPIRE, LEAVE, OFFER, BadMessage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from crosspeer.peerjs.client.connection import BaseConnection
    from crosspeer.peerjs.client.log import Log
    from crosspeer.wire.signalling import Description, Message

C = TypeVar("C")

MAX_EARLY: Final = 256
"""Candidates kept that came before their offer."""


class Owner(Protocol):
    """The peer."""

    log: Log

    def _accept_data(self, src: str, offer: Description) -> DataConnection: ...

    def _accept_call(self, src: str, offer: Description) -> MediaConnection: ...

    def _report(self, error: PeerError) -> PeerError: ...

    def _emit(self, event: str, *arguments: object) -> None: ...


class Arrivals(Generic[C]):
    """Connections that others have made, for who iterates over them."""

    def __init__(self) -> None:
        self._waiting: dict[C, None] = {}
        self._readers = 0
        self._news = asyncio.Event()
        self._is_ended = False

    def add(self, connection: C) -> None:
        self._waiting[connection] = None
        self._news.set()

    def remove(self, connection: C) -> None:
        """It has ended. Who iterates already gets it all the same: what it has said can still be read."""
        if not self._readers:
            self._waiting.pop(connection, None)

    def end(self) -> None:
        self._is_ended = True
        self._news.set()

    async def each(self) -> AsyncGenerator[C, None]:
        self._readers += 1
        try:
            while True:
                while self._waiting:
                    connection = next(iter(self._waiting))
                    del self._waiting[connection]
                    yield connection
                if self._is_ended:
                    return
                self._news.clear()
                await self._news.wait()
        finally:
            self._readers -= 1


class Switchboard:
    def __init__(self, owner: Owner, max_connections: int) -> None:
        self._owner = owner
        self._max_connections = max_connections
        self._connections: dict[tuple[str, str], BaseConnection] = {}
        self._early: deque[tuple[tuple[str, str], dict[str, Any]]] = deque(maxlen=MAX_EARLY)
        self.data: Final[Arrivals[DataConnection]] = Arrivals()
        """Connections that others have opened."""
        self.calls: Final[Arrivals[MediaConnection]] = Arrivals()
        """Calls that are to be answered."""

    def connections(self) -> dict[str, list[BaseConnection]]:
        found: dict[str, list[BaseConnection]] = {}
        for connection in self._connections.values():
            found.setdefault(connection.peer, []).append(connection)
        return found

    def every(self) -> list[BaseConnection]:
        return list(self._connections.values())

    def find(self, peer: str, connection_id: str) -> BaseConnection | None:
        return self._connections.get((peer, connection_id))

    def add(self, connection: BaseConnection) -> None:
        self._connections[connection.peer, connection.connection_id] = connection

    def opened(self, connection: BaseConnection) -> None:
        if isinstance(connection, DataConnection) and connection.is_incoming:
            self.data.add(connection)

    def remove(self, connection: BaseConnection) -> None:
        key = (connection.peer, connection.connection_id)
        if self._connections.get(key) is connection:
            del self._connections[key]
        if isinstance(connection, DataConnection):
            self.data.remove(connection)
        elif isinstance(connection, MediaConnection):
            self.calls.remove(connection)

    def end(self) -> None:
        """Nothing more will come."""
        self._early.clear()
        self.data.end()
        self.calls.end()

    def route(self, message: Message) -> None:
        """Do what a message of the broker says. One that makes no sense becomes an `error`, and touches nobody."""
        try:
            self._route(message)
        except (BadMessage, ValueError, RTCError) as error:
            self._owner._report(PeerError(ErrorType.WEBRTC, f"{message.src or 'the server'}: {error}"))

    def _route(self, message: Message) -> None:
        if message.type == OFFER:
            self._offered(message.src, signalling.description(message))
        elif message.type == ANSWER:
            answer = signalling.description(message)
            if (connection := self.find(message.src, answer.connection_id)) is not None:
                connection._answered(answer)
        elif message.type == CANDIDATE:
            self._offered_candidate(message)
        elif message.type == EXPIRE:
            self._expired(message.src, message.payload.get("connectionId"))
        elif message.type == LEAVE:
            for connection in self.connections().get(message.src, []):
                connection._left()
        else:
            self._owner.log.warning("the server sent a message of an unknown type: %r", message.type)

    def _offered(self, src: str, offer: Description) -> None:
        if not src:
            raise BadMessage("an OFFER of nobody")
        if (known := self.find(src, offer.connection_id)) is not None:
            # PeerJS negotiates nothing twice: who offers again has begun anew.
            known.close()
        if len(self._connections) >= self._max_connections:
            self._owner.log.warning("an offer of %s was ignored: %d connections", src, len(self._connections))
            return
        connection: BaseConnection
        if offer.kind == DataConnection.type:
            connection = self._owner._accept_data(src, offer)
        elif offer.kind == MediaConnection.type:
            connection = call = self._owner._accept_call(src, offer)
            self.calls.add(call)
        else:
            self._owner.log.warning("an offer of %s was ignored: its type is %r", src, offer.kind)
            return
        self.add(connection)
        for candidate in self._take_early((src, offer.connection_id)):
            connection._offered_candidate(candidate)
        event = "connection" if offer.kind == DataConnection.type else "call"
        self._owner._emit(event, connection, connection.metadata)

    def _offered_candidate(self, message: Message) -> None:
        key = (message.src, signalling.connection_id(message))
        candidate = signalling.candidate(message)
        connection = self._connections.get(key)
        if isinstance(connection, MediaConnection) and signalling.is_hang_up(message):
            connection._hung_up()
        elif connection is not None:
            connection._offered_candidate(candidate)
        else:
            self._early.append((key, candidate))

    def _take_early(self, key: tuple[str, str]) -> list[dict[str, Any]]:
        mine = [candidate for owner, candidate in self._early if owner == key]
        if mine:
            self._early = deque((entry for entry in self._early if entry[0] != key), MAX_EARLY)
        return mine

    def _expired(self, src: str, connection_id: object) -> None:
        """Nobody of this id came for our offers, or for one. PeerJS leaves their connections as they are, for ever."""
        waiting = [
            each
            for each in self.connections().get(src, [])
            if not each.open and connection_id in (None, each.connection_id)
        ]
        if not waiting:
            return
        error = PeerError(ErrorType.PEER_UNAVAILABLE, f"Could not connect to peer {src}")
        self._owner._report(error)
        for connection in waiting:
            connection._end(error)
