"""The `peerjs` of the npm registry, as it is, in real Chromium: two pages meet at our broker and talk to each other."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Mount, Route

from backplanes import BROKERS
from brokers import on_uvicorn
from crosspeer import Server
from crosspeer.peerjs import PeerServer

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page

NPM = Path(__file__).parent / "npm-peerjs" / "node_modules"
VERSIONS = {"1.5": NPM / "peerjs", "1.4": NPM / "peerjs-1.4"}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not NPM.exists(), reason="the npm package peerjs is not installed here: it needs npm"),
]

PAGE = "<!doctype html><title>peerjs</title><script src='/peerjs.js'></script>"

START = """
([id, port]) => {
    const options = { host: "127.0.0.1", port, path: "/broker", config: { iceServers: [] } };
    window.log = [];
    window.peer = id === null ? new Peer(options) : new Peer(id, options);
    peer.on("open", (id) => log.push(["open", id]));
    peer.on("disconnected", (id) => log.push(["disconnected", id]));
    peer.on("close", () => log.push(["close"]));
    peer.on("error", (error) => log.push(["error", error.type, error.message]));
    peer.on("connection", (connection) => {
        log.push(["connection", connection.peer, connection.metadata ?? null]);
        connection.on("data", (data) => connection.send({ echo: data }));
        connection.on("close", () => log.push(["left", connection.peer]));
    });
}
"""
CONNECT = """
(to) => {
    window.connection = peer.connect(to, { metadata: { from: peer.id }, reliable: true });
    connection.on("open", () => log.push(["connected", to]));
    connection.on("data", (data) => log.push(["data", data]));
    connection.on("close", () => log.push(["left", to]));
}
"""


class Tab:
    """A page with a `Peer` in it, and the log of what happened to that."""

    def __init__(self, page: Page, port: int) -> None:
        self.page = page
        self._port = port
        self._read = 0

    async def start(self, id: str | None) -> None:
        await self.page.evaluate(START, [id, self._port])

    async def run(self, script: str, argument: Any = None) -> Any:
        return await self.page.evaluate(script, argument)

    async def next(self) -> list[Any]:
        """The next thing that happened."""
        await self.page.wait_for_function("(read) => log.length > read", arg=self._read, timeout=20_000)
        self._read += 1
        happened: list[Any] = await self.page.evaluate("(at) => log[at]", self._read - 1)
        return happened

    async def open(self, id: str | None) -> str:
        await self.start(id)
        happened = await self.next()
        assert happened[0] == "open", happened
        name: str = happened[1]
        return name


Tabs = Callable[[], Awaitable[Tab]]


def pages(version: str) -> list[Route]:
    script = VERSIONS[version] / "dist" / "peerjs.min.js"

    async def page(request: Any) -> HTMLResponse:
        return HTMLResponse(PAGE)

    async def peerjs(request: Any) -> FileResponse:
        return FileResponse(script)

    return [Route("/", page), Route("/peerjs.js", peerjs)]


async def tabs_of(browser: Browser, url: str, complaints: list[str]) -> Tabs:
    async def tab() -> Tab:
        page = await (await browser.new_context()).new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(url)
        return Tab(page, int(url.rpartition(":")[2]))

    return tab


@pytest.fixture
def broker() -> PeerServer:
    return PeerServer(path="/broker", allow_discovery=True, expire_timeout=0.5, cleanup_out_msgs=0.1)


@pytest.fixture
def version() -> str:
    return "1.5"


@pytest.fixture
async def tab(browser: Browser, broker: PeerServer, version: str) -> AsyncIterator[Tabs]:
    """Opens a page of a server that serves the pages and the broker below one port, on the best engine."""
    complaints: list[str] = []
    app = Starlette(routes=[*pages(version), Mount("/", broker.http)])
    async with Server(broker.hub, http=app, port=0, shutdown_timeout=5) as server:
        yield await tabs_of(browser, server.url, complaints)
    assert complaints == []


async def talk(alice: Tab, bob: Tab) -> None:
    """Both over a data channel, without the broker."""
    await alice.run(CONNECT, "bob")
    assert await bob.next() == ["connection", "alice", {"from": "alice"}]
    assert await alice.next() == ["connected", "bob"]
    for data in ("hello", {"n": [1, 2.5, None, "ü"]}, "x" * 100_000):
        await alice.run("(data) => connection.send(data)", data)
        assert await alice.next() == ["data", {"echo": data}]
    channel = await alice.run("() => [connection.dataChannel.readyState, connection.peerConnection.connectionState]")
    assert channel == ["open", "connected"]


@pytest.mark.parametrize("version", ["1.5", "1.4"])
async def test_two_pages_meet_and_talk_directly(tab: Tabs, broker: PeerServer) -> None:
    alice, bob = await tab(), await tab()
    assert await alice.open("alice") == "alice"
    assert await bob.open("bob") == "bob"
    await talk(alice, bob)
    relayed = broker.metrics.relayed
    assert (relayed["OFFER"], relayed["ANSWER"]) == (1, 1)
    assert relayed["CANDIDATE"] > 0
    assert broker.metrics.refused == {}
    await alice.run("() => connection.close()")
    assert await alice.next() == ["left", "bob"]
    assert await bob.next() == ["left", "alice"]


@pytest.mark.parametrize("version", ["1.5", "1.4"])
async def test_a_page_without_an_id_gets_one_and_can_list_all(tab: Tabs, broker: PeerServer) -> None:
    alice, other = await tab(), await tab()
    await alice.open("alice")
    given = await other.open(None)
    assert len(given) == 36
    assert await alice.run("() => new Promise((done) => peer.listAllPeers(done))") == ["alice", given]


@pytest.mark.parametrize("version", ["1.5", "1.4"])
async def test_a_page_that_disconnects_can_reconnect_and_talk(tab: Tabs, broker: PeerServer) -> None:
    """In one go, so that the broker may not know yet that the old socket is gone."""
    alice, bob = await tab(), await tab()
    await alice.open("alice")
    await bob.open("bob")
    for _ in range(3):
        await alice.run("() => { peer.disconnect(); peer.reconnect(); }")
        assert await alice.next() == ["disconnected", "alice"]
        assert await alice.next() == ["open", "alice"]
    await talk(alice, bob)
    await alice.run("() => peer.disconnect()")
    assert await alice.next() == ["disconnected", "alice"]
    await alice.run("() => connection.send('still')")
    assert await alice.next() == ["data", {"echo": "still"}], "without the broker"
    await alice.run("() => peer.reconnect()")
    assert await alice.next() == ["open", "alice"]


@pytest.mark.parametrize("version", ["1.5", "1.4"])
async def test_an_id_that_is_taken(tab: Tabs) -> None:
    alice, other = await tab(), await tab()
    await alice.open("alice")
    await other.start("alice")
    assert await other.next() == ["error", "unavailable-id", 'ID "alice" is taken']
    assert [(await other.next())[0] for _ in range(2)] == ["disconnected", "close"]
    assert await alice.run("() => peer.open")


@pytest.mark.parametrize("version", ["1.5", "1.4"])
async def test_a_peer_that_is_not_there(tab: Tabs, broker: PeerServer) -> None:
    """Once, however many candidates trickle in behind the offer."""
    alice, bob = await tab(), await tab()
    await alice.open("alice")
    await alice.run(CONNECT, "nobody")
    assert await alice.next() == ["error", "peer-unavailable", "Could not connect to peer nobody"]
    await bob.open("bob")
    await talk(alice, bob)
    assert broker.metrics.expired == 1


async def test_a_call_to_one_who_comes_a_little_later_finds_him(tab: Tabs, broker: PeerServer) -> None:
    broker._state.queues._timeout = 20
    alice, bob = await tab(), await tab()
    await alice.open("alice")
    await alice.run(CONNECT, "bob")
    assert await bob.open("bob") == "bob"
    assert await bob.next() == ["connection", "alice", {"from": "alice"}]
    assert await alice.next() == ["connected", "bob"]


async def test_the_wrong_key_is_a_server_error(browser: Browser) -> None:
    broker = PeerServer(path="/broker", key="another")
    complaints: list[str] = []
    app = Starlette(routes=[*pages("1.5"), Mount("/", broker.http)])
    async with Server(broker.hub, http=app, port=0, shutdown_timeout=5) as server:
        alice = await (await tabs_of(browser, server.url, complaints))()
        await alice.start("alice")
        assert await alice.next() == ["error", "server-error", "Invalid key provided"]
    assert complaints == []


async def test_versions_understand_each_other(browser: Browser, broker: PeerServer) -> None:
    complaints: list[str] = []
    made = []
    apps = [Starlette(routes=[*pages(version), Mount("/", broker.http)]) for version in ("1.5", "1.4")]
    async with Server(broker.hub, http=apps[0], port=0) as one, Server(broker.hub, http=apps[1], port=0) as two:
        for server, id in ((one, "alice"), (two, "bob")):
            made.append(await (await tabs_of(browser, server.url, complaints))())
            await made[-1].open(id)
        await talk(*made)
    assert complaints == []


async def test_pages_at_two_brokers_of_a_fleet(browser: Browser) -> None:
    """As behind a balancer: each page has its socket on another node, and neither can tell."""
    complaints: list[str] = []
    async with BROKERS["redis"]() as backplane, AsyncExitStack() as stack:
        brokers, tabs = [], []
        for _ in range(2):
            broker = PeerServer(path="/broker", allow_discovery=True, sync=backplane.url)
            app = Starlette(routes=[*pages("1.5"), Mount("/", broker.http)])
            server = await stack.enter_async_context(Server(broker.hub, http=app, port=0, shutdown_timeout=5))
            brokers.append(broker)
            tabs.append(await tabs_of(browser, server.url, complaints))
        alice, bob, thief = await tabs[0](), await tabs[1](), await tabs[1]()
        await alice.open("alice")
        await bob.open("bob")
        await thief.start("alice")
        assert await thief.next() == ["error", "unavailable-id", 'ID "alice" is taken']
        assert await alice.run("() => new Promise((done) => peer.listAllPeers(done))") == ["alice", "bob"]
        await talk(alice, bob)
        assert (brokers[0].metrics.forwarded["OFFER"], brokers[1].metrics.relayed["OFFER"]) == (1, 1)
        await bob.run("() => { peer.disconnect(); peer.reconnect(); }")
        assert [await bob.next() for _ in range(2)] == [["disconnected", "bob"], ["open", "bob"]]
        await bob.run("() => peer.destroy()")
        assert await alice.next() == ["left", "bob"]
        for tab in (alice, bob, thief):
            await tab.page.context.close()
    assert complaints == []


async def test_mounted_in_fastapi(browser: Browser) -> None:
    complaints: list[str] = []
    app = FastAPI(routes=pages("1.5"))
    app.mount("/broker", PeerServer(path="/").asgi)
    async with on_uvicorn(app) as url:
        tab = await tabs_of(browser, url, complaints)
        alice, bob = await tab(), await tab()
        await alice.open("alice")
        await bob.open("bob")
        await talk(alice, bob)
        for each in (alice, bob):
            await each.page.context.close()
    assert complaints == []
