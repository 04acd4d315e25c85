"""Calls between peers of Python, on each engine: pictures, sound, and that both sides notice the end."""

from __future__ import annotations

import asyncio
import itertools
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from crosspeer.peerjs import MediaStream, PeerError, PeerTimeout
from footage import has_colour, hears, sees, tone
from peers import DEADLINE, Heard, Peers, ScriptedBroker, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer.peerjs import MediaConnection, Peer


@pytest.fixture(autouse=True)
async def nothing_is_left() -> AsyncIterator[None]:
    yield
    await until(lambda: not any(media in str(task.get_coro()) for task in asyncio.all_tasks() for media in MEDIA))


MEDIA = ("Track.", "Recording.", "Sent.", "Received.", "Link.")
"""Whose tasks end with the peers."""


def pattern() -> MediaStream:
    return MediaStream.test_pattern(160, 120, fps=15)


async def call(caller: Peer, callee: Peer, stream: MediaStream, back: MediaStream | None = None) -> Ends:
    """A call from one to the other, open on both sides."""
    assert callee.id is not None
    incoming = callee.incoming_calls()
    async with asyncio.timeout(DEADLINE):
        here = caller.call(callee.id, stream)
        there = await anext(incoming)
        await incoming.aclose()
        await there.answer(back)
        return Ends(await here, there)


class Ends:
    def __init__(self, here: MediaConnection, there: MediaConnection) -> None:
        self.here = here
        self.there = there


async def two(peers: Peers) -> tuple[Peer, Peer]:
    return await peers.open("alice"), await peers.open("bob")


async def test_both_sides_see_and_hear(engine_peers: Peers) -> None:
    alice, bob = await two(engine_peers)
    red = MediaStream.from_frames(itertools.repeat(np.full((120, 160, 3), (255, 0, 0), np.uint8)), fps=15)
    ends = await call(
        alice,
        bob,
        MediaStream.combine(pattern(), MediaStream.from_samples(tone(440))),
        MediaStream.combine(red, MediaStream.from_samples(tone(1000, 16_000, channels=2), 16_000)),
    )
    here, there = await ends.here.stream(), await ends.there.stream()
    assert all(stream.has_video and stream.has_audio for stream in (here, there))
    seen = await asyncio.gather(sees(there), hears(there, 440), sees(here, has_colour(255, 0, 0)), hears(here, 1000))
    assert seen[0].dtype == np.uint8
    assert seen[0].shape[2] == 3
    await ends.here.close()


async def test_who_answers_without_a_stream_only_receives(engine_peers: Peers) -> None:
    alice, bob = await two(engine_peers)
    ends = await call(alice, bob, pattern())
    assert ends.there.local_stream is None
    await sees(await ends.there.stream())
    assert ends.here.remote_stream is None
    with pytest.raises(PeerError, match="bob sends no audio and no video"):
        await ends.here.stream()
    assert ends.here.open


async def test_an_answer_has_no_more_places_than_the_offer(
    engine_peers: Peers, caplog: pytest.LogCaptureFixture
) -> None:
    alice, bob = await engine_peers.open("alice"), await engine_peers.open("bob", debug=2)
    ends = await call(alice, bob, pattern(), MediaStream.combine(MediaStream.silence(), pattern(), pattern()))
    stream = await ends.here.stream()
    assert [track.kind for track in stream.tracks] == ["video"]
    await sees(stream)
    assert "alice offers no place for audio, so none is sent" in caplog.text


@pytest.mark.parametrize("side", ["here", "there"])
async def test_hanging_up_is_noticed(engine_peers: Peers, side: str) -> None:
    alice, bob = await two(engine_peers)
    ends = await call(alice, bob, pattern(), pattern())
    first = ends.here if side == "here" else ends.there
    other = ends.there if side == "here" else ends.here
    await asyncio.gather(sees(await first.stream()), sees(await other.stream()))
    heard = [Heard(first, "close", "error"), Heard(other, "close", "error")]
    await first.close()
    async with asyncio.timeout(DEADLINE):
        await other.wait_closed()
        await (await _ended(first)).wait_ended()
        await (await _ended(other)).wait_ended()
    assert [each.names for each in heard] == [["close"], ["close"]]
    assert (first.open, other.open) == (False, False)
    assert other.peer_connection is other.data_channel is None
    assert alice.connections == bob.connections == {}


async def _ended(call: MediaConnection) -> MediaStream:
    assert call.remote_stream is not None
    return call.remote_stream


