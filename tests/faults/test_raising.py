"""F17: every hook raises, in turn. It is that peer's matter: 1011, its `close` hook once, and nobody else notices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from crosspeer import Hub, Limits, Peer, Server
from crosspeer.core.request import Request
from crosspeer.testing import HandshakeRefused, sockets
from crosspeer.testing.contracts.harness import Recorder, talk
from hostile.stage import ENGINES, needed
from raw import FIN, PING, PONG, TEXT, Raw, frame

INSIDE: Final = ("open", "message", "drain", "ping", "pong")
"""The hooks of a peer that is there and stays until one of them raises."""


class Bad(Recorder):
    """Raises in one of its hooks, at once or after a moment."""

    def __init__(self, hook: str, later: bool) -> None:
        super().__init__()
        self.hook, self.later = hook, later

    def __getattribute__(self, name: str) -> Any:
        if name == object.__getattribute__(self, "hook") and name != "error":
            return object.__getattribute__(self, "raise_later" if self.later else "raise_now")
        return super().__getattribute__(name)

    hook = ""

    def raise_now(self, *_: Any) -> None:
        raise LookupError("no luck")

    async def raise_later(self, *_: Any) -> None:
        await asyncio.sleep(0)
        raise LookupError("no luck")

    def message(self, peer: Peer, message: Any) -> None:
        self.note("message", message.data)
        if message.data == "fill":
            for _ in range(100):
                peer.send(b"x" * 50_000)


class Good(Recorder):
    def message(self, peer: Peer, message: Any) -> None:
        peer.send(message.data)


@asynccontextmanager
async def stage(engine: str, bad: Bad) -> AsyncIterator[tuple[Server, Hub, Any]]:
    """A server with bad hooks on one path and good ones on another, and a witness there."""
    good = Good()
    limits = Limits(max_queue_size=16 * 1024 * 1024, close_timeout=1)
    hub = Hub(resolve=lambda request: good if request.url.path == "/witness" else bad, limits=limits)
    async with (
        Server(hub, port=0, engine=needed(engine), shutdown_timeout=5) as server,
        sockets.connect(server.url.replace("http", "ws") + "/witness") as witness,
    ):
        yield server, hub, witness
        await talk(witness, witness)
        assert good.of("close") == good.of("error") == []


async def provoke(hook: str, client: Raw) -> None:
    """Do what a hook is called for."""
    if hook == "message":
        client.send(frame(FIN | TEXT, b"x"))
    elif hook == "ping":
        client.send(frame(FIN | PING, b"x"))
    elif hook == "pong":
        client.send(frame(FIN | PONG, b"x"))
    elif hook == "drain":
        client.send(frame(FIN | TEXT, b"fill"))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("later", [False, True], ids=["now", "later"])
async def test_what_a_hook_raises_is_its_peers_matter(engine: str, later: bool, subtests: pytest.Subtests) -> None:
    for hook in INSIDE:
        with subtests.test(msg=hook):
            bad = Bad(hook, later)
            async with stage(engine, bad) as (server, hub, _), Raw(server.url) as client:
                await client.upgrade()
                await provoke(hook, client)
                assert await client.close_code() == (1011, "internal error")
                client.send(frame(FIN | 0x8, (1011).to_bytes(2, "big")))
                details = await bad.wait_for("close")
                assert details.code == 1011
                await client.ended()
                assert [str(error) for error in bad.of("error")] == ["no luck"]
                assert len(bad.of("close")) == 1
                assert hub.connections == 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("later", [False, True], ids=["now", "later"])
async def test_an_upgrade_that_raises_is_500(engine: str, later: bool) -> None:
    bad = Bad("upgrade", later)
    async with stage(engine, bad) as (server, hub, _):
        with pytest.raises(HandshakeRefused) as refused:
            await sockets.connect(server.url.replace("http", "ws"))
        assert refused.value.status == 500
        assert b"no luck" not in refused.value.body
        assert bad.events == []
        assert hub.connections == 1


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("later", [False, True], ids=["now", "later"])
async def test_a_close_that_raises_is_told_to_error(engine: str, later: bool) -> None:
    bad = Bad("close", later)
    async with stage(engine, bad) as (server, hub, _):
        async with sockets.connect(server.url.replace("http", "ws")):
            pass
        assert str(await bad.wait_for("error")) == "no luck"
        assert hub.connections == 1


@pytest.mark.parametrize("engine", ENGINES)
async def test_an_error_hook_that_raises_ends_its_peer(engine: str) -> None:
    class Worst(Bad):
        def error(self, peer: Peer, error: Exception) -> None:
            self.note("error", error)
            raise ValueError("worse luck")

    bad = Worst("message", later=False)
    async with stage(engine, bad) as (server, _, _), Raw(server.url) as client:
        await client.upgrade()
        await provoke("message", client)
        assert await client.close_code() == (1011, "internal error")
        assert len(bad.of("error")) == 1


@pytest.mark.parametrize("engine", ENGINES)
async def test_a_resolve_that_raises_is_500(engine: str) -> None:
    def resolve(request: Request) -> Any:
        raise LookupError("no luck")

    async with Server(Hub(resolve=resolve), port=0, engine=needed(engine)) as server:
        with pytest.raises(HandshakeRefused) as refused:
            await sockets.connect(server.url.replace("http", "ws"))
        assert refused.value.status == 500
