"""A broker that sends garbage, vanishes, or lies: an `error`, and the rest goes on."""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

import pytest

from crosspeer.peerjs import Peer, PeerError, PeerLimits, Serializer
from peers import DEADLINE, Heard, Peers, ScriptedBroker, connected


@pytest.fixture
async def alice(scripted_peers: Peers) -> Peer:
    return await scripted_peers.open("alice")


def relaying(scripted: ScriptedBroker, *, late: tuple[str, ...] = (), doubled: bool = False) -> None:
    """Relay as a broker does; messages of the late types come after the next one of another type, or come twice."""
    held: list[tuple[str, dict[str, Any]]] = []
    sending: set[asyncio.Task[None]] = set()

    def say(to: str, message: dict[str, Any]) -> None:
        task = asyncio.ensure_future(scripted.say(to, message))
        sending.add(task)
        task.add_done_callback(sending.discard)

    def relay(src: str, frame: dict[str, Any]) -> None:
        to = frame.pop("dst")
        message = {"src": src, **frame}
        if frame["type"] in late:
            held.append((to, message))
            return
        for _ in range(2 if doubled else 1):
            say(to, message)
        for waiting in held:
            say(*waiting)
        held.clear()

    scripted.relay = relay


BARE = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n"


class TestGarbage:
    @pytest.mark.parametrize(
        "frame",
        [
            "",
            "{",
            "null",
            "5",
            '"x"',
            "[]",
            "{}",
            '{"type":5}',
            "[" * 100_000,
            b"\xff\xfe",
            '{"type":"NOPE","src":"bob"}',
            '{"type":"OPEN"}',
            '{"type":"EXPIRE","src":"nobody"}',
            '{"type":"EXPIRE"}',
            '{"type":"LEAVE","src":"nobody"}',
            '{"type":"LEAVE"}',
        ],
        ids=lambda frame: repr(frame[:30]),
    )
    async def test_a_frame_that_means_nothing(self, scripted: ScriptedBroker, alice: Peer, frame: Any) -> None:
        heard = Heard(alice, "error", "disconnected")
        await scripted.say("alice", frame)
        await still_works(scripted, alice)
        assert heard.events == []

    @pytest.mark.parametrize(
        "message",
        [
            {"type": "OFFER"},
            {"type": "OFFER", "src": "bob"},
            {"type": "OFFER", "src": "bob", "payload": None},
            {"type": "OFFER", "src": "bob", "payload": {}},
            {"type": "OFFER", "src": 5, "payload": {"sdp": {"sdp": "v=0"}, "connectionId": "x", "type": "data"}},
            {"type": "OFFER", "src": "bob", "payload": {"sdp": "v=0", "connectionId": "x", "type": "data"}},
            {"type": "ANSWER", "src": "bob", "payload": {"sdp": {"sdp": 5}}},
            {"type": "CANDIDATE", "src": "bob", "payload": {"candidate": {}}},
            {"type": "CANDIDATE", "src": "bob", "payload": {"candidate": {"candidate": "x"}}},
        ],
        ids=json.dumps,
    )
    async def test_a_message_that_is_none(self, scripted: ScriptedBroker, alice: Peer, message: Any) -> None:
        heard = Heard(alice, "error", "disconnected")
        await scripted.say("alice", message)
        error = await heard.wait_for("error")
        assert error.type == "webrtc"
        assert "OFFER" in str(error) or "ANSWER" in str(error) or "CANDIDATE" in str(error)
        await still_works(scripted, alice)
        assert heard.names == ["error"]

    @pytest.mark.parametrize(
        ("sdp", "reason"),
        [
            ("hello", "no SDP"),
            ("v=0\r\n", r"\w"),
            ("v=0\r\n" + "a=x\r\n" * 100_000, "characters"),
            ("v=0\r\n" + "m=audio 9\r\n" * 1000, "sections"),
            (BARE + "a=candidate:1 1 udp 1 evil.example 5 typ host\r\n", "names a host"),
            (BARE, r"\w"),
            (BARE.replace("application", "audio"), r"\w"),
            (BARE + "a=ice-ufrag:x\r\na=ice-pwd:y\r\na=fingerprint:sha-256 00\r\n", r"\w"),
        ],
        ids=["hello", "empty", "large", "sections", "host", "bare", "audio", "short"],
    )
    @pytest.mark.parametrize("engine", ["wrtc", "aiortc"])
    async def test_an_offer_that_cannot_be_answered(
        self, scripted: ScriptedBroker, scripted_peers: Peers, sdp: str, reason: str, engine: str
    ) -> None:
        peer = await scripted_peers.open("alice", engine=engine)
        heard = Heard(peer, "error")
        started = time.process_time()
        await scripted.say("alice", offer(sdp))
        error = await heard.wait_for("error")
        assert time.process_time() - started < 2
        assert error.type == "webrtc"
        assert str(error).startswith("bob: ")
        assert re.search(reason, str(error))
        await still_works(scripted, peer)
        assert peer.connections == {}

    async def test_a_serialization_that_nobody_knows(self, scripted: ScriptedBroker, alice: Peer) -> None:
        heard = Heard(alice, "error", "disconnected")
        await scripted.say("alice", offer("v=0", serialization="cbor"))
        error = await heard.wait_for("error")
        assert "offers the serialization 'cbor'" in str(error)
        assert alice.connections == {}

    async def test_a_kind_of_connection_that_nobody_knows(self, scripted: ScriptedBroker, alice: Peer) -> None:
        heard = Heard(alice, "error", "disconnected")
        await scripted.say("alice", offer("v=0", type="teleport"))
        await still_works(scripted, alice)
        assert heard.events == []
        assert alice.connections == {}

    async def test_too_many_offers(self, scripted: ScriptedBroker, scripted_peers: Peers) -> None:
        peer = await scripted_peers.open("alice", limits=PeerLimits(max_connections=5))
        relaying(scripted)
        bob = await scripted_peers.open("bob")
        for _ in range(5):
            await connected(bob, peer)
        with pytest.raises(PeerError):
            await bob.connect("alice", timeout=0.3)
        assert len(peer.connections["bob"]) == 5

    async def test_candidates_for_nobody_are_kept_within_bounds(self, scripted: ScriptedBroker, alice: Peer) -> None:
        for number in range(2000):
            payload = {"candidate": {"candidate": "x" * 100}, "connectionId": f"dc_{number}", "type": "data"}
            await scripted.say("alice", {"type": "CANDIDATE", "src": "bob", "payload": payload})
        await still_works(scripted, alice)
        assert len(alice._board._early) <= 256

    async def test_a_frame_without_end(self, scripted: ScriptedBroker, alice: Peer) -> None:
        heard = Heard(alice, "error", "disconnected")
        await scripted.say("alice", '{"type":"' + "x" * 2_000_000 + '"}')
        await heard.wait_for("disconnected")
        assert [error.type for error in heard.of("error")] == ["network"]
        alice.reconnect()
        await alice


