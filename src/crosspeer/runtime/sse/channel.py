"""The channel of a peer that comes by `EventSource`. It outlives the single GET that carries its stream."""

from __future__ import annotations

import asyncio
import random
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from crosspeer.core.history import Kept
from crosspeer.core.hooks import CloseDetails
from crosspeer.core.positions import write
from crosspeer.core.transport import Capabilities
from crosspeer.core.window import Window
from crosspeer.wire.closing import CloseCode
from crosspeer.wire.sse import encode_comment
from crosspeer.wire.streamed import BEHIND_ID, encode_close, encode_message, encode_start, position

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from crosspeer.core.history import Position
    from crosspeer.core.outgoing import Outgoing
    from crosspeer.core.sse import SSE
    from crosspeer.runtime.sse.lease import Lease

CAPABILITIES: Final = Capabilities(subprotocol=False, ping=False, terminate=False)
"""A stream of HTTP is closed and not dropped, and there are no pings in it."""

WITHOUT_BACKPRESSURE: Final = replace(CAPABILITIES, backpressure=False)
LOST: Final = CloseDetails(CloseCode.ABNORMAL, "", was_clean=False)
BATCH: Final = 64 * 1024
"""Bytes of missed messages that are written at once."""
SPREAD: Final = 2.0
"""Seconds over which those who are sent away for a while come back."""


class EventChannel:
    """Numbers what is sent and keeps the latest of it, for the GET that takes the stream up again.

    Args:
        has_backpressure: the server waits for a slow reader.
        positions: where the client says it stands in topics with history. Its events bring that up to date, for when
            it comes back as a new peer.
        ended: called when nothing more can come of this channel.
    """

    protocol = ""
    extensions = ""

    def __init__(
        self, options: SSE, has_backpressure: bool, positions: Mapping[str, Position], ended: Callable[[], None]
    ) -> None:
        self.capabilities = CAPABILITIES if has_backpressure else WITHOUT_BACKPRESSURE
        self.details = LOST
        self.token: Final = secrets.token_urlsafe(16)
        """The secret for the way back: 128 bits, known to this client alone."""
        self.key: Final = secrets.token_urlsafe(16)
        """Another one, for taking the stream up again: it stands in the ids of the events."""
        self._options = options
        self._keeps = options.resume > 0
        self._ended = ended
        self._window: Window[tuple[bytes, str]] = Window(options.window_messages, options.window_size)
        """Events, each with what its id says besides its number."""
        self._positions = dict(positions)
        self._standing = self._written()
        self._lease: Lease | None = None
        self._ready = asyncio.Event()
        """All that came before is written: what is sent from now on can be, too."""
        self._expiry: asyncio.TimerHandle | None = None
        self._is_silent = True

    @property
    def is_away(self) -> bool:
        """Whether nobody holds the stream at the moment."""
        return self._lease is None

    # Channel.

    async def send(self, item: Outgoing) -> None:
        crossws = self._options.crossws
        if item.event is None:
            item.event = encode_message(item.data, crossws=crossws)
        if isinstance(item, Kept):
            self._positions[item.topic] = item.position
            self._standing = self._written()
        if not self._keeps:
            await self._ready.wait()
            standing = f"id: {self._standing}\n" if self._standing else ""
            await self._write(standing.encode() + item.event)
            return
        event = (item.event, self._standing)
        number = self._window.add(event, len(item.event))
        if self._ready.is_set():
            await self._write(self._numbered(number, event))
        else:
            # Whoever takes the stream sends all of the window first, this one too.
            await self._ready.wait()

    async def close(self, code: int, reason: str, *, now: bool) -> None:
        lease = self._lease
        if lease is not None:
            await self._ready.wait()
            pause = self._options.retry + random.uniform(0, SPREAD)
            await lease.exchange.write(encode_close(code, reason, pause, self._standing))
        self.finish(CloseDetails(code, reason, was_clean=lease is not None))

    def ping(self, data: bytes) -> None:
        """There are no pings in an event stream."""

    def abort(self) -> None:
        if self._lease is not None:
            self._lease.abort()

    # Its GETs.

    def can_resume(self, number: int) -> bool:
        """Whether all that came after this message is still there."""
        return self._keeps and self._window.since(number) is not None

    def has_sent(self, number: int) -> bool:
        """Whether there was such a message."""
        return number <= self._window.last

    def take(self, lease: Lease) -> None:
        """Hand the stream to another GET. Nothing is sent before it has begun."""
        before, self._lease = self._lease, lease
        self._ready.clear()
        self._stop_waiting()
        if before is not None:
            before.abort()

    async def begin(self, lease: Lease, number: int, *, resumed: bool) -> None:
        """Send what came after this message, and then all that comes."""
        await lease.exchange.write(self._greeting(resumed))
        while missed := self._window.since(number):
            batch = bytearray()
            for number, event in missed:
                batch += self._numbered(number, event)
                if len(batch) >= BATCH:
                    break
            await lease.exchange.write(bytes(batch))
        if missed is None:
            # Meanwhile too much has come.
            self.finish()
        elif self._lease is lease:
            self._ready.set()

    def let_go(self, lease: Lease) -> None:
        """Its GET is over: wait for the next, if it was still this one's turn."""
        if self._lease is not lease:
            return
        self._lease = None
        self._ready.clear()
        if self._keeps:
            self._expiry = asyncio.get_running_loop().call_later(self._options.resume, self._ended)
        else:
            self._ended()

    def finish(self, details: CloseDetails = LOST) -> None:
        """The connection is over, in this way."""
        self.details = details
        self._stop_waiting()
        lease, self._lease = self._lease, None
        self._ready.clear()
        if lease is not None:
            lease.release()
        self._ended()

    def wants_a_sign(self) -> bool:
        """Whether nothing was written since this was asked last, though it could have been."""
        was_silent, self._is_silent = self._is_silent, True
        return was_silent and self._ready.is_set()

    async def give_a_sign(self) -> None:
        """Write what keeps the stream alive, and brings it to light if nobody is there."""
        await self._write(encode_comment())

    # Inside.

    def _greeting(self, resumed: bool) -> bytes:
        options = self._options
        id = (position(self.key, 0) if self._keeps else "") + self._standing
        return encode_start(
            self.token,
            None if resumed else id or None,
            resumed=resumed,
            resume=options.resume,
            keep_alive=options.keep_alive,
            retry=options.retry,
        )

    def _written(self) -> str:
        written = write(self._positions)
        return f"{BEHIND_ID}{written}" if written else ""

    def _numbered(self, number: int, event: tuple[bytes, str]) -> bytes:
        return b"id: %s%s\n%b" % (position(self.key, number).encode(), event[1].encode(), event[0])

    async def _write(self, data: bytes) -> None:
        lease = self._lease
        if lease is None:
            return
        self._is_silent = False
        try:
            await lease.exchange.write(data)
        except Exception:
            # The message is in the window: whoever takes the stream up gets it.
            lease.release()

    def _stop_waiting(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
