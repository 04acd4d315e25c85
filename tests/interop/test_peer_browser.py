"""Our peer and the npm package `peerjs`, in real Chromium, to each other: both offering, every serialization."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import async_playwright
from starlette.applications import Starlette
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from crosspeer import Hub, Server
from crosspeer.peerjs import Peer
from peers import DEADLINE, LOCAL, NPM, Heard, npm_broker, own_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, Page

    from crosspeer.peerjs import DataConnection

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not NPM.exists(), reason="the npm package peerjs is not installed here: it needs npm"),
]

SCRIPTS = {"1.5": NPM / "peerjs" / "dist", "1.4": NPM / "peerjs-1.4" / "dist"}
BROKERS = {"ours": own_broker, "npm": npm_broker}
UNICODE = "broccoli🥦līp𨘋grin😃ok"
NESTED = {"a": {"b": {"c": [1, 2, {"d": None, "e": [True, False, 0.5]}]}}, "empty": {}, "list": []}
NUMBERS = [0, 1, -1, 127, 128, -33, 65_536, 2**31, 2**32, 2**40, -(2**31) - 1, -(2**53) + 1, 1.5, -0.1, 123456.789]
PLAIN = [*NUMBERS, 1e-7, True, False, "", "x", UNICODE, [], {}, [1, "a", None], NESTED]
BYTES = [b"", b"x", b"x" * 16_297, b"x" * 16_298, b"x" * 1_000_000, {"data": b"y" * 70_000}]
BINARY = [*PLAIN, "x" * 16_297, "x" * 16_298, "ü" * 500_000, [list(range(5000))] * 10, *BYTES]
ECHOED = {
    "binary": BINARY,
    "binary-utf8": BINARY,
    "json": [*PLAIN, "x" * 16_297],
    "raw": ["x", UNICODE, "x" * 200_000, b"x", b"x" * 16_298, b"x" * 262_144],
    "MsgPack": [*PLAIN, *BYTES, "x" * 16_298, list(range(50_000))],
}
"""What goes there and comes back."""
COUNTED = {"binary": list(range(50_000)), "json": list(range(30_000)), "MsgPack": list(range(100_000))}
"""What JavaScript can read, and could not write."""

PAGE = """<!doctype html><meta charset=utf-8><script src=/dist/peerjs.min.js></script>"""
START = """
async ([id, options, msgpack]) => {
    if (msgpack) options.serializers = { MsgPack: (await import("/dist/serializer.msgpack.mjs")).MsgPack };
    window.connections = {};
    window.gone = [];
    window.received = [];
    window.serve = (connection) => {
        connections[connection.label] = connection;
        connection.on("data", (data) => {
            if (data && data.command === "burst") {
                for (let n = 0; n < 200; n++) connection.send({ n, data: new Uint8Array(n * 200) });
            } else if (data && data.command === "flush") {
                for (let n = 0; n < 50; n++) connection.send("x".repeat(15000));
                connection.close({ flush: true });
            } else if (data && data.command === "close") {
                connection.close();
            } else if (data && data.command === "keep") {
                window.keeping = true;
            } else if (window.keeping) {
                received.push(data.n ?? data.length);
            } else if (Array.isArray(data) && data.length >= 30000 && connection.serialization !== "MsgPack"
                || Array.isArray(data) && data.length === 100000) {
                connection.send({ count: data.length, sum: data.reduce((a, b) => a + b, 0) });
            } else {
                connection.send(data);
            }
        });
        connection.on("close", () => gone.push(connection.label));
    };
    window.peer = new Peer(id, options);
    peer.on("connection", serve);
    return new Promise((resolve, reject) => {
        peer.on("open", resolve);
        peer.on("error", (error) => reject(new Error(`${error.type}: ${error.message}`)));
    });
}
"""
CONNECT = "([to, options]) => serve(peer.connect(to, options))"


class Tab:
    """A page with a `Peer` of JavaScript, and a peer of Python: both can call."""

    def __init__(self, page: Page, peer: Peer, version: str) -> None:
        self.page = page
        self.peer = peer
        self.id = ""
        self._version = version
        self._labels = 0

    async def start(self, id: str) -> None:
        """Make the page's peer."""
        options = {"host": self.peer.options.host, "port": self.peer.options.port, "config": LOCAL}
        self.id = await self.page.evaluate(START, [id, options, self._version == "1.5"])

    async def connect(self, side: str, **options: Any) -> DataConnection:
        """A connection that Python or JavaScript offers: Python's end."""
        self._labels += 1
        options = {"reliable": True, "label": f"{side}-{self._labels}", **options}
        async with asyncio.timeout(DEADLINE):
            if side == "python":
                return await self.peer.connect(self.id, **options)
            incoming = self.peer.incoming()
            await self.page.evaluate(CONNECT, [self.peer.id, options])
            connection = await anext(incoming)
            await incoming.aclose()
            return connection

    async def closed(self, label: str) -> None:
        """Wait until the page knows that a connection is closed."""
        await self.page.wait_for_function("(label) => gone.includes(label)", arg=label, timeout=DEADLINE * 1000)


@asynccontextmanager
async def tab(
    browser: Browser, *, broker: str = "ours", version: str = "1.5", engine: str | None = None
) -> AsyncIterator[Tab]:
    complaints: list[str] = []
    async with BROKERS[broker]() as where, pages(version) as url, Peer("python", engine=engine, **where) as peer:
        page = await (await browser.new_context()).new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        tab = Tab(page, peer, version)
        await tab.start("page")
        yield tab
        await page.close()
    assert complaints == []


