"""Real servers on free ports in the loop of a test, stopped whatever happens: for the contract and for the guides."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from crosspeer.testing import sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import sanic
    import tornado.web
    from aiohttp import web

    from crosspeer.testing.contracts.harness import Connect

SHUTDOWN = 3.0
"""Seconds that a server gets to stop."""


def dialer(url: str) -> Connect:
    """What connects to a server."""

    def connect(path: str = "/", **options: Any) -> sockets.connect:
        return sockets.connect(url.replace("http", "ws", 1) + path, **options)

    return connect


@asynccontextmanager
async def aiohttp(app: web.Application) -> AsyncIterator[str]:
    """As `web.run_app` does it."""
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
    from tornado.netutil import bind_sockets

    server = HTTPServer(app)
    sockets = bind_sockets(0, "127.0.0.1")
    server.add_sockets(sockets)
    try:
        yield f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
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
    server = await app.create_server(sock=listener, return_asyncio_server=True)
    assert server is not None
    await server.startup()
    await server.before_start()
    await server.after_start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await server.before_stop()
        server.close()
        for connection in tuple(server.connections):
            connection.abort()
        await server.after_stop()
