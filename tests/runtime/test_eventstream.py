"""`EventStream` on real servers: what it writes, when it waits, and that it ends when its client does."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.routing import Route

import running
from crosspeer import Event, EventStream, Hub, Replay, Routes, Server, StreamClosed
from crosspeer.wire.sse import EventReader
from raw import Raw

if TYPE_CHECKING:
    from pathlib import Path

TIMEOUT = 10.0


class Listener:
    """A client that reads events as they come."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self.reader = EventReader(1_000_000)
        self._found: list[Event] = []
        self._bytes = response.aiter_bytes()

    async def next(self) -> Event | None:
        """The next event, None at the end."""
        async with asyncio.timeout(TIMEOUT):
            while not self._found:
                try:
                    self._found += self.reader.feed(await anext(self._bytes))
                except StopAsyncIteration:
                    return None
        return self._found.pop(0)

    async def data(self, count: int) -> list[Any]:
        found = [await self.next() for _ in range(count)]
        return [event and event.data for event in found]

    async def rest(self) -> list[Any]:
        """The data of all that still comes."""
        found = []
        while (event := await self.next()) is not None:
            found.append(event.data)
        return found


@contextlib.asynccontextmanager
async def listening(url: str, **headers: str) -> AsyncIterator[Listener]:
    async with (
        httpx.AsyncClient(trust_env=False) as client,
        client.stream("GET", url, headers={name.replace("_", "-"): value for name, value in headers.items()}) as answer,
    ):
        yield Listener(answer)


def answering(make: Any) -> Starlette:
    """An application whose only answer is made by a function."""

    async def endpoint(request: Request) -> Any:
        return make(request)

    return Starlette(routes=[Route("/", endpoint, methods=["GET", "HEAD"])])


@contextlib.asynccontextmanager
async def served(make: Any, **options: Any) -> AsyncIterator[str]:
    async with Server(answering(make), port=0, shutdown_timeout=5, **options) as server:
        yield server.url


async def push_forever(stream: EventStream) -> None:
    while True:
        await stream.push("to nobody")
        await asyncio.sleep(0)


# What is written.


async def test_what_may_be_pushed() -> None:
    async def source(stream: EventStream) -> None:
        await stream.push("text")
        await stream.push(["one", {"two": 2}, Event("three", "kind", "3"), ["four"]])
        await stream.push({"a": [1, "ü"]})
        await stream.push(5)
        await stream.push(None)
        await stream.push(data=["a", "list"], event="list", id="9", retry=100)
        await stream.push("with", event="kind")
        await stream.push([])
        await stream.push(event="no data", id="10")
        await stream.push(Event(retry=50))

    async with served(lambda request: EventStream(source)) as url, listening(url) as client:
        found = [await client.next() for _ in range(10)]
        assert [event and (event.event, event.data) for event in found] == [
            ("message", "text"),
            ("message", "one"),
            ("message", '{"two":2}'),
            ("kind", "three"),
            ("message", '["four"]'),
            ("message", '{"a":[1,"ü"]}'),
            ("message", "5"),
            ("message", ""),
            ("list", '["a","list"]'),
            ("kind", "with"),
        ]
        assert await client.rest() == []
        assert (client.reader.last_id, client.reader.retry) == ("10", 50)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (((), {}), None),
        (((b"bytes",), {}), TypeError),
        (((object(),), {}), TypeError),
        (((float("nan"),), {}), ValueError),
        ((("a",), {"data": "b"}), TypeError),
        (((["a"],), {"event": "b"}), TypeError),
        (((Event("a"),), {"id": "b"}), TypeError),
        ((("a",), {"event": "b\nc"}), ValueError),
        ((("a",), {"retry": "1"}), TypeError),
    ],
)
async def test_what_cannot_be_written_raises_and_harms_nothing(arguments: Any, error: Any) -> None:
    stream = EventStream()
    given, named = arguments
    if error is not None:
        with pytest.raises(error):
            await stream.push(*given, **named)
    await stream.push("fine")
    stream.close()
    async with served(lambda request: stream) as url, listening(url) as client:
        assert await client.rest() == ["fine"]


