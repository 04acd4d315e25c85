"""Plain HTTP of the default server, where a request breaks off in its middle: one answer or none, never two."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, StreamingResponse

from crosspeer import Hooks, Hub, Limits, Server
from raw import Raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import Receive, Scope, Send

HEAD = b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_CHUNK = b"x\r\n"


class Application:
    """Answers at `/early` without the body, at `/stream` in pieces, elsewhere when the body is there."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.go_on = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return
        if scope["path"] == "/early":
            await PlainTextResponse("early")(scope, receive, send)
        elif scope["path"] == "/stream":
            await StreamingResponse(self._pieces())(scope, receive, send)
        else:
            try:
                self.bodies.append(await Request(scope, receive).body())
            except ClientDisconnect:
                self.bodies.append(None)
            await PlainTextResponse("late")(scope, receive, send)

    async def _pieces(self) -> AsyncIterator[bytes]:
        yield b"one"
        await self.go_on.wait()
        yield b"two"


@pytest.fixture
async def running() -> AsyncIterator[tuple[Server, Application]]:
    application = Application()
    hub = Hub(Hooks(), limits=Limits(close_timeout=1))
    async with Server(hub, http=application, port=0, engine="python", shutdown_timeout=3) as server:
        yield server, application


async def test_requests_may_come_in_one_piece(running: tuple[Server, Application]) -> None:
    server, application = running
    async with Raw(server.url) as client:
        client.send(b"POST /a HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 3\r\n\r\nabc" * 2)
        for _ in range(2):
            status, headers = await client.head()
            assert (status, headers.get("connection")) == (200, None)
            assert await client.reader.readexactly(4) == b"late"
        assert application.bodies == [b"abc", b"abc"]


@pytest.mark.parametrize("end", [b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"0\r\n\n", b"0\r\nx: y\n\n", b"0\r\nx: y\n\r\n"])
async def test_what_stands_behind_chunks_is_no_request(running: tuple[Server, Application], end: bytes) -> None:
    """Row H9: not every server sees the same end there."""
    server, application = running
    async with Raw(server.url) as client:
        client.send(HEAD % b"/a" + b"3\r\nabc\r\n" + end + HEAD % b"/smuggled" + b"0\r\n\r\n")
        status, headers = await client.head()
        assert (status, headers["connection"]) == (200, "close")
        assert await client.ended() == b"late"
        assert application.bodies == [b"abc"]


async def test_a_body_that_breaks_before_its_answer_is_400(running: tuple[Server, Application]) -> None:
    server, application = running
    async with Raw(server.url) as client:
        client.send(HEAD % b"/a" + b"3\r\nabc\r\n" + BAD_CHUNK)
        status, headers = await client.head()
        assert (status, headers["connection"]) == (400, "close")
        assert b"late" not in await client.ended()
        assert application.bodies == [None]


async def test_a_body_that_breaks_behind_its_answer_gets_no_other(running: tuple[Server, Application]) -> None:
    server, _ = running
    async with Raw(server.url) as client:
        client.send(HEAD % b"/early")
        assert (await client.head())[0] == 200
        assert await client.reader.readexactly(5) == b"early"
        client.send(BAD_CHUNK)
        assert await client.ended() == b""


async def test_a_body_that_breaks_during_its_answer_ends_that(running: tuple[Server, Application]) -> None:
    server, application = running
    async with Raw(server.url) as client:
        client.send(HEAD % b"/stream")
        assert (await client.head())[0] == 200
        assert await client.reader.readexactly(8) == b"3\r\none\r\n"
        client.send(BAD_CHUNK)
        assert await client.ended() == b"", "an answer that is cut does not look whole"
        application.go_on.set()


async def test_a_refused_client_that_stays_does_not_hold_the_shutdown() -> None:
    server = Server(Hub(Hooks(), limits=Limits(close_timeout=30)), port=0, engine="python", shutdown_timeout=20)
    await server.start()
    async with Raw(server.url) as client, Raw(server.url) as other:
        for one, data in ((client, b"\r\n\r\n"), (other, b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n")):
            one.send(data)
            assert (await one.head())[0] in (400, 426)
        async with asyncio.timeout(10):
            await server.stop()
