"""What only the native engine's inside shows: it is a faster copy, and nothing else."""

from __future__ import annotations

import ast
import asyncio
import gc
import inspect
import weakref
from pathlib import Path
from typing import Any

import httpx
import pytest

from crosspeer import Hooks, Hub, Limits, Message, Peer, Request, Server
from crosspeer.testing import connect, sockets
from crosspeer.testing.contracts.harness import Recorder
from fleet import LonelySync
from raw import CLOSE, FIN, PING, PONG, TEXT, Raw, frame, handshake

crosspeer_engine = pytest.importorskip("crosspeer_engine", reason="the native engine is not built here: it needs cargo")

STUB = Path(__file__).parents[2] / "engine/crates/python/python/crosspeer_engine/_native.pyi"


class Chat(Recorder):
    def open(self, peer: Peer) -> None:
        peer.subscribe("chat")
        super().open(peer)

    def message(self, peer: Peer, message: Message) -> None:
        peer.publish("chat", message.data)


def dial(server: Server, path: str = "/") -> sockets.connect:
    return sockets.connect(server.url.replace("http", "ws") + path)


async def test_its_peers_and_messages_are_peers_and_messages() -> None:
    seen: list[Any] = []

    class Watch(Hooks):
        def message(self, peer: Peer, message: Message) -> None:
            seen.extend((peer, message))
            peer.send("seen")

    async with Server(Watch(), port=0, engine="native") as server, dial(server) as client:
        assert server.engine == "native"
        await client.send("x")
        await client.receive()
        peer, message = seen
        assert type(peer) is crosspeer_engine.Peer
        assert isinstance(peer, Peer)
        assert isinstance(message, Message)
        assert not isinstance(object(), Peer)
        assert message.peer is peer
        assert message.id == message.id != peer.id
        assert repr(message) == f"<Message text of 1 from {peer}>"
        assert repr(peer) == f"<Peer {peer.id} in '/' open>"


def public(cls: type) -> set[str]:
    return {name for name in vars(cls) if not name.startswith("_")}


def test_it_has_every_member_of_the_reference() -> None:
    assert public(Peer) <= public(crosspeer_engine.Peer)
    assert public(Message) - {"data", "peer"} <= public(crosspeer_engine.Message)


def test_the_stub_names_what_is_there() -> None:
    for node in ast.parse(STUB.read_text()).body:
        if isinstance(node, ast.ClassDef):
            members = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
            real = vars(getattr(crosspeer_engine, node.name))
            written = {name for name in real if not name.startswith("__")}
            assert written == set(members) - {"__new__"}, node.name
            for name, item in members.items():
                if name == "__new__" or item.decorator_list:
                    continue
                names = [argument.arg for argument in item.args.args + item.args.kwonlyargs]
                assert list(inspect.signature(real[name]).parameters) == names, f"{node.name}.{name}"


async def test_its_peers_and_others_hear_each_other() -> None:
    wire = LonelySync()
    hub = Hub(Chat(), sync=wire)
    async with (
        Server(hub, port=0, engine="native") as server,
        Server(hub, port=0, engine="python") as other,
        dial(server, "/room") as native,
        dial(other, "/room") as pure,
        connect(hub, "/room") as near,
    ):
        while len(hub.peers.get("/room", ())) < 3:
            await asyncio.sleep(0.001)
        clients = [native, pure, near]
        for index, sender in enumerate(clients):
            await sender.send(f"from {index}")
            for listener in clients:
                if listener is not sender:
                    assert await listener.receive() == f"from {index}"
        hub.publish("chat", {"to": "all"})
        for listener in clients:
            assert await listener.receive() == '{"to":"all"}'
    assert hub.topics == 0
    assert wire.relayed[0] == ("/room", "chat", "from 0")
    assert len(wire.relayed) == 4
    begun = [interest for interest in wire.interests if interest[2]]
    assert begun == [("/room", "chat", True)] * 3, "one for each way of being written to"
    assert len(wire.interests) == 6


async def test_plain_http_goes_on_and_may_come_back_as_an_upgrade() -> None:
    """A connection that has served HTTP is asyncio's; an upgrade on it is served all the same."""
    recorder = Recorder()
    recorder.message = lambda peer, message: peer.send(message.data)  # type: ignore[method-assign]
    async with Server(recorder, port=0, engine="native") as server:
        async with httpx.AsyncClient() as http:
            assert (await http.get(server.url)).status_code == 426
            assert (await http.post(server.url, content=b"x" * 300_000)).status_code == 426
        async with Raw(server.url) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            status, headers = await client.head()
            assert status == 426
            await client.reader.readexactly(int(headers["content-length"]))
            client.send(handshake() + frame(FIN | TEXT, b"late"))
            assert (await client.head())[0] == 101
            assert await client.frame() == (TEXT, b"late")


