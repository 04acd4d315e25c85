"""A uvicorn that knows nothing of crosspeer and sends no pings: the ASGI adapter as it runs on most servers."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import uvicorn

from crosspeer.adapters import asgi

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer import Hub


@asynccontextmanager
async def plain_uvicorn(hub: Hub, listener: socket.socket | None = None) -> AsyncIterator[str]:
    """Serve a hub, and yield the URL."""
    listener = listener or socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        asgi.Adapter(hub),
        ws="websockets-sansio",
        ws_ping_interval=None,
        ws_per_message_deflate=False,
        log_config=None,
        timeout_graceful_shutdown=2,
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        async with asyncio.timeout(10):
            while not server.started:
                await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running
