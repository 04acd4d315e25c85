"""Who is in a topic, across nodes, engines, and the death of a node."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer import Attendee, Hub, Presence, Server, Upgrade
from crosspeer.sync import Relay, members, open_backend, relay
from crosspeer.testing import connect
from crosspeer.testing.contracts.harness import Recorder
from crosspeer.testing.sockets import connect as dial
from fleet import relay_of, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from backplanes import Broker
    from crosspeer import Message, Peer, Request


class Room(Recorder):
    def upgrade(self, request: Request) -> Upgrade:
        return Upgrade(namespace="/room", context={"name": request.query_params.get("name", "")})

    def open(self, peer: Peer) -> None:
        peer.subscribe("chat/1")
        peer.subscribe("quiet")
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        if message.text() == "go":
            peer.unsubscribe("chat/1")
        else:
            peer.subscribe("chat/1")
        peer.send("done")


class Seen:
    """A hub with presence, and what its callbacks were told."""

    def __init__(self, sync: str | Relay | None = None) -> None:
        self.events: list[tuple[str, str]] = []
        rule = Presence(
            info=lambda peer: {"name": peer.context["name"]},
            joined=lambda namespace, topic, attendee: self.events.append(("joined", attendee.info["name"])),
            left=lambda namespace, topic, attendee: self.events.append(("left", attendee.info["name"])),
        )
        self.hub = Hub(Room(), presence={"chat/*": rule}, sync=sync)

    def names(self) -> list[str]:
        return sorted(attendee.info["name"] for attendee in self.hub.presence("chat/1", namespace="/room"))


@asynccontextmanager
async def fleet(broker: Broker, count: int) -> AsyncIterator[list[Seen]]:
    seen = [Seen(Relay(open_backend(broker.url))) for _ in range(count)]
    try:
        for one in seen:
            await relay_of(one.hub).start()
        yield seen
    finally:
        for one in seen:
            await one.hub.close()


async def test_everybody_is_seen_from_every_node(broker: Broker) -> None:
    async with fleet(broker, 2) as (one, two):
        async with connect(one.hub, "/?name=ada") as ada, connect(two.hub, "/?name=bob"):
            await until(lambda: one.names() == two.names() == ["ada", "bob"])
            await ada.send("go")
            await until(lambda: one.names() == two.names() == ["bob"])
            await ada.send("come")
            await until(lambda: one.names() == two.names() == ["ada", "bob"])
            late = Seen(Relay(open_backend(broker.url)))
            await relay_of(late.hub).start()
            await until(lambda: late.names() == ["ada", "bob"])
            await late.hub.close()
            assert late.names() == [], "who is not connected knows of nobody elsewhere"
        await until(lambda: one.names() == two.names() == [])
        for events in (one.events, two.events):
            assert sorted(events) == sorted(
                [
                    ("joined", "ada"),
                    ("left", "ada"),
                    ("joined", "ada"),
                    ("left", "ada"),
                    ("joined", "bob"),
                    ("left", "bob"),
                ]
            )


async def test_ghosts_of_a_dead_node_are_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert members.GONE_AFTER + members.ANNOUNCE_EVERY / 2 <= 15
    monkeypatch.setattr(members, "GONE_AFTER", 0.3)
    monkeypatch.setattr(relay, "ANNOUNCE_EVERY", 0.1)
    one, two = Seen("memory://ghosts"), Seen("memory://ghosts")
    await relay_of(one.hub).start()
    await relay_of(two.hub).start()
    async with connect(two.hub, "/?name=bob"):
        await until(lambda: one.names() == ["bob"])
        # Dead without a word: nothing more of it is heard.
        dead = relay_of(two.hub)
        assert dead._link is not None
        dead._link._backend._receive = None  # type: ignore[attr-defined]
        monkeypatch.setattr(dead, "_say", lambda note: None)
        await until(lambda: one.names() == [])
        assert one.events == [("joined", "bob"), ("left", "bob")]
        monkeypatch.undo()
    await one.hub.close()
    await two.hub.close()


@pytest.mark.parametrize("engine", ["native", "python"])
async def test_engines_tell_of_every_subscription(engine: str) -> None:
    if engine == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    seen = Seen()
    async with Server(seen.hub, port=0, engine=engine) as server:
        url = server.url.replace("http", "ws")
        async with dial(url + "/?name=ada") as ada, dial(url + "/?name=bob"):
            await until(lambda: seen.names() == ["ada", "bob"])
            await ada.send("go")
            assert await ada.receive() == "done"
            assert seen.names() == ["bob"]
            await ada.send("come")
            assert await ada.receive() == "done"
            assert seen.names() == ["ada", "bob"]
        await until(lambda: seen.names() == [])
    assert len(seen.events) == 6


async def test_what_may_not_be_known_is_not() -> None:
    with pytest.raises(ValueError, match="quiet"):
        Seen().hub.presence("quiet", namespace="/room")
    with pytest.raises(ValueError, match="chat"):
        Hub(Room()).presence("chat/1", namespace="/room")


@pytest.mark.parametrize("info", ["x" * 5000, object(), float("nan")], ids=["long", "no JSON", "not a number"])
async def test_info_that_cannot_be_told_is_an_error_of_the_hook(info: Any) -> None:
    room = Room()
    hub = Hub(room, presence={"*": Presence(info=lambda peer: info)})
    async with connect(hub, "/"):
        assert isinstance(await room.wait_for("error"), (ValueError, TypeError))
    assert hub.presence("chat/1", namespace="/room") == []


async def test_a_callback_that_fails_hurts_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def fail(namespace: str, topic: str, attendee: Attendee) -> None:
        raise RuntimeError("no")

    hub = Hub(Room(), presence={"*": Presence(joined=fail, left=fail)})
    async with connect(hub, "/") as client:
        await client.send("come")
        assert await client.receive() == "done"
        assert len(hub.presence("chat/1", namespace="/room")) == 1
    assert "presence callback" in caplog.text
