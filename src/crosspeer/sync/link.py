"""A connection to a backplane that is kept: opened again, checked, and never waited for."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from crosspeer.sync.port import Backend, Receive

logger = logging.getLogger("crosspeer")

OPEN_WITHIN: Final = 5.0
WRITE_WITHIN: Final = 5.0
CHECK_EVERY: Final = 3.0
CHECK_WITHIN: Final = 4.0
"""Together seconds until a connection that looks alive and is not (row F4) is found out: less than 10."""
SHORTEST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts: a backplane that is back is found within two."""
CANCEL_EVERY: Final = 0.5
MAX_WAITING: Final = 8 * 1024 * 1024
"""Bytes that wait for the backplane. Beyond it the oldest are lost, and counted."""
BATCH: Final = 512
"""Publications that are handed over at once."""


class Beside(Protocol):
    """What else goes over a connection."""

    async def begin(self) -> None:
        """See whether the backplane can do it. What this raises means that it cannot."""
        ...

    async def serve(self, link: Link) -> None:
        """Run for as long as the connection stands. What this raises ends it."""
        ...


class Link:
    """Keeps one backend connected.

    Args:
        receive: what comes in.
        changed: called with True when the connection stands, with False when it is lost.
    """

    def __init__(
        self,
        backend: Backend,
        receive: Receive,
        changed: Callable[[bool], None],
        beside: Beside | None = None,
    ) -> None:
        self._backend = backend
        self._receive = receive
        self._changed = changed
        self._beside = beside
        self._wanted: dict[str, None] = {}
        self._touched: dict[str, None] = {}
        """Those that may have to be subscribed to, or left."""
        self._held: set[str] = set()
        self._adjusted = asyncio.Event()
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._bytes = 0
        self._first: tuple[str, bytes] | None = None
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._standing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self.lost = 0
        """Publications that were lost because the backplane took nothing for too long."""

    @property
    def is_up(self) -> bool:
        return self._standing.is_set()

    def start(self) -> None:
        """Begin to connect, on the running loop."""
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    async def wait_up(self, within: float) -> bool:
        """Wait for the connection. False: it does not stand yet."""
        try:
            async with asyncio.timeout(within):
                await self._standing.wait()
        except TimeoutError:
            return False
        return True

    async def close(self, within: float = 1.0) -> None:
        """Hand over what waits, if that is soon done, and disconnect."""
        if self._task is None:
            return
        if self.is_up:
            try:
                async with asyncio.timeout(within):
                    await self._idle.wait()
            except TimeoutError:
                pass
        while not self._task.done():
            # Once is not always enough: libraries turn a cancellation into an error of their own.
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CANCEL_EVERY)
        self._task = None

    def subscribe(self, channel: str) -> None:
        self._wanted[channel] = None
        self._touched[channel] = None
        self._wake()

    def unsubscribe(self, channel: str) -> None:
        self._wanted.pop(channel, None)
        self._touched[channel] = None
        self._wake()

    async def subscribed(self, channels: Iterable[str]) -> None:
        """Wait until the backplane has taken the subscriptions to these, as far as they are still wanted."""
        channels = list(channels)
        while any(channel in self._wanted and channel not in self._held for channel in channels):
            await self._adjusted.wait()
        await self._backend.check()

    def publish(self, channel: str, data: bytes) -> None:
        """Queue a publication. Never waits."""
        self._waiting.append((channel, data))
        self._bytes += len(data)
        while self._bytes > MAX_WAITING and len(self._waiting) > 1:
            _, oldest = self._waiting.popleft()
            self._bytes -= len(oldest)
            self.lost += 1
        self._wake()

    def publish_first(self, channel: str, data: bytes) -> None:
        """Publish before all that waits. There is one such place: what waits in it is replaced."""
        self._first = (channel, data)
        self._wake()

    # Inside.

    def _wake(self) -> None:
        self._idle.clear()
        self._work.set()

    async def _keep(self) -> None:
        pause = SHORTEST_PAUSE
        while True:
            try:
                async with asyncio.timeout(OPEN_WITHIN):
                    await self._open()
                pause = SHORTEST_PAUSE
                await self._serve()
            except Exception as error:
                # Whatever a library raises, and they raise many things, it is a connection that has to be made anew.
                self._report(error)
            finally:
                if self.is_up:
                    self._standing.clear()
                    self._changed(False)
                await self._disconnect()
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _open(self) -> None:
        await self._backend.open(self._receive)
        wanted = list(self._wanted)
        if wanted:
            await self._backend.subscribe(wanted)
        self._held = set(wanted)
        if self._beside is not None:
            await self._beside.begin()
        self._standing.set()
        self._changed(True)
        self._wake()

    def _report(self, error: Exception) -> None:
        """A connection that ends is soon made again, or the first attempt fails: then it is said once."""
        if self.is_up:
            logger.info("the connection to the other nodes is lost: %s", _root(error))
            self._failures = 0
        else:
            level = logging.DEBUG if self._failures else logging.WARNING
            logger.log(level, "the other nodes cannot be reached: %s", _root(error))
            self._failures += 1

    async def _disconnect(self) -> None:
        try:
            async with asyncio.timeout(1):
                await self._backend.close()
        except Exception as error:
            logger.debug("closing the connection to the other nodes failed", exc_info=error)

    async def _serve(self) -> None:
        """Until something fails: one of these ends with an exception, and takes the others along."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._listen())
            group.create_task(self._pump())
            group.create_task(self._watch())
            if self._beside is not None:
                group.create_task(self._beside.serve(self))

    async def _listen(self) -> None:
        await self._backend.listen()
        raise ConnectionError("the backplane closed the connection")

    async def _watch(self) -> None:
        while True:
            heed_cancellation()
            await asyncio.sleep(CHECK_EVERY)
            async with asyncio.timeout(CHECK_WITHIN):
                await self._backend.check()

    async def _pump(self) -> None:
        while True:
            heed_cancellation()
            await self._work.wait()
            self._work.clear()
            if self._touched:
                async with asyncio.timeout(WRITE_WITHIN):
                    await self._adjust()
            while self._waiting or self._first:
                batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
                self._bytes -= sum(len(data) for _, data in batch)
                if self._first is not None:
                    batch.insert(0, self._first)
                    self._first = None
                # What fails in here may or may not have arrived: it is not sent twice.
                async with asyncio.timeout(WRITE_WITHIN):
                    await self._backend.publish(batch)
            if not self._work.is_set():
                self._idle.set()

    async def _adjust(self) -> None:
        touched, self._touched = self._touched, {}
        new = [channel for channel in touched if channel in self._wanted and channel not in self._held]
        old = [channel for channel in touched if channel in self._held and channel not in self._wanted]
        if new:
            await self._backend.subscribe(new)
            self._held.update(new)
            self._adjusted.set()
            self._adjusted = asyncio.Event()
        if old:
            self._held.difference_update(old)
            await self._backend.unsubscribe(old)


def heed_cancellation() -> None:
    """Raise if the running task was cancelled and somebody has swallowed that: until Python 3.12 `wait_for` may.

    Raises:
        asyncio.CancelledError: it was.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _root(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
