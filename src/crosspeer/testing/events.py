"""The same client as one that comes by `EventSource`: events from the server, POSTs to it."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import h11
from starlette.datastructures import Headers

from crosspeer.runtime.sse.inbox import NUMBER_HEADER
from crosspeer.runtime.sse.peers import TOKEN_HEADER
from crosspeer.testing.client import DEFAULT_TIMEOUT, Client, Connecting, ConnectionClosed, HandshakeRefused
from crosspeer.wire.posted import MEDIA_TYPE as POSTED
from crosspeer.wire.posted import encode_posted
from crosspeer.wire.sse import MEDIA_TYPE, EventReader
from crosspeer.wire.streamed import START, TOKEN, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crosspeer.wire.posted import Posted
    from crosspeer.wire.sse import Event

READ: Final = 64 * 1024
MOST: Final = 64 * 1024 * 1024
NO_CONTENT: Final = 204


class connect(Connecting["EventClient"]):
    """Connect to `http://...`; the arguments are those of the in-memory `connect`. There are no subprotocols."""

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        origin: str | None = None,
        subprotocols: Iterable[str] = (),
        timeout: float = DEFAULT_TIMEOUT,
    ) -> None:
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        self._headers = [*pairs, *([("origin", origin)] if origin is not None else [])]
        self._url = url
        self._timeout = timeout

    async def _open(self) -> EventClient:
        async with asyncio.timeout(self._timeout):
            stream = await _Stream.get(self._url, self._headers)
            client = EventClient(self._url, self._headers, stream, self._timeout)
            try:
                await client._begin()
            except BaseException:
                client.terminate()
                raise
            return client


class EventClient(Client):
    """The client's end of an event stream, and of the POSTs that go with it."""

    def __init__(self, url: str, headers: list[tuple[str, str]], stream: _Stream, timeout: float) -> None:
        super().__init__("", stream.headers, timeout)
        self._url = url
        self._request_headers = headers
        self._stream = stream
        self._events: deque[Event] = deque()
        self._token = ""
        self._facts: dict[str, Any] = {}
        self._posts: _Http | None = None
        self._number = 1

    @property
    def last_event_id(self) -> str:
        """What it would go on behind."""
        return self._stream.reader.last_id

    def cut(self) -> None:
        """Lose the stream without a word, as a network does; `resume` may follow."""
        self._stream.abort()

    async def resume(self) -> bool:
        """Come back and go on. False: the server has begun afresh, so that this is another peer."""
        async with asyncio.timeout(self._timeout):
            headers = [*self._request_headers, ("last-event-id", self.last_event_id)]
            before = self._stream
            self._stream = await _Stream.get(self._url, headers, self.last_event_id)
            self._events.clear()
            await self._begin()
            before.abort()
        if not self._facts["resumed"]:
            self._number = 1
        return bool(self._facts["resumed"])

    def terminate(self) -> None:
        self._end(1006, "")

    def freeze(self) -> None:
        self._stream.http.writer.transport.pause_reading()  # type: ignore[attr-defined]

    async def ping(self, data: bytes = b"") -> None:
        """There are no pings in an event stream."""

    async def _begin(self) -> None:
        while True:
            event = await self._next_event()
            if event is None:
                raise self._end(1006, "")
            if event.event == TOKEN:
                self._token = event.data
            elif event.event == START:
                self._facts = json.loads(event.data)
                return

    async def _send(self, data: str | bytes) -> None:
        await self._post(data)

    async def _post(self, message: Posted) -> None:
        if self._posts is None:
            self._posts = await _Http.open(self._url)
        headers = [
            (TOKEN_HEADER, self._token),
            (NUMBER_HEADER, str(self._number)),
            ("content-type", POSTED),
            *self._request_headers,
        ]
        self._number += 1
        status = await self._posts.post(self._url, headers, encode_posted(message))
        if status == 404:
            raise self._end(1006, "")

    async def _receive(self) -> str | bytes:
        while True:
            event = await self._next_event()
            message = (1006, "") if event is None else decode(event)
            if isinstance(message, tuple):
                raise self._end(*message)
            if message is not None:
                return message

    async def _close(self, code: int, reason: str) -> None:
        await self._post((code, reason))
        self._end(code, reason)

    async def _next_event(self) -> Event | None:
        while not self._events:
            found = await self._stream.read()
            if found is None:
                return None
            self._events.extend(found)
        return self._events.popleft()

    def _end(self, code: int, reason: str) -> ConnectionClosed:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
        self._stream.abort()
        if self._posts is not None:
            self._posts.abort()
        return ConnectionClosed(self.close_code, self.close_reason)


class _Http:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._state = h11.Connection(h11.CLIENT)

    @classmethod
    async def open(cls, url: str) -> _Http:
        parts = urlsplit(url)
        return cls(*await asyncio.open_connection(parts.hostname, parts.port or 80))

    def ask(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes = b"") -> None:
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        known = {name.lower() for name, _ in headers}
        host = [] if "host" in known else [("host", parts.netloc)]
        request = h11.Request(method=method, target=target, headers=[*host, *headers])
        for event in (request, *([h11.Data(data=body)] if body else []), h11.EndOfMessage()):
            self.writer.write(self._state.send(event) or b"")

    async def next(self) -> Any:
        """What comes next of the answer."""
        while (event := self._state.next_event()) is h11.NEED_DATA:
            try:
                data = await self.reader.read(READ)
            except ConnectionError:
                data = b""
            if not data:
                return h11.ConnectionClosed()
            self._state.receive_data(data)
        return event

    async def post(self, url: str, headers: list[tuple[str, str]], body: bytes) -> int:
        self.ask("POST", url, [*headers, ("content-length", str(len(body)))], body)
        status = 0
        while not isinstance(event := await self.next(), (h11.EndOfMessage, h11.ConnectionClosed)):
            if isinstance(event, h11.Response):
                status = event.status_code
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
        return status

    def abort(self) -> None:
        self.writer.transport.abort()


class _Stream:
    """The answer to a GET for events."""

    def __init__(self, http: _Http, headers: Headers, last_id: str) -> None:
        self.http = http
        self.headers = headers
        self.reader = EventReader(MOST)
        self.reader.last_id = last_id

    @classmethod
    async def get(cls, url: str, headers: list[tuple[str, str]], last_id: str = "") -> _Stream:
        http = await _Http.open(url)
        try:
            http.ask("GET", url, [("accept", MEDIA_TYPE), *headers])
            response = await http.next()
            if not isinstance(response, h11.Response):
                raise ConnectionError("the server did not answer")
            answered = Headers(raw=[(bytes(name).lower(), bytes(value)) for name, value in response.headers])
            if response.status_code == 200:
                return cls(http, answered, last_id)
            body = b""
            while isinstance(event := await http.next(), h11.Data):
                body += bytes(event.data)
            raise HandshakeRefused(response.status_code, answered, body)
        except BaseException:
            http.abort()
            raise

    async def read(self) -> list[Event] | None:
        """The events that come next, None at the end."""
        event = await self.http.next()
        return self.reader.feed(bytes(event.data)) if isinstance(event, h11.Data) else None

    def abort(self) -> None:
        self.http.abort()
