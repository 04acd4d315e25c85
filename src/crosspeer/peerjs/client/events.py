"""`on`, `once` and `off`, as PeerJS has them, for handlers that are functions or coroutine functions."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, Final

from crosspeer.peerjs.client.log import logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    Handler = Callable[..., Any]

_running: Final[set[asyncio.Task[Any]]] = set()
"""The handlers that wait for something. They outlive whoever called them, if they have to."""


FAILED: Final = "a handler of %r failed"


class Registered:
    """A handler, and how many of an event's arguments it takes."""

    __slots__ = ("_most", "function", "once")

    def __init__(self, function: Handler, *, once: bool) -> None:
        self.function = function
        self.once = once
        self._most = _arguments_of(function)

    def call(self, event: str, arguments: tuple[Any, ...]) -> Coroutine[Any, Any, Any] | None:
        """Call it, and return what is left to wait for. What it raises is logged."""
        try:
            result = self.function(*arguments[: self._most])
        except Exception:
            logger.exception(FAILED, event)
            return None
        # Asked first, since it is what nearly all return, and the other question takes long.
        return None if result is None or not asyncio.iscoroutine(result) else result


class Emitter:
    """Something that has events. What a handler raises is logged; nobody else notices."""

    EVENTS: ClassVar[frozenset[str]] = frozenset()

    def __init__(self) -> None:
        self._handlers: dict[str, tuple[Registered, ...]] = {}
        self._passing: set[str] = set()
        """The events with handlers for one time only."""

    def on(self, event: str, handler: Handler | None = None) -> Any:
        """Call a handler at each event: `peer.on("open", greet)`, or as a decorator, `@peer.on("open")`.

        A handler may take fewer arguments than the event has. Coroutine functions run as tasks of their own.

        Returns:
            the handler, or the decorator.

        Raises:
            ValueError: there is no such event.
        """
        return self._register(event, handler, once=False)

    def once(self, event: str, handler: Handler | None = None) -> Any:
        """Like `on`, for the next event only."""
        return self._register(event, handler, once=True)

    def off(self, event: str, handler: Handler | None = None) -> None:
        """Forget a handler, or all handlers of an event."""
        self._check(event)
        entries = self._handlers.get(event, ())
        self._handlers[event] = tuple(entry for entry in entries if handler not in (None, entry.function))
        self._changed(event)

    # Inside.

    def _changed(self, event: str) -> None:
        """The handlers of an event are not what they were."""

    def _emit(self, event: str, *arguments: Any) -> None:
        for entry in self._taken(event):
            if (rest := entry.call(event, arguments)) is not None:
                task = asyncio.get_running_loop().create_task(rest, name=event)
                _running.add(task)
                task.add_done_callback(_ended)

    def _taken(self, event: str) -> tuple[Registered, ...]:
        """The handlers to call now; those for one event are forgotten by it."""
        entries = self._handlers.get(event, ())
        if event in self._passing:
            self._passing.discard(event)
            self._handlers[event] = tuple(entry for entry in entries if not entry.once)
            self._changed(event)
        return entries

    def _register(self, event: str, handler: Handler | None, *, once: bool) -> Any:
        self._check(event)
        if handler is None:
            return lambda decorated: self._register(event, decorated, once=once)
        if not callable(handler):
            raise TypeError(f"a handler is callable, not {type(handler).__name__}")
        self._handlers[event] = (*self._handlers.get(event, ()), Registered(handler, once=once))
        if once:
            self._passing.add(event)
        self._changed(event)
        return handler

    def _check(self, event: str) -> None:
        if event not in self.EVENTS:
            raise ValueError(f"{type(self).__name__} has no event {event!r}, only {', '.join(sorted(self.EVENTS))}")


def _ended(task: asyncio.Task[Any]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error(FAILED, task.get_name(), exc_info=error)


def _arguments_of(function: Handler) -> int:
    """How many of the arguments to pass: one at most, but for a handler that cannot be called with one.

    The second is PeerJS 0.1's: its `connection` event has the metadata beside the connection.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 2
    positional = [
        parameter
        for parameter in parameters
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    needed = sum(parameter.default is parameter.empty for parameter in positional)
    return max(needed, min(len(positional), 1))