async def test_a_request_that_upgrade_marked_is_the_one_that_hooks_see() -> None:
    class Marking(Recorder):
        def upgrade(self, request: Request) -> None:
            request.state.user = "ada"
            request.context["n"] = 1

        def open(self, peer: Peer) -> None:
            peer.send([peer.request.state.user, peer.context["n"], peer.request.context is peer.context])

    async with Server(Marking(), port=0, engine="native") as server, dial(server) as client:
        assert await client.receive_json() == ["ada", 1, True]


async def test_a_client_that_leaves_during_its_handshake_is_forgotten() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()
    recorder = Recorder()

    async def upgrade(request: Request) -> None:
        asked.set()
        await answer.wait()

    recorder.upgrade = upgrade  # type: ignore[assignment, method-assign]
    hub = Hub(recorder)
    async with Server(hub, port=0, engine="native") as server:
        async with Raw(server.url) as client:
            client.send(handshake())
            await asked.wait()
            assert hub.connections == 1
        engine: Any = server._engine
        while engine.engine.connections():
            await asyncio.sleep(0.001)
        answer.set()
        while hub.connections:
            await asyncio.sleep(0.001)
        assert recorder.events == []


async def test_an_interrupt_in_a_hook_reaches_the_loop() -> None:
    """`KeyboardInterrupt` is nobody's error: the engine lets it through, and goes on afterwards."""
    raised: list[Any] = []

    class Odd(Recorder):
        def message(self, peer: Peer, message: Message) -> None:
            if message.data == "stop":
                raise GeneratorExit
            peer.send(message.data)

    asyncio.get_running_loop().set_exception_handler(lambda loop, context: raised.append(context["exception"]))
    odd = Odd()
    async with Server(odd, port=0, engine="native") as server, dial(server) as client:
        await client.send("stop")
        while not raised:
            await asyncio.sleep(0.001)
        async with dial(server) as other:
            await other.send("still here")
            assert await other.receive() == "still here"
    assert isinstance(raised[0], GeneratorExit)
    assert odd.of("error") == []


async def test_control_frames_have_a_budget_and_pongs_do_not_queue_up() -> None:
    """Row W11."""
    chat = Chat()
    hub = Hub(chat, limits=Limits(max_queue_size=8 * 1024 * 1024))
    async with Server(hub, port=0, engine="native") as server:
        async with Raw(server.url) as client:
            await client.upgrade()
            client.send(frame(FIN | PING, b"x") * 1000)
            assert (await client.close_code())[0] == 1008
        async with Raw(server.url) as client:
            await client.upgrade()
            await chat.wait_for("open", 2)
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]
            peer = chat.peers[1]
            before = len(chat.of("ping"))
            while peer.buffered_amount < 100_000:
                hub.publish("chat", b"x" * 60_000)
                await asyncio.sleep(0)
            for number in range(20):
                client.send(frame(FIN | PING, str(number).encode()))
            await chat.wait_for("ping", before + 20)
            client.writer.transport.resume_reading()  # type: ignore[attr-defined]
            pongs = []
            while not pongs:
                opcode, payload = await client.frame()
                if opcode == PONG:
                    pongs.append(payload)
            assert pongs == [b"19"]


async def test_a_flood_of_one_peer_does_not_starve_another() -> None:
    """A turn has a budget: the loop's other work goes on between."""

    class Busy(Recorder):
        def message(self, peer: Peer, message: Message) -> None:
            peer.send(message.data)

    async with Server(Busy(), port=0, engine="native") as server, Raw(server.url) as flood, dial(server) as witness:
        await flood.upgrade()
        flood.send(frame(FIN | TEXT, b"x") * 100_000)
        for number in range(20):
            await witness.send(str(number))
            assert await witness.receive() == str(number)
        for _ in range(100_000):
            assert (await flood.frame())[0] == TEXT


async def test_what_is_gone_is_freed() -> None:
    """Peers and their engine do not keep each other alive, nor does what an application keeps in `context`."""
    references: list[weakref.ref[Any]] = []

    class Light(Hooks):
        def open(self, peer: Peer) -> None:
            peer.context["circle"] = peer
            references.append(weakref.ref(peer))
            peer.subscribe("chat")
            peer.send("ready")

    hub = Hub(Light())
    server = Server(hub, port=0, engine="native")
    async with server:
        for _ in range(20):
            async with dial(server) as client:
                assert await client.receive() == "ready"
        references.append(weakref.ref(server._engine))
    gc.collect()
    assert hub.connections == hub.topics == 0
    assert len(references) == 21
    assert [reference() for reference in references[:-1]] == [None] * 20


async def test_a_close_frame_reaches_a_client_that_is_still_sending() -> None:
    async with Server(Recorder(), port=0, engine="native") as server, Raw(server.url) as client:
        await client.upgrade()
        client.send(frame(FIN | 0x3) + b"\x00" * 500_000)
        opcode, payload = await client.frame()
        assert (opcode, payload[:2]) == (CLOSE, (1002).to_bytes(2, "big"))
