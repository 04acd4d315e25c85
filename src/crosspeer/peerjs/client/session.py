"""A peer's presence at its broker: the id, the signalling socket, and what is to be sent once the broker is ready."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

from crosspeer.peerjs.client import http
from crosspeer.peerjs.client.errors import ErrorType, PeerError
from crosspeer.peerjs.client.options import CLOUD_HOST
from crosspeer.peerjs.client.socket import BrokerSocket
from crosspeer.runtime.tasks import Tasks
from crosspeer.wire import signalling
from crosspeer.wire.peerjs import ERROR, ID_TAKEN, OPEN, BadMessage, is_valid_id

if TYPE_CHECKING:
    from crosspeer.peerjs.client.log import Log
    from crosspeer.peerjs.client.options import Options
    from crosspeer.wire.signalling import Message

OPEN_GRACE: Final = 2.0
"""Seconds after which a peer that came back with its id and token counts as open. PeerServer takes it over in silence;
when it refuses, it does so at once."""
MAX_UNSENT: Final = 4096
"""Messages that wait for the broker: candidates of hundreds of connections."""


class SessionEvents(Protocol):
    """Who is told."""

    def _session_opened(self) -> None:
        """The broker knows us. Once for each `start`."""
        ...

    def _session_lost(self, error: PeerError) -> None:
        """The socket is gone, or never came about."""
        ...

    def _session_refused(self, error: PeerError) -> None:
        """The broker does not want us, or there is no id to be had."""
        ...

    def _message(self, message: Message) -> None:
        """Another peer says something, or the broker does about one."""
        ...


class Session:
    def __init__(self, options: Options, log: Log, events: SessionEvents) -> None:
        self.id: str | None = None
        """The id that the peer has, or wants to have."""
        self.was_open = False
        """The broker has known this id before."""
        self.is_open = False
        self._options = options
        self._log = log
        self._events = events
        self._tasks = Tasks()
        self._task: asyncio.Task[None] | None = None
        self._socket: BrokerSocket | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._unsent: deque[str] = deque()

    def start(self, id: str | None) -> None:
        """Connect with this id, or with one that the broker gives."""
        self.id = id
        self._task = self._tasks.start(self._live(self._task))

    def stop(self) -> None:
        """Leave. What has not been sent yet waits for the next `start`."""
        self.is_open = False
        self._socket = None
        self._cancel_grace()
        self._tasks.cancel()

    async def stopped(self) -> None:
        """Wait until the socket is closed."""
        await self._tasks.wait()

    def send(self, text: str) -> None:
        """Send a message now, or when the broker is ready."""
        if self.is_open and self._socket is not None:
            self._socket.send(text)
        elif len(self._unsent) < MAX_UNSENT:
            self._unsent.append(text)
        else:
            self._log.error("a message was left out: %d wait for the server already", MAX_UNSENT)

    def forget_unsent(self) -> None:
        self._unsent.clear()

    # Inside.

    async def _live(self, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            # A broker that knows the id on another socket may take it over without a word.
            await asyncio.wait({before})
        try:
            if self.id is None:
                self.id = await self._new_id()
        except PeerError as error:
            self._events._session_refused(error)
            return
        socket = self._socket = BrokerSocket(self._options.socket_url(self.id), self._options.ping_interval)
        reason = await socket.run(self._connected, self._received)
        if self._socket is socket:
            self._log.info("the socket to the server has ended: %s", reason)
            self._events._session_lost(PeerError(ErrorType.NETWORK, "Lost connection to server."))

    async def _new_id(self) -> str:
        options = self._options
        status, body = await http.get(options.http_url("id"))
        id = body.decode(errors="replace")
        if status == 200 and is_valid_id(id):
            return id
        advice = ""
        if options.path.strip("/") == "" and options.host != CLOUD_HOST:
            advice = " If your server has a path, give it to the peer too."
        raise PeerError(ErrorType.SERVER_ERROR, f"Could not get an ID from the server (status {status}).{advice}")

    def _connected(self) -> None:
        if self.was_open:
            self._grace = asyncio.get_running_loop().call_later(OPEN_GRACE, self._open)

    def _received(self, frame: str | bytes) -> None:
        try:
            message = signalling.read(frame)
        except BadMessage as error:
            self._log.warning("the server sent something that is no message: %s", error)
            return
        if message.type == OPEN:
            self._open()
        elif message.type == ERROR:
            self._refuse(ErrorType.SERVER_ERROR, str(message.payload.get("msg", "")))
        elif message.type == ID_TAKEN:
            self._refuse(ErrorType.UNAVAILABLE_ID, f'ID "{self.id}" is taken')
        elif message.type == signalling.INVALID_KEY:
            self._refuse(ErrorType.INVALID_KEY, f'API KEY "{self._options.key}" is invalid')
        else:
            self._events._message(message)

    def _open(self) -> None:
        self._cancel_grace()
        if self.is_open or self._socket is None:
            return
        self.is_open = self.was_open = True
        while self._unsent:
            self._socket.send(self._unsent.popleft())
        self._events._session_opened()

    def _refuse(self, type: ErrorType, text: str) -> None:
        self._events._session_refused(PeerError(type, text))

    def _cancel_grace(self) -> None:
        if self._grace is not None:
            self._grace.cancel()
            self._grace = None
