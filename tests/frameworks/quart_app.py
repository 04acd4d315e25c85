"""Quart: its signed session, a ban by ASGI middleware; peers beside `app.asgi_app`, in hypercorn's dispatcher."""

from __future__ import annotations

from typing import Any

from hypercorn.middleware import DispatcherMiddleware
from quart import Quart, request, session
from quart.sessions import SecureCookieSessionInterface

from crosspeer import Hub, Request
from crosspeer.adapters import asgi
from frameworks.chat import Chat, say


def user_of(handshake: Request) -> str | None:
    """The session is Quart's to open: what is mounted stands beside its application, not inside of it."""
    cookie = handshake.cookies.get(app.config["SESSION_COOKIE_NAME"])
    signer = SecureCookieSessionInterface().get_signing_serializer(app)
    return signer.loads(cookie).get("user") if cookie and signer else None


state: dict[str, str] = {}
hub = Hub(Chat(user_of, lambda handshake: state["greeting"]))
app = Quart(__name__)
app.secret_key = "test"


@app.before_serving
async def start() -> None:
    state["greeting"] = "hello"


@app.after_serving
async def stop() -> None:
    say("stopped")


@app.post("/login")
async def login() -> str:
    session["user"] = (await request.get_data()).decode()
    return "welcome"


@app.post("/announce")
async def announce() -> str:
    hub.publish("chat", (await request.get_data()).decode())
    return "told"


@app.get("/peers")
async def peers() -> dict[str, int]:
    return {room: len(peers) for room, peers in hub.peers.items()}


class Ban:
    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket" and any(name == b"x-banned" for name, _ in scope["headers"]):
            await send({"type": "websocket.close", "code": 1008, "reason": ""})
        else:
            await self._app(scope, receive, send)


app.asgi_app = Ban(DispatcherMiddleware({"/ws/": asgi.Adapter(hub), "": app.asgi_app}))  # type: ignore[method-assign]
