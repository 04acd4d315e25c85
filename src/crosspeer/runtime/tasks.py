"""Tasks with an owner: nothing runs on after its connection, and no exception is lost."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Coroutine

logger = logging.getLogger("crosspeer")

LAST_GRACE: Final = 0.5
"""Seconds that a task has to end once it is cancelled for good."""


class Tasks:
    """The running tasks of one owner."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a coroutine. What it raises is logged: whoever needs to know catches it inside."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def cancel(self) -> None:
        """Cancel all of them: see `cancel_begun`."""
        for task in tuple(self._tasks):
            cancel_begun(task)

    def __bool__(self) -> bool:
        """Whether one is running."""
        return bool(self._tasks)

    async def wait(self) -> None:
        """Wait until none is running, without taking them along when the waiting is cancelled."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def finish(self) -> None:
        """Wait until none is running, those included that are started meanwhile.

        Cancelling this cancels them, once, and goes on waiting: their clean-up runs to its end.
        """
        interrupted: asyncio.CancelledError | None = None
        while self._tasks:
            try:
                await asyncio.wait(self._tasks)
            except asyncio.CancelledError as cancelled:
                if interrupted is not None:
                    raise
                interrupted = cancelled
                self.cancel()
        if interrupted is not None:
            raise interrupted

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a task of a connection failed", exc_info=error)


def cancel_begun(task: asyncio.Task[None]) -> None:
    """Cancel a task as soon as it has begun.

    One that is cancelled before its first step never runs: what it was to await is lost, and so is its clean-up, as the
    `close` hook of a peer whose other hook was about to be awaited.
    """
    # The first step of a task that was started just now is in the loop's queue already.
    task.get_loop().call_soon(task.cancel)
