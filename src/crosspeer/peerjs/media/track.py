"""Track: the frames of one source, for as many readers as there are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from crosspeer.peerjs.rtc.frames import FrameQueue, MediaError
from crosspeer.runtime.tasks import Tasks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from crosspeer.peerjs.media.clock import Clock
    from crosspeer.peerjs.rtc.frames import Frame, Kind

WAITING: Final[dict[Kind, int]] = {"video": 3, "audio": 50}
"""Frames that wait for a reader: a tenth of a second of pictures, and a second of sound at most."""

_tasks: Final = Tasks()


class Track:
    """Sound or pictures. It stands still while nobody reads it.

    Args:
        source: the frames, at their pace.
        clock: by which the source keeps its pace; None: it has one of its own.
    """

    def __init__(self, kind: Kind, source: AsyncGenerator[Frame, None], clock: Clock | None = None) -> None:
        self.kind: Final = kind
        self.error: Exception | None = None
        """Why it has ended, if it failed."""
        self._source = source
        self._clock = clock
        self._readers: set[FrameQueue[Frame]] = set()
        self._pump: asyncio.Task[None] | None = None
        self._over = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether there is nothing more to come."""
        return self._over.is_set()

    async def frames(self, waiting: int | None = None) -> AsyncGenerator[Any, None]:
        """The frames from now on.

        Args:
            waiting: frames that wait for this reader. Of more the oldest are dropped.

        Raises:
            MediaError: at the end, if the source has failed.
        """
        queue = self.join(waiting)
        try:
            while (frame := await queue.get()) is not None:
                yield frame
        finally:
            self.leave(queue)
        self.check()

    def join(self, waiting: int | None = None) -> FrameQueue[Frame]:
        """The frames from now on, in a queue that has to be given back by `leave`."""
        queue: FrameQueue[Frame] = FrameQueue(waiting or WAITING[self.kind])
        if self.ended:
            queue.end()
            return queue
        if not self._readers and self._clock is not None:
            self._clock.start()
        self._readers.add(queue)
        if self._pump is None or self._pump.done():
            self._pump = _tasks.start(self._run())
        return queue

    def leave(self, queue: FrameQueue[Frame]) -> None:
        """No more frames; those that wait in the queue can still be read."""
        queue.end()
        if queue in self._readers:
            self._readers.remove(queue)
            if not self._readers and self._clock is not None:
                self._clock.stop()

    def check(self) -> None:
        """Raise a `MediaError` if it has failed."""
        if self.error is not None:
            raise MediaError(f"the {self.kind} track failed: {self.error}") from self.error

    async def wait_ended(self) -> None:
        """Wait until there is nothing more to come."""
        await self._over.wait()

    def stop(self) -> None:
        """End it, for all its readers."""
        if self.ended:
            return
        self._finish(None)
        if self._pump is not None and not self._pump.done():
            self._pump.cancel()
        elif _has_loop():
            _tasks.start(self._source.aclose())

    # Inside.

    async def _run(self) -> None:
        try:
            while self._readers:
                frame = await anext(self._source)
                for queue in self._readers:
                    queue.put(frame)
        except StopAsyncIteration:
            self._finish(None)
        except asyncio.CancelledError:
            self._finish(None)
            raise
        except Exception as error:
            self._finish(error)

    def _finish(self, error: Exception | None) -> None:
        if self.ended:
            return
        self.error = error
        self._over.set()
        for queue in list(self._readers):
            self.leave(queue)


def _has_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
