"""A peer and its broker: coming, leaving, coming back, and what PeerJS says when that fails."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer import Server
from crosspeer.peerjs import Backoff, Peer, PeerError, PeerServer, PeerTimeout
from peers import DEADLINE, LOCAL, Heard, Peers, connected, own_broker, until

if TYPE_CHECKING:
    from peers import ScriptedBroker


class TestOpening:
    async def test_with_an_id_of_its_own(self, peers: Peers) -> None:
        peer = peers.begin("alice")
        heard = Heard(peer)
        assert (peer.id, peer.open, peer.disconnected, peer.destroyed) == ("alice", False, False, False)
        assert peer.connections == {}
        assert await peer is peer
        assert (peer.id, peer.open) == ("alice", True)
        assert heard.events == [("open", "alice")]

    @pytest.mark.parametrize("none", [None, ""])
    async def test_with_an_id_of_the_broker(self, peers: Peers, none: str | None) -> None:
        peer = peers.begin(none)
        heard = Heard(peer)
        assert peer.id is None
        await peer
        assert len(peer.id or "") == 36
        assert heard.events == [("open", peer.id)]

    @pytest.mark.parametrize("id", ["a--b", "-a", "a-", "a.b", "é", "a  b", "a/b", "x" * 65])
    async def test_an_id_that_peerjs_would_not_have(self, peers: Peers, id: str) -> None:
        peer = peers.begin(id)
        heard = Heard(peer)
        with pytest.raises(PeerError) as raised:
            await peer
        assert raised.value.type == "invalid-id"
        assert heard.names == ["error", "disconnected", "close"]
        assert peer.destroyed

    @pytest.mark.parametrize("id", ["a", "A1", "a b", "a_b-c d", "42"])
    async def test_ids_that_it_has(self, peers: Peers, id: str) -> None:
        assert (await peers.open(id)).id == id

    async def test_an_id_that_is_no_text_becomes_one(self, peers: Peers) -> None:
        assert (await peers.open(42)).id == "42"  # type: ignore[arg-type]

    async def test_an_id_that_somebody_has(self, peers: Peers) -> None:
        await peers.open("alice")
        peer = peers.begin("alice")
        heard = Heard(peer)
        with pytest.raises(PeerError, match='ID "alice" is taken') as raised:
            await peer
        assert raised.value.type == "unavailable-id"
        assert heard.names == ["error", "disconnected", "close"]

    async def test_a_broker_that_is_not_there(self) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            where = {"host": "127.0.0.1", "port": closed.getsockname()[1], "config": LOCAL}
            peer = Peer("alice", **where)
            heard = Heard(peer)
            with pytest.raises(PeerError, match=r"Lost connection to server\.") as raised:
                await peer
            assert raised.value.type == "network"
            assert heard.names == ["error", "disconnected"], "not destroyed: it may come yet"
            await peer.destroy()

            nameless = Peer(**where)
            heard = Heard(nameless)
            with pytest.raises(PeerError) as raised:
                await nameless
            assert raised.value.type == "server-error"
            assert heard.events[1:] == [("disconnected", None), ("close", None)]

    async def test_a_broker_that_does_not_answer(self, scripted: ScriptedBroker) -> None:
        scripted.greeting = None
        with pytest.raises(PeerTimeout) as raised:
            async with Peer("alice", **scripted.where, timeout=0.2):
                pass
        assert raised.value.type == "network"

    async def test_a_wrong_path_says_what_may_be_wrong(self) -> None:
        async with own_broker(path="/myapp") as where:
            with pytest.raises(PeerError, match="If your server has a path"):
                await Peer(**where)
            async with Peer(**where, path="myapp") as peer:
                assert peer.open
            async with Peer("alice", **where, path="/myapp/") as peer:
                assert peer.open

    async def test_a_wrong_key(self, peers: Peers) -> None:
        peer = peers.begin("alice", key="wrong")
        with pytest.raises(PeerError, match="Invalid key provided") as raised:
            await peer
        assert raised.value.type == "server-error"

    def test_it_may_be_made_before_there_is_a_loop(self) -> None:
        async def use(peer: Peer, where: dict[str, Any]) -> None:
            assert not peer.open
            async with peer:
                assert peer.open

        async def main() -> None:
            async with own_broker() as where:
                peer = await asyncio.to_thread(Peer, "alice", **where)
                await use(peer, where)

        asyncio.run(main())

    async def test_entering_fails_as_awaiting_does_and_leaves_nothing(self, peers: Peers) -> None:
        await peers.open("alice")
        peer = peers.begin("alice")
        with pytest.raises(PeerError):
            async with peer:
                pytest.fail("it is not open")
        assert peer.destroyed


class TestOptions:
    @pytest.mark.parametrize(
        "options",
        [
            {"host": "/"},
            {"host": ""},
            {"host": "user@host"},
            {"port": 0},
            {"port": 70_000},
            {"ping_interval": 0},
            {"timeout": -1},
            {"engine": "chrome"},
            {"config": {"iceServers": "stun:x"}},
            {"config": {"iceServers": [{"urls": "http://x"}]}},
            {"config": {"iceServers": [{}]}},
            {"config": {"iceServers": [{"urls": "turn:127.0.0.1"}]}},
            {"config": {"iceTransportPolicy": "some"}},
        ],
        ids=str,
    )
    async def test_an_option_that_cannot_be_right(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            Peer("alice", **options)

    async def test_no_secret_is_shown(self, peers: Peers) -> None:
        server = {"urls": ["turn:127.0.0.1:1"], "username": "user", "credential": "hunter2"}
        peer = peers.begin("alice", token="t0ken", key="k3y", config={"iceServers": [server]})
        for shown in (repr(peer), repr(peer.options), str(peer.options), repr(vars(peer))):
            assert "hunter2" not in shown
            assert "t0ken" not in shown
            assert "k3y" not in shown

    async def test_where_it_asks(self) -> None:
        peer = Peer("a b", host="::1", port=9000, path="app", key="k/1", token="t&", config=LOCAL)
        assert peer.options.http_url("id").startswith("http://[::1]:9000/app/k%2F1/id?ts=")
        assert peer.options.socket_url("a b") == (
            "ws://[::1]:9000/app/peerjs?key=k%2F1&id=a%20b&token=t%26&version=1.5.5"
        )
        await peer.destroy()
        cloud = Peer(config=LOCAL)
        assert cloud.options.socket_url("a").startswith("wss://0.peerjs.com:443/peerjs?key=peerjs&id=a&token=")
        await cloud.destroy()
        assert cloud.options.token != peer.options.token


class TestLeaving:
    async def test_disconnecting_keeps_connections(self, peers: Peers) -> None:
        pair = await peers.pair()
        alice, bob = peers.made
        heard = Heard(alice)
        alice.disconnect()
        alice.disconnect()
        assert (alice.id, alice.open, alice.disconnected, alice.destroyed) == (None, False, True, False)
        assert heard.events == [("disconnected", "alice")]
        await pair.here.send("still here")
        assert await pair.there.receive() == "still here"
        with pytest.raises(PeerError, match="Cannot connect to new Peer after disconnecting") as raised:
            alice.connect("bob")
        assert raised.value.type == "disconnected"
        assert heard.of("error") == [raised.value]
        with pytest.raises(PeerError):
            await alice
        assert bob.open

    async def test_coming_back_with_the_same_id(self, peers: Peers) -> None:
        alice, bob = await peers.open("alice"), await peers.open("bob")
        heard = Heard(alice)
        for _ in range(3):
            # In the same step, so that the broker may not have noticed the first.
            alice.disconnect()
            alice.reconnect()
            await alice
            assert alice.id == "alice"
        assert heard.names == ["disconnected", "open"] * 3
        pair = await connected(bob, alice)
        await pair.here.send("found")
        assert await pair.there.receive() == "found"

    async def test_what_cannot_come_back(self, peers: Peers) -> None:
        alice = await peers.open("alice")
        with pytest.raises(PeerError, match="alice cannot reconnect because it is not disconnected"):
            alice.reconnect()
        await alice.destroy()
        with pytest.raises(PeerError, match="already been destroyed"):
            alice.reconnect()
        hasty = peers.begin("bob")
        hasty.reconnect()
        await hasty

    async def test_destroying_ends_everything_in_order(self, peers: Peers) -> None:
        pair = await peers.pair()
        alice, bob = peers.made
        order: list[str] = []
        alice.on("disconnected", lambda id: order.append("disconnected"))
        pair.here.on("close", lambda: order.append("connection"))
        alice.on("close", lambda: order.append("close"))
        there = Heard(pair.there)
        alice.destroy()
        assert order == ["disconnected", "connection", "close"]
        assert alice.destroyed
        assert alice.connections == {}
        await alice.destroy()
        await there.wait_for("close")
        assert bob.connections == {}
        assert [connection async for connection in alice.incoming()] == []

    async def test_the_id_is_free_again(self, peers: Peers) -> None:
        for _ in range(3):
            peer = await peers.open("alice")
            await peer.destroy()

    def test_the_end_of_the_loop_closes_what_is_open(self) -> None:
        """WebRTC would not tell the other side for half a minute, if ever."""

        async def forgetful(where: dict[str, Any]) -> None:
            alice = await Peer("alice", **where)
            await alice.connect("bob")

        async def main() -> None:
            async with own_broker() as where, Peer("bob", **where) as bob:
                incoming = bob.incoming()
                arriving = asyncio.ensure_future(anext(incoming))
                thread = threading.Thread(target=lambda: asyncio.run(forgetful(where)))
                thread.start()
                async with asyncio.timeout(DEADLINE):
                    connection = await arriving
                    heard = Heard(connection, "close")
                    if connection.open:
                        await heard.wait_for("close")
                await asyncio.to_thread(thread.join)
                await incoming.aclose()

        asyncio.run(main())


class TestComingBack:
    async def test_a_peer_with_backoff_outlives_its_broker(self) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        where = {"host": "127.0.0.1", "port": listener.getsockname()[1], "config": LOCAL}
        backoff = Backoff(first=0.05, longest=0.1)
        peers = Peers({**where, "backoff": backoff})
        try:
            async with Server(PeerServer(), sock=listener, shutdown_timeout=1):
                pair = await peers.pair()
                alice, bob = peers.made
                heard = Heard(alice)
            await heard.wait_for("disconnected")
            await pair.here.send("without a broker")
            assert await pair.there.receive() == "without a broker"
            await heard.wait_for("error", 3)
            assert {error.type for error in heard.of("error")} == {"network"}

            listener = socket.create_server(("127.0.0.1", where["port"]))
            async with Server(PeerServer(), sock=listener, shutdown_timeout=1):
                await heard.wait_for("open")
                await bob
                assert alice.id == "alice"
                again = await connected(bob, alice)
                await again.here.send("found")
                assert await again.there.receive() == "found"
                await peers.destroy()
        finally:
            await peers.destroy()

    async def test_it_waits_for_a_broker_that_is_not_there_yet(self) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            port = reserved.getsockname()[1]
        peer = Peer(host="127.0.0.1", port=port, config=LOCAL, backoff=Backoff(first=0.05, longest=0.1))
        heard = Heard(peer)
        opening = asyncio.ensure_future(opened(peer))
        await heard.wait_for("error", 2)
        async with Server(PeerServer(), sock=socket.create_server(("127.0.0.1", port)), shutdown_timeout=1):
            async with asyncio.timeout(DEADLINE):
                await opening
            assert peer.open
            await peer.destroy()

    async def test_attempts_may_end(self) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            peer = Peer("a", host="127.0.0.1", port=reserved.getsockname()[1], config=LOCAL,
                        backoff=Backoff(first=0.01, attempts=2))  # fmt: skip
            heard = Heard(peer)
            with pytest.raises(PeerError):
                await peer
            assert [error.type for error in heard.of("error")] == ["network"] * 3
            await peer.destroy()

    async def test_leaving_ends_the_attempts(self) -> None:
        with socket.socket() as reserved:
            reserved.bind(("127.0.0.1", 0))
            peer = Peer(
                "a", host="127.0.0.1", port=reserved.getsockname()[1], config=LOCAL, backoff=Backoff(first=0.01)
            )
            heard = Heard(peer)
            await heard.wait_for("error", 2)
            peer.disconnect()
            seen = len(heard.events)
            await asyncio.sleep(0.1)
            assert len(heard.events) == seen
            await peer.destroy()

    def test_pauses_grow_up_to_a_limit(self) -> None:
        backoff = Backoff(first=1, factor=2, longest=10)
        pauses = [backoff.pause(attempt) for attempt in range(100)]
        assert 0.75 <= pauses[0] <= 1
        assert 3 <= pauses[2] <= 4
        assert all(7.5 <= pause <= 10 for pause in pauses[4:])


async def opened(peer: Peer) -> Peer:
    return await peer


class TestFinding:
    async def test_a_peer_that_does_not_exist(self, peers: Peers) -> None:
        alice = await peers.open("alice")
        heard = Heard(alice)
        connection = alice.connect("nobody")
        ended = Heard(connection)
        with pytest.raises(PeerError, match="Could not connect to peer nobody") as raised:
            await connection
        assert raised.value.type == "peer-unavailable"
        assert heard.names == ["error"]
        assert ended.names == ["error"]
        assert alice.connections == {}
        assert alice.open

    async def test_connections_are_listed_by_peer(self, peers: Peers) -> None:
        first = await peers.pair()
        alice, bob = peers.made
        second = await connected(alice, bob)
        assert alice.connections == {"bob": [first.here, second.here]}
        assert bob.connections == {"alice": [first.there, second.there]}
        assert alice.get_connection("bob", first.here.connection_id) is first.here
        assert alice.get_connection("bob", "dc_x") is None
        alice.connections.clear()
        assert len(alice.connections) == 1

    async def test_the_list_of_all_peers(self, peers: Peers) -> None:
        alice = await peers.open("alice")
        heard = Heard(alice)
        with pytest.raises(PeerError, match="allow_discovery") as raised:
            await alice.list_all_peers()
        assert raised.value.type == "server-error"
        assert heard.events == [], "PeerJS would destroy the peer for that"
        async with own_broker(allow_discovery=True) as where, Peer("bob", **where) as bob:
            assert await bob.list_all_peers() == ["bob"]

    @pytest.mark.parametrize(
        ("id", "options", "error"),
        [
            ("bob", {"serialization": "cbor"}, ValueError),
            ("bob", {"metadata": object()}, TypeError),
            ("bob", {"metadata": float("nan")}, ValueError),
            ("alice", {}, ValueError),
        ],
        ids=str,
    )
    async def test_a_wrong_call(self, peers: Peers, id: str, options: dict[str, Any], error: type[Exception]) -> None:
        alice = await peers.open("alice")
        with pytest.raises(error):
            alice.connect(id, **options)
        assert alice.connections == {}

    async def test_many_at_once(self, peers: Peers) -> None:
        hub = await peers.open("hub")
        others = [await peers.open() for _ in range(8)]
        served = []

        async def serve() -> None:
            async for connection in hub.incoming():
                connection.on("data", lambda value, to=connection: to.send(value * 2))
                served.append(connection)

        serving = asyncio.create_task(serve())

        async def ask(peer: Peer, number: int) -> int:
            connection = await peer.connect("hub", reliable=True)
            await connection.send(number)
            answer: int = await connection.receive()
            return answer

        async with asyncio.timeout(DEADLINE):
            answers = await asyncio.gather(*(ask(peer, number) for number, peer in enumerate(others)))
        assert answers == [0, 2, 4, 6, 8, 10, 12, 14]
        assert len(hub.connections) == len(served) == 8
        await hub.destroy()
        await serving


class TestEvents:
    async def test_handlers_may_be_coroutines_and_may_fail(
        self, peers: Peers, caplog: pytest.LogCaptureFixture
    ) -> None:
        alice, bob = await peers.open("alice"), await peers.open("bob")
        seen: list[Any] = []

        @bob.on("connection")
        def failing(connection: Any) -> None:
            raise RuntimeError("sync")

        @bob.on("connection")
        async def failing_later(connection: Any) -> None:
            await asyncio.sleep(0)
            raise RuntimeError("async")

        @bob.on("connection")
        async def working(connection: Any, metadata: Any) -> None:
            seen.append(metadata)
            async for value in connection:
                seen.append(value)

        connection = await alice.connect("bob", metadata="hello")
        await connection.send("still here")
        await until(lambda: seen == ["hello", "still here"])
        failures = [record for record in caplog.records if record.exc_info]
        assert sorted(str(record.exc_info[1]) for record in failures) == ["async", "sync"]  # type: ignore[index]
        assert all("a handler of 'connection' failed" in record.getMessage() for record in failures)

    async def test_on_once_and_off(self, peers: Peers) -> None:
        pair = await peers.pair(reliable=True)
        always: list[int] = []
        first: list[int] = []
        never: list[int] = []
        pair.there.on("data", never.append)
        pair.there.off("data", never.append)
        pair.there.on("data", always.append)
        pair.there.once("data", first.append)
        for number in range(3):
            await pair.here.send(number)
        await until(lambda: always == [0, 1, 2])
        assert (first, never) == ([0], [])
        pair.there.off("data")
        await pair.here.send(3)
        assert await pair.there.receive() == 3
        assert always == [0, 1, 2]

    async def test_handlers_of_data_get_one_message_after_the_other(self, peers: Peers) -> None:
        pair = await peers.pair(reliable=True)
        order: list[str] = []

        @pair.there.on("data")
        async def slow(value: int) -> None:
            order.append(f"{value} begins")
            await asyncio.sleep(0.01)
            order.append(f"{value} ends")

        pair.there.on("close", lambda: order.append("close"))
        for number in range(3):
            await pair.here.send(number)
        await pair.here.close(flush=True)
        await until(lambda: "close" in order)
        assert order == ["0 begins", "0 ends", "1 begins", "1 ends", "2 begins", "2 ends", "close"]

    async def test_a_slow_handler_has_a_bound(self, peers: Peers) -> None:
        from crosspeer.peerjs import PeerLimits

        pair = await peers.pair(bob={"limits": PeerLimits(max_unread=1_000_000)}, reliable=True)
        heard = Heard(pair.there, "error", "close")
        held = asyncio.Event()

        @pair.there.on("data")
        async def slow(value: int) -> None:
            await held.wait()

        for _ in range(4):
            pair.here.send(b"x" * 500_000)
        error = await heard.wait_for("error")
        assert error.type == "buffer-full"
        held.set()
        await heard.wait_for("close")

    async def test_an_event_that_does_not_exist(self, peers: Peers) -> None:
        peer = await peers.open("alice")
        for register in (peer.on, peer.once, peer.off):
            with pytest.raises(ValueError, match="has no event 'opne', only call, close, connection"):
                register("opne", print)
        with pytest.raises(TypeError, match="callable"):
            peer.on("open", "nothing")

    @pytest.mark.parametrize(("level", "expected"), [(0, []), (1, ["ERROR"]), (3, ["ERROR", "INFO"])])
    async def test_debug_levels(
        self, scripted: ScriptedBroker, caplog: pytest.LogCaptureFixture, level: int, expected: list[str]
    ) -> None:
        caplog.set_level("DEBUG", "crosspeer.peerjs")
        peer = await Peer("alice", **scripted.where, debug=level)
        heard = Heard(peer)
        await (await scripted.client("alice")).close()
        await heard.wait_for("disconnected")
        assert sorted({record.levelname for record in caplog.records if record.name == "crosspeer.peerjs"}) == expected
        await peer.destroy()


class TestHeartbeat:
    async def test_it_comes_in_time_whatever_else_is_sent(self, scripted: ScriptedBroker) -> None:
        async with Peer("alice", **scripted.where, ping_interval=0.05) as peer:
            for _ in range(20):
                peer._signal('{"type":"OFFER","dst":"bob"}')
                await asyncio.sleep(0.01)
            assert await scripted.frame("HEARTBEAT", 3) == {"type": "HEARTBEAT"}

    async def test_the_token_stays_the_same(self, scripted: ScriptedBroker) -> None:
        async with Peer("alice", **scripted.where) as peer:
            peer.disconnect()
            peer.reconnect()
            await peer
            first, second = scripted.queries
            assert first == second == {"key": "peerjs", "id": "alice", "token": peer.options.token, "version": "1.5.5"}
