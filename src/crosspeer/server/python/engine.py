"""The engine: the connections of one server, their handshakes, heartbeats and end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Coroutine
from typing import TYPE_CHECKING

from crosspeer.core.admission import Admission
from crosspeer.core.request import Request
from crosspeer.core.session import Session
from crosspeer.runtime.deflating import agree
from crosspeer.runtime.handshake import Waiting, in_time, rendered
from crosspeer.runtime.tasks import LAST_GRACE, Tasks, cancel_begun
from crosspeer.runtime.ticks import Ticks, early
from crosspeer.server.lingering import linger
from crosspeer.server.python.batch import Batch
from crosspeer.server.python.connection import PythonConnection
from crosspeer.wire.handshake import Refusal, accept_head, check_handshake, refusal

if TYPE_CHECKING:
    import socket

    from starlette.responses import Response
    from starlette.types import Scope

    from crosspeer.core.hub import Hub


class PythonEngine:
    """Takes handshakes from the HTTP protocol of the server and turns them into peers of a hub."""

    name = "python"
    listens = False

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.loop = asyncio.get_running_loop()
        self.batch = Batch(self.loop)
        self.limits = hub.limits
        """The hub's, with pings that are due a little earlier."""
        self._connections: dict[PythonConnection, None] = {}
        self._tasks: dict[asyncio.Task[None], Session] = {}
        """The hooks that have to be awaited, and whose they are."""
        self._handshakes = Tasks()
        self.refused: set[asyncio.Transport] = set()
        """Connections that were refused, and whose other side has not left yet."""
        self._heart: Ticks | None = None

    def start(self) -> None:
        self.hub.attach(self.batch)
        limits = self.hub.limits
        if limits.ping_interval is not None:
            # One timer for all connections.
            pause = min(limits.ping_interval, limits.ping_timeout) / 4
            self.limits = early(limits, pause)
            self._heart = Ticks(self.loop, pause, self._beat)

    def listen(self, listener: socket.socket) -> None:
        raise TypeError("this engine takes its connections from the HTTP protocol")

    def stop_listening(self) -> None:
        """There is nothing to stop."""

    async def finish(self) -> None:
        """Wait for the hooks that run."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def stop(self, within: float) -> None:
        """Drop what is left. The server has closed its peers politely before."""
        if self._heart is not None:
            self._heart.stop()
        self._handshakes.cancel()
        for task, session in tuple(self._tasks.items()):
            if not session.is_at_its_end:
                cancel_begun(task)
        for connection in tuple(self._connections):
            connection.abort()
        for socket in tuple(self.refused):
            socket.abort()
        self.batch.flush()
        await self._handshakes.finish()
        await self._close_hooks(within)
        self.hub.detach(self.batch)

    async def _close_hooks(self, within: float) -> None:
        """Let the last hooks of everybody end, and cancel those that do not in time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                while self._connections or self._tasks:
                    # A connection that was dropped tells of its end in the next turn.
                    await asyncio.sleep(0)
                    await self.finish()
        for task in tuple(self._tasks):
            cancel_begun(task)
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=LAST_GRACE)

    def handshake(self, scope: Scope, socket: asyncio.Transport, early: bytes) -> None:
        """Take over a connection whose upgrade request has been read, with the bytes behind it."""
        handshake = Handshake(self, socket, early)
        socket.set_protocol(handshake)
        wrong = check_handshake(scope["method"], scope["http_version"], scope["headers"])
        if wrong is not None:
            handshake.refuse(wrong)
            return
        request = Request(scope)
        admitted = self.hub.gate.admit(request)
        if isinstance(admitted, Admission):
            handshake.accept(admitted)
        else:
            self._handshakes.start(handshake.negotiate(request, admitted))

    # For connections.

    def entered(self, connection: PythonConnection) -> None:
        connection.ping_sent_at = self.loop.time()
        self._connections[connection] = None

    def left(self, connection: PythonConnection) -> None:
        self._connections.pop(connection, None)

    def watch(self, task: asyncio.Task[None], session: Session) -> None:
        """Know the tasks of hooks, to end them with the server."""
        self._tasks[task] = session
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def ping_payload(self) -> bytes:
        """What nobody can guess, so that a pong is an answer."""
        return secrets.token_bytes(4)

    def _beat(self) -> None:
        now = self.loop.time()
        for connection in tuple(self._connections):
            connection.beat(now)


class Handshake(asyncio.Protocol):
    """A connection between its request and its answer. What it sends meanwhile is kept, up to a bound."""

    def __init__(self, engine: PythonEngine, socket: asyncio.Transport, early: bytes) -> None:
        self._engine = engine
        self._socket = socket
        self._early = bytearray(early)
        self._is_refused = False
        self._deadline: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        self._early += data
        if len(self._early) >= self._engine.hub.limits.max_message_size:
            self._socket.pause_reading()

    async def negotiate(self, request: Request, admitted: Waiting | Response) -> None:
        """Wait for the application where it is async, and become a peer or answer with its refusal."""
        answer = await in_time(self._engine.hub, request, admitted) if isinstance(admitted, Coroutine) else admitted
        if isinstance(answer, Admission):
            self.accept(answer)
        else:
            self.refuse(await rendered(answer))

    def refuse(self, answer: Refusal) -> None:
        self._is_refused = True
        self._early.clear()
        self._socket.write(refusal(answer))
        self._deadline = linger(self._socket, self._engine.hub.limits.close_timeout)
        if self._deadline is not None:
            self._engine.refused.add(self._socket)

    def connection_lost(self, exc: Exception | None) -> None:
        self._engine.refused.discard(self._socket)
        if self._deadline is not None:
            self._deadline.cancel()

    def accept(self, admission: Admission) -> None:
        if self._socket.is_closing():
            admission.release()
            return
        session, accepted = Session(admission), admission.accepted
        request = session.request.scope["headers"]
        deflating = agree(session.hub, request, accepted.compress)
        extensions = "" if deflating is None else deflating.params.header
        self._socket.write(accept_head(request, accepted.protocol, extensions, accepted.header_pairs))
        connection = PythonConnection(self._engine, session, self._socket, deflating)
        self._socket.set_protocol(connection)
        self._socket.resume_reading()
        connection.start(bytes(self._early))
