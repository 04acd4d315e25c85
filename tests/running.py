"""Real servers on free ports in the loop of a test, stopped whatever happens: for the contract and for the guides."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from crosspeer.testing import sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from ssl import SSLContext

    import sanic
    import tornado.web
    from aiohttp import web

    from crosspeer import Hub
    from crosspeer.adapters.picows import Adapter as PicowsAdapter
    from crosspeer.testing.contracts.harness import Connect

SHUTDOWN: Final = 3.0
"""Seconds that a server gets to stop."""


def dialer(url: str) -> Connect:
    """What connects to a server."""

    def connect(path: str = "/", **options: Any) -> sockets.connect:
        return sockets.connect(url.replace("http", "ws", 1) + path, **options)

    return connect


def address(listener: Any, tls: SSLContext | None = None) -> str:
    scheme = "http" if tls is None else "https"
    return f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"


# Applications, run as their frameworks run them.


@asynccontextmanager
async def aiohttp(app: web.Application, tls: SSLContext | None = None) -> AsyncIterator[str]:
    """As `web.run_app(app)` does it."""
    from aiohttp import web

    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    try:
        listener = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(runner, listener, ssl_context=tls).start()
        yield address(listener, tls)
    finally:
        await runner.cleanup()


@asynccontextmanager
async def tornado(app: tornado.web.Application, tls: SSLContext | None = None) -> AsyncIterator[str]:
    """As `app.listen(port)` does it."""
    from tornado.httpserver import HTTPServer

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = HTTPServer(app, ssl_options=tls)
    server.add_socket(listener)
    try:
        yield address(listener, tls)
    finally:
        server.stop()
        await server.close_all_connections()


@asynccontextmanager
async def sanic(app: sanic.Sanic, tls: SSLContext | None = None) -> AsyncIterator[str]:
    """As `sanic server:app` does it, but for its processes and signals."""
    app.config.MOTD = False
    # It rewrites methods of Sanic, once in a process.
    app.config.TOUCHUP = False
    listener = socket.create_server(("127.0.0.1", 0))
    server = await app.create_server(sock=listener, access_log=False, ssl=tls)
    assert server is not None
    try:
        await server.startup()
        await server.before_start()
        await server.after_start()
        try:
            yield address(listener, tls)
        finally:
            await server.before_stop()
    finally:
        server.close()
        for connection in tuple(server.connections):
            connection.abort()


@asynccontextmanager
async def picows(adapter: PicowsAdapter, tls: SSLContext | None = None) -> AsyncIterator[str]:
    """As its guide does it."""
    server = await adapter.create_server("127.0.0.1", 0, ssl=tls)
    try:
        yield address(server.sockets[0], tls)
    finally:
        server.close()
        await adapter.shutdown()
        await server.wait_closed()


# A hub alone, on every path.


@asynccontextmanager
async def _hub_on_aiohttp(hub: Hub, tls: SSLContext | None = None) -> AsyncIterator[str]:
    from aiohttp import web

    from crosspeer.adapters.aiohttp import Adapter

    app = web.Application()
    Adapter(hub, shutdown_timeout=SHUTDOWN).attach(app, "/{tail:.*}")
    async with aiohttp(app, tls) as url:
        yield url


@asynccontextmanager
async def _hub_on_tornado(hub: Hub, tls: SSLContext | None = None) -> AsyncIterator[str]:
    from tornado.web import Application

    from crosspeer.adapters.tornado import Adapter

    adapter = Adapter(hub, shutdown_timeout=SHUTDOWN)
    async with tornado(Application([adapter.rule(r"/.*")]), tls) as url:
        try:
            yield url
        finally:
            await adapter.shutdown()


@asynccontextmanager
async def _hub_on_sanic(hub: Hub, tls: SSLContext | None = None) -> AsyncIterator[str]:
    from sanic import Sanic

    from crosspeer.adapters.sanic import Adapter

    app = Sanic(f"test-{uuid.uuid4().hex}")
    adapter = Adapter(hub, shutdown_timeout=SHUTDOWN)
    adapter.attach(app, "/", name="root")
    adapter.attach(app, "/<path:path>")
    try:
        async with sanic(app, tls) as url:
            yield url
    finally:
        Sanic.unregister_app(app)


@asynccontextmanager
async def _hub_on_websockets(hub: Hub, tls: SSLContext | None = None) -> AsyncIterator[str]:
    from crosspeer.adapters.websockets import Adapter

    async with Adapter(hub, shutdown_timeout=SHUTDOWN).serve("127.0.0.1", 0, ssl=tls) as server:
        yield address(server.sockets[0], tls)


@asynccontextmanager
async def _hub_on_picows(hub: Hub, tls: SSLContext | None = None) -> AsyncIterator[str]:
    from crosspeer.adapters.picows import Adapter

    async with picows(Adapter(hub, shutdown_timeout=SHUTDOWN), tls) as url:
        yield url


SERVERS: Final[dict[str, Callable[..., AbstractAsyncContextManager[str]]]] = {
    "aiohttp": _hub_on_aiohttp,
    "tornado": _hub_on_tornado,
    "sanic": _hub_on_sanic,
    "websockets": _hub_on_websockets,
    "picows": _hub_on_picows,
}
"""Each takes a hub, and perhaps an SSL context, and yields the URL that the hub is served at."""
