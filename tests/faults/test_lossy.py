"""F16: datagrams are lost below a data channel. A reliable one loses nothing, and keeps the order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from crosspeer.peerjs.rtc.choose import NAMES, choose_engine
from crosspeer.peerjs.rtc.config import IceConfig
from crosspeer.peerjs.rtc.port import LOW_MARK, Channel, ChannelEvents, Link
from faults.lossy import Leg, Relay
from peers import DEADLINE

SEED: Final = 16
COUNT: Final = 100
SIZE: Final = 4_000


class End:
    """One end of a link, and what came to it."""

    def __init__(self, name: str) -> None:
        self.candidates: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.heard: list[str | bytes] = []
        self.channel: Channel | None = None
        self.is_open, self.news = asyncio.Event(), asyncio.Event()
        self.link: Link = choose_engine(name).link(IceConfig(), self)

    def candidate_found(self, candidate: dict[str, Any]) -> None:
        self.candidates.put_nowait(candidate)

    def channel_opened(self, channel: Channel) -> None:
        self.attach(channel)

    def track_added(self, track: Any) -> None:
        """There are no tracks."""

    def link_opened(self) -> None:
        """The channel opens behind it."""

    def ice_state_changed(self, state: str) -> None:
        """It changes."""

    def attach(self, channel: Channel) -> None:
        self.channel = channel
        channel.attach(
            ChannelEvents(opened=self.is_open.set, received=self._receive, drained=self.news.set, closed=self.news.set)
        )

    async def send_all(self, messages: list[bytes]) -> None:
        assert self.channel is not None
        for message in messages:
            while self.channel.buffered_amount > LOW_MARK:
                self.news.clear()
                await self.news.wait()
            self.channel.send(message)

    async def hears(self, messages: list[bytes]) -> None:
        while len(self.heard) < len(messages):
            await asyncio.sleep(0.005)
        assert self.heard == messages

    def _receive(self, data: str | bytes) -> None:
        self.heard.append(data)


async def trickle(giver: End, leg: Leg, relay: Relay, taker: End) -> None:
    """Tell one end of the ways to the other, through the relay."""
    while True:
        candidate = await giver.candidates.get()
        way = await relay.way(leg, candidate.get("candidate", ""))
        if way is not None:
            await taker.link.add_candidate({**candidate, "candidate": way})


@asynccontextmanager
async def linked(name: str) -> AsyncIterator[tuple[End, End, Relay]]:
    """Two ends whose only way to each other is the relay."""
    here, there, relay = End(name), End(name), Relay(SEED)
    trickling: list[asyncio.Task[None]] = []
    try:
        here.attach(here.link.open_channel("lossy", ordered=True))
        async with asyncio.timeout(DEADLINE):
            offer = await relay.description(relay.here, await here.link.offer())
            answer = await relay.description(relay.there, await there.link.answer(offer))
            await here.link.accept(answer)
            trickling.append(asyncio.create_task(trickle(here, relay.here, relay, there)))
            trickling.append(asyncio.create_task(trickle(there, relay.there, relay, here)))
            await here.is_open.wait()
            await there.is_open.wait()
        yield here, there, relay
    finally:
        for task in trickling:
            task.cancel()
        for end in (here, there):
            async with asyncio.timeout(DEADLINE):
                await end.link.close()
        relay.close()


def messages(count: int) -> list[bytes]:
    return [number.to_bytes(4, "big") * (SIZE // 4) for number in range(count)]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("loss", [pytest.param(0.01, marks=pytest.mark.slow), 0.05])
async def test_a_reliable_channel_loses_nothing(name: str, loss: float) -> None:
    async with linked(name) as (here, there, relay):
        assert relay.passed, "it is the only way"
        relay.loss = loss
        said = messages(COUNT)
        async with asyncio.timeout(50):
            await asyncio.gather(here.send_all(said), there.send_all(said), here.hears(said), there.hears(said))
        assert relay.dropped
        relay.loss = 0


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_the_goodput_at_five_per_cent(capsys: pytest.CaptureFixture[str]) -> None:
    goodput = {}
    for name in NAMES:
        async with linked(name) as (here, there, relay):
            relay.loss = 0.05
            said = messages(1000)
            begin = time.monotonic()
            async with asyncio.timeout(120):
                await asyncio.gather(here.send_all(said), there.hears(said))
            goodput[name] = len(said) * SIZE / (time.monotonic() - begin) / 1024
            relay.loss = 0
    with capsys.disabled():
        print({name: f"{rate:.0f} KiB/s" for name, rate in goodput.items()})  # noqa: T201
    assert goodput["wrtc"] >= goodput["aiortc"]
