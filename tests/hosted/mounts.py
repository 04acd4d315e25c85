"""Applications of frameworks with the adapter mounted in them, each as the guide of the framework does it."""

from __future__ import annotations

import os
from typing import Any

from crosspeer.adapters.mounts import restored
from hosted.application import application as lifespan
from hosted.application import asgi_page, host

NAME = os.environ["HOSTED_SERVER"].removesuffix("-events")
PREFIX = host.server.prefix


async def peers(scope: Any, receive: Any, send: Any) -> None:
    """What is mounted. The contract knows of no prefix, so it is taken away here."""
    if scope["type"] == "lifespan":
        await lifespan(scope, receive, send)
        return
    scope = restored(scope)
    path, raw = scope["path"].removeprefix(PREFIX), scope["raw_path"].removeprefix(PREFIX.encode())
    with host.call() as adapter:
        await (adapter or asgi_page)({**scope, "path": path, "raw_path": raw, "root_path": ""}, receive, send)


def starlette() -> Any:
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.sessions import SessionMiddleware
    from starlette.routing import Mount

    return Starlette(routes=[Mount(PREFIX, peers)], middleware=[Middleware(SessionMiddleware, secret_key="test")])


def fastapi() -> Any:
    from fastapi import FastAPI

    app = FastAPI()

    @app.middleware("http")
    async def seen(request: Any, call_next: Any) -> Any:
        return await call_next(request)

    app.mount(PREFIX, peers)
    return app


def litestar() -> Any:
    from litestar import Litestar, asgi
    from litestar.middleware import ASGIMiddleware

    class Seen(ASGIMiddleware):
        async def handle(self, scope: Any, receive: Any, send: Any, next_app: Any) -> None:
            await next_app(scope, receive, send)

    return Litestar([asgi(PREFIX, is_mount=True, copy_scope=True)(peers)], middleware=[Seen()])


def quart() -> Any:
    from hypercorn.middleware import DispatcherMiddleware
    from quart import Quart

    app = Quart(__name__)
    app.asgi_app = DispatcherMiddleware({PREFIX: peers, "": app.asgi_app})  # type: ignore[method-assign]
    return app


def django() -> Any:
    import django
    from django.conf import settings

    settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
        SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        SECRET_KEY="test",
        ROOT_URLCONF=__name__,
    )
    django.setup()
    from channels.auth import AuthMiddlewareStack
    from channels.routing import ProtocolTypeRouter, URLRouter
    from django.core.asgi import get_asgi_application
    from django.urls import re_path

    mount = re_path("^" + PREFIX.removeprefix("/"), peers)
    return ProtocolTypeRouter(
        {
            "http": URLRouter([mount, re_path("", get_asgi_application())]),
            "websocket": AuthMiddlewareStack(URLRouter([mount])),
        }
    )


urlpatterns: list[Any] = []
"""Django's."""
inner = {"starlette": starlette, "fastapi": fastapi, "litestar": litestar, "quart": quart, "django": django}[NAME]()


async def application(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    host.start()
    await inner(scope, receive, send)
