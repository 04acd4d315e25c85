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


def address(listener: Any) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


# Applications, run as their frameworks run them.


@asynccontextmanager
async def aiohttp(app: web.Application) -> AsyncIterator[str]:
    """As `web.run_app(app)` does it."""
    from aiohttp import web

    runner = web.AppRunner(app, shutdown_timeout=SHUTDOWN)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def tornado(app: tornado.web.Application) -> AsyncIterator[str]:
    """As `app.listen(port)` does it."""
    from tornado.httpserver import HTTPServer

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setblocking(False)
    server = HTTPServer(app)
    server.add_socket(listener)
    try:
        yield address(listener)
    finally:
        server.stop()
        await server.close_all_connections()


@asynccontextmanager
async def sanic(app: sanic.Sanic) -> AsyncIterator[str]:
    """As `sanic server:app` does it, but for its processes and signals."""
    app.config.MOTD = False
    # It rewrites methods of Sanic, once in a process.
    app.config.TOUCHUP = False
    listener = socket.create_server(("127.0.0.1", 0))
    server = await app.create_server(sock=listener, access_log=False)
    assert server is not None
    try:
        await server.startup()
        await server.before_start()
        await server.after_start()
        try:
            yield address(listener)
        finally:
            await server.before_stop()
    finally:
        server.close()
        for connection in tuple(server.connections):
            connection.abort()


@asynccontextmanager
async def picows(adapter: PicowsAdapter) -> AsyncIterator[str]:
    """As its guide does it."""
    server = await adapter.create_server("127.0.0.1", 0)
    try:
        yield address(server.sockets[0])
    finally:
        server.close()
        await adapter.shutdown()
        await server.wait_closed()


# A hub alone, on every path.


@asynccontextmanager
async def _hub_on_aiohttp(hub: Hub) -> AsyncIterator[str]:
    from aiohttp import web

    from crosspeer.adapters.aiohttp import Adapter

    app = web.Application()
    Adapter(hub, shutdown_timeout=SHUTDOWN).attach(app, "/{tail:.*}")
    async with aiohttp(app) as url:
        yield url


@asynccontextmanager
async def _hub_on_tornado(hub: Hub) -> AsyncIterator[str]:
    from tornado.web import Application

    from crosspeer.adapters.tornado import Adapter

    adapter = Adapter(hub, shutdown_timeout=SHUTDOWN)
    async with tornado(Application([adapter.rule(r"/.*")])) as url:
        try:
            yield url
        finally:
            await adapter.shutdown()


@asynccontextmanager
async def _hub_on_sanic(hub: Hub) -> AsyncIterator[str]:
    from sanic import Sanic

    from crosspeer.adapters.sanic import Adapter

    app = Sanic(f"test-{uuid.uuid4().hex}")
    adapter = Adapter(hub, shutdown_timeout=SHUTDOWN)
    adapter.attach(app, "/", name="root")
    adapter.attach(app, "/<path:path>")
    try:
        async with sanic(app) as url:
            yield url
    finally:
        Sanic.unregister_app(app)


@asynccontextmanager
async def _hub_on_websockets(hub: Hub) -> AsyncIterator[str]:
    from crosspeer.adapters.websockets import Adapter

    async with Adapter(hub, shutdown_timeout=SHUTDOWN).serve("127.0.0.1", 0) as server:
        yield address(server.sockets[0])


@asynccontextmanager
async def _hub_on_picows(hub: Hub) -> AsyncIterator[str]:
    from crosspeer.adapters.picows import Adapter

    async with picows(Adapter(hub, shutdown_timeout=SHUTDOWN)) as url:
        yield url


SERVERS: Final[dict[str, Callable[[Hub], AbstractAsyncContextManager[str]]]] = {
    "aiohttp": _hub_on_aiohttp,
    "tornado": _hub_on_tornado,
    "sanic": _hub_on_sanic,
    "websockets": _hub_on_websockets,
    "picows": _hub_on_picows,
}
"""Each yields the URL that the hub is served at."""