def offer(sdp: str, **payload: Any) -> dict[str, Any]:
    payload = {"sdp": {"type": "offer", "sdp": sdp}, "type": "data", "connectionId": "dc_x", **payload}
    return {"type": "OFFER", "src": "bob", "payload": payload}


async def still_works(scripted: ScriptedBroker, peer: Peer) -> None:
    """The peer reads on: its next answer to an offer comes. (An offer of itself, which has to be a sound one.)"""
    async with Peer("carol", **scripted.where) as carol:
        before = scripted.relay
        relaying(scripted)
        try:
            pair = await connected(carol, peer)
            await pair.here.send("still here")
            async with asyncio.timeout(DEADLINE):
                assert await pair.there.receive() == "still here"
                heard = Heard(pair.there, "close")
                await pair.here.close()
                if pair.there.open:
                    await heard.wait_for("close")
        finally:
            scripted.relay = before


class TestRefusals:
    @pytest.mark.parametrize(
        ("greeting", "type", "text"),
        [
            ({"type": "ERROR", "payload": {"msg": "no more room"}}, "server-error", "no more room"),
            ({"type": "ERROR"}, "server-error", ""),
            ({"type": "ID-TAKEN", "payload": {"msg": "x"}}, "unavailable-id", 'ID "alice" is taken'),
            ({"type": "INVALID-KEY"}, "invalid-key", 'API KEY "peerjs" is invalid'),
        ],
        ids=json.dumps,
    )
    async def test_before_it_is_open(
        self, scripted: ScriptedBroker, scripted_peers: Peers, greeting: Any, type: str, text: str
    ) -> None:
        scripted.greeting = json.dumps(greeting)
        peer = scripted_peers.begin("alice")
        heard = Heard(peer)
        with pytest.raises(PeerError) as raised:
            await peer
        assert (raised.value.type, str(raised.value)) == (type, text)
        assert heard.names == ["error", "disconnected", "close"]
        assert peer.destroyed

    async def test_later_it_only_leaves(self, scripted: ScriptedBroker, alice: Peer) -> None:
        heard = Heard(alice, "error", "disconnected")
        await scripted.say("alice", {"type": "ERROR", "payload": {"msg": "enough of you"}})
        await heard.wait_for("disconnected")
        assert heard.names == ["error", "disconnected"]
        assert not alice.destroyed

    async def test_a_broker_that_closes_at_once(self, scripted: ScriptedBroker, alice: Peer) -> None:
        heard = Heard(alice, "error", "disconnected")
        await (await scripted.client("alice")).close()
        await heard.wait_for("disconnected")
        assert [str(error) for error in heard.of("error")] == ["Lost connection to server."]

    async def test_a_broker_that_is_no_broker(self, scripted: ScriptedBroker, scripted_peers: Peers) -> None:
        scripted.answers["peerjs"] = (404, b"not here")
        peer = scripted_peers.begin("alice")
        with pytest.raises(PeerError) as raised:
            await peer
        assert raised.value.type == "network"

    @pytest.mark.parametrize(
        ("status", "body"),
        [(500, b""), (404, b"x"), (200, b""), (200, b"<html>"), (200, b"a b  c"), (200, b"\xff"), (200, b"x" * 65)],
    )
    async def test_ids_that_are_none(
        self, scripted: ScriptedBroker, scripted_peers: Peers, status: int, body: bytes
    ) -> None:
        scripted.answers["/id"] = (status, body)
        peer = scripted_peers.begin()
        with pytest.raises(PeerError, match="Could not get an ID from the server") as raised:
            await peer
        assert raised.value.type == "server-error"

    @pytest.mark.parametrize(
        ("status", "body"), [(500, b""), (200, b"{"), (200, b"5"), (200, b"[" * 100_000), (200, b"[]" * 5_000_000)]
    )
    async def test_lists_that_are_none(self, scripted: ScriptedBroker, alice: Peer, status: int, body: bytes) -> None:
        scripted.answers["/peers"] = (status, body)
        with pytest.raises(PeerError) as raised:
            await alice.list_all_peers()
        assert raised.value.type == "server-error"
        assert alice.open


