"""A browser that loses its connection, and gets what it missed of topics with history: by the module, and by itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from starlette.responses import HTMLResponse

from crosspeer import SSE, History, Hooks, Hub, Recovery, Server
from faults.proxy import proxy

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from crosspeer import Peer

pytestmark = pytest.mark.browser

MESSAGES = 60
CUT_EVERY = 20
PAGE = "<!doctype html><title>a page</title><link rel=icon href='data:,'>"
MODULE = """async (transport) => {
    const { PeerSocket } = await import("/_crosspeer/client.js");
    window.heard = [];
    window.socket = new PeerSocket("/peers", [], { transport });
    window.socket.onmessage = ({ data }) => window.heard.push(JSON.parse(data).data);
}"""
SOURCE = """() => {
    window.heard = [];
    window.socket = new EventSource("/peers");
    window.socket.onmessage = ({ data }) => window.heard.push(JSON.parse(data).data);
}"""


class Room(Hooks):
    def __init__(self) -> None:
        self.recoveries: list[Recovery] = []

    async def open(self, peer: Peer) -> None:
        recovery = peer.subscribe("chat/1")
        assert recovery is not None
        self.recoveries.append(await recovery)


async def page_app(scope: object, receive: object, send: object) -> None:
    await HTMLResponse(PAGE)(scope, receive, send)  # type: ignore[arg-type]


@pytest.mark.parametrize("client", ["websocket", "sse", "EventSource"])
async def test_a_browser_comes_back_and_misses_nothing(browser: Browser, client: str) -> None:
    hooks = Room()
    # Without waiting for who comes back, each of its connections is a new peer, as after a restart or on another node.
    hub = Hub(
        resolve=lambda request: hooks if request.url.path == "/peers" else None,
        history={"chat/*": History(tagged=True)},
        sse=SSE(resume=0, retry=0.1),
        sync=f"memory://browser-{client}",
    )
    async with Server(hub, http=page_app, port=0, shutdown_timeout=5) as server, proxy(server.url) as between:
        page = await (await browser.new_context()).new_page()
        await page.goto(between.url)
        await (page.evaluate(SOURCE) if client == "EventSource" else page.evaluate(MODULE, client))
        for number in range(MESSAGES):
            async with asyncio.timeout(20):
                while not hub.topics and number % CUT_EVERY == 0:
                    await asyncio.sleep(0.01)
            hub.publish("chat/1", str(number), namespace="/peers")
            if number % CUT_EVERY == CUT_EVERY // 2:
                await page.wait_for_function("window.heard.length > 0", timeout=20_000)
                between.cut()
        await page.wait_for_function(f"window.heard.includes('{MESSAGES - 1}')", timeout=30_000)
        assert await page.evaluate("window.heard") == [str(number) for number in range(MESSAGES)]
        assert len(hooks.recoveries) >= 3
        assert [recovery.recovered for recovery in hooks.recoveries] == [False] + [True] * (len(hooks.recoveries) - 1)
        await page.evaluate("window.socket.close()")