async def test_the_head_of_the_answer() -> None:
    async def nothing() -> AsyncIterator[str]:
        yield "x"

    more = {"x-room": "7", "Cache-Control": "no-cache"}
    done = asyncio.Event()
    async with served(
        lambda request: EventStream(nothing(), headers=more, status_code=201, background=BackgroundTask(done.set))
    ) as url:
        async with listening(url) as client:
            assert client.response.status_code == 201
            headers = client.response.headers
            assert headers["content-type"] == "text/event-stream"
            assert headers["x-accel-buffering"] == "no"
            assert headers["cache-control"] == "no-cache"
            assert headers["x-room"] == "7"
            assert "content-length" not in headers
            await client.rest()
        await asyncio.wait_for(done.wait(), TIMEOUT)
        async with httpx.AsyncClient(trust_env=False) as http:
            head = await http.head(url)
        assert (head.status_code, head.headers["content-type"]) == (201, "text/event-stream")


def test_what_is_no_source_is_refused() -> None:
    with pytest.raises(TypeError, match="source"):
        EventStream([1, 2])  # type: ignore[arg-type]


# Its life.


async def test_a_client_that_leaves_stops_the_source_at_once() -> None:
    stopped, closed = asyncio.Event(), asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            yield "first"
            await asyncio.Event().wait()
        finally:
            stopped.set()

    def make(request: Request) -> EventStream:
        stream = EventStream(endless())
        stream.on_closed(closed.set)
        return stream

    async with served(make) as url:
        async with listening(url) as client:
            assert await client.data(1) == ["first"]
            assert not stopped.is_set()
        await asyncio.wait_for(stopped.wait(), TIMEOUT)
        await asyncio.wait_for(closed.wait(), TIMEOUT)


async def test_a_client_that_leaves_stops_who_pushes_from_elsewhere() -> None:
    streams: list[EventStream] = []

    def make(request: Request) -> EventStream:
        streams.append(EventStream())
        return streams[0]

    async with served(make) as url:
        async with listening(url) as client:
            while not streams:
                await asyncio.sleep(0)
            await streams[0].push("to somebody")
            assert await client.data(1) == ["to somebody"]
        with pytest.raises(StreamClosed):
            await asyncio.wait_for(push_forever(streams[0]), TIMEOUT)
        assert streams[0].is_closed
        with pytest.raises(StreamClosed):
            await streams[0].comment("to nobody")


async def test_pushing_waits_for_a_slow_reader() -> None:
    pushed = 0
    stopped = asyncio.Event()

    async def endless(stream: EventStream) -> None:
        nonlocal pushed
        try:
            while True:
                await stream.push("x" * 10_000)
                pushed += 1
        finally:
            stopped.set()

    async with served(lambda request: EventStream(endless)) as url:
        async with Raw(url) as raw:
            raw.send(f"GET / HTTP/1.1\r\nHost: {url[7:]}\r\n\r\n".encode())
            await raw.head()
            raw.writer.transport.pause_reading()  # type: ignore[attr-defined]
            before = -1
            while before != pushed:
                before = pushed
                await asyncio.sleep(0.2)
            # What the system keeps, and no more.
            assert 0 < pushed * 10_000 < 20_000_000
        await asyncio.wait_for(stopped.wait(), TIMEOUT)


async def test_closing_sends_what_was_pushed_and_tells_everybody() -> None:
    events: list[str] = []

    async def later() -> None:
        await asyncio.sleep(0)
        events.append("async")

    def fail() -> None:
        events.append("fails")
        raise RuntimeError("not the others' business")

    stream = EventStream()
    for callback in (lambda: events.append("sync"), fail, later):
        stream.on_closed(callback)
    await stream.push("early")
    async with served(lambda request: stream) as url, listening(url) as client:
        assert await client.data(1) == ["early"]
        await stream.push("last")
        stream.close()
        stream.close()
        with pytest.raises(StreamClosed):
            await stream.push("too late")
        assert await client.rest() == ["last"]
        async with asyncio.timeout(TIMEOUT):
            while len(events) < 3:
                await asyncio.sleep(0)
            stream.on_closed(lambda: events.append("after"))
            while len(events) < 4:
                await asyncio.sleep(0)
    assert events == ["sync", "fails", "async", "after"]


