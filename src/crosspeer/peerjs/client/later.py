"""What a call returns whose end may be waited for, or not."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator


class Later:
    """Something that will be done. Await it, or leave it: unlike a coroutine it does not mind."""

    __slots__ = ("_event",)

    def __init__(self) -> None:
        self._event = asyncio.Event()

    @property
    def is_done(self) -> bool:
        return self._event.is_set()

    def done(self) -> None:
        self._event.set()

    def __await__(self) -> Generator[Any, None, None]:
        if not self._event.is_set():
            yield from self._event.wait().__await__()
