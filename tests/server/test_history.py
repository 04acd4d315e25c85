"""Coming back to a topic with history, on both engines and in memory."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer import History, Hub, Limits, Recovery, Server
from crosspeer.testing import connect
from crosspeer.testing.contracts.harness import Recorder
from crosspeer.testing.sockets import connect as dial

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from crosspeer import Message, Peer


class Room(Recorder):
    """Subscribes from where the query says, answers with what became of it, and publishes what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.recoveries: list[Recovery | None] = []

    async def open(self, peer: Peer) -> None:
        recovery = peer.subscribe("chat/1", since=peer.request.query_params.get("since"))
        if recovery is not None:
            await recovery
        self.recoveries.append(recovery)
        peer.send("welcome" if recovery is None else ["welcome", recovery.recovered, str(recovery.position)])
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        peer.publish("chat/1", message.data)


@asynccontextmanager
async def serving(kind: str, hub: Hub) -> AsyncIterator[Callable[[str], Any]]:
    if kind == "memory":
        yield lambda path: connect(hub, path)
        return
    if kind == "native":
        pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")
    async with Server(hub, port=0, engine=kind) as server:
        yield lambda path: dial(server.url.replace("http", "ws") + path)


@pytest.fixture(params=["native", "python", "memory"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_who_comes_back_gets_what_it_missed_before_what_is_new(kind: str) -> None:
    hooks = Room()
    hub = Hub(hooks, history={"chat/*": History(size=5)})
    async with serving(kind, hub) as client_of, client_of("/room") as other:
        greeting = json.loads(await other.receive())
        assert greeting[:2] == ["welcome", False]
        async with client_of("/room") as client:
            _, _, start = json.loads(await client.receive())
            await other.send("one")
            assert await client.receive() == "one"
        hub.publish("chat/1", b"two")
        hub.publish("chat/1", "elsewhere", namespace="/other")
        async with client_of(f"/room?since={start}") as client:
            assert [await client.receive(), await client.receive()] == ["one", b"two"]
            _, recovered, later = json.loads(await client.receive())
            assert recovered
            await other.send("three")
            assert await client.receive() == "three"
            await client.send("to others, not back")
            assert await other.receive() == b"two"
            assert await other.receive() == "to others, not back"
        for number in range(6):
            hub.publish("chat/1", str(number))
        async with client_of(f"/room?since={later}") as client:
            assert json.loads(await client.receive())[1] is False, "the gap is larger than what was kept"
        async with client_of("/room?since=99999999999999999999") as client:
            assert json.loads(await client.receive())[1] is False


async def test_tagged_messages_carry_their_position(kind: str) -> None:
    hub = Hub(Room(), history={"*": History(tagged=True)})
    async with serving(kind, hub) as client_of:
        async with client_of("/room") as client:
            await client.receive()
            hub.publish("chat/1", {"n": 1}, namespace="/room")
            tag = json.loads(await client.receive())
            assert tag["topic"] == "chat/1"
            assert json.loads(tag["data"]) == {"n": 1}
        hub.publish("chat/1", "missed", namespace="/room")
        async with client_of(f"/room?since={tag['position']}") as client:
            assert json.loads(await client.receive())["data"] == "missed"
            assert json.loads(await client.receive())[1] is True


async def test_a_replay_never_fills_the_queue(kind: str) -> None:
    """Row P11: what does not fit is not begun."""
    hub = Hub(Room(), history={"*": History()}, limits=Limits(max_queue_size=10_000))
    async with serving(kind, hub) as client_of:
        async with client_of("/room") as client:
            _, _, start = json.loads(await client.receive())
        for _ in range(30):
            hub.publish("chat/1", "x" * 1000, namespace="/room")
        async with client_of(f"/room?since={start}") as client:
            assert json.loads(await client.receive())[1] is False
            hub.publish("chat/1", "still here")
            assert await client.receive() == "still here"


async def test_a_topic_without_history_has_no_position(kind: str) -> None:
    for history in (None, {"other": History()}):
        hooks = Room()
        async with serving(kind, Hub(hooks, history=history)) as client_of:
            async with client_of("/room") as client:
                assert await client.receive() == "welcome"
            assert hooks.recoveries == [None]
            async with client_of("/room?since=0000000000000000:1"):
                error = await hooks.wait_for("error")
            assert isinstance(error, ValueError)
            assert "history" in str(error)


async def test_what_comes_from_other_nodes_is_kept_too(kind: str) -> None:
    hub = Hub(Room(), history={"*": History()}, sync=f"memory://history-{kind}")
    far = Hub(history={"*": History()}, sync=f"memory://history-{kind}")
    assert hub.sync is not None
    assert far.sync is not None
    await far.sync.start()
    async with serving(kind, hub) as client_of, client_of("/room") as witness:
        await witness.receive()
        await hub.sync.start()
        async with client_of("/room") as client:
            _, _, start = json.loads(await client.receive())
        far.publish("chat/1", "from afar")
        assert await witness.receive() == "from afar"
        async with client_of(f"/room?since={start}") as client:
            assert await client.receive() == "from afar"
    await hub.close()
    await far.close()