async def test_a_source_that_fails_ends_the_stream(caplog: pytest.LogCaptureFixture) -> None:
    async def bad() -> AsyncIterator[str]:
        yield "one"
        raise RuntimeError("the secret is 42")

    async with served(lambda request: EventStream(bad())) as url, listening(url) as client:
        assert await client.rest() == ["one"]
    assert "the secret is 42" in caplog.text


async def test_too_much_before_the_beginning_raises() -> None:
    stream = EventStream()
    await stream.push("x" * 1_000_000)
    with pytest.raises(RuntimeError, match="returned"):
        await stream.push("x" * 100_000)


async def test_a_stream_answers_one_request() -> None:
    stream = EventStream()
    stream.close()
    async with served(lambda request: stream) as url, httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(url)).status_code == 200
        assert (await http.get(url)).status_code == 500


async def test_silence_is_broken_by_comments() -> None:
    async with served(lambda request: EventStream(keep_alive=0.2)) as url, Raw(url) as raw:
        raw.send(f"GET / HTTP/1.1\r\nHost: {url[7:]}\r\n\r\n".encode())
        await raw.head()
        async with asyncio.timeout(TIMEOUT):
            for _ in range(3):
                await raw.reader.readuntil(b":\n\n")


# Going on.


async def test_a_client_that_comes_back_gets_what_it_missed() -> None:
    history = Replay(max_events=3)
    resumed: list[bool] = []

    async def source(stream: EventStream) -> None:
        resumed.append(await stream.replay(history))
        await stream.push("live")

    first = history.add("1")
    async with served(lambda request: EventStream(source)) as url:
        async with listening(url) as client:
            assert await client.rest() == ["live"]
        history.add({"n": 2}, event="kind")
        history.add("3")
        async with listening(url, last_event_id=first.id or "") as client:
            assert await client.rest() == ['{"n":2}', "3", "live"]
            assert client.reader.last_id == history.add("4").id.replace(".4", ".3")  # type: ignore[union-attr]
        history.add("5")
        for absurd in (first.id or "", "99999999999999999999", "-1", "x.1", (first.id or "").replace(".1", ".99")):
            async with listening(url, last_event_id=absurd) as client:
                assert await client.rest() == ["live"]
    assert resumed == [False, True, False, False, False, False, False]


async def test_following_misses_nothing_and_says_what_it_missed() -> None:
    history = Replay(max_events=2)

    async def news(feed: AsyncIterator[list[Event]]) -> list[Any]:
        async with asyncio.timeout(TIMEOUT):
            return [event.event or event.data for event in await anext(feed)]

    live = history.follow()
    waiting = asyncio.create_task(news(live))
    await asyncio.sleep(0)
    first = history.add("1")
    assert await waiting == ["1"]
    history.add("2")
    back = history.follow(first.id)
    assert [await news(live), await news(back)] == [["2"], ["2"]]
    for text in ("3", "4"):
        history.add(text)
    assert await news(live) == ["3", "4"]
    late = history.follow(first.id)
    # It takes its time, and too much has come.
    history.add("5")
    assert [await news(back), await news(late)] == [["reset"], ["reset"]]
    history.add("6")
    assert [await news(feed) for feed in (back, late)] == [["6"], ["6"]]
    for feed in (live, back, late):
        await feed.aclose()


# Where it works.


async def numbers(stream: EventStream) -> None:
    """What each server's test sends: where the client was, and then a little."""
    await stream.push(data=stream.last_event_id, event="last")
    for number in range(3):
        await stream.push({"number": number})


