"""What an application may hear of, and how it is told."""

from __future__ import annotations

import logging
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

logger = logging.getLogger("crosspeer.peerjs")

NAMES: Final = ("connection", "disconnect", "message", "error")


class Events:
    """Handlers by event, sync or async. What one raises is logged: whoever only listens disturbs nobody."""

    def __init__(self) -> None:
        self._handlers: dict[str, list[Callable[..., Any]]] = {name: [] for name in NAMES}
        self.has_message = False
        """Whether somebody wants to hear of every message."""

    def add(self, name: str, handler: Callable[..., Any]) -> None:
        """Call a handler at every event of this name.

        Raises:
            ValueError: there is no such event.
        """
        if name not in self._handlers:
            raise ValueError(f"there is no event {name!r}: events are {', '.join(NAMES)}")
        self._handlers[name].append(handler)
        self.has_message = bool(self._handlers["message"])

    def emit(self, name: str, *args: Any) -> Awaitable[None] | None:
        """Call the handlers. What is returned has to be awaited, by whom this event holds up."""
        handlers = self._handlers[name]
        if not handlers:
            return None
        waiting = []
        for handler in handlers:
            try:
                result = handler(*args)
            except Exception as error:
                _log(name, error)
            else:
                if isawaitable(result):
                    waiting.append(result)
        return _all(name, waiting) if waiting else None


async def _all(name: str, waiting: list[Awaitable[Any]]) -> None:
    for result in waiting:
        try:
            await result
        except Exception as error:
            _log(name, error)


def _log(name: str, error: Exception) -> None:
    logger.error("a handler of the event %r failed", name, exc_info=error)
