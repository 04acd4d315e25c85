"""One peer and its upstream, from the search for it to the last word of either.

Backpressure goes through: while the peer does not read, its upstream is not read either; while the upstream does not
read, the peer's hook waits, so that the peer is not read.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from websockets.exceptions import ConnectionClosed, WebSocketException

from crosspeer.core.session import ReadyState
from crosspeer.runtime.suspension import noticing
from crosspeer.upstream.allow import TargetRefused
from crosspeer.upstream.headers import code_for_peer, code_for_upstream, shortened
from crosspeer.upstream.idle import Idle
from crosspeer.upstream.options import Source, UpstreamClosed
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from websockets.asyncio.client import ClientConnection

    from crosspeer.core.hooks import CloseDetails
    from crosspeer.core.peer import Peer
    from crosspeer.runtime.tasks import Tasks
    from crosspeer.upstream.dial import Dialer
    from crosspeer.upstream.options import Options

logger = logging.getLogger("crosspeer")

HIGH_WATER: Final = 64 * 1024
"""Bytes that may wait for the peer while its upstream is read on."""
MAX_EARLY: Final = 1024
"""Messages that may wait for an upstream that is not open yet; with more the peer is not read on."""
LOOK: Final = 1.0
"""Seconds between two looks whether the peer is still there, while its hook waits for the upstream."""


class Link:
    """Made when its peer has opened, and left when that is gone."""

    def __init__(self, peer: Peer, dialer: Dialer, options: Options, tasks: Tasks) -> None:
        self._peer = peer
        self._dialer = dialer
        self._options = options
        self._limits = peer.request.hub.limits
        self._tasks = tasks
        self._url = ""
        self._connection: ClientConnection | None = None
        """The upstream, once it is open."""
        self._early: deque[str | bytes] = deque()
        """What the peer has sent before."""
        self._early_size = 0
        self._settled = asyncio.Event()
        """The early messages are sent, or will never be."""
        self._is_announced = False
        self._end: UpstreamClosed | None = None
        """How it ended. Who says it first is right."""
        self._patience = asyncio.timeout(None)
        """Of the hook that waits for the upstream."""
        self._watching: asyncio.TimerHandle | None = None
        self._idle = Idle(options.client_idle_timeout, self._idled) if options.client_idle_timeout else None
        self._life = tasks.start(self._live())

    # What the hooks tell.

    def heard(self) -> None:
        """The client sent something."""
        if self._idle is not None:
            self._idle.heard()

    def forward(self, data: str | bytes) -> Awaitable[None] | None:
        """Send a message on. What has to be awaited keeps the peer from being read."""
        self.heard()
        if self._end is not None or (self._connection is None and self._takes_early(data)):
            return None
        return self._send(data)

    def leave(self, details: CloseDetails) -> Awaitable[None]:
        """The peer is gone: tell the upstream, and be gone too. Cancelling what is returned stops the waiting alone."""
        if self._idle is not None:
            self._idle.stop()
        self._finish("client", details.code, details.reason)
        return asyncio.shield(self._tasks.start(self._tell_the_end()))

    # The life of the upstream.

    async def _live(self) -> None:
        try:
            connection = await self._open()
            if connection is not None:
                await self._carry(connection)
        finally:
            self._early.clear()
            self._settled.set()
            if self._end is None and self._peer.websocket.ready_state is ReadyState.OPEN:
                # Whatever happened: no peer is left with nobody behind it.
                self._fail("upstream error", "proxy")

    async def _open(self) -> ClientConnection | None:
        """The upstream, or None if nothing has come of it."""
        deadline = asyncio.timeout(self._options.connect_timeout)
        is_found = False
        try:
            async with deadline:
                address = await self._dialer.find(self._peer)
                self._url = str(address)
                await self._call("on_upstream_connect", self._url)
                self._is_announced = is_found = True
                if self._peer.websocket.ready_state is not ReadyState.OPEN:
                    return None
                return await self._dialer.open(self._peer, address)
        except Exception as error:
            if deadline.expired():
                self._fail("upstream connect timeout", "proxy", error)
            elif is_found and _is_of_upstream(error):
                logger.warning("the upstream of peer %s did not open: %r", self._peer, error)
                self._fail("upstream error", "upstream", error)
            elif isinstance(error, TargetRefused):
                logger.warning("no upstream for peer %s: %s", self._peer, error)
                self._fail("upstream setup failed", "proxy", error)
            else:
                logger.error("no upstream was found for peer %s", self._peer, exc_info=error)
                self._fail("upstream setup failed", "proxy", error)
        return None

    async def _carry(self, connection: ClientConnection) -> None:
        """Send what came early, and hand on what the upstream sends, until it is closed."""
        self._connection = connection
        # Beside the reading: an upstream that is not read might not read either.
        flushing = self._tasks.start(self._flush(connection))
        try:
            while True:
                message = await connection.recv()
                await self._wait_for_room(message)
                self._peer.send(message)
        except ConnectionClosed as closed:
            await self._upstream_closed(closed)
        finally:
            flushing.cancel()
            connection.transport.abort()

    async def _flush(self, connection: ClientConnection) -> None:
        try:
            while self._early:
                await connection.send(self._early.popleft())
        except ConnectionClosed:
            return
        self._settled.set()
        await self._tell("on_upstream_open", self._url)

    async def _wait_for_room(self, message: str | bytes) -> None:
        """Wait until the peer's queue takes a message, and is short."""
        size = len(message) if isinstance(message, bytes) or message.isascii() else len(message.encode())
        room = max(0, min(HIGH_WATER, self._limits.max_queue_size - size))
        if self._peer.buffered_amount > room:
            await self._peer.wait_for_drain(room)

    async def _upstream_closed(self, closed: ConnectionClosed) -> None:
        if self._end is not None:
            return
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (int(CloseCode.ABNORMAL), "")
        is_lost = code == CloseCode.ABNORMAL
        self._end = UpstreamClosed(self._url, "upstream", code, reason, closed if is_lost else None)
        # A close frame gives a slow reader little time; it gets what was sent before.
        await self._peer.wait_for_drain()
        self._peer.close(code_for_peer(code), "upstream error" if is_lost else shortened(reason))

    # Messages to the upstream.

    def _takes_early(self, data: str | bytes) -> bool:
        """Keep a message until the upstream is open, or give up for there are too many bytes. False: it has to wait."""
        most = self._options.max_buffer_size
        if most is None or len(self._early) >= MAX_EARLY:
            return False
        self._early_size += len(data.encode() if isinstance(data, str) else data)
        if self._early_size > most:
            self._fail("proxy buffer limit exceeded", "proxy")
        else:
            self._early.append(data)
        return True

    async def _send(self, data: str | bytes) -> None:
        try:
            async with asyncio.timeout(None) as self._patience:
                await noticing(self._send_in_turn(data), self._watch)
        except (ConnectionClosed, TimeoutError):
            pass  # The end is told elsewhere.
        finally:
            if self._watching is not None:
                self._watching.cancel()
                self._watching = None
            # Time that we made it wait is not its silence.
            self.heard()

    async def _send_in_turn(self, data: str | bytes) -> None:
        await self._settled.wait()
        if self._connection is not None and self._end is None:
            await self._connection.send(data)

    def _watch(self) -> None:
        """The hook of the peer waits, so its `close` would wait too: see to it that it does not wait for nobody."""
        if self._peer.websocket.ready_state is ReadyState.OPEN:
            self._watching = asyncio.get_running_loop().call_later(LOOK, self._watch)
        else:
            self._patience.reschedule(asyncio.get_running_loop().time())

    # Endings.

    def _fail(self, reason: str, source: Source, error: Exception | None = None) -> None:
        """There is no upstream for this peer."""
        self._finish(source, CloseCode.INTERNAL_ERROR, reason, error)
        self._peer.close(CloseCode.INTERNAL_ERROR, reason)

    def _idled(self) -> None:
        if self._watching is None:
            self._finish("proxy", CloseCode.GOING_AWAY, "client idle timeout")
            self._peer.close(CloseCode.GOING_AWAY, "client idle timeout")

    def _finish(self, source: Source, code: int, reason: str, error: Exception | None = None) -> None:
        """End from this side, unless it has ended: say goodbye to an upstream, or do not wait for one any more."""
        if self._end is not None:
            return
        self._end = UpstreamClosed(self._url, source, code, reason, error)
        if self._connection is not None:
            self._tasks.start(self._say_goodbye(self._connection, code_for_upstream(code), shortened(reason)))
        elif asyncio.current_task() is not self._life:
            self._life.cancel()

    async def _say_goodbye(self, connection: ClientConnection, code: int | None, reason: str) -> None:
        closing: Any = connection.close
        try:
            async with asyncio.timeout(self._limits.close_timeout):
                await self._settled.wait()
                await closing(code, reason)
        except TimeoutError:
            pass  # It had its time.
        finally:
            connection.transport.abort()

    async def _tell_the_end(self) -> None:
        """Tell how it ended, when the upstream is gone too."""
        try:
            await asyncio.wait({self._life})
        finally:
            if self._is_announced:
                await self._tell("on_upstream_close", self._end)

    async def _call(self, name: str, value: object) -> None:
        callback = getattr(self._options, name)
        result = None if callback is None else callback(self._peer, value)
        if isawaitable(result):
            await result

    async def _tell(self, name: str, value: object) -> None:
        """Call back. What that raises is logged: nothing hangs on it."""
        try:
            await self._call(name, value)
        except Exception as error:
            logger.error("%s of peer %s failed", name, self._peer, exc_info=error)


def _is_of_upstream(error: Exception) -> bool:
    """Whether an upstream, or the way to it, is to blame; a redirect comes as the cause of its refusal."""
    return isinstance(error, (OSError, WebSocketException)) or isinstance(error.__cause__, WebSocketException)
