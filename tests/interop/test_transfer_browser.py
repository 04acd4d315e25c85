"""A page with the npm package `peerjs` sends a file by the protocol that docs/transfer.md describes, and takes one."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from crosspeer import Hub, Server
from crosspeer.peerjs import Peer
from crosspeer.peerjs.transfer import OFFER_OPTIONS, Receiver, Sender, Source
from peers import DEADLINE, LOCAL, NPM, own_broker

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not NPM.exists(), reason="the npm package peerjs is not installed here: it needs npm"),
]

PAGE = """<!doctype html><meta charset=utf-8><script src=/peerjs.min.js></script><script>
const digest = async (bytes) => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const start = (id, options) => new Promise((resolve, reject) => {
  window.peer = new Peer(id, options);
  peer.on("open", resolve);
  peer.on("error", (error) => reject(new Error(error.message)));
});

const send = (to, name, size) => new Promise((resolve) => {
  const file = new Uint8Array(size).map((_, n) => n % 251);
  const connection = peer.connect(to, { reliable: true, serialization: "binary", metadata: { transfer: 1 } });
  connection.on("open", () => connection.send({ type: "offer", name, size }));
  connection.on("data", async (message) => {
    if (message.type === "have") {
      connection.send({ type: "prefix", sha256: await digest(file.slice(0, message.offset)) });
    }
    if (message.type === "go") {
      for (let offset = message.offset; offset < size; offset += 65536) {
        connection.send({ type: "data", offset, data: file.slice(offset, offset + 65536) });
      }
      connection.send({ type: "end", sha256: await digest(file) });
    }
    if (message.type === "done" || message.type === "refuse") {
      connection.send({ type: "bye" });
      resolve(message);
    }
  });
});

const receive = () => new Promise((resolve) => peer.on("connection", (connection) => {
  const parts = [];
  let offer, offset = 0;
  connection.on("data", async (message) => {
    if (message.type === "offer") {
      offer = message;
      connection.send({ type: "go", offset: 0 });
    } else if (message.type === "data") {
      parts.push(new Uint8Array(message.data));
      offset += parts.at(-1).length;
      connection.send({ type: "ack", offset });
    } else if (message.type === "end") {
      const mine = await digest(await new Blob(parts).arrayBuffer());
      const right = new Uint8Array(message.sha256).every((byte, n) => byte === mine[n]);
      connection.send(right ? { type: "done", name: offer.name } : { type: "refuse", text: "checksum" });
      resolve({ name: offer.name, size: offset, right });
    }
  });
}));
</script>"""


@pytest.fixture
async def broker() -> AsyncIterator[dict[str, Any]]:
    async with own_broker() as where:
        yield where


@pytest.fixture
async def page(browser: Browser, broker: dict[str, Any]) -> AsyncIterator[Page]:
    """A page that is the peer `page`."""

    async def index(request: Any) -> HTMLResponse:
        return HTMLResponse(PAGE)

    async def script(request: Any) -> FileResponse:
        return FileResponse(NPM / "peerjs" / "dist" / "peerjs.min.js")

    app = Starlette(routes=[Route("/", index), Route("/peerjs.min.js", script)])
    async with Server(Hub(), http=app, port=0, shutdown_timeout=1) as server:
        page = await browser.new_page()
        await page.goto(server.url)
        await page.evaluate(
            "(options) => start('page', options)", {"host": broker["host"], "port": broker["port"], "config": LOCAL}
        )
        yield page
        await page.close()


async def test_a_page_sends_a_file(page: Page, broker: dict[str, Any], tmp_path: Path) -> None:
    size = 300_000
    expected = bytes(n % 251 for n in range(size))
    (tmp_path / "photo.jpg.crosspeer-part").write_bytes(expected[:100_000])
    async with Peer("bob", **broker) as bob, asyncio.timeout(DEADLINE):
        sending = asyncio.ensure_future(page.evaluate("(size) => send('bob', 'photo.jpg', size)", size))
        connection = await anext(bob.incoming())
        assert await Receiver(tmp_path).serve(connection) is True
        assert await sending == {"type": "done", "name": "photo.jpg"}
    assert (tmp_path / "photo.jpg").read_bytes() == expected


async def test_a_page_takes_a_file(page: Page, broker: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(random.Random(1).randbytes(1_000_000))
    async with Peer("bob", **broker) as bob, asyncio.timeout(DEADLINE):
        receiving = asyncio.ensure_future(page.evaluate("() => receive()"))
        sender = Sender(await bob.connect("page", **OFFER_OPTIONS))
        assert await sender.send(Source(path, "photo.jpg")) == "photo.jpg"
        await sender.finish()
        assert await receiving == {"name": "photo.jpg", "size": 1_000_000, "right": True}
