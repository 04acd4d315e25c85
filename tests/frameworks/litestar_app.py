"""Litestar: sessions by a cookie, a ban by a guard; peers in an `asgi` handler that is a mount."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from litestar import Litestar, Request, asgi, get, post
from litestar.connection import ASGIConnection
from litestar.exceptions import PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler
from litestar.middleware.session.client_side import CookieBackendConfig

from crosspeer import Hub
from crosspeer.adapters import asgi as crosspeer
from frameworks.chat import Chat, say

hub = Hub(Chat(lambda request: request.session.get("user"), lambda request: request.app.state.greeting))


def ban(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    if "x-banned" in connection.headers:
        raise PermissionDeniedException


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    app.state.greeting = "hello"
    yield
    say("stopped")


@post("/login")
async def login(request: Request[Any, Any, Any]) -> str:
    request.set_session({"user": (await request.body()).decode()})
    return "welcome"


@post("/announce", status_code=200)
async def announce(request: Request[Any, Any, Any]) -> str:
    hub.publish("chat", (await request.body()).decode())
    return "told"


@get("/peers")
async def peers() -> dict[str, int]:
    return {room: len(peers) for room, peers in hub.peers.items()}


app = Litestar(
    [login, announce, peers, asgi("/ws", is_mount=True, copy_scope=True, guards=[ban])(crosspeer.Adapter(hub))],
    middleware=[CookieBackendConfig(secret=b"sixteen bytes..!").middleware],
    lifespan=[lifespan],
)
