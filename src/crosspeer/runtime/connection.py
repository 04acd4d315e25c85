"""A session over a server whose sending and closing are coroutines: ASGI and most of the others."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Protocol, cast

from crosspeer.core.hooks import CloseDetails
from crosspeer.runtime.heart import PeerPulse, pulse_of
from crosspeer.runtime.suspension import noticing
from crosspeer.runtime.tasks import Tasks
from crosspeer.wire.closing import CloseCode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.session import Session
    from crosspeer.core.transport import Capabilities

logger = logging.getLogger("crosspeer")


class Channel(Protocol):
    """What a server offers for one accepted connection: the little that an adapter has to write.

    `send` and `close` may wait for a slow reader and are cancelled when the connection ends. Whatever they raise
    means that the connection is lost. One that can send without waiting may have a `send_now` too (`Prompt`).
    """

    capabilities: Capabilities
    protocol: str
    extensions: str

    @property
    def details(self) -> CloseDetails:
        """How the connection ended."""
        ...

    async def send(self, item: Outgoing) -> None: ...

    async def close(self, code: int, reason: str, *, now: bool) -> None:
        """Send the close frame; `now` means before whatever the server still holds back."""
        ...

    def ping(self, data: bytes) -> None: ...

    def abort(self) -> None:
        """Drop the connection, where the server lets one; the reading is cancelled afterwards."""
        ...


class Readable(Channel, Protocol):
    """A channel that is read here, by `Connection.run`. Others hand over what comes to them."""

    def incoming(self) -> AsyncIterator[str | bytes]:
        """Yield the messages until the connection has ended; `details` says how from then on."""
        ...


class Prompt(Protocol):
    """What a channel may have beside `send`, so that a message needs no task of its own."""

    def send_now(self, item: Outgoing) -> bool:
        """Send what the reader does not hold up. False: nothing was sent. MUST NOT raise, nor call the session."""
        ...


class Connection:
    """The transport of a session over a channel: one reading coroutine, and a pump while something is queued.

    Args:
        has_heartbeat: the server looks by itself for peers that are gone, at the times in `Limits`.
        keeps_alive: it does not, but it has pings: they are sent from here, at those times.
    """

    def __init__(
        self, session: Session, channel: Channel, *, has_heartbeat: bool = False, keeps_alive: bool = False
    ) -> None:
        self.capabilities = channel.capabilities
        self.taken = 0
        self._session = session
        self._channel = channel
        self._tasks = Tasks()
        self._readable = asyncio.Event()
        self._readable.set()
        self._gone = asyncio.Event()
        self._finished = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._drain_waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._held_since: float | None = None
        """When the connection began to hold the queue up, until that is empty again."""
        self._aborted = False
        self._has_heartbeat = has_heartbeat
        self.keeps_alive = keeps_alive
        self._send_now: Callable[[Outgoing], bool] | None = getattr(channel, "send_now", None)
        self._pulse: PeerPulse | None = None
        self._reader: asyncio.Task[Any] | None = None

    @property
    def protocol(self) -> str:
        return self._channel.protocol

    @property
    def extensions(self) -> str:
        return self._channel.extensions

    @property
    def is_paused(self) -> bool:
        """Whether the peer is not read, because its hooks have enough to do."""
        return not self._readable.is_set()

    async def run(self) -> None:
        """Carry the session from `open` to the end of `close`. Called by the adapter once the handshake is done.

        The channel MUST be `Readable`.
        """
        self._reader = asyncio.current_task()
        self.start()
        try:
            await self._read()
        except asyncio.CancelledError:
            if not self._aborted or self._reader is None or self._reader.uncancel() > 0:
                # The server stops us: hooks that still run are cancelled, and `close` has the last word.
                self._tasks.cancel()
                raise
        except Exception as error:
            # Whatever a server raises here, and they raise many things, means that the connection is lost.
            logger.debug("reading of peer %s ended", self._session.peer, exc_info=error)
        finally:
            await self.end()

    def start(self) -> None:
        """Open the session. For a server that hands messages over by itself, instead of `run`; `end` follows."""
        self._session.start(self)
        if not self._has_heartbeat:
            self._pulse = self._session.pulse = pulse_of(self._session, self)

    def received(self, message: str | bytes) -> None:
        """A message came in. Not to be called while `is_paused`."""
        if self._pulse is not None and self._pulse.swallows(message):
            return
        if self._is_too_big(message):
            self._session.finish(CloseCode.TOO_BIG, "message too big")
        else:
            self._session.receive(message)

    async def end(self) -> None:
        """The connection is gone: close the session as the channel's details say, and see its last hooks end."""
        self._gone.set()
        if self._pulse is not None:
            self._pulse.end()
        if self._pump is not None:
            self._pump.cancel()
        self._session.closed(self._details())
        self._release_waiters()
        try:
            await self._tasks.finish()
        finally:
            self._finished.set()

    # Transport.

    def push(self, item: Outgoing) -> bool:
        if self._pump is None and self._send_now is not None and self._send_now(item):
            return True
        if not self._session.outbox.push(item, self.taken):
            return False
        if self._pump is None:
            self._pump = self._tasks.start(self._empty_outbox())
        return True

    def pause_reading(self) -> None:
        self._readable.clear()

    def resume_reading(self) -> None:
        self._readable.set()

    def ping(self, data: bytes) -> None:
        self._channel.ping(data)

    def close(self, code: int, reason: str, *, now: bool) -> None:
        if now and self._pump is not None:
            self._pump.cancel()
        # The answer to our close frame has to be read, however slow the hook is.
        self.resume_reading()
        self._tasks.start(self._close(code, reason, now))

    def abort(self) -> None:
        if self._aborted or self._gone.is_set():
            return
        self._aborted = True
        self._channel.abort()
        # From the loop, not from here: this may be called by a hook that runs inside the reading coroutine.
        asyncio.get_running_loop().call_soon(self._stop_reading)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self._tasks.start(work)

    async def wait_for_drain(self, threshold: int) -> None:
        if self._gone.is_set() or self._unsent() <= threshold:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._drain_waiters.append((threshold, waiter))
        await waiter

    async def wait_closed(self) -> None:
        await self._finished.wait()

    # Inside.

    async def _read(self) -> None:
        received = self.received
        messages = cast("Readable", self._channel).incoming()
        while True:
            if not self._readable.is_set():
                await self._readable.wait()
            try:
                message = await anext(messages)
            except StopAsyncIteration:
                return
            received(message)

    def _is_too_big(self, message: str | bytes) -> bool:
        """The limit, where the server under us does not keep it. Text counts as UTF-8."""
        most = self._session.hub.limits.max_message_size
        if isinstance(message, bytes) or message.isascii() or len(message) > most:
            return len(message) > most
        return len(message) * 4 > most and len(message.encode()) > most

    async def _empty_outbox(self) -> None:
        outbox = self._session.outbox
        try:
            while (item := outbox.pop()) is not None:
                self.taken = item.size
                await noticing(self._channel.send(item), self._hold_up)
                self.taken = 0
                if self._held_since is not None and self._pulse is not None:
                    self._pulse.moved(self._held_since)
                if self._drain_waiters:
                    self._release_waiters()
        except Exception as error:
            logger.debug("sending to peer %s ended", self._session.peer, exc_info=error)
            outbox.clear()
            self._held_since = None
        finally:
            self.taken = 0
            self._pump = None
            self._release_waiters()
        if self._held_since is not None:
            self._held_since = None
            self._session.drained()

    def _hold_up(self) -> None:
        if self._held_since is None:
            self._held_since = asyncio.get_running_loop().time()

    def _unsent(self) -> int:
        return self._session.outbox.size + self.taken

    def _release_waiters(self) -> None:
        unsent = 0 if self._gone.is_set() else self._unsent()
        waiting = self._drain_waiters
        self._drain_waiters = [entry for entry in waiting if entry[0] < unsent]
        for threshold, waiter in waiting:
            if threshold >= unsent and not waiter.done():
                waiter.set_result(None)

    async def _close(self, code: int, reason: str, now: bool) -> None:
        """Let the queue leave, send the close frame, and drop the connection if the answer takes too long."""
        closing = cast("asyncio.Task[None]", asyncio.current_task())
        # A timer, because not every server lets a coroutine be cancelled that closes.
        deadline = asyncio.get_running_loop().call_later(self._session.hub.limits.close_timeout, self._give_up, closing)
        try:
            if self._pump is not None:
                await asyncio.wait({self._pump})
            if not self._gone.is_set():
                await self._channel.close(code, reason, now=now)
                await self._gone.wait()
        except Exception as error:
            logger.debug("closing of peer %s failed: %r", self._session.peer, error)
            self.abort()
        finally:
            deadline.cancel()

    def _give_up(self, closing: asyncio.Task[None]) -> None:
        logger.debug("closing of peer %s was not answered", self._session.peer)
        self.abort()
        closing.cancel()

    def _stop_reading(self) -> None:
        if self._reader is not None and not self._gone.is_set():
            self._reader.cancel()

    def _details(self) -> CloseDetails:
        if self._aborted:
            return CloseDetails(CloseCode.ABNORMAL, "", was_clean=False)
        return self._channel.details
