"""Plain HTTP that the native engine hands over: nothing is lost, and nothing overtakes, on any loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse

from crosspeer import Hooks, Hub, Server
from raw import Raw

pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")


def loops() -> list[Callable[[], asyncio.AbstractEventLoop]]:
    try:
        import uvloop
    except ImportError:
        return [asyncio.new_event_loop]
    return [asyncio.new_event_loop, uvloop.new_event_loop]


async def application(scope, receive, send):  # type: ignore[no-untyped-def]
    if scope["type"] == "http":
        body = await Request(scope, receive).body()
        await PlainTextResponse(f"{len(body)} {body[:1]!r} {body[-1:]!r}")(scope, receive, send)


@pytest.mark.parametrize("loop", loops(), ids=["asyncio", "uvloop"][: len(loops())])
def test_a_large_body_comes_behind_its_head(loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    """More than the engine reads at once: the rest is read by the loop, which must not hand it on first."""

    async def post(size: int) -> None:
        async with Server(Hub(Hooks()), http=application, port=0, engine="native") as server, Raw(server.url) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: %d\r\n\r\na" % size)
            client.send(b"x" * (size - 2) + b"z")
            status, headers = await client.head()
            assert status == 200
            body = await client.reader.readexactly(int(headers["content-length"]))
            assert body.decode() == f"{size} b'a' b'z'"

    with asyncio.Runner(loop_factory=loop) as runner:
        for size in (100, 70_000, 1_000_000):
            runner.run(post(size))
