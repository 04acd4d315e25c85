"""From `send` to the channel: what does not fit into the engine's queue waits here, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from crosspeer.peerjs.client.errors import ErrorType, PeerError
from crosspeer.peerjs.client.log import logger
from crosspeer.peerjs.client.serializers import Pieces
from crosspeer.peerjs.rtc.port import LOW_MARK, RTCError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    from crosspeer.peerjs.rtc.port import Channel

    Progress = Callable[[int, int], Any]

HIGH_MARK: Final = 4 * LOW_MARK
"""Bytes in the engine's queue after which messages wait here. Measured with `wrtc`: a fresh connection with 256 KiB in
its queue sends its first 10 MB in 0.1 seconds, and with a MiB or more, as PeerJS does it, in 3 to 5; later both are as
fast."""
_BREATH: Final = 32
"""Messages sent by somebody who awaits each, after which the rest of the program has its turn."""


class Sending:
    """What `send` returns. Await it for backpressure, or leave it; either way the message is on its way.

    It is done when the engine has all of the message in its queue, not when the other side has it.

    Raises:
        PeerError: when awaited: connection-closed, because the connection ended first.
    """

    __slots__ = ("_progress", "_step", "_waiters", "error", "frames", "sent", "total")

    _awaited = 0

    def __init__(self, frames: Iterator[str | bytes], total: int, step: int, progress: Progress | None) -> None:
        self.frames = frames
        self.total = total
        """Bytes of the message, as it is serialized."""
        self.sent = 0
        """Bytes of them that the engine has so far."""
        self.error: PeerError | None = None
        self._step = step
        self._progress = progress
        self._waiters: list[asyncio.Future[None]] | None = None

    @property
    def is_done(self) -> bool:
        return self.sent >= self.total or self.error is not None

    def moved(self) -> None:
        """One more frame has left."""
        self.sent = min(self.sent + self._step, self.total)
        if self._progress is not None:
            try:
                self._progress(self.sent, self.total)
            except Exception:
                logger.exception("a progress function failed")
        if self._waiters is not None and self.sent == self.total:
            self._wake()

    def failed(self, error: PeerError) -> None:
        self.error = error
        self._wake()

    def __await__(self) -> Generator[Any, None, None]:
        if self.is_done:
            Sending._awaited += 1
            if Sending._awaited % _BREATH == 0:
                yield
        else:
            waiter = asyncio.get_running_loop().create_future()
            if self._waiters is None:
                self._waiters = []
            self._waiters.append(waiter)
            yield from waiter
        if self.error is not None:
            raise self.error

    def _wake(self) -> None:
        for waiter in self._waiters or ():
            if not waiter.done():
                waiter.set_result(None)
        self._waiters = None


class Outbox:
    """The messages of one connection that have not left completely.

    Args:
        max_size: bytes of them all. A message larger than this passes only an empty queue.
        failed: told when the engine refuses a frame.
        drained: told when all that has waited has left.
    """

    def __init__(self, max_size: int, failed: Callable[[RTCError], None], drained: Callable[[], None]) -> None:
        self._max_size = max_size
        self._failed = failed
        self._drained = drained
        self._queue: deque[Sending] = deque()
        self._size = 0
        self._channel: Channel | None = None
        self._budget = 0
        """Bytes that may be handed over before the engine's queue has to be looked at again."""

    def __len__(self) -> int:
        """Messages that wait."""
        return len(self._queue)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size

    def start(self, channel: Channel, leaving: Callable[[str | bytes], str | bytes]) -> None:
        """The channel is open: send what has waited for that, each frame after a last look."""
        for sending in self._queue:
            sending.frames = map(leaving, sending.frames)
        self._channel = channel
        self._move()

    def push(self, encoded: str | bytes | Pieces, progress: Progress | None) -> Sending:
        """Send a message, or queue it behind the others.

        Raises:
            PeerError: buffer-full.
        """
        if isinstance(encoded, Pieces):
            sending = Sending(encoded.frames, encoded.total, encoded.step, progress)
        else:
            size = len(encoded) or 1
            sending = Sending(iter((encoded,)), size, size, progress)
            if self._budget > 0 and not self._queue and self._channel is not None:
                # By far the commonest.
                self._hand_over(self._channel, encoded, sending)
                return sending
        if self._queue or self._channel is None or not self._empty(sending):
            left = sending.total - sending.sent
            if self._queue and self._size + left > self._max_size:
                raise PeerError(ErrorType.BUFFER_FULL, f"{self._size} bytes wait to be sent: await what send returns")
            self._queue.append(sending)
            self._size += left
        return sending

    def resume(self) -> None:
        """The engine has room again."""
        if self._queue and self._move():
            self._drained()

    def fail(self, error: PeerError) -> None:
        """Nothing more will leave."""
        self._channel = None
        waiting, self._queue, self._size = self._queue, deque(), 0
        for sending in waiting:
            sending.failed(error)

    async def emptied(self) -> None:
        """Wait until all of it has left."""
        while self._queue:
            await self._queue[-1]

    def _move(self) -> bool:
        """Send what the engine has room for, and tell whether that was all."""
        self._budget = 0
        while self._queue:
            sending = self._queue[0]
            left = sending.total - sending.sent
            complete = self._empty(sending)
            self._size -= left - (sending.total - sending.sent)
            # Whoever was told may have ended all of this.
            if not complete or not self._queue:
                return False
            self._queue.popleft()
        return True

    def _empty(self, sending: Sending) -> bool:
        """Hand over what the engine has room for of one message, and tell whether that was all."""
        while self._channel is not None and not sending.is_done:
            if self._budget <= 0 and not self._has_room(self._channel):
                return False
            self._hand_over(self._channel, next(sending.frames), sending)
        return True

    def _hand_over(self, channel: Channel, frame: str | bytes, sending: Sending) -> None:
        try:
            channel.send(frame)
        except RTCError as error:
            sending.failed(PeerError(ErrorType.CONNECTION_CLOSED, str(error)))
            self._failed(error)
            return
        self._budget -= len(frame)
        sending.moved()

    def _has_room(self, channel: Channel) -> bool:
        # In the same step as the last `send`, so `drained` is still to come if this says no.
        self._budget = HIGH_MARK - channel.buffered_amount
        return self._budget > 0