async def test_by_events(engine_peers: Peers) -> None:
    alice, bob = await two(engine_peers)
    heard: list[Heard] = []

    @bob.on("call")
    def ring(call: MediaConnection, metadata: Any) -> None:
        heard.append(Heard(call))
        assert metadata == call.metadata == {"name": "Alice", "of": [1]}
        assert call.type == "media"
        assert (call.is_incoming, call.open) == (True, False)
        call.answer(pattern())

    here = alice.call("bob", pattern(), metadata={"name": "Alice", "of": (1,)})
    told = Heard(here)
    assert (here.open, here.peer) == (False, "bob")
    assert here.local_stream is not None
    stream = await told.wait_for("stream")
    assert stream is here.remote_stream
    await told.wait_for("open")
    await told.wait_for("will_close_on_remote")
    await heard[0].wait_for("open")
    assert heard[0].names.index("stream") < heard[0].names.index("open")
    assert heard[0].of("stream") == [bob.connections["alice"][0].remote_stream]  # type: ignore[attr-defined]
    assert here.connection_id == bob.connections["alice"][0].connection_id
    assert here.connection_id.startswith("mc_")
    assert {"connected", "completed"} & set(told.of("ice_state_changed"))
    await sees(stream)


async def test_a_second_answer_does_nothing(engine_peers: Peers) -> None:
    alice, bob = await two(engine_peers)
    ends = await call(alice, bob, pattern())
    assert ends.there.answer(pattern()) is ends.there
    assert ends.there.local_stream is None
    with pytest.raises(ValueError, match="answered by the other side"):
        ends.here.answer()
    await sees(await ends.there.stream())


async def test_a_call_that_is_refused(peers: Peers) -> None:
    alice, bob = await two(peers)
    here = alice.call("bob", pattern())
    heard = Heard(here, "error", "close")
    async with asyncio.timeout(DEADLINE):
        there = await anext(bob.incoming_calls())
        told = Heard(there, "error", "close")
        await there.close()
        with pytest.raises(PeerError) as refused:
            await here
    assert refused.value.type == "peer-unavailable"
    assert heard.names == ["error"]
    assert told.names == []
    assert there.answer(pattern()) is there, "too late, which is nobody's fault"
    assert alice.connections == bob.connections == {}


async def test_hanging_up_before_there_is_an_answer(peers: Peers) -> None:
    alice, bob = await two(peers)
    here = alice.call("bob", pattern())
    async with asyncio.timeout(DEADLINE):
        there = await anext(bob.incoming_calls())
        told = Heard(there, "error", "close")
        await here.close()
        error = await told.wait_for("error")
        assert (error.type, str(error)) == ("connection-closed", "alice has hung up.")
        with pytest.raises(PeerError, match="hung up"):
            await there.stream()


async def test_a_caller_who_is_cancelled_has_hung_up(peers: Peers) -> None:
    alice, bob = await two(peers)
    calling = asyncio.ensure_future(_wait(alice.call("bob", pattern())))
    async with asyncio.timeout(DEADLINE):
        there = await anext(bob.incoming_calls())
        told = Heard(there, "error")
        calling.cancel()
        assert str(await told.wait_for("error")) == "alice has hung up."


async def _wait(call: MediaConnection) -> MediaConnection:
    return await call


async def test_nobody_answers(peers: Peers) -> None:
    """No handler, no reader: it rings until one of them has had enough, and the other knows."""
    alice, bob = await two(peers)
    with pytest.raises(PeerTimeout, match=r"did not open within 0\.3 seconds"):
        await alice.call("bob", pattern(), timeout=0.3)
    await until(lambda: bob.connections == {})


async def test_nobody_is_there(scripted: ScriptedBroker, scripted_peers: Peers) -> None:
    alice = await scripted_peers.open("alice")
    calls = [alice.call("nobody", pattern()), alice.call("nobody", pattern()), alice.call("somebody", pattern())]
    await scripted.frame("OFFER", 3)
    refused = {"type": "EXPIRE", "src": "nobody", "payload": {"connectionId": calls[0].connection_id}}
    await scripted.say("alice", refused)
    with pytest.raises(PeerError, match="Could not connect to peer nobody") as gone:
        await calls[0]
    assert gone.value.type == "peer-unavailable"
    assert list(alice.connections) == ["nobody", "somebody"], "a refusal is of one call"
    await scripted.say("alice", {"type": "EXPIRE", "src": "nobody"})
    with pytest.raises(PeerError, match="Could not connect to peer nobody"):
        await calls[1]
    assert list(alice.connections) == ["somebody"]


async def test_what_cannot_be_called(peers: Peers) -> None:
    alice = await peers.open("alice")
    with pytest.raises(TypeError, match="needs a MediaStream to send, not NoneType"):
        alice.call("bob", None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="itself"):
        alice.call("alice", pattern())
    alice.disconnect()
    with pytest.raises(PeerError, match="after disconnecting"):
        alice.call("bob", pattern())


