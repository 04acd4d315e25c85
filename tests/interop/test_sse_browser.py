"""Event streams in a real browser: with its own `EventSource`, with the module, and in the chat."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from playwright.async_api import Page, expect
from starlette.responses import HTMLResponse

from crosspeer import SSE, EventStream, Hub, Replay, Server
from crosspeer.testing.contracts.harness import Recorder
from faults.proxy import Proxy, proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

    from conftest import ChatServer, Join
    from crosspeer import Message, Peer

pytestmark = pytest.mark.browser

TIMEOUT = 30.0
CUTS = 10
MESSAGES = 100
EMPTY_PAGE = "<!doctype html><title>a page</title><link rel=icon href='data:,'>"


class Relay(Recorder):
    """Gives everybody what somebody sends."""

    def open(self, peer: Peer) -> None:
        peer.subscribe("all")
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        self.note("message", message.data)
        peer.publish("all", message.data)
        peer.send(message.data)


class Site:
    """A server for the pages of a test, and what goes between."""

    def __init__(self, hub: Hub, hooks: Relay, url: str, proxy: Proxy, ticks: Replay) -> None:
        self.hub, self.hooks, self.url, self.proxy, self.ticks = hub, hooks, url, proxy, ticks


@asynccontextmanager
async def site(options: SSE | None = None) -> AsyncIterator[Site]:
    hooks, ticks = Relay(), Replay()

    async def http(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/ticks":
            headers = dict(scope["headers"])
            last = headers.get(b"last-event-id")
            await EventStream(ticks.follow(last and last.decode()))(scope, receive, send)
        else:
            await HTMLResponse(EMPTY_PAGE)(scope, receive, send)

    hub = Hub(resolve=lambda request: hooks if request.url.path == "/peers" else None, sse=options or SSE())
    async with Server(hub, http=http, port=0, shutdown_timeout=5) as server, proxy(server.url) as between:
        yield Site(hub, hooks, server.url, between, ticks)


async def open_page(browser: Browser, url: str) -> Page:
    page = await (await browser.new_context()).new_page()
    await page.goto(url)
    return page


async def until(page: Page, condition: str) -> None:
    """Wait until an expression is true in a page."""
    await page.wait_for_function(condition, timeout=TIMEOUT * 1000)


# The browser's own.


async def test_an_event_source_is_a_peer_that_posts(browser: Browser) -> None:
    async with site() as here:
        page = await open_page(browser, here.url)
        await page.evaluate("""() => {
            window.heard = [];
            const source = new EventSource("/peers");
            source.addEventListener("crossws-id", ({ data }) => {
                window.say = (body) => fetch("/peers", { method: "POST", headers: { "x-crossws-id": data }, body });
            });
            source.onmessage = ({ data }) => heard.push(data);
            source.addEventListener("text", ({ data }) => heard.push(JSON.parse(data)));
        }""")
        await until(page, "() => window.say")
        for text in ("plain", "two\nlines\n", " led", "", "carriage\r\nreturns\r", "ünï 🎉 \u2028 \ufeff"):
            assert await page.evaluate("async (text) => (await say(text)).status", text) == 204
            await until(page, "() => heard.length === 1")
            assert await page.evaluate("() => heard.pop()") == text


async def test_an_event_source_that_is_cut_comes_back_and_misses_nothing(browser: Browser) -> None:
    async with site(SSE(retry=0.05)) as here:
        page = await open_page(browser, here.proxy.url)
        await page.evaluate("""() => {
            window.heard = [];
            window.opened = 0;
            const source = new EventSource("/peers");
            source.onopen = () => opened += 1;
            source.onmessage = ({ data }) => heard.push(data);
        }""")
        await here.hooks.wait_for("open")
        peer = here.hooks.peers[0]
        for number in range(20):
            if number % 5 == 2:
                await until(page, f"() => heard.length >= {number - 2}")
                here.proxy.cut()
            peer.send(str(number))
        await until(page, "() => heard.at(-1) === '19'")
        assert await page.evaluate("heard") == [str(number) for number in range(20)]
        assert await page.evaluate("opened") > 1
        assert here.hooks.peers == [peer]


async def test_an_event_source_that_was_sent_away_stays_away(browser: Browser) -> None:
    async with site(SSE(retry=0.01)) as here:
        page = await open_page(browser, here.url)
        await page.evaluate("""() => {
            window.source = new EventSource("/peers");
            source.addEventListener("close", ({ data }) => window.ended = JSON.parse(data));
        }""")
        await here.hooks.wait_for("open")
        here.hooks.peers[0].close(4500, "not you")
        # A browser that is to come back is in the state 0 until it does.
        await until(page, "() => window.ended && source.readyState === 2")
        assert await page.evaluate("window.ended") == {"code": 4500, "reason": "not you"}
        assert len(here.hooks.peers) == 1


async def test_a_stream_of_a_route_goes_on_where_it_was_cut(browser: Browser) -> None:
    async with site() as here:
        page = await open_page(browser, here.proxy.url)
        await page.evaluate("""() => {
            window.heard = [];
            window.opened = 0;
            const source = new EventSource("/ticks");
            source.onopen = () => opened += 1;
            source.addEventListener("tick", ({ data }) => heard.push(JSON.parse(data).number));
        }""")
        await until(page, "() => opened === 1")
        for number in range(6):
            if number == 3:
                await until(page, "() => heard.length === 3")
                here.proxy.cut()
            here.ticks.add({"number": number}, event="tick")
        await until(page, "() => heard.length === 6")
        assert await page.evaluate("heard") == [0, 1, 2, 3, 4, 5]


# The module.

CONNECT = """async ({ transport, url }) => {
    const { PeerSocket } = await import("/_crosspeer/client.js");
    window.PeerSocket = PeerSocket;
    window.heard = [];
    window.log = [];
    window.socket = new PeerSocket(url ?? "/peers", [], { transport });
    socket.binaryType = "arraybuffer";
    socket.onmessage = ({ data }) => heard.push(data instanceof ArrayBuffer ? [...new Uint8Array(data)] : data);
    for (const type of ["open", "resumed", "reconnecting", "close", "error"]) {
        socket.addEventListener(type, (event) => log.push([type, event.code ?? event.detail?.code ?? 0]));
    }
}"""


async def connect(page: Page, transport: str, url: str | None = None) -> None:
    await page.evaluate(CONNECT, {"transport": transport, "url": url})


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_the_module_is_a_websocket_on_either_transport(browser: Browser, transport: str) -> None:
    async with site() as here:
        page = await open_page(browser, here.url)
        await connect(page, transport)
        with pytest.raises(Exception, match="InvalidStateError"):
            await page.evaluate("new PeerSocket('/peers').send('too early')")
        await until(page, "() => socket.readyState === PeerSocket.OPEN")
        assert await page.evaluate("[socket.url, socket.transport, socket.protocol, socket.extensions]") == [
            here.url.replace("http", "ws") + "/peers",
            transport,
            "",
            "",
        ]
        texts: list[Any] = ["plain", "", "two\nlines", "carriage\r\nreturns", "ünï 🎉", "x" * 300_000]
        await page.evaluate(
            "(texts) => { for (const text of texts) socket.send(text); socket.send(Uint8Array.of(0, 255).buffer); }",
            texts,
        )
        await until(page, "() => heard.length === 7")
        assert await page.evaluate("heard") == [*texts, [0, 255]]
        assert here.hooks.of("message") == [*texts, b"\x00\xff"]
        await until(page, "() => socket.bufferedAmount === 0")

        await page.evaluate("""() => { socket.send("last words"); socket.close(4321, "bye"); }""")
        details = await here.hooks.wait_for("close", timeout=TIMEOUT)
        assert (details.code, details.reason, details.was_clean) == (4321, "bye", True)
        await until(page, "() => socket.readyState === PeerSocket.CLOSED")
        assert (await page.evaluate("log"))[-1] == ["close", 4321]
        assert here.hooks.of("message")[-1] == "last words"
        await page.evaluate("socket.send('into the void')")


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_the_module_comes_back_unless_it_was_sent_away(browser: Browser, transport: str) -> None:
    async with site() as here:
        page = await open_page(browser, here.url)
        await connect(page, transport)
        await here.hooks.wait_for("open")
        here.hooks.peers[0].close(1012, "restart")
        await here.hooks.wait_for("open", 2, timeout=TIMEOUT)
        await until(page, "() => log.length === 3")
        assert await page.evaluate("log") == [["open", 0], ["reconnecting", 1012], ["open", 0]]
        here.hooks.peers[1].close(4500, "not you")
        await until(page, "() => socket.readyState === PeerSocket.CLOSED")
        assert (await page.evaluate("log"))[-1] == ["close", 4500]


async def test_the_module_falls_back_to_events(browser: Browser) -> None:
    async with site() as here:
        here.proxy.unwanted = b"upgrade: websocket"
        page = await open_page(browser, here.proxy.url)
        await connect(page, "auto")
        await until(page, "() => socket.readyState === PeerSocket.OPEN")
        assert await page.evaluate("socket.transport") == "sse"
        await page.evaluate("socket.send('hi')")
        await until(page, "() => heard.includes('hi')")


async def test_the_module_gives_up_where_it_is_not_wanted(browser: Browser) -> None:
    async with site() as here:
        page = await open_page(browser, here.url)
        here.hooks.upgrade = lambda request: HTMLResponse("no", 403)  # type: ignore[method-assign]
        await connect(page, "auto")
        await until(page, "() => socket.readyState === PeerSocket.CLOSED")
        assert await page.evaluate("log") == [["error", 0], ["close", 1008]]


@pytest.mark.parametrize("transport", ["websocket", "sse"])
async def test_the_module_answers_the_heartbeat_of_a_hub_by_itself(browser: Browser, transport: str) -> None:
    async with site() as here:
        page = await open_page(browser, here.url)
        await connect(page, transport)
        await here.hooks.wait_for("open")
        here.hooks.peers[0].send("crosspeer:ping")
        assert await here.hooks.wait_for("message", timeout=TIMEOUT) == "crosspeer:pong"
        await page.evaluate("socket.send('after it')")
        await until(page, "() => heard.includes('after it')")
        assert "crosspeer:ping" not in await page.evaluate("heard")


async def test_a_page_that_goes_says_so(browser: Browser) -> None:
    async with site() as here:
        page = await open_page(browser, here.url)
        await connect(page, "sse")
        await here.hooks.wait_for("open")
        await page.goto(here.url + "/elsewhere")
        assert (await here.hooks.wait_for("close", timeout=TIMEOUT)).code == 1001


async def test_a_hundred_messages_during_ten_cuts(browser: Browser) -> None:
    """Both ways at once, through a network that breaks: each message once, and in order."""
    async with site() as here:
        page = await open_page(browser, here.proxy.url)
        await connect(page, "sse")
        await here.hooks.wait_for("open")
        await until(page, "() => log.length === 1")
        peer = here.hooks.peers[0]
        half = MESSAGES // 2
        for number in range(half):
            if number % (half // CUTS) == 2:
                # There is something to lose on both ways.
                await until(page, "() => socket.readyState === PeerSocket.OPEN")
                here.proxy.cut()
            await page.evaluate("(number) => socket.send(`up ${number}`)", number)
            peer.send(f"down {number}")
        expected = [f"up {number}" for number in range(half)]
        await here.hooks.wait_for("message", half, timeout=TIMEOUT)
        await until(page, f"() => heard.length >= {MESSAGES}")
        assert here.hooks.of("message") == expected
        heard = await page.evaluate("heard")
        assert [text for text in heard if text.startswith("up")] == expected
        assert [text for text in heard if text.startswith("down")] == [f"down {number}" for number in range(half)]
        assert here.hooks.peers == [peer]
        assert here.hooks.of("close") == []
        assert here.proxy.cuts >= CUTS


# The chat.


async def enter(browser: Browser, url: str, name: str, query: str) -> Page:
    page = await open_page(browser, f"{url}/{query}#lobby")
    await page.get_by_test_id("name-input").fill(name)
    await page.get_by_test_id("join").click()
    await expect(page.get_by_test_id("status")).to_have_attribute("data-state", "connected")
    return page


async def say(page: Page, text: str) -> None:
    await page.get_by_test_id("composer").fill(text)
    await page.keyboard.press("Enter")


async def test_a_page_on_events_and_one_on_a_websocket_chat(
    browser: Browser, chat_server: ChatServer, join: Join
) -> None:
    ada = await join("Ada")
    grace = await enter(browser, chat_server.url, "Grace", "?transport=sse")
    await expect(ada.get_by_test_id("notice").filter(has_text="Grace joined")).to_have_count(1)
    await say(ada, "Hello Grace")
    await expect(grace.get_by_test_id("text")).to_have_text(["Hello Grace"])
    await say(grace, "Hello Ada")
    await say(grace, "two\nlines")
    for page in (ada, grace):
        await expect(page.get_by_test_id("text")).to_have_text(["Hello Grace", "Hello Ada", "two\nlines"])
    await grace.goto("about:blank")
    await expect(ada.get_by_test_id("notice").filter(has_text="Grace left")).to_have_count(1)


async def test_the_chat_survives_ten_cuts(browser: Browser, chat_server: ChatServer, join: Join) -> None:
    ada = await join("Ada")
    async with proxy(chat_server.url) as between:
        grace = await enter(browser, between.url, "Grace", "?transport=sse")
        texts: list[str] = []
        for number in range(MESSAGES):
            page, name = ((ada, "Ada"), (grace, "Grace"))[number % 2]
            if number % CUTS == 5:
                between.cut()
            texts.append(f"{number} from {name}")
            await say(page, texts[-1])
        for page in (ada, grace):
            # The room keeps as many, and a page shows all.
            await expect(page.get_by_test_id("text")).to_have_count(MESSAGES, timeout=TIMEOUT * 1000)
            shown = await page.get_by_test_id("text").all_inner_texts()
            assert sorted(shown) == sorted(texts)
            for name in ("Ada", "Grace"):
                assert [text for text in shown if text.endswith(name)] == [
                    text for text in texts if text.endswith(name)
                ]
        await expect(ada.get_by_test_id("notice").filter(has_text="left")).to_have_count(0)
        assert between.cuts >= CUTS
        await grace.context.close()
