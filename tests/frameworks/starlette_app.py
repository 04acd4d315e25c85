"""Starlette: sessions, authentication and a lifespan of its own; peers in a `Mount`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.authentication import AuthCredentials, AuthenticationBackend, AuthenticationError, SimpleUser
from starlette.middleware import Middleware
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.middleware.sessions import SessionMiddleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from crosspeer import Hub
from crosspeer.adapters import asgi
from frameworks.chat import Chat, say

hub = Hub(
    Chat(
        lambda request: request.user.display_name if request.user.is_authenticated else None,
        lambda request: request.state.greeting,
    )
)


class BySession(AuthenticationBackend):
    async def authenticate(self, conn: HTTPConnection) -> tuple[AuthCredentials, SimpleUser] | None:
        if "x-banned" in conn.headers:
            raise AuthenticationError("banned")
        user = conn.session.get("user")
        return (AuthCredentials(["authenticated"]), SimpleUser(user)) if user else None


async def login(request: Request) -> Response:
    request.session["user"] = (await request.body()).decode()
    return Response("welcome")


async def announce(request: Request) -> Response:
    hub.publish("chat", (await request.body()).decode())
    return Response("told")


async def peers(request: Request) -> Response:
    return JSONResponse({room: len(peers) for room, peers in hub.peers.items()})


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[dict[str, str]]:
    yield {"greeting": "hello"}
    say("stopped")


app = Starlette(
    routes=[
        Route("/login", login, methods=["POST"]),
        Route("/announce", announce, methods=["POST"]),
        Route("/peers", peers),
        Mount("/ws", asgi.Adapter(hub)),
    ],
    middleware=[
        Middleware(SessionMiddleware, secret_key="test"),
        Middleware(AuthenticationMiddleware, backend=BySession()),
    ],
    lifespan=lifespan,
)
