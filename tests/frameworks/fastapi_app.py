"""FastAPI: sessions and a ban by middleware, a handler that is no coroutine; peers by `app.mount`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any

from anyio import from_thread
from fastapi import Body, FastAPI, Request, Response
from starlette.middleware.sessions import SessionMiddleware
from starlette.responses import PlainTextResponse

from crosspeer import Hub
from crosspeer.adapters import asgi
from frameworks.chat import Chat, say

hub = Hub(Chat(lambda request: request.session.get("user"), lambda request: request.state.greeting))


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[dict[str, str]]:
    yield {"greeting": "hello"}
    say("stopped")


class Ban:
    """As ASGI middleware is written: it sees handshakes too, which `app.middleware("http")` does not."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan" and any(name == b"x-banned" for name, _ in scope["headers"]):
            await PlainTextResponse("banned", 451)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


app = FastAPI(lifespan=lifespan)
app.add_middleware(Ban)
app.add_middleware(SessionMiddleware, secret_key="test")


@app.middleware("http")
async def time_requests(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    return await call_next(request)


@app.post("/login")
async def login(request: Request) -> str:
    request.session["user"] = (await request.body()).decode()
    return "welcome"


@app.post("/announce")
async def announce(text: Annotated[str, Body(media_type="text/plain")]) -> str:
    hub.publish("chat", text)
    return "told"


@app.post("/announce-from-a-thread")
def announce_from_a_thread(text: Annotated[str, Body(media_type="text/plain")]) -> str:
    from_thread.run_sync(hub.publish, "chat", text)
    return "told"


@app.get("/peers")
async def peers() -> dict[str, int]:
    return {room: len(peers) for room, peers in hub.peers.items()}


app.mount("/ws", asgi.Adapter(hub))
