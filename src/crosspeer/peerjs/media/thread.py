"""Iterators that take their time, each in a thread of its own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

T = TypeVar("T")

_END: Final = object()


async def in_thread(values: Iterator[T]) -> AsyncGenerator[T, None]:
    """The values of an iterator, all of them made in one thread, each when it is asked for."""
    loop = asyncio.get_running_loop()
    asked: SimpleQueue[asyncio.Future[Any] | None] = SimpleQueue()
    # Not an executor: the end of a program would wait for an iterator that never gives its next value.
    Thread(target=_work, args=(values, asked, loop), name="crosspeer-media", daemon=True).start()
    try:
        while True:
            future = loop.create_future()
            asked.put(future)
            if (value := await future) is _END:
                return
            yield value
    finally:
        asked.put(None)


def _work(
    values: Iterator[Any], asked: SimpleQueue[asyncio.Future[Any] | None], loop: asyncio.AbstractEventLoop
) -> None:
    while (future := asked.get()) is not None:
        value: Any = _END
        failure: BaseException | None = None
        try:
            value = next(values, _END)
        except BaseException as error:
            # Whatever it is: somebody waits for this value.
            failure = error
        # The loop may be closed by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_settle, future, value, failure)
    if (close := getattr(values, "close", None)) is not None:
        close()


def _settle(future: asyncio.Future[Any], value: Any, failure: BaseException | None) -> None:
    if future.cancelled():
        return
    if failure is None:
        future.set_result(value)
    else:
        future.set_exception(failure)