async def expect_numbers(url: str) -> None:
    async with listening(url, last_event_id="41") as client:
        assert client.response.headers["content-type"] == "text/event-stream"
        assert await client.data(4) == ["41", '{"number":0}', '{"number":1}', '{"number":2}']
        assert await client.next() is None


async def forever(stream: EventStream, stopped: asyncio.Event) -> None:
    try:
        await stream.push("on")
        await asyncio.Event().wait()
    finally:
        stopped.set()


async def expect_stop(url: str, stopped: asyncio.Event) -> None:
    async with listening(url) as client:
        assert await client.data(1) == ["on"]
    await asyncio.wait_for(stopped.wait(), TIMEOUT)


async def test_in_a_route_file(tmp_path: Path) -> None:
    (tmp_path / "numbers.py").write_text(
        "from crosspeer import EventStream\n"
        "async def numbers(stream):\n"
        "    await stream.push(data=stream.last_event_id, event='last')\n"
        "    for number in range(3):\n"
        "        await stream.push({'number': number})\n"
        "def get(request):\n"
        "    return EventStream(numbers)\n"
    )
    async with Server(Routes(tmp_path), port=0) as server:
        await expect_numbers(server.url + "/numbers")


async def test_in_fastapi() -> None:
    from fastapi import FastAPI

    app, stopped = FastAPI(), asyncio.Event()

    @app.get("/numbers")
    async def get_numbers(request: Request) -> Any:
        return EventStream(numbers, request=request)

    @app.get("/forever")
    def get_forever() -> Any:
        return EventStream(lambda stream: forever(stream, stopped))

    async with Server(Hub(resolve=lambda request: None), http=app, port=0) as server:
        await expect_numbers(server.url + "/numbers")
        await expect_stop(server.url + "/forever", stopped)


async def test_in_aiohttp() -> None:
    from aiohttp import web

    from crosspeer.adapters.aiohttp import send_events

    stopped = asyncio.Event()

    async def get_numbers(request: web.Request) -> web.StreamResponse:
        return await send_events(request, EventStream(numbers))

    async def get_forever(request: web.Request) -> web.StreamResponse:
        return await send_events(request, EventStream(lambda stream: forever(stream, stopped)))

    app = web.Application()
    app.add_routes([web.get("/numbers", get_numbers), web.get("/forever", get_forever)])
    async with running.aiohttp(app) as url:
        await expect_numbers(url + "/numbers")
        await expect_stop(url + "/forever", stopped)


async def test_in_tornado() -> None:
    from tornado.web import Application, RequestHandler

    from crosspeer.adapters.tornado import send_events

    stopped = asyncio.Event()

    class Numbers(RequestHandler):
        async def get(self) -> None:
            await send_events(self, EventStream(numbers))

    class Forever(RequestHandler):
        async def get(self) -> None:
            await send_events(self, EventStream(lambda stream: forever(stream, stopped)))

    async with running.tornado(Application([("/numbers", Numbers), ("/forever", Forever)])) as url:
        await expect_numbers(url + "/numbers")
        await expect_stop(url + "/forever", stopped)


async def test_in_sanic() -> None:
    from sanic import Sanic

    from crosspeer.adapters.sanic import send_events

    app, stopped = Sanic(f"test-{uuid.uuid4().hex}"), asyncio.Event()

    @app.get("/numbers")
    async def get_numbers(request: Any) -> Any:
        return await send_events(request, EventStream(numbers))

    @app.get("/forever")
    async def get_forever(request: Any) -> Any:
        return await send_events(request, EventStream(lambda stream: forever(stream, stopped)))

    @app.on_response
    async def sign(request: Any, response: Any) -> None:
        response.headers["x-signed"] = "yes"

    try:
        async with running.sanic(app) as url:
            await expect_numbers(url + "/numbers")
            await expect_stop(url + "/forever", stopped)
            async with listening(url + "/numbers") as client:
                assert client.response.headers["x-signed"] == "yes"
    finally:
        Sanic.unregister_app(app)
