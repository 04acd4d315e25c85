"""Rows H15, H16 and P20: names that a client chooses, and how many of them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from crosspeer import Limits
from crosspeer.testing import HandshakeRefused, events, sockets
from hostile.stage import ENGINES, Echo, needed, stage
from raw import Raw, handshake

if TYPE_CHECKING:
    from crosspeer import Message, Peer


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return needed(request.param)


class Rooms(Echo):
    """Publishes to the topic that a message names, for whoever has named it before."""

    def message(self, peer: Peer, message: Message) -> None:
        peer.subscribe(message.text())
        peer.publish(message.text(), "somebody came")
        peer.send(sorted(peer.topics))


NAMES = ["__proto__", "constructor", "prototype", "__class__", "__init__", "__dict__", "toString", "None", "../x"]


async def test_names_that_mean_something_to_a_language_are_plain(engine: str) -> None:
    routes = {f"/{name}": Rooms() for name in NAMES}
    async with stage(engine, routes=routes) as scene:
        url = scene.url.replace("http", "ws")
        for path in routes:
            async with sockets.connect(url + quote(path)) as one, sockets.connect(url + quote(path)) as two:
                assert path in scene.hub.peers
                await one.send(path)
                assert await one.receive_json() == [path]
                for name in NAMES:
                    await one.send(name)
                    await one.receive()
                await two.send("__proto__")
                assert await two.receive_json() == ["__proto__"]
                assert await one.receive() == "somebody came"
            await routes[path].wait_for("close", 2)
        for name in ("__missing__", "__getattr__", "hasOwnProperty"):
            with pytest.raises(HandshakeRefused) as refused:
                await sockets.connect(f"{url}/{name}")
            assert refused.value.status == 404
        await scene.undisturbed()
        assert list(scene.hub.peers) == ["/witness"]
        scene.logged()


@pytest.mark.parametrize("how", ["sockets", "events"])
async def test_one_connection_too_many_is_refused_and_logged_nowhere(engine: str, how: str) -> None:
    """Row H16: it is an ordinary event on a busy server. The place of who leaves is free again."""
    async with stage(engine, limits=Limits(max_connections=3, close_timeout=1)) as scene:
        url = scene.url.replace("http", "ws")

        def dial() -> Any:
            return events.connect(scene.url) if how == "events" else sockets.connect(url)

        async with sockets.connect(url) as one, sockets.connect(url) as two:
            for _ in range(20):
                with pytest.raises(HandshakeRefused) as refused:
                    await dial()
                assert refused.value.status == 503
                assert refused.value.headers["retry-after"] == "1"
            for client in (one, two):
                await client.send("still here")
                assert await client.receive() == "still here"
        await scene.hooks.wait_for("close", 2)
        async with dial() as client:
            await client.send("room again")
            assert await client.receive() == "room again"
        await scene.hooks.wait_for("close", 3)
        scene.logged()


async def test_a_namespace_has_a_length(engine: str) -> None:
    """Row P20. Other nodes would not take a longer one."""
    fits, deep, wide = "/" + "a" * 4095, "/a" * 2048 + "/", "/" + "a" * 3000 + "ü" * 548
    hooks = Echo()
    async with stage(engine, routes=dict.fromkeys((fits, deep, wide), hooks)) as scene:
        for path in (deep, wide):
            async with Raw(scene.url) as client:
                client.send(handshake(quote(path)))
                assert (await client.head())[0] == 414
        async with Raw(scene.url) as client:
            client.send(handshake(fits))
            assert (await client.head())[0] == 101
        await hooks.wait_for("close")
        assert len(hooks.of("open")) == 1
        await scene.undisturbed()
        scene.logged()


async def test_many_topics_cost_what_they_are(engine: str) -> None:
    """A hundred thousand names: the hash of a name has a key, in Python and in the engine, so nobody can choose them to
    collide. They vanish with their peers.
    """
    count = 100_000
    rooms = Rooms()
    limits = Limits(max_topics=count, close_timeout=1)

    class Greedy(Echo):
        def message(self, peer: Peer, message: Message) -> None:
            first, last = map(int, message.text().split())
            for number in range(first, last):
                peer.subscribe(f"{number:x}" * 4)
            peer.send(len(peer.topics))

    greedy = Greedy()
    async with stage(engine, limits=limits, routes={"/greedy": greedy, "/rooms": rooms}) as scene:
        async with sockets.connect(scene.url.replace("http", "ws") + "/greedy") as client:
            for first in range(0, count, 5000):
                await client.send(f"{first} {first + 5000}")
                assert await client.receive() == str(first + 5000)
                await asyncio.wait_for(client.send("0 0"), 5)
                await client.receive()
            assert scene.hub.topics == count
        await greedy.wait_for("close")
        await scene.undisturbed()
        assert scene.hub.topics == 0
        scene.logged()
