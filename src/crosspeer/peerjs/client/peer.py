"""Peer: an id at a broker, and the connections to other peers that come about through it."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from crosspeer.core.outgoing import to_json
from crosspeer.peerjs.client import http
from crosspeer.peerjs.client.data import DataConnection
from crosspeer.peerjs.client.errors import ErrorType, PeerError, PeerTimeout
from crosspeer.peerjs.client.events import Emitter
from crosspeer.peerjs.client.later import Later
from crosspeer.peerjs.client.log import Log
from crosspeer.peerjs.client.media import RING_TIME, MediaConnection, check_call
from crosspeer.peerjs.client.options import CLOUD_HOST, Backoff, Options, PeerLimits, new_token
from crosspeer.peerjs.client.serializers import serializers as all_serializers
from crosspeer.peerjs.client.session import Session
from crosspeer.peerjs.client.switchboard import Switchboard
from crosspeer.peerjs.rtc.choose import choose_engine
from crosspeer.peerjs.rtc.config import read_config
from crosspeer.peerjs.rtc.port import RTCError
from crosspeer.runtime.tasks import Tasks
from crosspeer.wire.peerjs import MAX_ID_LENGTH, is_valid_id

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
    from types import TracebackType

    from crosspeer.peerjs.client.connection import BaseConnection
    from crosspeer.peerjs.client.serializers import Serializer
    from crosspeer.peerjs.media.stream import MediaStream
    from crosspeer.peerjs.rtc.port import Engine
    from crosspeer.wire.signalling import Description, Message


class Peer(Emitter):
    """A peer of PeerJS, in Python.

    It begins to connect at once, if it is made on a running event loop; else when it is awaited or entered. Events:
    `open(id)`, `connection(connection)`, `call(call)`, `close()`, `disconnected(id)`, `error(PeerError)`.

    Args:
        id: what others call it by: letters and digits, with single spaces, dashes and underscores between them. None:
            the broker gives one.
        secure: https and wss. None: if the port is 443.
        token: proves to the broker that a peer that comes again is the same.
        config: an RTCConfiguration as PeerJS takes it: `{"iceServers": [...], "iceTransportPolicy": "relay"}`.
        debug: what is logged to `crosspeer.peerjs`: 0 nothing, 1 errors, 2 warnings too, 3 all.
        ping_interval: seconds between heartbeats.
        serializers: one's own, by the names that offers give them.
        engine: `wrtc` or `aiortc`. None: the first of them that is installed.
        timeout: seconds until the broker has to answer, and until a connection has to be open.
        backoff: come back by itself when the broker was lost: True, or a `Backoff`.

    Raises:
        MissingExtra: the engine is not installed.
        ValueError: an option cannot be right.
    """

    EVENTS: ClassVar[frozenset[str]] = frozenset({"open", "connection", "call", "close", "disconnected", "error"})

    def __init__(
        self,
        id: str | None = None,
        *,
        host: str = CLOUD_HOST,
        port: int = 443,
        path: str = "/",
        key: str = "peerjs",
        secure: bool | None = None,
        token: str | None = None,
        config: Mapping[str, Any] | None = None,
        debug: int = 0,
        ping_interval: float = 5.0,
        serializers: Mapping[str, Callable[[PeerLimits], Serializer]] | None = None,
        engine: str | Engine | None = None,
        timeout: float = 30.0,
        limits: PeerLimits | None = None,
        backoff: Backoff | bool | None = None,
    ) -> None:
        super().__init__()
        self.options = Options(
            engine=choose_engine(engine),
            ice=read_config(config),
            host=host,
            port=port,
            path=path,
            key=key,
            secure=secure,
            token=token or new_token(),
            ping_interval=ping_interval,
            timeout=timeout,
            serializers=all_serializers(serializers or {}),
            limits=limits or PeerLimits(),
            backoff=Backoff() if backoff is True else backoff or None,
        )
        self.log = Log(debug)
        self.disconnected = False
        """Not at the broker, and not on the way to it."""
        self.destroyed = False
        """Of no use any more."""
        self._wanted_id = None if id is None or id == "" else str(id)
        self._session = Session(self.options, self.log, self)
        self._board = Switchboard(self, self.options.limits.max_connections)
        self._failure: PeerError | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._gone = Later()
        self._tasks = Tasks()
        self._attempts = 0
        self._retry: asyncio.TimerHandle | None = None
        self._has_begun = False
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._begin()

    @property
    def id(self) -> str | None:
        """The id, None while the broker has not given one, and after `disconnect`."""
        return None if self.disconnected else self._session.id if self._has_begun else self._wanted_id

    @property
    def open(self) -> bool:
        """At the broker."""
        return self._session.is_open

    @property
    def connections(self) -> dict[str, list[BaseConnection]]:
        """All connections by the id of the other side. A copy."""
        return self._board.connections()

    def connect(
        self,
        id: str,
        *,
        label: str | None = None,
        metadata: Any = None,
        serialization: str = "binary",
        reliable: bool = False,
        timeout: float | None = None,
    ) -> DataConnection:
        """Connect to another peer: `await` what is returned to have it open, or use it as PeerJS does.

        Args:
            label: a name for this connection; its `connection_id` if there is none.
            metadata: something with a JSON form, for the other side.
            serialization: binary, binary-utf8, json, raw (also called none), MsgPack, or one of `serializers`.
            reliable: keep messages in order. None is lost either way.
            timeout: seconds until it has to be open; else the peer's.

        Raises:
            PeerError: disconnected: the peer has left its broker. webrtc: the engine does not work.
            TypeError, ValueError: there is no such serialization, or `metadata` has no JSON form.
        """
        if serialization not in self.options.serializers:
            raise ValueError(f"serialization is one of {', '.join(self.options.serializers)}, not {serialization!r}")
        self._check_reach(id)
        try:
            connection = DataConnection(
                id,
                self,
                self.options.serializers[serialization](self.options.limits),
                serialization="binary" if serialization == "default" else serialization,
                label=label or "",
                metadata=_as_sent(metadata),
                reliable=reliable,
                timeout=timeout or self.options.timeout,
            )
        except RTCError as error:
            raise self._report(PeerError(ErrorType.WEBRTC, str(error))) from error
        self._board.add(connection)
        return connection

    def incoming(self) -> AsyncGenerator[DataConnection, None]:
        """The data connections that others open, each when it is open, until the peer is destroyed."""
        return self._board.data.each()

    def call(
        self,
        id: str,
        stream: MediaStream,
        *,
        metadata: Any = None,
        sdp_transform: Callable[[str], str] | None = None,
        timeout: float | None = None,
    ) -> MediaConnection:
        """Call another peer: `await` what is returned to have it open, or use it as PeerJS does.

        Args:
            stream: what the other side gets to see and to hear.
            metadata: something with a JSON form, for the other side.
            sdp_transform: changes the SDP of the offer before the other side gets it.
            timeout: seconds until the other side has to answer; else a minute.

        Raises:
            PeerError: disconnected: the peer has left its broker. webrtc: the engine does not work.
            TypeError, ValueError: `metadata` has no JSON form.
        """
        if not hasattr(stream, "tracks"):
            raise TypeError(f"a call needs a MediaStream to send, not {type(stream).__name__}")
        self._check_reach(id)
        try:
            call = MediaConnection(
                id,
                self,
                stream=stream,
                metadata=_as_sent(metadata),
                sdp_transform=sdp_transform,
                timeout=timeout or RING_TIME,
            )
        except RTCError as error:
            raise self._report(PeerError(ErrorType.WEBRTC, str(error))) from error
        self._board.add(call)
        return call

    def incoming_calls(self) -> AsyncGenerator[MediaConnection, None]:
        """The calls of others, each when it rings, until the peer is destroyed. One that nobody answers is refused."""
        return self._board.calls.each()

    def get_connection(self, peer: str, connection_id: str) -> BaseConnection | None:
        """The connection to a peer that has this `connection_id`."""
        return self._board.find(peer, connection_id)

    async def list_all_peers(self) -> list[str]:
        """The ids of all peers at the broker, if it tells.

        Raises:
            PeerError: server-error: it does not (`allow_discovery` is off), or cannot be reached.
        """
        status, body = await http.get(self.options.http_url("peers"))
        with suppress(ValueError, RecursionError):
            if status == 200 and isinstance(peers := json.loads(body), list):
                return [str(peer) for peer in peers]
        if status == 401:
            raise PeerError(ErrorType.SERVER_ERROR, "The server does not list its peers: allow_discovery is off there.")
        raise PeerError(ErrorType.SERVER_ERROR, f"Could not get list peers from the server (status {status}).")

    def disconnect(self) -> None:
        """Leave the broker. Connections live on; new ones cannot be made before `reconnect`."""
        self._stop_retrying()
        self._leave()

    def reconnect(self) -> None:
        """Come back to the broker with the old id, after `disconnect` or when the broker was lost.

        Raises:
            PeerError: the peer is destroyed, or has not left.
        """
        if self.destroyed:
            text = "This peer cannot reconnect to the server. It has already been destroyed."
            raise PeerError(ErrorType.DISCONNECTED, text)
        if self.disconnected:
            self._stop_retrying()
            self._come_back()
        elif self.open:
            text = f"Peer {self.id} cannot reconnect because it is not disconnected from the server!"
            raise PeerError(ErrorType.SOCKET_ERROR, text)
        else:
            self.log.warning("in a hurry? this peer is connecting already")

    def destroy(self) -> Awaitable[None]:
        """Leave the broker and close all connections, for good.

        Await what is returned, or do not, to know that everything is freed.
        """
        if not self.destroyed:
            self.disconnect()
            self.destroyed = True
            closing = [connection.close() for connection in self._board.every()]
            self._session.forget_unsent()
            self._board.end()
            self._emit("close")
            if self._has_begun:
                self._tasks.start(self._free(closing))
            else:
                self._gone.done()
        return self._gone

    def __await__(self) -> Generator[Any, None, Peer]:
        """Wait until the broker knows this peer.

        Raises:
            PeerError: it refuses, or cannot be reached.
        """
        yield from self._wait_open().__await__()
        return self

    async def __aenter__(self) -> Peer:
        try:
            return await self
        except BaseException:
            await self.destroy()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Destroy it; if all went well, after what was sent on its data connections has arrived."""
        try:
            if kind is None:
                connections = [each for each in self._board.every() if isinstance(each, DataConnection)]
                for closing in [each.close(flush=True) for each in connections]:
                    await closing
        finally:
            await self.destroy()

    def __repr__(self) -> str:
        state = "destroyed" if self.destroyed else "disconnected" if self.disconnected else "open" if self.open else ""
        return f"<Peer {self.id!r} {state or 'connecting'}>"

    def _check_reach(self, id: str) -> None:
        """Look whether another peer can be connected to, or called."""
        if self.disconnected:
            text = "Cannot connect to new Peer after disconnecting from server."
            raise self._report(PeerError(ErrorType.DISCONNECTED, text))
        if id == self.id:
            raise ValueError("a peer does not connect to itself")
        self._begin()

    # Coming and going.

    def _begin(self) -> None:
        if self._has_begun or self.destroyed:
            return
        self._has_begun = True
        self._tasks.start(self._keep())
        if self._wanted_id is not None and not is_valid_id(self._wanted_id):
            text = f'ID "{self._wanted_id}" is invalid (at most {MAX_ID_LENGTH} letters, digits and single separators)'
            # Later, so that handlers can be added before.
            asyncio.get_running_loop().call_soon(self._session_refused, PeerError(ErrorType.INVALID_ID, text))
        else:
            self._session.start(self._wanted_id)

    async def _keep(self) -> None:
        """Close everything when the loop ends before the peer does: the other sides would not notice for long."""
        try:
            await self._gone
        finally:
            if not self._gone.is_done:
                await self.destroy()

    async def _free(self, closing: list[Awaitable[None]]) -> None:
        try:
            for each in closing:
                await each
            await self._session.stopped()
        finally:
            self._gone.done()

    async def _wait_open(self) -> None:
        self._begin()
        if self.open:
            return
        if self.disconnected and self._retry is None:
            raise self._failure or PeerError(ErrorType.DISCONNECTED, "This peer has left its server.")
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(self.options.timeout):
                await waiter
        except TimeoutError:
            text = f"The server did not answer within {self.options.timeout:g} seconds."
            raise PeerTimeout(ErrorType.NETWORK, text) from None

    def _wake(self, error: PeerError | None) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(error)

    def _leave(self) -> None:
        if self.disconnected:
            return
        id = self.id
        self.disconnected = True
        self._session.stop()
        if self._retry is None:
            self._wake(self._failure or PeerError(ErrorType.DISCONNECTED, "This peer has left its server."))
        self._emit("disconnected", id)

    def _come_back(self) -> None:
        self._retry = None
        self.disconnected = False
        self._session.start(self._session.id)

    def _stop_retrying(self) -> None:
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None

    def _try_again(self) -> bool:
        """Come back after a while, if that is wanted."""
        backoff = self.options.backoff
        if backoff is None or (backoff.attempts is not None and self._attempts >= backoff.attempts):
            return False
        pause = backoff.pause(self._attempts)
        self._attempts += 1
        self._retry = asyncio.get_running_loop().call_later(pause, self._come_back)
        return True

    # The session's events.

    def _session_opened(self) -> None:
        self._failure = None
        self._attempts = 0
        self._wake(None)
        self._emit("open", self.id)

    def _session_lost(self, error: PeerError) -> None:
        self._failure = error
        self._try_again()
        self._report(error)
        self._leave()

    def _session_refused(self, error: PeerError) -> None:
        """PeerJS destroys a peer that was never known to the broker; one that was keeps its connections."""
        self._failure = error
        is_known = self._session.was_open
        unreachable = error.type == ErrorType.SERVER_ERROR and self._session.id is None
        retries = (is_known or unreachable) and self._try_again()
        self._report(error)
        if is_known or retries:
            self._leave()
        else:
            self.destroy()

    def _message(self, message: Message) -> None:
        self._board.route(message)

    # For connections and the switchboard.

    def _signal(self, text: str) -> None:
        self._session.send(text)

    def _opened(self, connection: BaseConnection) -> None:
        self._board.opened(connection)

    def _forget(self, connection: BaseConnection) -> None:
        self._board.remove(connection)

    def _report(self, error: PeerError) -> PeerError:
        self.log.error("%s: %s", error.type, error)
        self._emit("error", error)
        return error

    def _accept_data(self, src: str, offer: Description) -> DataConnection:
        """Make the connection that another peer offers.

        Raises:
            ValueError: this peer does not know the serialization.
            RTCError: the engine does not work.
        """
        name = offer.serialization or "binary"
        if name not in self.options.serializers:
            raise ValueError(f"{src} offers the serialization {name!r}, which this peer does not know")
        return DataConnection(
            src,
            self,
            self.options.serializers[name](self.options.limits),
            serialization=name,
            label=offer.label,
            metadata=offer.metadata,
            reliable=offer.reliable,
            offer=offer,
            timeout=self.options.timeout,
        )

    def _accept_call(self, src: str, offer: Description) -> MediaConnection:
        """Let a call of another peer ring.

        Raises:
            ValueError: this is no offer of a call.
            RTCError: the engine does not work, or what calls need is not installed.
        """
        check_call(offer.sdp)
        return MediaConnection(src, self, metadata=offer.metadata, offer=offer)


def _as_sent(metadata: Any) -> Any:
    """As the other side will have it."""
    return None if metadata is None else json.loads(to_json(metadata))