async def test_one_stream_for_several_calls(engine_peers: Peers) -> None:
    alice, bob = await two(engine_peers)
    carol = await engine_peers.open("carol")
    stream = pattern()
    calls = [await call(alice, bob, stream), await call(alice, carol, stream)]
    await asyncio.gather(*[sees(await each.there.stream()) for each in calls])
    await calls[0].here.close()
    await sees(await calls[1].there.stream())
    stream.stop()


async def test_a_received_stream_is_passed_on(engine_peers: Peers) -> None:
    alice, bob = await two(engine_peers)
    carol = await engine_peers.open("carol")
    first = await call(alice, bob, pattern())
    second = await call(bob, carol, await first.there.stream())
    await sees(await second.there.stream())


async def test_data_and_calls_side_by_side(engine_peers: Peers) -> None:
    alice, bob = await two(engine_peers)
    connection = await alice.connect("bob")
    ends = await call(alice, bob, pattern())
    await ends.here.close()
    async with asyncio.timeout(DEADLINE):
        await ends.there.wait_closed()
        incoming = await anext(bob.incoming())
        await connection.send("still here")
        assert await incoming.receive() == "still here"


async def test_sdp_transform(peers: Peers) -> None:
    alice, bob = await two(peers)
    seen: list[str] = []

    def slower(sdp: str) -> str:
        seen.append(sdp)
        return sdp.replace("a=mid:0\r\n", "b=AS:500\r\na=mid:0\r\n") if len(seen) == 1 else ""

    async with asyncio.timeout(DEADLINE):
        here = alice.call("bob", pattern(), sdp_transform=slower)
        there = await anext(bob.incoming_calls())
        assert there._offered is not None
        assert "b=AS:500" in there._offered
        await there.answer(pattern(), sdp_transform=slower)
        await here
    assert len(seen) == 2
    heard = Heard(alice, "error")
    with pytest.raises(PeerError, match="sdp_transform failed: ZeroDivisionError"):
        await alice.call("bob", pattern(), sdp_transform=lambda sdp: str(1 / 0))
    assert len(heard.events) == 1


async def test_a_track_that_fails(engine_peers: Peers) -> None:
    """The call says so and goes on; the other track is not touched."""
    alice, bob = await two(engine_peers)

    def broken() -> Any:
        yield np.zeros((120, 160, 3), np.uint8)
        yield "no picture"

    stream = MediaStream.combine(MediaStream.from_frames(broken()), MediaStream.from_samples(tone(440)))
    incoming = bob.incoming_calls()
    here = alice.call("bob", stream)
    heard = Heard(here, "error", "close")
    async with asyncio.timeout(DEADLINE):
        there = await anext(incoming)
        there.answer()
        error = await heard.wait_for("error")
    assert error.type == "webrtc"
    assert "In the call with bob the video track failed: an image is uint8" in str(error)
    await hears(await there.stream())
    assert (here.open, heard.names) == (True, ["error"])


async def test_peers_of_both_engines(broker: dict[str, Any]) -> None:
    peers = Peers(broker)
    try:
        wrtc, aiortc = await peers.open("wrtc", engine="wrtc"), await peers.open("aiortc", engine="aiortc")
        for caller, callee in ((wrtc, aiortc), (aiortc, wrtc)):
            both = MediaStream.combine(pattern(), MediaStream.from_samples(tone(440)))
            ends = await call(caller, callee, both, both)
            for stream in (await ends.there.stream(), await ends.here.stream()):
                await asyncio.gather(sees(stream), hears(stream))
            await ends.there.close()
            async with asyncio.timeout(DEADLINE):
                await ends.here.wait_closed()
    finally:
        await peers.destroy()


async def test_the_remote_stream_is_recorded(engine_peers: Peers, tmp_path: Any) -> None:
    import av

    alice, bob = await two(engine_peers)
    ends = await call(alice, bob, MediaStream.combine(pattern(), MediaStream.from_samples(tone(440))))
    stream = await ends.there.stream()
    await sees(stream)
    recording = stream.record(tmp_path / "call.mp4")
    await asyncio.sleep(1)
    await ends.here.close()
    async with asyncio.timeout(DEADLINE):
        await recording
    with av.open(str(tmp_path / "call.mp4")) as file:
        assert {each.type for each in file.streams} == {"video", "audio"}
        assert (file.streams.video[0].width, file.streams.video[0].height) == (160, 120)
        assert file.duration is not None
        assert 0.5 < file.duration / av.time_base < 4
        assert len(list(file.decode(video=0))) >= 5


