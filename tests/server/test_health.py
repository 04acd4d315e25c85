"""The health endpoint: on our server, beside an application, and while the backplane is away or the server stops."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.applications import Starlette

from backplanes import free_port
from crosspeer import Hub, Server
from crosspeer.adapters import asgi
from crosspeer.testing import connect
from fleet import Chat


async def ask(url: str) -> tuple[int, str]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{url}/_crosspeer/health")
        return answer.status_code, answer.json()["status"]


@pytest.mark.parametrize("engine", ["native", "python", "uvicorn"])
async def test_a_server_says_that_it_is_well(engine: str) -> None:
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    async with Server(Chat(), http=Starlette(), port=0, engine=engine) as server:
        assert await ask(server.url) == (200, "ok")


async def test_a_hub_without_its_backplane_is_degraded() -> None:
    hub = Hub(Chat(), sync=f"redis://127.0.0.1:{free_port()}/0")
    async with Server(hub, port=0) as server:
        assert await ask(server.url) == (503, "degraded")
    hub = Hub(Chat(), sync="memory://health")
    async with Server(hub, port=0) as server:
        assert await ask(server.url) == (200, "ok")


async def test_a_hub_that_closes_says_so() -> None:
    """Its requests still come in over connections that are open."""
    ending, may_end = asyncio.Event(), asyncio.Event()

    class Slow(Chat):
        async def close(self, peer: object, details: object) -> None:  # type: ignore[override]
            ending.set()
            await may_end.wait()

    hub = Hub(Slow())
    transport = httpx.ASGITransport(asgi.Adapter(hub))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client, connect(hub):
        assert hub.status == "ok"
        closing = asyncio.create_task(hub.close())
        await ending.wait()
        answer = await client.get("/_crosspeer/health")
        assert (answer.status_code, answer.json()) == (503, {"status": "closing"})
        assert answer.headers["cache-control"] == "no-store"
        may_end.set()
        await closing