@asynccontextmanager
async def pages(version: str) -> AsyncIterator[str]:
    async def page(request: Any) -> HTMLResponse:
        return HTMLResponse(PAGE)

    async def dist(request: Any) -> FileResponse:
        return FileResponse(SCRIPTS[version] / request.path_params["name"])

    app = Starlette(routes=[Route("/", page), Route("/dist/{name}", dist)])
    async with Server(Hub(), http=app, port=0, shutdown_timeout=1) as server:
        yield server.url


async def echoes(connection: DataConnection, values: list[Any]) -> None:
    for value in values:
        back: Any = "nothing"
        with suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE):
                await connection.send(value)
                back = await connection.receive()
        assert back == value, f"{repr(value)[:60]} came back as {repr(back)[:60]} on {connection.label}"


async def collect(connection: DataConnection) -> list[Any]:
    async with asyncio.timeout(DEADLINE):
        return [value async for value in connection]


async def check_order(tab: Tab, side: str) -> None:
    """200 messages of all sizes in a row, each way."""
    connection = await tab.connect(side)
    await connection.send({"command": "burst"})
    async with asyncio.timeout(DEADLINE):
        burst = [await connection.receive() for _ in range(200)]
    assert [(message["n"], len(message["data"])) for message in burst] == [(n, n * 200) for n in range(200)]
    await connection.send({"command": "keep"})
    for n in range(200):
        connection.send({"n": n, "data": b"x" * (n * 200)})
    await tab.page.wait_for_function("() => received.length === 200", timeout=DEADLINE * 1000)
    assert await tab.page.evaluate("() => received") == list(range(200))
    await tab.page.evaluate("() => { window.received = []; window.keeping = false; }")
    await connection.close()


async def check_ends(tab: Tab, side: str, *, flushes: bool = True) -> None:
    """Closed from each side, politely and at once."""
    connection = await tab.connect(side)
    heard = Heard(connection)
    await connection.close()
    assert heard.names == ["close"]
    await tab.closed(connection.label)

    connection = await tab.connect(side)
    heard = Heard(connection, "close", "error")
    await connection.send({"command": "close"})
    await heard.wait_for("close")
    assert heard.of("error") == []

    connection = await tab.connect(side)
    await connection.send({"command": "keep"})
    for _ in range(100):
        connection.send("x" * 16_000)
    async with asyncio.timeout(DEADLINE):
        await connection.close(flush=True)
    await tab.closed(connection.label)
    assert await tab.page.evaluate("() => received") == [16_000] * 100
    await tab.page.evaluate("() => { window.received = []; window.keeping = false; }")

    if flushes:
        connection = await tab.connect(side)
        await connection.send({"command": "flush"})
        assert await collect(connection) == ["x" * 15_000] * 50


@pytest.mark.parametrize(("broker", "engine"), [("npm", "wrtc"), ("ours", "aiortc")])
async def test_peerjs_1_5(browser: Browser, broker: str, engine: str) -> None:
    async with tab(browser, broker=broker, engine=engine) as page:
        for side in ("python", "javascript"):
            for serialization, values in ECHOED.items():
                connection = await page.connect(side, serialization=serialization, metadata={"side": side, "ü": [1]})
                assert connection.metadata == {"side": side, "ü": [1]}
                # PeerJS 1.5 has the two as one, and calls it by the first name.
                assert serialization.startswith(connection.serialization)
                await echoes(connection, values)
                if (counted := COUNTED.get(serialization)) is not None:
                    await connection.send(counted)
                    answer = await connection.receive()
                    assert answer == {"count": len(counted), "sum": sum(counted)}
                await connection.close()
                await page.closed(connection.label)
            unordered = await page.connect(side, reliable=False)
            assert not unordered.reliable
            await echoes(unordered, BYTES)
            await unordered.close()
            await check_order(page, side)
            await check_ends(page, side)
        assert page.peer.connections == {}


async def test_peerjs_1_4(browser: Browser) -> None:
    """Its channels never keep the order, its JSON is text, and it knows no request to close."""
    async with tab(browser, broker="npm", version="1.4") as page:
        for side in ("python", "javascript"):
            for serialization in ("binary", "binary-utf8", "json", "raw"):
                connection = await page.connect(side, serialization=serialization)
                # It cannot write empty bytes itself.
                await echoes(connection, [value for value in ECHOED[serialization] if value != b""])
                await connection.close()
                await page.closed(connection.label)
            await check_ends(page, side, flushes=False)


@pytest.mark.parametrize("engine", ["wrtc", "aiortc"])
async def test_a_page_that_goes_away_is_noticed(browser: Browser, engine: str) -> None:
    async with tab(browser, engine=engine) as page:
        connection = await page.connect("python")
        heard = Heard(connection, "close", "error")
        await page.page.reload()
        await heard.wait_for("close")
        await page.start("page again")
        connection = await page.connect("javascript")
        heard = Heard(connection, "close", "error")
        await page.page.evaluate("() => peer.destroy()")
        await heard.wait_for("close")
        assert heard.of("error") == []


@pytest.fixture
async def shy_browser() -> AsyncIterator[Browser]:
    """With its own defaults: candidates of pages without a camera are names that only multicast DNS knows."""
    if (chromium := shutil.which("chromium")) is None:
        pytest.skip("no Chromium on the PATH: install Debian's package chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--headless=new", "--no-sandbox"])
        yield browser
        await browser.close()


async def test_browsers_that_hide_their_addresses(shy_browser: Browser) -> None:
    for engine in ("wrtc", "aiortc"):
        async with tab(shy_browser, engine=engine) as page:
            for side in ("python", "javascript"):
                connection = await page.connect(side)
                await echoes(connection, [UNICODE])
                await connection.close()