async def test_leaving_ends_all_calls(engine_peers: Peers) -> None:
    alice, bob = await two(engine_peers)
    calls = [await call(alice, bob, pattern()), await call(bob, alice, pattern())]
    ringing = alice.call("bob", pattern())
    heard = [Heard(each, "close", "error") for each in (calls[0].there, calls[1].here)]
    async with asyncio.timeout(DEADLINE):
        await alice.destroy()
        for each in (calls[0].there, calls[1].here):
            await each.wait_closed()
        with pytest.raises(PeerError):
            await ringing
    assert [each.names for each in heard] == [["close"], ["close"]]


async def test_channels_beside_the_one_are_closed(engine_peers: Peers) -> None:
    """Somebody's page may try to send data in a call."""
    alice, bob = await two(engine_peers)
    ends = await call(alice, bob, pattern())
    await until(lambda: ends.there.data_channel is not None)
    native = ends.here.peer_connection
    open_channel = getattr(native, "create_data_channel", None) or native.createDataChannel
    open_channel("more")
    await until(lambda: ends.there._strays == 1)
    await sees(await ends.there.stream())
    for _ in range(20):
        open_channel("more")
    async with asyncio.timeout(DEADLINE):
        await ends.there.wait_closed()
    assert ends.there.error is not None
    assert ends.there.error.type == "invalid-message"


class TestStrangers:
    """Row R3: offers of calls that no engine can take. Each is an `error` of the peer that gets it, and no more."""

    async def offer(self, broker: ScriptedBroker, sdp: str) -> None:
        payload = {"sdp": {"type": "offer", "sdp": sdp}, "type": "media", "connectionId": "mc_x"}
        await broker.say("alice", {"type": "OFFER", "src": "mallory", "payload": payload})

    @pytest.mark.parametrize(
        ("sdp", "reason"),
        [
            ("", "no SDP"),
            ("v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n", "no audio and no video"),
            ("v=0\r\n" + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 9, "more than 8 tracks"),
            ("v=0\r\n" + "m=video 9 UDP/TLS/RTP/SAVPF 96\r\n" * 40, "too many lines or sections"),
        ],
    )
    async def test_it_does_not_ring(
        self, scripted: ScriptedBroker, scripted_peers: Peers, sdp: str, reason: str
    ) -> None:
        alice = await scripted_peers.open("alice")
        heard = Heard(alice)
        await self.offer(scripted, sdp)
        error = await heard.wait_for("error")
        assert error.type == "webrtc"
        assert reason in str(error)
        assert heard.of("call") == []
        assert (alice.open, alice.connections) == (True, {})

    async def test_what_calls_need_is_not_installed(
        self, scripted: ScriptedBroker, scripted_peers: Peers, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        alice = await scripted_peers.open("alice")
        heard = Heard(alice, "error")
        monkeypatch.delitem(sys.modules, "crosspeer.peerjs.media")
        monkeypatch.setitem(sys.modules, "numpy", None)
        await self.offer(scripted, "v=0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n")
        text = str(await heard.wait_for("error"))
        assert text == "mallory: a call cannot be taken: numpy is not installed: pip install 'crosspeer[media]'"

    @pytest.mark.parametrize("engine", ["wrtc", "aiortc"])
    async def test_it_rings_and_cannot_be_answered(
        self, scripted: ScriptedBroker, scripted_peers: Peers, engine: str
    ) -> None:
        alice = await scripted_peers.open("alice", engine=engine)
        heard = Heard(alice)
        await self.offer(scripted, "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=rtpmap:96 smoke-signals/90000\r\n")
        call = await heard.wait_for("call")
        with pytest.raises(PeerError):
            await call.answer(pattern())
        assert heard.of("error")[0].type == "webrtc"
        assert (alice.open, alice.connections) == (True, {})

    @pytest.mark.parametrize("engine", ["wrtc", "aiortc"])
    async def test_a_data_connection_takes_no_media(
        self, scripted: ScriptedBroker, scripted_peers: Peers, engine: str
    ) -> None:
        """Nobody would read it."""
        alice = await scripted_peers.open("alice", engine=engine)
        heard = Heard(alice, "error")
        sdp = "v=0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nm=audio 9 UDP/TLS/RTP/SAVPF 0\r\n"
        payload = {"sdp": {"type": "offer", "sdp": sdp}, "type": "data", "connectionId": "dc_x"}
        await scripted.say("alice", {"type": "OFFER", "src": "mallory", "payload": payload})
        assert "the SDP of a data connection has audio or video" in str(await heard.wait_for("error"))
        await until(lambda: alice.connections == {})
