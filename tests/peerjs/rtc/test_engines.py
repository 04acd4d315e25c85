"""The port, on each engine: what a link promises, and what it does with descriptions that nobody wrote."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from crosspeer.core.errors import MissingExtra
from crosspeer.peerjs.rtc.choose import NAMES, choose_engine
from crosspeer.peerjs.rtc.config import IceConfig, IceServer, read_config
from crosspeer.peerjs.rtc.port import LOW_MARK, MAX_MESSAGE_SIZE, ChannelEvents, LinkClosed, RTCError
from crosspeer.wire.sdp import check_candidate, check_description
from mutations import mutate
from peers import DEADLINE, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from crosspeer.peerjs.rtc.port import Channel, Engine, Link


class End:
    """One end of a link, and what it was told."""

    def __init__(self, engine: Engine) -> None:
        self.candidates: list[dict[str, Any]] = []
        self.channels: list[Channel] = []
        self.states: list[str] = []
        self.told: list[tuple[str, Any]] = []
        self.other: End | None = None
        self.link: Link = engine.link(IceConfig(), self)

    def candidate_found(self, candidate: dict[str, Any]) -> None:
        self.candidates.append(candidate)

    def channel_opened(self, channel: Channel) -> None:
        self.channels.append(channel)
        self.attach(channel)

    def link_opened(self) -> None:
        self.states.append("open")

    def ice_state_changed(self, state: str) -> None:
        self.states.append(state)

    def attach(self, channel: Channel) -> None:
        channel.attach(
            ChannelEvents(
                opened=lambda: self.told.append(("opened", None)),
                received=lambda data: self.told.append(("received", data)),
                drained=lambda: self.told.append(("drained", None)),
                closed=lambda: self.told.append(("closed", None)),
            )
        )

    def of(self, name: str) -> list[Any]:
        return [value for kind, value in self.told if kind == name]


@pytest.fixture(params=NAMES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return choose_engine(request.param)


@pytest.fixture
async def ends(engine: Engine) -> AsyncIterator[tuple[End, End]]:
    here, there = End(engine), End(engine)
    yield here, there
    for end in (here, there):
        async with asyncio.timeout(DEADLINE):
            await end.link.close()


async def connect(here: End, there: End, *, ordered: bool = True, label: str = "chat") -> Channel:
    channel = here.link.open_channel(label, ordered=ordered)
    here.attach(channel)
    async with asyncio.timeout(DEADLINE):
        offer = await here.link.offer()
        answer = await there.link.answer(offer)
        await here.link.accept(answer)
        moved: dict[int, int] = {0: 0, 1: 0}
        while not (here.of("opened") and there.of("opened")):
            for index, (giver, taker) in enumerate(((here, there), (there, here))):
                for candidate in giver.candidates[moved[index] :]:
                    moved[index] += 1
                    await taker.link.add_candidate(candidate)
            await asyncio.sleep(0.005)
    return channel


@pytest.mark.parametrize("ordered", [False, True])
async def test_a_channel_carries_text_and_bytes_both_ways(ends: tuple[End, End], ordered: bool) -> None:
    here, there = ends
    channel = await connect(here, there, ordered=ordered)
    (other,) = there.channels
    assert (other.label, other.ordered) == ("chat", ordered)
    assert channel.native is not None
    messages = ["", "text", "grüße 🥦", b"", b"bytes", bytes(MAX_MESSAGE_SIZE)]
    for count, message in enumerate(messages, 1):
        channel.send(message)
        other.send(message)
        await until(lambda count=count: len(here.of("received")) == len(there.of("received")) == count)  # type: ignore[misc]
    assert here.of("received") == there.of("received") == messages
    assert "connected" in here.states or "completed" in here.states


async def test_it_tells_when_it_has_room_again(ends: tuple[End, End]) -> None:
    here, there = ends
    channel = await connect(here, there)
    for _ in range(32):
        channel.send(bytes(LOW_MARK // 4))
    assert channel.buffered_amount > LOW_MARK
    await until(lambda: bool(here.of("drained")))
    await until(lambda: len(there.of("received")) == 32)


async def test_closing_a_channel_delivers_what_was_sent(ends: tuple[End, End]) -> None:
    here, there = ends
    channel = await connect(here, there)
    for _ in range(100):
        channel.send(bytes(16_000))
    channel.close()
    channel.close()
    await until(lambda: bool(here.of("closed") and there.of("closed")))
    assert len(there.of("received")) == 100
    assert len(there.of("closed")) == len(here.of("closed")) == 1
    with pytest.raises(RTCError):
        channel.send("too late")


async def test_closing_a_link_is_noticed_at_once(ends: tuple[End, End]) -> None:
    here, there = ends
    await connect(here, there)
    started = time.monotonic()
    await here.link.close()
    await until(lambda: bool(there.of("closed")) or "closed" in there.states)
    assert time.monotonic() - started < 10, "without it, this would be noticed after half a minute"


async def test_a_message_that_is_too_large_is_refused_and_harms_nothing(ends: tuple[End, End]) -> None:
    here, there = ends
    channel = await connect(here, there)
    with pytest.raises(RTCError):
        channel.send(bytes(MAX_MESSAGE_SIZE + 1))
    channel.send("still here")
    await until(lambda: there.of("received") == ["still here"])


@pytest.mark.parametrize("label", ["", "grüße 🥦", "x" * 1000])
async def test_labels(ends: tuple[End, End], label: str) -> None:
    await connect(*ends, label=label)


async def test_a_link_that_closes_ends_what_is_pending(engine: Engine) -> None:
    here = End(engine)
    here.link.open_channel("chat", ordered=True)
    offering = asyncio.ensure_future(here.link.offer())
    await asyncio.sleep(0)
    await here.link.close()
    try:
        async with asyncio.timeout(DEADLINE):
            await offering
    except LinkClosed:
        return


async def test_cancelling_is_no_closing(engine: Engine) -> None:
    here = End(engine)
    here.link.open_channel("chat", ordered=True)
    offering = asyncio.ensure_future(here.link.offer())
    await asyncio.sleep(0)
    offering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await offering
    await here.link.close()


class TestStrangers:
    """Row R3: descriptions that nobody wrote end in an `RTCError`, or in an answer; soon, and in nothing else."""

    async def test_answers_that_make_no_sense(self, engine: Engine) -> None:
        for answer in ("", "hello", "v=0\r\n", "v=0\r\nm=application x\r\n"):
            here = End(engine)
            here.link.open_channel("chat", ordered=True)
            await here.link.offer()
            try:
                await here.link.accept(answer)
            except RTCError:
                pass
            finally:
                await here.link.close()

    async def test_mutations_of_a_real_offer(self, engine: Engine) -> None:
        source = End(engine)
        source.link.open_channel("chat", ordered=True)
        offer = await source.link.offer()
        await source.link.close()
        chance = random.Random(7)
        outcomes = {"refused": 0, "answered": 0}
        for _ in range(40):
            changed = mutate(offer, chance)
            there = End(engine)
            try:
                check_description(changed)
                async with asyncio.timeout(DEADLINE):
                    await there.link.answer(changed)
                outcomes["answered"] += 1
            except (RTCError, ValueError):
                outcomes["refused"] += 1
            finally:
                await there.link.close()
        assert min(outcomes.values()) > 0, outcomes

    async def test_candidates_that_make_no_sense(self, ends: tuple[End, End]) -> None:
        here, there = ends
        await connect(here, there)
        good = "candidate:1 1 udp 2113937151 192.0.2.7 50000 typ host"
        for text in ("candidate:", good.replace("udp", "carrier-pigeon"), good.replace("host", "ghost"), good + " x"):
            for place in ({"sdpMid": "0", "sdpMLineIndex": 0}, {"sdpMid": "99"}, {"sdpMLineIndex": -1}, {}):
                try:
                    check_candidate(text)
                    async with asyncio.timeout(DEADLINE):
                        await here.link.add_candidate({"candidate": text, **place})
                except (RTCError, ValueError):
                    continue
        here_channel = here.of("received")
        there.channels[0].send("still here")
        await until(lambda: here.of("received") == ["still here"])
        assert here_channel == []


class TestChoice:
    def test_the_first_that_is_installed(self) -> None:
        assert choose_engine().name == "wrtc"
        assert choose_engine("aiortc").name == "aiortc"
        engine = choose_engine("aiortc")
        assert choose_engine(engine) is engine

    def test_a_name_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="one of wrtc, aiortc, not 'chrome'"):
            choose_engine("chrome")

    @pytest.mark.parametrize(
        ("missing", "wanted", "outcome"),
        [
            ({"webrtc"}, None, "aiortc"),
            ({"webrtc"}, "wrtc", r"wrtc is not installed: pip install 'crosspeer\[webrtc\]'"),
            ({"aiortc"}, None, "wrtc"),
            ({"aiortc"}, "aiortc", r"aiortc is not installed: pip install 'crosspeer\[aiortc\]'"),
            ({"webrtc", "aiortc"}, None, r"wrtc is not installed: pip install 'crosspeer\[webrtc\]'"),
        ],
        ids=str,
    )
    def test_what_is_missing(
        self, monkeypatch: pytest.MonkeyPatch, missing: set[str], wanted: str | None, outcome: str
    ) -> None:
        for name in missing:
            # Importing a name that is None raises as if it were not there.
            monkeypatch.setitem(sys.modules, name, None)
        for name in NAMES:
            monkeypatch.delitem(sys.modules, f"crosspeer.peerjs.rtc.{name}", raising=False)
        if outcome in NAMES:
            assert choose_engine(wanted).name == outcome
        else:
            with pytest.raises(MissingExtra, match=outcome):
                choose_engine(wanted)


class TestConfig:
    def test_peerjs_configurations_are_read(self) -> None:
        config = read_config(
            {
                "iceServers": [
                    {"url": "stun:stun.example.org:19302"},
                    {"urls": ["turn:a.example:3478", "turns:b.example"], "username": "u", "credential": "c"},
                ],
                "iceTransportPolicy": "relay",
                "sdpSemantics": "unified-plan",
            }
        )
        assert config.relay_only
        assert config.servers == (
            IceServer(("stun:stun.example.org:19302",)),
            IceServer(("turn:a.example:3478", "turns:b.example"), "u", "c"),
        )
        assert "credential" not in repr(config)

    def test_without_one_it_is_the_documents(self) -> None:
        assert read_config(None).servers == (IceServer(("stun:stun.l.google.com:19302",)),)
        assert read_config({}).servers == ()

    async def test_engines_take_servers(self, engine: Engine) -> None:
        config = read_config(
            {
                "iceServers": [
                    {"urls": "stun:127.0.0.1:1"},
                    {"urls": "turn:127.0.0.1:1", "username": "u", "credential": "c"},
                ]
            }
        )
        end = End.__new__(End)
        link = engine.link(config, end)
        await link.close()
