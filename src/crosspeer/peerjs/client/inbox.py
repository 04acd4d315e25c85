"""The messages of a connection between the wire and who reads them: handlers of `data`, or `async for`."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from crosspeer.peerjs.client.events import FAILED
from crosspeer.peerjs.client.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from crosspeer.peerjs.client.events import Registered

_COST: Final = 512
"""Bytes that a message counts as beside its own: what Python needs for a small dict."""


class Inbox:
    """What has arrived and nobody has read yet, up to a bound.

    Args:
        max_size: bytes of it.
    """

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        self._messages: deque[tuple[Any, int]] = deque()
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._ended = False

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, value: Any, size: int) -> bool:
        """Keep a message of so many bytes. False: there is too much already."""
        self._size += size + _COST
        self._messages.append((value, size))
        self._wake()
        return self._size <= self._max_size

    def take(self) -> tuple[Any, int]:
        """The oldest, and its bytes; there has to be one."""
        value, size = self._messages.popleft()
        self._size -= size + _COST
        return value, size

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._wake()

    async def wait(self) -> bool:
        """Wait for a message, and tell whether there is one: else there will be none."""
        while not self._messages and not self._ended:
            self._waiter = self._waiter or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._waiter)
        return bool(self._messages)

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.set_result(None)


class Turns:
    """Handlers that get one message after the other: the next only when all coroutines of the last have ended.

    Args:
        max_size: bytes of the messages that wait for a slow handler.
    """

    def __init__(self, max_size: int) -> None:
        self._waiting = Inbox(max_size)
        self._rest: list[Coroutine[Any, Any, Any]] = []
        """What is left of the message whose turn it is."""
        self._task: asyncio.Task[None] | None = None
        self._after: Callable[[], None] | None = None

    def give(self, value: Any, size: int, handlers: Callable[[], Sequence[Registered]]) -> bool:
        """Call the handlers now, or when it is this message's turn. False: too much waits already."""
        if self._task is not None:
            return self._waiting.put((value, handlers), size)
        self._rest = _call(value, handlers())
        if self._rest:
            self._task = asyncio.get_running_loop().create_task(self._run())
            self._task.add_done_callback(self._ended)
        return True

    def drop(self) -> None:
        """Forget what waits."""
        while len(self._waiting):
            self._waiting.take()

    def then(self, step: Callable[[], None]) -> None:
        """Do this when all of it is through."""
        if self._task is not None:
            self._after = step
        else:
            step()

    async def _run(self) -> None:
        while True:
            while self._rest:
                try:
                    await self._rest.pop(0)
                except Exception:
                    logger.exception(FAILED, "data")
            if not len(self._waiting):
                return
            (value, handlers), _ = self._waiting.take()
            self._rest = _call(value, handlers())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._task = None
        for work in self._rest:
            # The loop ends before their turn came.
            work.close()
        if self._after is not None:
            self._after()


def _call(value: Any, handlers: Sequence[Registered]) -> list[Coroutine[Any, Any, Any]]:
    rest = []
    for handler in handlers:
        if (work := handler.call("data", (value,))) is not None:
            rest.append(work)
    return rest
