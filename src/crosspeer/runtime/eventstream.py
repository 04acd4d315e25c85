"""`EventStream`: an HTTP response that is a stream of server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Mapping
from contextlib import suppress
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from crosspeer.core.errors import StreamClosed
from crosspeer.core.outgoing import to_json
from crosspeer.runtime.exchange import ASGIExchange
from crosspeer.runtime.tasks import Tasks
from crosspeer.wire.sse import CACHE_HEADERS, MEDIA_TYPE, Event, encode_comment, encode_event

if TYPE_CHECKING:
    from starlette.background import BackgroundTask
    from starlette.requests import HTTPConnection
    from starlette.types import Receive, Scope, Send

    from crosspeer.runtime.exchange import Exchange
    from crosspeer.runtime.replay import Replay

logger = logging.getLogger("crosspeer")

MAX_EARLY: Final = 1024 * 1024
"""Bytes that may be pushed before the stream has begun, when nobody can wait for a reader."""
LAST_WORDS: Final = 5.0
"""Seconds for a reader to take what was pushed before the end."""
HEADERS: Final = {"content-type": MEDIA_TYPE, **CACHE_HEADERS}

Source = AsyncIterable[Any] | Callable[["EventStream"], Awaitable[Any] | AsyncIterable[Any]]
_NOTHING: Any = object()


class EventStream(Response):
    """A response for Server-Sent Events, for Starlette, FastAPI and file routes (h3 `EventStream`).

    ```python
    async def get(request):
        async def count(stream):
            for number in range(3):
                await stream.push({"number": number})

        return EventStream(count)
    ```

    Args:
        source: what produces the events: an async generator, or a function that is called with the stream once that
            has begun. The stream ends with it, and a client that leaves cancels it at once. Without a source whoever
            holds the stream pushes, and closes it.
        request: the request at hand, so that `last_event_id` is known before the stream has begun.
        headers: more headers of the response. Given ones replace those that forbid to keep, change or buffer it.
        keep_alive: longest silence in seconds, then a comment is sent; 0 for none.
    """

    media_type = MEDIA_TYPE

    def __init__(
        self,
        source: Source | None = None,
        *,
        request: HTTPConnection | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        keep_alive: float = 15.0,
        background: BackgroundTask | None = None,
    ) -> None:
        if source is not None and not callable(source) and not isinstance(source, AsyncIterable):
            raise TypeError(f"the source of events is an async generator or a function, not {type(source).__name__}")
        self.status_code = status_code
        self.background = background
        self.init_headers(HEADERS | {name.lower(): value for name, value in (headers or {}).items()})
        self.last_event_id: str | None = None if request is None else request.headers.get("last-event-id")
        """Where the client was when it lost its connection, None if it comes for the first time."""
        self._source = source
        self._keep_alive = keep_alive
        self._exchange: Exchange | None = None
        self._early: list[bytes] | None = []
        self._writing = asyncio.Lock()
        self._is_silent = True
        self._over = asyncio.Event()
        self._ends_by_itself = False
        self._is_finished = False
        self._callbacks: list[Callable[[], Any]] = []
        self._tasks = Tasks()
        self._producer: asyncio.Task[None] | None = None

    @property
    def is_closed(self) -> bool:
        """Whether it has ended: nothing can be pushed any more."""
        return self._over.is_set()

    async def push(
        self,
        what: Any = _NOTHING,
        /,
        *,
        data: Any = _NOTHING,
        event: str | None = None,
        id: str | None = None,
        retry: int | None = None,
    ) -> None:
        """Send an event, or a list of them in one piece. Waits while the client does not read.

        A text is sent as it is, its line ends as LF; an `Event` with its fields; anything else as JSON. In a list each
        item is an event of its own; `data=` is always the data of a single one.

        Raises:
            StreamClosed: the stream has ended. Before anything else, so that a loop of pushes ends too.
            TypeError, ValueError: a field cannot be written (see `crosspeer.wire.sse.encode_event`).
            RuntimeError: too much was pushed before the stream was returned.
        """
        if what is _NOTHING:
            what = Event(None if data is _NOTHING else _required(data), event, id, retry)
        elif data is not _NOTHING:
            raise TypeError("push takes one thing, or data=")
        elif isinstance(what, (list, Event)):
            if (event, id, retry) != (None, None, None):
                raise TypeError("event=, id= and retry= go with the data of a single event")
        else:
            what = Event(_required(what), event, id, retry)
        await self._write(b"".join(map(_encoded, what)) if isinstance(what, list) else _encoded(what))

    async def comment(self, text: str = "") -> None:
        """Send a comment, which no listener sees.

        Raises:
            StreamClosed: the stream has ended.
        """
        await self._write(encode_comment(text))

    async def replay(self, history: Replay) -> bool:
        """Send what the client has missed since `last_event_id`.

        False: it cannot be told, since the client is new or was away for too long; nothing was sent.
        """
        missed = history.since(self.last_event_id)
        if missed:
            await self.push(list(missed))
        return missed is not None

    def close(self) -> None:
        """End the stream behind what was pushed, and stop its source. A second time changes nothing."""
        if not self._over.is_set():
            self._ends_by_itself = True
            self._over.set()

    def on_closed(self, callback: Callable[[], Any]) -> None:
        """Call this once, sync or async, when the stream has ended, whatever ended it. What it raises is logged."""
        if self._is_finished:
            self._tasks.start(_call(callback))
        else:
            self._callbacks.append(callback)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Be the answer to a request (ASGI)."""
        exchange = ASGIExchange(scope, receive, send)
        await self.run(exchange, scope["headers"], is_head=scope.get("method") == "HEAD")
        if self.background is not None:
            await self.background()

    async def run(
        self, exchange: Exchange, request_headers: list[tuple[bytes, bytes]], *, is_head: bool = False
    ) -> None:
        """Be the answer to a request of any server.

        Raises:
            RuntimeError: it has been one already.
        """
        if self._exchange is not None:
            raise RuntimeError("an EventStream is the answer to one request")
        self._exchange = exchange
        asked = {name.lower(): value.decode("latin-1") for name, value in request_headers}
        self.last_event_id = asked.get(b"last-event-id", self.last_event_id)
        if is_head:
            self.close()
        exchange.on_shutdown(self.close)
        try:
            await self._start(exchange)
            await self._live()
        except OSError as error:
            logger.debug("a client did not wait for its event stream: %r", error)
        finally:
            self._over.set()
            await self._finish(exchange)

    # Inside.

    async def _write(self, data: bytes) -> None:
        if self._over.is_set():
            raise StreamClosed("the event stream has ended")
        if self._exchange is None or self._early is not None:
            self._keep(data)
            return
        async with self._writing:
            if self._over.is_set():
                raise StreamClosed("the event stream has ended")
            self._is_silent = False
            if data:
                try:
                    await self._exchange.write(data)
                except Exception as error:
                    self._over.set()
                    raise StreamClosed("the client of the event stream has gone") from error
        if self._over.is_set() and not self._ends_by_itself:
            # Some servers take whatever is written to a client that has gone.
            raise StreamClosed("the client of the event stream has gone")

    def _keep(self, data: bytes) -> None:
        early = self._early = self._early or []
        early.append(data)
        if sum(map(len, early)) > MAX_EARLY:
            raise RuntimeError("too much was pushed before the stream was returned: nobody reads it yet")

    async def _start(self, exchange: Exchange) -> None:
        """Send the head, and what was pushed before."""
        await exchange.start(self.status_code, self.raw_headers)
        if self._keep_alive > 0:
            # Somebody acknowledges the comments, or nobody is there.
            exchange.drop_when_silent(3 * self._keep_alive)
        async with self._writing:
            while self._early:
                early, self._early = b"".join(self._early), []
                await exchange.write(early)
            self._early = None

    async def _live(self) -> None:
        """Wait for the end: of the source, of the client, or the one that was asked for."""
        if self._over.is_set():
            return
        self._tasks.start(self._watch())
        if self._keep_alive > 0:
            self._tasks.start(self._break_silence())
        if self._source is not None:
            self._producer = self._tasks.start(self._produce(self._source))
        await self._over.wait()

    async def _break_silence(self) -> None:
        with suppress(StreamClosed):
            while True:
                self._is_silent = True
                await asyncio.sleep(self._keep_alive / 2)
                if self._is_silent and not self._writing.locked():
                    await self.comment()

    async def _watch(self) -> None:
        assert self._exchange is not None
        with suppress(Exception):
            await self._exchange.left()
        self._over.set()

    async def _produce(self, source: Source) -> None:
        try:
            produced = source(self) if callable(source) else source
            if isawaitable(produced):
                await produced
            else:
                await self._push_all(produced)
        except StreamClosed:
            pass
        except Exception:
            logger.exception("the source of an event stream failed")
        self.close()

    async def _push_all(self, items: AsyncIterable[Any]) -> None:
        try:
            async for item in items:
                await self.push(item)
        finally:
            if isinstance(items, AsyncGenerator):
                # Its clean-up is not to wait for the garbage collector.
                await items.aclose()

    async def _finish(self, exchange: Exchange) -> None:
        """Stop what still runs, send the end, and tell who wants to know."""
        try:
            self._tasks.cancel()
            await self._tasks.finish()
            if self._ends_by_itself:
                await self._end(exchange)
        finally:
            self._is_finished = True
            for callback in self._callbacks:
                await _call(callback)

    async def _end(self, exchange: Exchange) -> None:
        try:
            async with asyncio.timeout(LAST_WORDS), self._writing:
                await exchange.end()
        except Exception as error:
            logger.debug("an event stream was not read to its end: %r", error)
            exchange.abort()


async def _call(callback: Callable[[], Any]) -> None:
    try:
        result = callback()
        if isawaitable(result):
            await result
    except Exception as error:
        logger.error("what was to be called at the end of an event stream failed", exc_info=error)


def _encoded(what: Any) -> bytes:
    event = what if isinstance(what, Event) else Event(_required(what))
    data = None if event.data is None else _text(event.data)
    return encode_event(data, event=event.event, id=event.id, retry=event.retry)


def _required(data: Any) -> Any:
    """None stands for an empty text here, and for no data in an `Event`."""
    return "" if data is None else data


def _text(data: Any) -> str:
    if isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError("an event carries text: encode bytes as base64, for instance")
    return data if isinstance(data, str) else to_json(data)
