"""A hub under somebody else's server joins its fleet at the start, and leaves it at the end."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from crosspeer import Hub
from crosspeer.adapters import asgi
from fleet import Chat, relay_of


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


@pytest.mark.parametrize("http", [None, Starlette(routes=[Route("/", hello)])], ids=["alone", "with an application"])
async def test_the_sync_lives_as_long_as_the_application(http: Any) -> None:
    hub = Hub(Chat(), sync="memory://lifespan")
    app = asgi.Adapter(hub, http=http)
    events = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    told: list[tuple[str, bool]] = []

    async def receive() -> Any:
        return next(events)

    async def send(event: Any) -> None:
        told.append((event["type"], relay_of(hub).is_up))

    await app({"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}, receive, send)
    assert told == [("lifespan.startup.complete", True), ("lifespan.shutdown.complete", False)]