class TestTakeOver:
    async def test_a_broker_that_takes_over_without_a_word(
        self, scripted: ScriptedBroker, alice: Peer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """PeerServer, when a peer comes back before it has noticed that its old socket is gone."""
        monkeypatch.setattr("crosspeer.peerjs.client.session.OPEN_GRACE", 0.1)
        scripted.greeting = None
        alice.disconnect()
        alice.reconnect()
        await alice
        assert alice.open

    async def test_a_silent_broker_does_not_open_what_is_new(
        self, scripted: ScriptedBroker, scripted_peers: Peers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("crosspeer.peerjs.client.session.OPEN_GRACE", 0.01)
        scripted.greeting = None
        peer = scripted_peers.begin("alice")
        await scripted.client("alice")
        await asyncio.sleep(0.1)
        assert not peer.open


class TestSignalling:
    async def test_offers_wait_for_the_broker(self, scripted: ScriptedBroker, scripted_peers: Peers) -> None:
        scripted.greeting = None
        peer = scripted_peers.begin("alice")
        peer.connect("bob")
        await scripted.client("alice")
        await asyncio.sleep(0.1)
        assert scripted.frames == []
        await scripted.say("alice", {"type": "OPEN"})
        offer = await scripted.frame("OFFER")
        assert list(offer["payload"]) == ["sdp", "type", "connectionId", "label", "reliable", "serialization"]

    @pytest.mark.parametrize("engine", ["wrtc", "aiortc"])
    async def test_candidates_may_come_before_their_offer(
        self, scripted: ScriptedBroker, scripted_peers: Peers, engine: str
    ) -> None:
        relaying(scripted, late=("OFFER",))
        alice, bob = await scripted_peers.open("alice"), await scripted_peers.open("bob", engine=engine)
        pair = await connected(alice, bob)
        await pair.here.send("found")
        assert await pair.there.receive() == "found"

    async def test_candidates_may_come_before_the_answer(self, scripted: ScriptedBroker, scripted_peers: Peers) -> None:
        relaying(scripted, late=("ANSWER",))
        pair = await connected(await scripted_peers.open("alice"), await scripted_peers.open("bob"))
        assert pair.here.open

    async def test_an_answer_of_somebody_else_changes_nothing(
        self, scripted: ScriptedBroker, scripted_peers: Peers
    ) -> None:
        alice, bob = await scripted_peers.open("alice"), await scripted_peers.open("bob")
        heard = Heard(alice, "error", "disconnected")
        connecting = asyncio.ensure_future(opened(alice, "bob"))
        payload = (await scripted.frame("OFFER"))["payload"]
        answer = {"sdp": {"type": "answer", "sdp": "v=0"}, "type": "data", "connectionId": payload["connectionId"]}
        await scripted.say("alice", {"type": "ANSWER", "src": "mallory", "payload": answer})
        await scripted.say("alice", {"type": "LEAVE", "src": "mallory"})
        await scripted.say("alice", {"type": "EXPIRE", "src": "mallory"})
        relaying(scripted)
        await scripted.say("bob", {"type": "OFFER", "src": "alice", "payload": payload})
        for _, frame in tuple(scripted.frames):
            if frame["type"] == "CANDIDATE":
                await scripted.say("bob", {**frame, "src": "alice"})
        async with asyncio.timeout(DEADLINE):
            await connecting
        assert heard.events == []
        assert bob.connections

    async def test_a_second_answer_is_left_out(self, scripted: ScriptedBroker, scripted_peers: Peers) -> None:
        relaying(scripted, doubled=True)
        alice, bob = await scripted_peers.open("alice"), await scripted_peers.open("bob")
        heard = Heard(alice, "error", "disconnected")
        # Every offer comes twice too: the second begins anew, as in PeerJS.
        connection = alice.connect("bob", timeout=3)
        async with asyncio.timeout(DEADLINE):
            await asyncio.wait([asyncio.ensure_future(opened_or_not(connection))])
        assert heard.of("disconnected") == []
        assert len(bob.connections.get("alice", [])) <= 1

    async def test_who_leaves_is_let_go(self, scripted: ScriptedBroker, scripted_peers: Peers) -> None:
        relaying(scripted)
        alice, bob = await scripted_peers.open("alice"), await scripted_peers.open("bob")
        pair = await connected(alice, bob)
        other = await connected(alice, await scripted_peers.open("carol"))
        heard = Heard(pair.here)
        await scripted.say("alice", {"type": "LEAVE", "src": "bob"})
        await heard.wait_for("close")
        assert heard.of("error") == []
        assert other.here.open

    async def test_an_old_browser_is_answered_in_text(self, scripted: ScriptedBroker, scripted_peers: Peers) -> None:
        """PeerJS 1.4 names its browser, and understands JSON in text frames only."""
        alice, bob = await scripted_peers.open("alice"), await scripted_peers.open("bob", serializers={"json": Frames})
        sending: list[asyncio.Task[None]] = []

        def relay(src: str, frame: dict[str, Any]) -> None:
            if src == "bob" and "sdp" in frame["payload"]:
                frame["payload"]["browser"] = "chrome"
            message = {"src": src, "type": frame["type"], "payload": frame["payload"]}
            sending.append(asyncio.ensure_future(scripted.say(frame["dst"], message)))

        scripted.relay = relay
        connection = alice.connect("bob", serialization="json", reliable=True)
        # Written before anybody can know whom it goes to.
        connection.send({"early": 1})
        pair = await connected(bob, alice, serialization="json", reliable=True)
        async for theirs in bob.incoming():
            assert await theirs.receive() == '{"early":1}'
            break
        await pair.there.send({"late": 2})
        assert await pair.here.receive() == '{"late":2}'


async def opened(peer: Peer, id: str) -> None:
    await peer.connect(id)


async def opened_or_not(connection: Any) -> None:
    try:
        await connection
    except PeerError:
        return


class Frames(Serializer):
    """Shows the frames as they come."""

    def encode(self, value: Any) -> str | bytes:
        frame: str | bytes = value
        return frame

    def decode(self, frame: str | bytes) -> list[Any]:
        return [frame]
